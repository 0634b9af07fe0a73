from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.clock import business_date, within
from verifier.config import ReminderConfig
from verifier.gateways.base import Blame, Channel, Delivery, Receipt
from verifier.outcomes import UNRESOLVED, Outcome
from verifier.reminders import policy, verdict
from verifier.reminders.policy import Facts, due_at, next_step

BUSINESS = ZoneInfo("Asia/Shanghai")
DAY = date(2026, 11, 23)
RULES = ReminderConfig()
BOTH = frozenset({Channel.PUSH, Channel.SMS})
FACTS = Facts(
    outcome="MISMATCHED",
    detail=None,
    has_token=True,
    steps=0,
    last_day=None,
    answering=False,
    sms_refused=False,
)


@pytest.mark.parametrize("outcome", [o for o in Outcome if not o.is_result] + [UNRESOLVED])
def test_no_outcome_that_is_ours_ever_concerns_the_person(outcome: str) -> None:
    assert not policy.concerns_person(str(outcome), None)
    assert next_step(replace(FACTS, outcome=str(outcome)), DAY, RULES, BOTH) is None


def test_results_that_the_person_can_mend_concern_them() -> None:
    concerning = {o for o in Outcome if policy.concerns_person(o, None)}
    assert concerning == {
        Outcome.MISMATCHED,
        Outcome.NO_RECORD,
        Outcome.INVALID_INPUT,
        Outcome.NUMBER_INACTIVE,
        Outcome.CONSENT_MISSING,
    }
    assert not policy.concerns_person("INVALID_INPUT", "PARAM")
    assert policy.concerns_person("INVALID_INPUT", "NAME")


def test_push_comes_first_and_sms_at_later_steps() -> None:
    first = next_step(FACTS, DAY, RULES, BOTH)
    second = next_step(replace(FACTS, steps=1, last_day=DAY - timedelta(days=3)), DAY, RULES, BOTH)
    assert first is not None
    assert (first.number, first.channel) == (1, Channel.PUSH)
    assert second is not None
    assert (second.number, second.channel) == (2, Channel.SMS)


def test_without_a_token_or_a_push_gateway_the_first_step_is_an_sms() -> None:
    for facts, channels in (
        (replace(FACTS, has_token=False), BOTH),
        (FACTS, frozenset({Channel.SMS})),
    ):
        step = next_step(facts, DAY, RULES, channels)
        assert step is not None
        assert step.channel is Channel.SMS


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_number_out_of_service_never_gets_an_sms(steps: int) -> None:
    facts = replace(FACTS, outcome="NUMBER_INACTIVE", steps=steps)
    step = next_step(facts, DAY, RULES, BOTH)
    assert step is not None
    assert step.channel is Channel.PUSH
    assert next_step(replace(facts, has_token=False), DAY, RULES, BOTH) is None
    assert not policy.may_switch_to_sms("NUMBER_INACTIVE", BOTH)


def test_a_number_that_refused_an_sms_gets_no_other() -> None:
    refused = replace(FACTS, sms_refused=True, steps=1)
    step = next_step(refused, DAY, RULES, BOTH)
    assert step is not None
    assert step.channel is Channel.PUSH
    assert next_step(replace(refused, has_token=False), DAY, RULES, BOTH) is None


@given(steps=st.integers(0, 12), gap=st.integers(0, 100))
def test_steps_end_and_keep_their_distance(steps: int, gap: int) -> None:
    facts = replace(FACTS, steps=steps, last_day=DAY - timedelta(days=gap))
    allowed = steps < RULES.max_steps and gap >= RULES.days_between_steps
    assert (next_step(facts, DAY, RULES, BOTH) is not None) == allowed


_ZONES = sorted(available_timezones() - {"localtime"})
_INSTANTS = st.integers(0, 11 * 365 * 86_400).map(
    lambda seconds: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)


