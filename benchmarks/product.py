"""The product with everything on: encrypted people, a batch, real workers, until all settled."""

from __future__ import annotations

import time
from typing import Final

from benchmarks import stub
from benchmarks.measured import Measured, Reading
from benchmarks.processes import children_of, resident_mib
from benchmarks.stage import WARM, Run, Stage, say, unique, until

WORKERS: Final = ("worker", "control", "beat")
_PATIENCE: Final = 1800.0


def measure(stage: Stage, users: int, delay: float) -> Measured:
    """Import ``users`` people and verify them all; the carrier takes ``delay`` seconds a call."""
    with stub.running(delay) as carrier:
        run = stage.new_run(carrier.url)
        run.verifier("db", "upgrade")
        run.verifier("user", "import", stage.people(WARM, seed=2))
        with run.product(WORKERS) as pids:
            worker = pids["worker"]
            say(f"product: worker {worker}, pool {children_of(worker)}; logs in {run.logs}")
            run.verifier("verify", "submit", "--unverified", "--key", unique("bench"))
            _until_done(run, carrier, WARM, worker)
            run.verifier("user", "import", stage.people(users))
            # Submitting is measured on its own: here the batch is open when measuring begins.
            run.verifier("stop", "--reason", "about to measure")
            run.verifier("verify", "submit", "--unverified", "--key", unique("bench"))
            run.settle_down()
            carrier.forget()
            before = Reading.take(run, worker, pids["control"], pids["beat"])
            run.verifier("start")
            memory = _until_done(run, carrier, users, worker)
            after = Reading.take(run, worker, pids["control"], pids["beat"])
            seen = carrier.count()
        _check(run, users, seen.calls)
    return Measured.between(before, after, users, seen, memory)


def _until_done(run: Run, carrier: stub.Stub, users: int, worker: int) -> list[tuple[int, float]]:
    """Wait until ``users`` are verified; how memory went on the way."""
    end = time.monotonic() + _PATIENCE
    memory: list[tuple[int, float]] = []
    while (done := carrier.count().calls) < users and time.monotonic() < end:
        memory.append((done, max(map(resident_mib, children_of(worker)), default=0.0)))
        time.sleep(0.5)
    until(
        lambda: run.ask("SELECT bool_and(state = 'done') FROM verifier.batches")[0],
        60,
        "the batch to be done",
        pause=0.5,
    )
    return memory


def _check(run: Run, users: int, calls: int) -> None:
    """Everybody verified, by one call each."""
    (wrong,) = run.ask("SELECT count(*) FROM verifier.users WHERE status <> 'verified'")
    if wrong or calls != users:
        (attempts,) = run.ask("""
            SELECT string_agg(concat_ws(' ', number, state, outcome, detail), ', ') FROM (
              SELECT state, outcome, detail, count(*) AS number
                FROM verifier.attempts GROUP BY state, outcome, detail) AS kinds
        """)
        raise RuntimeError(
            f"{users} users took {calls} calls, and {wrong} are not verified. "
            f"Attempts, with the {WARM} to warm up: {attempts}"
        )
