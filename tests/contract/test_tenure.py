"""How long a number is in the network, compared with the day from which one person has it."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.carriers.tenure import LAG_DAYS, Tenure, holder_since, months_begun, months_passed
from verifier.outcomes import Fact

TODAYS = st.dates(date(2012, 1, 1), date(2040, 12, 31))
DAYS = st.integers(0, 365 * 15)
LIMITS = st.lists(st.integers(1, 200), min_size=1, max_size=6, unique=True).map(sorted)


def _by_calendar(since: date, today: date) -> int:
    months = (today.year - since.year) * 12 + today.month - since.month
    return months - (today.day < since.day)


def _by_month_names(since: date, today: date) -> int:
    return (today.year - since.year) * 12 + today.month - since.month


def _by_thirty_days(since: date, today: date) -> int:
    return (today - since).days // 30


def _by_thirty_one_days(since: date, today: date) -> int:
    return (today - since).days // 31


#: The ways in which a vendor may count; which one is not documented.
COUNTS = [_by_calendar, _by_month_names, _by_thirty_days, _by_thirty_one_days]


def _range_of(months: int, limits: list[int]) -> Tenure:
    """The vendor's class, of these limits, that a number of so many months is in."""
    at_least = max((limit for limit in [0, *limits] if limit <= months), default=0)
    below = next((limit for limit in limits if limit > at_least), None)
    return Tenure(at_least, below)


@given(TODAYS, DAYS, DAYS, LIMITS, st.integers(0, LAG_DAYS), st.sampled_from(COUNTS))
def test_a_range_that_holds_the_true_time_never_says_that_the_same_holder_changed(
    today: date, ago: int, earlier: int, limits: list[int], lag: int, count: object
) -> None:
    since = today - timedelta(days=ago)
    registered, copy_of = since - timedelta(days=earlier), today - timedelta(days=lag)
    months = max(0, count(registered, max(registered, copy_of)))  # type: ignore[operator]
    tenure = _range_of(months, limits)
    assert holder_since(tenure, since, today) is not Fact.CHANGED_HANDS


@given(TODAYS, st.integers(1, 365 * 15), st.integers(90, 365 * 15), LIMITS, st.sampled_from(COUNTS))
def test_a_number_given_out_again_after_its_rest_never_has_the_same_holder(
    today: date, ago: int, rest: int, limits: list[int], count: object
) -> None:
    since = today - timedelta(days=ago)
    registered = min(today, since + timedelta(days=rest))
    if registered == today:  # not yet given out: nothing to judge
        return
    tenure = _range_of(max(0, count(registered, today)), limits)  # type: ignore[operator]
    assert holder_since(tenure, since, today) is not Fact.SAME_HOLDER


@given(TODAYS, DAYS)
def test_the_two_counts_lean_apart_and_never_contradict(today: date, ago: int) -> None:
    since = today - timedelta(days=ago)
    assert 0 <= months_passed(since, today) <= months_begun(since, today)
    for count in COUNTS[::3]:
        assert months_passed(since, today) <= max(0, count(since, today))


@given(TODAYS, DAYS, LIMITS)
def test_at_most_one_class_of_a_vendors_is_undecided_for_long(
    today: date, ago: int, limits: list[int]
) -> None:
    """Below the day's own class all are shorter, above it all longer: order is kept."""
    since = today - timedelta(days=ago)
    edges = [0, *limits]
    classes = [
        Tenure(edge, limits[number] if number < len(limits) else None)
        for number, edge in enumerate(edges)
    ]
    facts = [holder_since(tenure, since, today) for tenure in classes]
    order = [Fact.CHANGED_HANDS, Fact.UNKNOWN, Fact.SAME_HOLDER]
    assert facts == sorted(facts, key=order.index)


@pytest.mark.parametrize(
    ("text", "since", "fact"),
    [
        ("[24,+)", "2020-01-01", Fact.UNKNOWN),
        ("[24,+)", "2024-05-10", Fact.SAME_HOLDER),  # to the day
        ("[24,+)", "2024-05-09", Fact.UNKNOWN),
        ("[24,+)", "2026-05-10", Fact.SAME_HOLDER),
        ("[0,3)", "2020-01-01", Fact.CHANGED_HANDS),
        ("[0,3)", "2026-01-30", Fact.UNKNOWN),  # 100 days are three months, but of an old copy
        ("[0,3)", "2026-01-10", Fact.CHANGED_HANDS),
        ("[0,3)", "2026-03-01", Fact.UNKNOWN),
        ("[12,24)", "2025-04-01", Fact.UNKNOWN),
        ("[12,24)", "2025-06-01", Fact.SAME_HOLDER),
        ("[12,24)", "2023-01-01", Fact.CHANGED_HANDS),
        ("[0,+)", "2020-01-01", Fact.UNKNOWN),
        ("[0,3)", "2026-05-11", Fact.SAME_HOLDER),  # a day that is yet to come is trivially kept
    ],
)
def test_ranges_are_compared_with_the_day(text: str, since: str, fact: Fact) -> None:
    tenure = Tenure.read(text)
    assert tenure is not None
    assert holder_since(tenure, date.fromisoformat(since), date(2026, 5, 10)) is fact


@pytest.mark.parametrize(
    ("since", "today", "begun"),
    [
        ("2026-01-31", "2026-02-28", 1),
        ("2026-01-31", "2026-03-01", 2),
        ("2024-02-29", "2025-02-28", 12),
        ("2024-02-29", "2025-03-01", 13),
        ("2026-05-10", "2026-05-10", 0),
        ("2026-05-10", "2026-05-11", 1),
        ("2026-05-12", "2026-05-11", 0),
    ],
)
def test_a_month_begun_counts_as_one(since: str, today: str, begun: int) -> None:
    assert months_begun(date.fromisoformat(since), date.fromisoformat(today)) == begun


@pytest.mark.parametrize(
    "text",
    ["", "[0,3]", "(0,3)", "[3,3)", "[6,3)", "[-1,3)", "[0,3) ago", "[0,99999)", "[٣,٦)", "0-3",
     "[+,3)", None, 3, [0, 3], {}, True, "[0,3)" * 9999, "[1.5,3)"],
)  # fmt: skip
def test_what_is_no_range_is_not_read(text: object) -> None:
    assert Tenure.read(text) is None


def test_spaces_within_a_range_do_not_matter() -> None:
    assert Tenure.read("[3, 6)") == Tenure(3, 6)
    assert Tenure.read("[24,+)") == Tenure(24, None)