@given(
    zone=st.sampled_from(_ZONES),
    now=_INSTANTS,
    opens=st.integers(5 * 60, 14 * 60),
    minutes=st.integers(30, 9 * 60),
)
def test_nobody_is_reached_at_night_wherever_they_live(
    zone: str, now: datetime, opens: int, minutes: int
) -> None:
    rules = ReminderConfig(send_from=_clock(opens), send_until=_clock(opens + minutes))
    day, person = business_date(now, BUSINESS), ZoneInfo(zone)
    due = due_at(day, now, person, BUSINESS, rules)
    if due is not None:
        assert due >= now
        assert business_date(due, BUSINESS) == day
        assert within(due, rules.send_from, rules.send_until, person)


@given(zone=st.sampled_from(_ZONES), now=_INSTANTS)
def test_a_day_seen_from_its_beginning_has_an_hour_for_everybody(zone: str, now: datetime) -> None:
    day = business_date(now, BUSINESS)
    begins = datetime.combine(day, time(0), BUSINESS).astimezone(UTC)
    first = due_at(day, begins, ZoneInfo(zone), BUSINESS, RULES)
    assert first is not None
    # No earlier instant of that day would do.
    probe = first - timedelta(minutes=1)
    if probe >= begins:
        assert not within(probe, RULES.send_from, RULES.send_until, ZoneInfo(zone))


def test_hours_may_pass_midnight() -> None:
    rules = ReminderConfig(send_from=time(22), send_until=time(2))
    at_one = datetime(2026, 11, 23, 1, tzinfo=BUSINESS).astimezone(UTC)
    at_three = datetime(2026, 11, 23, 3, tzinfo=BUSINESS).astimezone(UTC)
    assert due_at(DAY, at_one, BUSINESS, BUSINESS, rules) == at_one
    at_ten = datetime(2026, 11, 23, 22, tzinfo=BUSINESS)
    assert due_at(DAY, at_three, BUSINESS, BUSINESS, rules) == at_ten


def test_a_day_whose_hours_are_over_has_none_left() -> None:
    late = datetime(2026, 11, 23, 20, tzinfo=BUSINESS).astimezone(UTC)
    assert due_at(DAY, late, BUSINESS, BUSINESS, RULES) is None


def _clock(minutes: int) -> time:
    return time(minutes // 60, minutes % 60)


# ---------------------------------------------------------------- verdicts


@pytest.mark.parametrize("channel", list(Channel))
@pytest.mark.parametrize("blame", list(Blame))
@pytest.mark.parametrize("tries", [0, 3, 7])
def test_what_may_have_been_sent_is_never_sent_again(
    channel: Channel, blame: Blame, tries: int
) -> None:
    for delivery in (Delivery.UNKNOWN, Delivery.ACCEPTED):
        found = verdict.judge(
            Receipt(delivery, blame=blame), channel, tries=tries, gateways=2, sms_instead=True
        )
        assert not isinstance(found, verdict.Again)


def test_a_dead_push_token_is_answered_by_an_sms_where_one_may_be_sent() -> None:
    receipt = Receipt(Delivery.REJECTED, "1011", blame=Blame.PERSON)
    found = verdict.judge(receipt, Channel.PUSH, tries=0, gateways=1, sms_instead=True)
    assert found == verdict.Again(0.0, "push_refused", Channel.SMS)
    found = verdict.judge(receipt, Channel.PUSH, tries=0, gateways=1, sms_instead=False)
    assert found == verdict.Ended("rejected", "person")


def test_what_could_not_leave_tries_every_gateway_then_waits_longer_and_ends() -> None:
    waits: list[float] = []
    for tries in range(verdict.MOST_TRIES):
        found = verdict.not_sent(tries, 2)
        if isinstance(found, verdict.Ended):
            assert found == verdict.Ended("skipped", "not_sent")
            assert tries == verdict.MOST_TRIES - 1
            break
        assert isinstance(found, verdict.Again)
        waits.append(found.seconds)
    assert waits == [0, 60, 0, 120, 0, 240, 0]
