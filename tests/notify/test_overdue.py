"""Past its deadline: escalated once, told, listed with its cause, and never failed for it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import structlog.testing
from sqlalchemy import text

from tests.notify.conftest import Office
from verifier import client
from verifier.store import waiting
from verifier.store.engine import transaction
from verifier.upkeep import overdue
from verifier.upkeep.sweep import sweep


def test_it_goes_ahead_is_told_once_and_stays_open(office: Office) -> None:
    shop = office.receiver(max_events=3)
    office.batch(5, deadline_hours=2, priority="low")
    assert sweep()["escalated"] == 0
    with transaction() as connection:
        connection.execute(text("UPDATE verifier.lanes SET paused_at = now(), paused_by = 't'"))
    office.later(hours=3)
    with structlog.testing.capture_logs() as logs:
        assert sweep()["escalated"] == 5
    (line,) = [entry for entry in logs if entry["event"] == "past their deadline"]
    assert (line["log_level"], line["total"], line["paused"]) == ("warning", 5, 5)
    assert sweep()["escalated"] == 0
    rows = office.rows("SELECT * FROM verifier.open_verifications")
    assert {(row.state, row.priority, row.attempts) for row in rows} == {("waiting", 1, 0)}
    with transaction() as connection:
        listed = waiting.overdue(connection, 10)
        connection.execute(text("UPDATE verifier.lanes SET paused_at = NULL, paused_by = NULL"))
    assert [(row.cause, row.escalated_at is not None) for row in listed] == [("paused", True)] * 5
    office.dispatch()
    told = [row for m in shop.of("verification.overdue") for row in m.data["verifications"]]
    assert [len(m.data["verifications"]) for m in shop.of("verification.overdue")] == [3, 2]
    assert {row["verification"] for row in told} == {row.id for row in rows}
    assert {row["cause"] for row in told} == {"paused"}
    assert {client.get(row["reference"]).status for row in told} == {"unverified"}
    office.settle()
    assert {client.get(row["reference"]).status for row in told} == {"verified"}


def test_its_turn_comes_before_that_of_normal_work(office: Office) -> None:
    office.configure()
    office.batch(1, seed=1, deadline_hours=1)
    office.later(hours=2)
    office.batch(1, seed=2)
    sweep()
    late, normal = office.rows("SELECT * FROM verifier.open_verifications ORDER BY id")
    assert late.turn_at < normal.turn_at
    assert (late.priority, (late.due_at - late.turn_at).total_seconds()) == (1, 3600)


def test_policy_can_leave_the_priority_alone(office: Office) -> None:
    office.table("engine", {"overdue_priority": "unchanged"})
    office.batch(1, deadline_hours=1)
    office.later(hours=2)
    assert sweep()["escalated"] == 1
    (row,) = office.rows("SELECT * FROM verifier.open_verifications")
    assert row.priority == 2
    assert abs((row.due_at - row.turn_at).total_seconds()) < 1


def test_sweeps_at_once_escalate_each_one_once(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overdue, "_CHUNK", 7)
    office.receiver(max_events=100, events=["verification.overdue"])
    office.batch(60, deadline_hours=1)
    office.later(hours=2)
    with ThreadPoolExecutor(4) as pool:
        first = [pool.submit(overdue.escalate) for _ in range(4)]
        escalated = sum(running.result(30) for running in first)
    escalated += overdue.escalate()
    told = [row["id"] for d in office.deliveries() for row in d.payload["late"]]
    assert escalated == len(told) == len(set(told)) == 60
