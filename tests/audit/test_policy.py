from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.audit import policy
from verifier.clock import at_local
from verifier.config import AuditConfig
from verifier.guidance import Actor, WaitingReason

ZONE = ZoneInfo("Asia/Shanghai")
AT = time(2, 0)
RULES = AuditConfig()


@pytest.mark.parametrize(
    ("night", "before"),
    [
        (date(2026, 11, 23), date(2026, 11, 9)),  # Monday → Monday two weeks earlier
        (date(2026, 11, 27), date(2026, 11, 15)),  # Friday: that day counts, weekends never do
        (date(2026, 11, 28), date(2026, 11, 15)),  # Saturday
        (date(2026, 11, 29), date(2026, 11, 15)),  # Sunday
    ],
)
def test_ten_working_days_are_two_weeks(night: date, before: date) -> None:
    limits = policy.limits(night, AT, ZONE, RULES)
    assert limits.no_record_before == at_local(before, AT, ZONE)


def test_weekdays_are_those_of_the_business_calendar() -> None:
    """At two in the morning in China it is still the day before in UTC."""
    limits = policy.limits(
        date(2026, 11, 24), AT, ZONE, AuditConfig(recheck_no_record_working_days=1)
    )
    assert limits.no_record_before == datetime(2026, 11, 22, 18, 0, tzinfo=UTC)


@given(days=st.integers(1, 60), night=st.dates(date(2024, 1, 1), date(2035, 1, 1)))
def test_at_least_so_many_working_days_have_passed(days: int, night: date) -> None:
    rules = AuditConfig(recheck_no_record_working_days=days)
    before = policy.limits(night, AT, ZONE, rules).no_record_before
    since = before.astimezone(ZONE).date()
    passed = sum(
        (since + timedelta(days=n)).weekday() < 5 for n in range(1, (night - since).days + 1)
    )
    assert passed >= days
    assert passed <= days + 1


def test_the_limits_come_from_the_night_alone() -> None:
    night = date(2026, 11, 23)
    limits = policy.limits(night, AT, ZONE, RULES)
    assert limits == policy.limits(night, AT, ZONE, RULES)
    begins = at_local(night, AT, ZONE)
    assert limits.verified_before == begins - timedelta(days=180)
    assert limits.inactive_before == begins - timedelta(days=7)


def test_everybody_knows_who_acts() -> None:
    acts = policy.who_acts_on_outcome
    assert acts("MISMATCHED", "NAME") is Actor.PERSON
    assert acts("UNSUPPORTED_NUMBER", "MVNO") is Actor.OPERATOR
    assert acts("INVALID_INPUT", "PARAM") is Actor.OPERATOR
    assert acts("MATCHED", None) is Actor.NOBODY
    assert acts(None, None) is Actor.SYSTEM
    for reason in WaitingReason:
        assert policy.who_acts_on_waiting(reason) in (Actor.SYSTEM, Actor.OPERATOR)
    assert policy.who_acts_on_waiting("a reason of a later version") is Actor.OPERATOR
