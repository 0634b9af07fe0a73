"""The same job as a Celery tutorial would do it (:mod:`.tutorial_app`), measured the same way."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from celery import Celery
from sqlalchemy import create_engine, insert

from benchmarks import stub, tutorial_app
from benchmarks.measured import Measured, Reading
from benchmarks.processes import children_of
from benchmarks.stage import ROOT, WARM, Run, Stage, say, started, until
from verifier.local.children import ChildProcess
from verifier.local.processes import WORKERS

_PATIENCE: Final = 1800.0


def measure(stage: Stage, users: int, delay: float) -> Measured:
    """Put ``users`` people into a plain table, send a task for each, wait until all are done."""
    with stub.running(delay) as carrier:
        run = stage.new_run(carrier.url)
        run.env["TUTORIAL_BROKER_URL"] = run.env["VERIFIER_BROKER_URL"]
        run.env["TUTORIAL_DATABASE_URL"] = run.database_url
        run.env["TUTORIAL_CARRIER_URL"] = carrier.url
        _put_people(run, users + WARM)
        run.settle_down()
        with _worker(run) as worker, Celery(broker=run.env["TUTORIAL_BROKER_URL"]) as sender:
            say(f"tutorial: worker {worker}, pool {children_of(worker)}; logs in {run.logs}")
            _verify(run, carrier, sender, range(1, WARM + 1))
            before = Reading.take(run, worker)
            _verify(run, carrier, sender, range(WARM + 1, WARM + users + 1))
            after = Reading.take(run, worker)
            seen = carrier.count()
    return Measured.between(before, after, users, seen)


def _put_people(run: Run, number: int) -> None:
    engine = create_engine(run.database_url)
    tutorial_app.Base.metadata.create_all(engine)
    with run.stage.people(number).open(encoding="utf-8", newline="") as file, engine.begin() as to:
        people = [
            {name: row[name] for name in ("phone", "name", "id_number")}
            for row in csv.DictReader(file)
        ]
        to.execute(insert(tutorial_app.User), people)
    engine.dispose()


def _verify(run: Run, carrier: stub.Stub, sender: Celery, ids: range) -> None:
    """Send a task for each and wait until the last is committed."""
    carrier.forget()
    for number in ids:
        sender.send_task(tutorial_app.verify.name, (number,))
    until(lambda: carrier.count().calls >= len(ids), _PATIENCE, "the tasks to be done", pause=0.5)
    until(
        lambda: not run.ask("SELECT count(*) FROM users WHERE id <= %s AND checked_at IS NULL",
                            ids[-1])[0],
        10,
        "the last commit",
    )  # fmt: skip


@contextmanager
def _worker(run: Run) -> Iterator[int]:
    """A worker with as many processes as the product's; its process id."""
    _, processes = WORKERS["worker"]
    log = run.logs / "tutorial.log"
    arguments = ("-A", "benchmarks.tutorial_app", "worker", "-c", str(processes), "-l", "info")
    child = ChildProcess(
        name="tutorial",
        argv=[sys.executable, "-m", "celery", *arguments],
        env=run.env,
        stage=0,
        cwd=ROOT,
        log=log,
        is_ready=lambda: " ready." in log.read_text("utf-8"),
    )
    with started([child]):
        yield child.pid or 0
