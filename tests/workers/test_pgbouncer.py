"""PgBouncer in transaction mode between every process of ours and PostgreSQL.

Whatever belongs to a session (SET, temporary tables, advisory locks, LISTEN, server-side cursors
that outlive their transaction) would reach another client's transaction here, or be gone.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from tests.engine.conftest import as_row, forget
from tests.workers import pgbouncer
from tests.workers.conftest import Fleet, until
from tests.workers.pgbouncer import PgBouncer
from verifier import client
from verifier.sandbox.people import Fate
from verifier.store import engine, schema

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

POOL_SIZE = 4


@pytest.fixture
def bouncer(
    fleet: Fleet, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PgBouncer]:
    """The fleet's processes, and this one, reach PostgreSQL through it and only through it."""
    with pgbouncer.running(database_url, pool_size=POOL_SIZE) as running:
        monkeypatch.setenv("VERIFIER_DATABASE_URL", running.url)
        engine.engine().dispose()
        engine.engine.cache_clear()
        forget()
        yield running
        fleet.stop()
        engine.engine().dispose()


def _verifier(*arguments: str | Path, code: int = 0) -> str:
    """Run a command, as an operator would; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "verifier.cli", *map(str, arguments)],
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_everything_works_through_pgbouncer_in_transaction_mode(
    fleet: Fleet, bouncer: PgBouncer, tmp_path: Path
) -> None:
    people = fleet.people(270) + fleet.people(20, fate=Fate.WRONG_NAME)
    alone, *cancelled = fleet.people(11, seed=2)
    for kind in ("reset", "http_error"):
        fleet.sandbox.client.fault("tencent", kind, rate=0.03)
    fleet.sandbox.client.settings(latency_ms=20)
    file = tmp_path / "people.csv"
    with file.open("w", newline="", encoding="utf-8") as target:
        writer = csv.DictWriter(target, ["reference", "phone", "name", "id_number"])
        writer.writeheader()
        writer.writerows(as_row(person) for person in people)
    imported = json.loads(_verifier("user", "import", file, "--json"))
    assert (imported["unchanged"], imported["rejected"]) == (290, 0)

    worker = fleet.worker()
    fleet.worker("interactive", "interactive", 1)
    fleet.control()
    fleet.beat()

    batch = client.submit([person.reference for person in people], caller="t", key="k").batch
    until(lambda: client.get_batch(batch).settled > 10, 60, "the first verdicts")
    _verifier("batch", "pause", str(batch))
    assert client.verify_one(alone.reference, timeout=30).status == "verified"
    other = client.submit([person.reference for person in cancelled], caller="t", key="c").batch
    _verifier("batch", "cancel", str(other))
    _verifier("batch", "resume", str(batch))
    for each in (batch, other):
        fleet.finish(each)
    for person in people:
        assert client.get(person.reference).outcome == person.expected.outcome

    fed: list[tuple[str, int]] = []
    page = client.changes(limit=50)
    while page.changes:
        fed += [(change.reference, change.verification) for change in page.changes]
        page = client.changes(page.cursor, limit=50)
    assert len(set(fed)) == len(fed)
    # More than once who was cancelled and found again by the audit of a night that passed.
    assert {reference for reference, _ in fed} == {
        person.reference for person in (*people, alone, *cancelled)
    }

    exported = _verifier("batch", "export", str(batch)).splitlines()
    assert len(exported) == 290 + 1
    checks = json.loads(_verifier("doctor", "--json", code=1))["checks"]
    found = {check["name"]: check for check in checks}
    assert {name for name in found if found[name]["verdict"] == "fail"} == {"workers"}  # no notify
    assert "through a pooler" in found["connections"]["found"]

    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(30) == 0
    assert fleet.rows("SELECT FROM verifier.open_verifications WHERE state = 'claimed'") == []
    pool = bouncer.pool()
    assert pool["pool_mode"] == "transaction"
    assert pool["sv_active"] + pool["sv_idle"] + pool["sv_used"] <= POOL_SIZE
    assert fleet.sandbox.client.stats()["most_billed_per_person"] <= 2


def test_no_transaction_waits_for_another_of_its_own_process(
    fleet: Fleet, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One connection is enough: with two needed at once, a full pool would stop for ever."""
    with pgbouncer.running(database_url, pool_size=1) as running:
        monkeypatch.setenv("VERIFIER_DATABASE_URL", running.url)
        engine.engine().dispose()
        engine.engine.cache_clear()
        forget()
        people = fleet.people(30)
        fleet.worker()
        fleet.worker("interactive", "interactive", 1)
        fleet.control()
        fleet.beat()
        batch = client.submit(selection="all", caller="t", key="k").batch
        assert client.verify_one(people[-1].reference, timeout=30).status == "verified"
        assert fleet.finish(batch).outcomes == {"MATCHED": 30}
        fleet.stop()
        engine.engine().dispose()


def test_a_database_is_migrated_through_pgbouncer(
    fleet: Fleet, bouncer: PgBouncer, database_url: str
) -> None:
    with engine.transaction() as connection:
        connection.exec_driver_sql("DROP SCHEMA verifier CASCADE")
    _verifier("db", "upgrade")
    _verifier("db", "check")
    assert schema.differences(database_url) == []


def test_a_session_setting_would_be_refused_by_this_pgbouncer(
    fleet: Fleet, bouncer: PgBouncer
) -> None:
    """So these tests can tell: options at connect, and what outlives a transaction, do not pass."""
    url = bouncer.url.replace("+psycopg2", "")
    with pytest.raises(psycopg2.OperationalError, match="options"):
        psycopg2.connect(url, options="-c statement_timeout=1000")
