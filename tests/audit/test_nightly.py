from __future__ import annotations

import threading
from datetime import date, datetime, time, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from tests.reminders.world import DAY, ZONE, Someone, World
from verifier.audit import findings, nightly, report
from verifier.clock import at_local
from verifier.errors import AlreadyRunningError, NotFoundError
from verifier.reminders import plan
from verifier.store import jobs
from verifier.store.engine import transaction
from verifier.verification.submit import submit


def night(day: date = DAY, hour: int = 3) -> datetime:
    return at_local(day, time(hour), ZONE)


@pytest.fixture(autouse=True)
def _at_night(world: World) -> None:
    world.at(night())


def checked(world: World, someone: Someone, ago: timedelta) -> Someone:
    """As if the check had been made some time ago."""
    world.execute(
        "UPDATE verifier.users SET checked_at = verifier.verifier_now() - :ago "
        "WHERE reference = :reference",
        ago=ago,
        reference=someone.reference,
    )
    return someone


def opened(world: World) -> set[str]:
    with transaction() as connection:
        return set(
            connection.scalars(
                text("""
                    SELECT u.reference FROM verifier.open_verifications o
                      JOIN verifier.users u ON u.id = o.user_id
                """)
            )
        )


def runs() -> list[Any]:
    with transaction() as connection:
        return list(
            connection.execute(
                text("SELECT * FROM verifier.job_runs WHERE job = 'audit' ORDER BY period")
            )
        )


def test_the_audit_queues_again_exactly_what_its_policy_names(world: World) -> None:
    days = timedelta(days=1)
    again = [
        world.put(None),
        checked(world, world.put("MATCHED"), 181 * days),
        checked(world, world.put("NO_RECORD"), 15 * days),
        checked(world, world.put("NUMBER_INACTIVE"), 8 * days),
    ]
    checked(world, world.put("MATCHED"), 179 * days)
    checked(world, world.put("NO_RECORD"), 13 * days)
    checked(world, world.put("NUMBER_INACTIVE"), 6 * days)
    for outcome in ("MISMATCHED", "INVALID_INPUT", "CONSENT_MISSING", "UNSUPPORTED_NUMBER"):
        checked(world, world.put(outcome), 400 * days)
    corrected = checked(world, world.put("MISMATCHED"), 400 * days)
    world.change_data(corrected)
    found = nightly.run()
    assert opened(world) == {person.reference for person in [*again, corrected]}
    assert (found["requeued"], found["users"], found["unverified"]) == (5, 12, 2)
    assert report.show().requeued.causes == {
        "no_record": 1,
        "number_inactive": 1,
        "unverified": 2,
        "verified_long_ago": 1,
    }


def test_work_that_is_open_is_not_queued_twice(world: World) -> None:
    world.open(world.put(None))
    assert nightly.run()["requeued"] == 0


def test_an_audit_that_finds_nobody_due_makes_no_batch(world: World) -> None:
    world.put("MATCHED")
    found = nightly.run()
    assert (found["requeued"], found["batch"]) == (0, 0)
    assert report.show().requeued.batch is None
    with transaction() as connection:
        assert connection.execute(text("SELECT count(*) FROM verifier.batches")).scalar_one() == 0


def test_the_audit_plans_the_days_reminders_about_what_is_known(world: World) -> None:
    known = world.put("MISMATCHED")
    world.put(None)
    due_again = checked(world, world.put("NO_RECORD"), timedelta(days=20))
    assert nightly.run()["reminders"] == 1
    assert world.row(known).state == "planned"
    assert world.rows(due_again) == [], "its new answer is waited for"
    world.at(night(hour=12))
    assert plan.plan_due()["skipped"] == "planned already"


def test_it_runs_once_a_night_when_it_is_time(world: World) -> None:
    world.at(night(hour=1))
    assert nightly.tick() == {"skipped": "not due"}
    world.at(night())
    assert nightly.tick()["night"] == "2026-11-23"
    assert nightly.tick() == {"skipped": "not due"}
    assert nightly.run()["skipped"] == "done already"
    world.at(night(hour=23))
    assert nightly.tick() == {"skipped": "not due"}
    world.at(night(DAY + timedelta(days=1)))
    assert nightly.tick()["night"] == "2026-11-24"
    assert len(runs()) == 2


def test_a_night_that_the_beat_missed_is_made_up_for(world: World) -> None:
    world.at(night(hour=22))
    assert nightly.tick()["night"] == "2026-11-23"


def test_the_time_of_the_audit_can_be_configured(world: World) -> None:
    world.configure(extra='[timetable]\naudit = "04:30"\n')
    assert nightly.tick() == {"skipped": "not due"}
    world.at(night(hour=5))
    assert "night" in nightly.tick()


