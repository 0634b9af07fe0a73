from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from tests.reminders.world import DAY, Someone, World, noon
from verifier.outcomes import RESULTS, Outcome
from verifier.reminders import plan
from verifier.reminders.policy import CHANNELS
from verifier.store import reminders
from verifier.store.engine import transaction


def test_who_failed_is_planned_once_by_push_or_sms(world: World) -> None:
    with_app, without = world.put("MISMATCHED", "NAME", push=True), world.put("NO_RECORD")
    world.put("MATCHED")
    assert plan.plan_for(DAY) == {"looked_at": 2, "planned": 2}
    assert plan.plan_for(DAY) == {"looked_at": 2, "planned": 0}
    pushed, texted = world.row(with_app), world.row(without)
    assert (pushed.channel, pushed.template, pushed.detail) == ("push", "mismatched", "NAME")
    assert (texted.channel, texted.template, texted.step) == ("sms", "no_record", 1)
    assert pushed.due_at == pytest.approx(noon(), abs=_MINUTE)


@pytest.mark.parametrize("outcome", RESULTS)
def test_only_results_that_the_person_can_mend_are_planned(world: World, outcome: Outcome) -> None:
    world.put(outcome, push=True)
    assert plan.plan_for(DAY).get("planned") == (1 if outcome in CHANNELS else 0)


def test_nobody_is_reminded_of_what_never_had_a_result(world: World) -> None:
    """Unverified, for whatever transient reason the work is still open or ended UNRESOLVED."""
    for reason in ("maintenance", "timeout", "rate_limited", "provider_down", "not_sent"):
        world.open(world.put(None, push=True), reason=f"'{reason}'")
    unresolved = world.put(None, push=True)
    world.execute(
        """
        INSERT INTO verifier.verifications (id, user_id, data_version, lane, outcome, detail,
                                            attempts, created_at)
        SELECT nextval('verifier.verification_ids'), id, version, lane, 'UNRESOLVED', 'TIMEOUT', 3,
               verifier.verifier_now() FROM verifier.users WHERE reference = :reference
        """,
        reference=unresolved.reference,
    )
    assert plan.plan_for(DAY) == {"looked_at": 0, "planned": 0}


def test_two_accounts_of_one_person_get_one_message_a_day(world: World) -> None:
    first = world.put(push=True)
    world.put(push=True, like=first, share=("id_number", "name"), platform="pay")
    assert plan.plan_for(DAY)["planned"] == 1


def test_two_accounts_with_one_number_get_one_message_a_day(world: World) -> None:
    first = world.put(push=True)
    world.put(push=True, like=first, share=("phone",), platform="pay")
    assert plan.plan_for(DAY)["planned"] == 1


def test_eight_planners_at_once_plan_one_message_each(world: World) -> None:
    people = [world.put() for _ in range(20)]
    planned: list[int] = []
    threads = [
        threading.Thread(target=lambda: planned.append(plan.plan_for(DAY)["planned"]))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(planned) == len(people) == len(world.rows())


def test_planning_goes_on_over_chunks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "CHUNK", 3)
    for _ in range(8):
        world.put()
    assert plan.plan_for(DAY) == {"looked_at": 8, "planned": 8}


def test_a_verification_that_will_soon_answer_is_waited_for(world: World) -> None:
    world.open(world.put())
    assert plan.plan_for(DAY)["planned"] == 0


@pytest.mark.parametrize(
    "columns",
    [
        {"due_at": "verifier.verifier_now() + interval '2 days'"},
        {"held": "true"},
        {"state": "'quarantined'"},
        {"deadline_at": "verifier.verifier_now() - interval '1 minute'"},
    ],
)
def test_a_verification_that_will_not_answer_today_is_not_waited_for(
    world: World, columns: dict[str, str]
) -> None:
    world.open(world.put(), **columns)
    assert plan.plan_for(DAY)["planned"] == 1


def _sent(world: World, someone: Someone) -> None:
    world.execute(
        """
        UPDATE verifier.reminders SET state = 'sent', gateway = 'sms', sending_at = planned_at,
               client_reference = id::text, ended_at = planned_at
         WHERE state = 'planned' AND user_id =
               (SELECT id FROM verifier.users WHERE reference = :reference)
        """,
        reference=someone.reference,
    )


def _days_of_messages(world: World, someone: Someone, days: int, start: int = 0) -> list[int]:
    for day in range(start, start + days):
        world.at(noon(DAY + timedelta(days=day)))
        plan.plan_for(DAY + timedelta(days=day))
        _sent(world, someone)
    return [(row.day - DAY).days for row in world.rows(someone)]


def test_steps_keep_their_distance_and_end(world: World) -> None:
    someone = world.put(push=True)
    assert _days_of_messages(world, someone, 14) == [0, 3, 6]
    rows = world.rows(someone)
    assert [(row.step, row.channel) for row in rows] == [(1, "push"), (2, "sms"), (3, "sms")]


def test_new_data_or_a_new_outcome_starts_over(world: World) -> None:
    someone = world.put()
    assert _days_of_messages(world, someone, 1) == [0]
    world.conclude(someone.reference, "NO_RECORD")
    assert _days_of_messages(world, someone, 1, start=1) == [0, 1]
    world.change_data(someone)
    assert _days_of_messages(world, someone, 1, start=2) == [0, 1]
    world.conclude(someone.reference, "NO_RECORD")
    assert _days_of_messages(world, someone, 1, start=2) == [0, 1, 2]
    assert [row.step for row in world.rows(someone)] == [1, 1, 1]


def test_a_failure_after_a_time_of_being_verified_starts_over(world: World) -> None:
    someone = world.put()
    assert _days_of_messages(world, someone, 10) == [0, 3, 6]
    world.conclude(someone.reference, "MATCHED")
    world.conclude(someone.reference, "MISMATCHED")
    assert _days_of_messages(world, someone, 1, start=200) == [0, 3, 6, 200]


def test_what_reached_nobody_does_not_use_up_a_step(world: World) -> None:
    someone = world.put()
    for day, (state, reason) in enumerate(
        (("skipped", "day_over"), ("rejected", "operator"), ("rejected", "reconciled"))
    ):
        world.at(noon(DAY + timedelta(days=day)))
        plan.plan_for(DAY + timedelta(days=day))
        _sent(world, someone)
        world.execute(
            "UPDATE verifier.reminders SET state = :state, reason = :reason WHERE state = 'sent'",
            state=state,
            reason=reason,
        )
    assert [row.step for row in world.rows(someone)] == [1, 1, 1]


def test_a_number_that_refused_us_is_not_written_to_again(world: World) -> None:
    someone = world.put()
    plan.plan_for(DAY)
    _sent(world, someone)
    world.execute("UPDATE verifier.reminders SET state = 'rejected', reason = 'person'")
    assert _days_of_messages(world, someone, 7, start=1) == [0]


def test_a_dead_app_is_not_tried_every_day(world: World) -> None:
    """Nobody was reached, but for the person's own reasons: it uses up its step."""
    someone = world.put("NUMBER_INACTIVE", push=True)
    plan.plan_for(DAY)
    _sent(world, someone)
    world.execute("UPDATE verifier.reminders SET state = 'rejected', reason = 'person'")
    assert _days_of_messages(world, someone, 4, start=1) == [0, 3]


def test_everybody_is_written_to_by_day_where_they_live(world: World) -> None:
    home = world.put()
    away = world.put(time_zone="America/New_York")
    world.at(noon() - timedelta(hours=10))  # 02:00 in China, 13:00 the day before in New York
    plan.plan_for(DAY)
    assert world.row(home).due_at == noon() - timedelta(hours=3)
    assert world.row(away).due_at == pytest.approx(noon() - timedelta(hours=10), abs=_MINUTE)


_MINUTE = timedelta(minutes=1)


def test_a_day_that_is_over_plans_nothing(world: World) -> None:
    world.put()
    world.at(noon(DAY + timedelta(days=1)))
    assert plan.plan_for(DAY)["planned"] == 0
    world.at(noon() + timedelta(hours=9))
    assert plan.plan_for(DAY)["planned"] == 0


def test_nothing_is_planned_without_a_gateway_or_when_disabled(world: World) -> None:
    world.put()
    world.configure(gateways=("jpush",))  # but nobody has the app
    assert plan.plan_for(DAY)["planned"] == 0
    world.configure(extra="[reminders]\nenabled = false\n")
    assert plan.plan_for(DAY) == {"skipped": "reminders are disabled"}


def test_the_tick_plans_once_a_day_when_it_is_time(world: World) -> None:
    world.put()
    world.at(noon() - timedelta(hours=4))
    assert plan.plan_due() == {"skipped": "not due"}
    world.at(noon())
    assert plan.plan_due() == {"looked_at": 1, "planned": 1}
    world.put()
    again = plan.plan_due()
    assert (again["skipped"], again["planned"]) == ("planned already", 1)
    assert len(world.rows()) == 1


def test_a_tick_that_was_killed_is_taken_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(BaseException):
        pass

    def die(*_: Any) -> Any:
        raise Died

    world.put()
    with monkeypatch.context() as patch:
        patch.setattr(plan, "plan_for", die)
        with pytest.raises(Died):
            plan.plan_due()
    assert plan.plan_due() == {"skipped": "being planned"}
    world.execute("UPDATE verifier.job_runs SET lease_until = clock_timestamp()")
    assert plan.plan_due()["planned"] == 1


def test_counts_and_listing_show_the_day(world: World) -> None:
    world.put("NO_RECORD")
    someone = world.put(push=True)
    plan.plan_for(DAY)
    with transaction() as connection:
        found = {(r.channel, r.state): r.number for r in reminders.counts(connection, DAY)}
        assert found == {("push", "planned"): 1, ("sms", "planned"): 1}
        assert not reminders.listing(connection, state="sent")
        assert not reminders.listing(connection, day=DAY - timedelta(days=1))
        [latest] = reminders.listing(connection, day=DAY, limit=1)
    assert latest.reference == someone.reference