def test_eight_audits_at_once_are_one(world: World) -> None:
    for _ in range(30):
        world.put(None)
        world.put("MISMATCHED")
    ready = threading.Barrier(8)
    results: list[Any] = []

    def audit() -> None:
        ready.wait()
        try:
            results.append(nightly.run())
        except AlreadyRunningError as error:
            results.append(error)

    threads = [threading.Thread(target=audit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ran = [r for r in results if isinstance(r, dict) and "skipped" not in r]
    assert len(results) == 8
    assert len(ran) == 1
    assert (ran[0]["requeued"], ran[0]["reminders"]) == (30, 30)
    assert len(opened(world)) == len(world.rows()) == 30
    [row] = runs()
    assert row.state == "done"


class Died(BaseException):
    """The process ends here: nothing after this point happens."""


def _die(*_: Any, **__: Any) -> Any:
    raise Died


@pytest.mark.parametrize("stage", ["scan", "submit", "advance", "plan", "finish"])
def test_an_audit_that_was_killed_is_taken_over_where_it_stood(
    world: World, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    for _ in range(3):
        world.put(None)
        world.put("MISMATCHED")
    with monkeypatch.context() as patch:
        if stage == "scan":
            patch.setattr(findings, "scan", _die)
        elif stage == "submit":
            patch.setattr("verifier.audit.nightly.submit", _die)
        elif stage == "advance":
            real, calls = jobs.advance, iter(range(9))
            patch.setattr(jobs, "advance", lambda *a, **k: _die() if next(calls) else real(*a, **k))
        elif stage == "plan":
            patch.setattr(plan, "plan_once", _die)
        else:
            # The planning's own run ends with the same function, one call earlier.
            finish = jobs.finish
            patch.setattr(
                jobs,
                "finish",
                lambda c, job, *a, **k: _die() if job == "audit" else finish(c, job, *a, **k),
            )
        with pytest.raises(Died):
            nightly.run()
    assert nightly.tick() == {"skipped": "running elsewhere"}
    with pytest.raises(AlreadyRunningError):
        nightly.run()
    world.execute(
        "UPDATE verifier.job_runs SET lease_until = clock_timestamp() WHERE job = 'audit'"
    )
    # Later, and with another configuration: the night's question stays the same.
    world.pass_time(timedelta(hours=1))
    world.configure(extra="[audit]\nrecheck_verified_days = 30\n")
    found = nightly.tick()
    assert (found["unverified"], found["requeued"], found["reminders"]) == (3, 3, 3)
    assert report.show().requeued.causes == {"unverified": 3}
    assert len(opened(world)) == len(world.rows()) == 3
    with transaction() as connection:
        batches = connection.execute(text("SELECT idempotency_key FROM verifier.batches"))
        assert list(batches.scalars()) == ["audit-2026-11-23"]


def test_a_run_that_was_taken_over_stops_at_its_next_stage(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put(None)
    real = submit

    def slow(*arguments: Any) -> Any:
        submitted = real(*arguments)
        world.execute("UPDATE verifier.job_runs SET lease_until = clock_timestamp()")
        with monkeypatch.context() as patch:
            patch.setattr("verifier.audit.nightly.submit", real)
            taken_over.append(nightly.run())
        monkeypatch.setattr(plan, "plan_once", _die)
        return submitted

    taken_over: list[dict[str, int | str]] = []
    monkeypatch.setattr("verifier.audit.nightly.submit", slow)
    with pytest.raises(AlreadyRunningError):
        nightly.run()
    assert taken_over[0]["requeued"] == 1
    [row] = runs()
    assert row.state == "done"


def test_force_audits_a_finished_night_again_as_a_run_of_its_own(world: World) -> None:
    nightly.run()
    late = world.put(None)
    assert nightly.run()["skipped"] == "done already"
    forced = nightly.run(force=True)
    assert (forced["night"], forced["requeued"]) == ("2026-11-23 run 2", 1)
    assert opened(world) == {late.reference}
    assert nightly.run(force=True)["night"] == "2026-11-23 run 3"
    assert report.show(DAY).period == "2026-11-23"


# ---------------------------------------------------------------- the report


def test_the_report_says_how_things_stand_why_and_who_must_act(world: World) -> None:
    for _ in range(6):
        world.put("MATCHED")
    world.put("MISMATCHED", "NAME")
    world.put("MISMATCHED", "NAME", push=True)
    world.put("UNSUPPORTED_NUMBER", "MVNO")
    late, held = world.put(None), world.put(None)
    past = "verifier.verifier_now() - interval '1 hour'"
    world.open(late, deadline_at=past)
    world.open(held, deadline_at=past, held="true")
    world.execute(
        """
        UPDATE verifier.lanes SET not_before = verifier.verifier_now() + interval '1 day',
               not_before_reason = 'maintenance'
        """
    )
    nightly.run()
    world.execute("UPDATE verifier.lanes SET not_before = NULL, not_before_reason = NULL")
    shown = report.show()
    assert (shown.state, shown.night, shown.users) == ("done", DAY, 11)
    assert shown.completion_rate == pytest.approx(6 / 11)
    assert shown.reasons == {"MISMATCHED/NAME": 2, "UNSUPPORTED_NUMBER/MVNO": 1}
    assert {(o.cause, o.number, o.who_acts) for o in shown.overdue} == {
        ("maintenance", 1, "system"),
        ("paused", 1, "operator"),
    }
    assert shown.who_must_act == {"person": 2, "system": 2, "operator": 2}
    assert shown.reminders.planned == 2
    assert shown.reminders.states == {"planned": 2}
    assert shown.reminders.channels == {"push": 1, "sms": 1}
    assert shown.requeued.total == 0


def test_an_empty_house_has_a_report_and_no_audit_has_none(world: World) -> None:
    with pytest.raises(NotFoundError):
        report.show()
    nightly.run()
    shown = report.show()
    assert (shown.users, shown.completion_rate, shown.groups) == (0, 0.0, ())
    with pytest.raises(NotFoundError):
        report.show(DAY - timedelta(days=1))
    assert [period for period, *_ in report.recent()] == ["2026-11-23"]


def test_the_report_of_a_running_audit_shows_what_is_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(findings, "scan", _die)
    with pytest.raises(Died):
        nightly.run()
    shown = report.show()
    assert (shown.state, shown.users, shown.requeued.batch) == ("running", 0, None)
