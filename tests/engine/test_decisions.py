"""The pure decisions: what follows an answer, where the next call goes, when a breaker moves."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.clock import next_business_day
from verifier.guidance import WaitingReason
from verifier.outcomes import UNRESOLVED, Billed, Lane, Outcome
from verifier.resilience import breaker, retry
from verifier.resilience.breaker import Breaker
from verifier.verification.decide import Settle, Wait, after_crash, decide
from verifier.verification.past import Past, extend, from_rows
from verifier.verification.route import Ask, Choice, NoneAvailable, route

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
ZONE = ZoneInfo("Asia/Shanghai")
TODAY = NOW.astimezone(ZONE).date()

_PROVIDERS = st.sampled_from(["a", "b", "c"])
_OUTCOMES = st.sampled_from([o for o in Outcome if o is not Outcome.CHECKED])
_JUST_TODAY = st.just(TODAY)


def answers(day: st.SearchStrategy[date] = _JUST_TODAY) -> st.SearchStrategy[Past]:
    return st.builds(
        Past,
        version=st.just(1),
        provider=_PROVIDERS,
        outcome=_OUTCOMES,
        detail=st.sampled_from([None, "NAME", "PARAM", "NUMBER", "IDENTITY_DAY", "ACCOUNT_QPS"]),
        billed=st.sampled_from(list(Billed)),
        day=day,
    )


_DAYS = st.integers(0, 9).map(lambda back: TODAY - timedelta(days=back))
_PASTS = st.lists(answers(_DAYS), min_size=1, max_size=12).map(
    lambda rows: _joined(sorted(rows, key=lambda row: row.day))
)


def _joined(rows: list[Past]) -> tuple[Past, ...]:
    past: tuple[Past, ...] = ()
    for row in rows:
        past = extend(past, row)
    return past


@given(_PASTS, st.frozensets(_PROVIDERS))
def test_only_a_result_ever_settles_a_user(past: tuple[Past, ...], others: frozenset[str]) -> None:
    verdict = decide(past, others, NOW, ZONE)
    if isinstance(verdict, Settle) and verdict.outcome != UNRESOLVED:
        assert Outcome(verdict.outcome).is_result
        assert any(str(p.outcome) == verdict.outcome for p in past)
        assert (verdict.outcome, verdict.detail) != ("INVALID_INPUT", "PARAM")


@given(_PASTS, st.frozensets(_PROVIDERS))
def test_what_does_not_settle_is_due_now_or_later_for_a_known_reason(
    past: tuple[Past, ...], others: frozenset[str]
) -> None:
    verdict = decide(past, others, NOW, ZONE)
    if isinstance(verdict, Wait):
        assert verdict.due_at >= NOW
        assert verdict.due_at <= NOW + timedelta(days=2)
        assert WaitingReason(verdict.reason)


@given(st.lists(answers(), min_size=1, max_size=20), st.frozensets(_PROVIDERS))
def test_attempts_of_one_day_never_exceed_the_policy(
    answered: list[Past], others: frozenset[str]
) -> None:
    """Follow decisions for one day: a call is made only while decide says "today"."""
    past: tuple[Past, ...] = ()
    for answer in answered:
        past = extend(past, answer)
        verdict = decide(past, others, NOW, ZONE)
        if isinstance(verdict, Settle) or verdict.due_at.astimezone(ZONE).date() > TODAY:
            break
    spent = [p for p in past if p.counts]
    assert sum(p.billed is Billed.MAYBE for p in spent) <= 2
    for outcome, number in Counter(p.outcome for p in spent).items():
        assert number <= {Outcome.TIMEOUT: 2, Outcome.PROVIDER_ERROR: 4}[outcome]


_LOST = Past(1, "a", Outcome.TIMEOUT, "LOST", Billed.MAYBE, TODAY)


@given(st.lists(st.one_of(answers(), st.none()), min_size=1, max_size=20))
def test_calls_whose_worker_died_are_attempts_of_the_day_like_any_other(
    heard: list[Past | None],
) -> None:
    """As above, but a worker may die during any call (None): then nobody decided about it."""
    past: tuple[Past, ...] = ()
    for answer in heard:
        if past and past[-1] is _LOST:
            over = after_crash(past, frozenset(), NOW, ZONE)
            if over is not None:
                assert isinstance(over, Settle) or over.due_at > NOW
                break
        past = extend(past, answer or _LOST)
        if answer is None:
            continue
        verdict = decide(past, frozenset(), NOW, ZONE)
        if isinstance(verdict, Settle) or verdict.due_at.astimezone(ZONE).date() > TODAY:
            break
    spent = [p for p in past if p.counts]
    assert len(spent) <= 4
    assert sum(p.billed is Billed.MAYBE for p in spent) <= 2


_SPENDING = st.sampled_from([Outcome.TIMEOUT, Outcome.PROVIDER_ERROR])


@given(st.lists(_SPENDING, min_size=40, max_size=40), st.frozensets(_PROVIDERS))
def test_work_that_only_fails_ends_unresolved_on_the_last_day_of_the_policy(
    failures: list[Outcome], others: frozenset[str]
) -> None:
    """Follow decisions from day to day until they end."""
    past: tuple[Past, ...] = ()
    now = NOW
    for calls, outcome in enumerate(failures, start=1):
        day = now.astimezone(ZONE).date()
        past = extend(past, Past(1, "a", outcome, None, Billed.MAYBE, day))
        verdict = decide(past, others, now, ZONE)
        if isinstance(verdict, Settle):
            assert verdict.outcome == UNRESOLVED
            assert len({p.day for p in past}) == retry.MOST_DAYS
            assert calls <= retry.MOST_DAYS * 4
            return
        assert verdict.due_at > now
        now = verdict.due_at
    raise AssertionError("it never ends")


@given(_PASTS, st.frozensets(_PROVIDERS, max_size=3), st.frozensets(_PROVIDERS), st.booleans())
def test_routing_asks_only_who_may_be_asked_and_otherwise_says_why_not(
    past: tuple[Past, ...], there: frozenset[str], up: frozenset[str], raw: bool
) -> None:
    choices = [_choice(name, available=name in up) for name in sorted(there)]
    found = route(Lane.CMCC, past, choices, 3, raw)
    if isinstance(found, Ask):
        assert found.provider in there & up
        answered = {p.provider for p in past if p.outcome.is_result and p.detail != "PARAM"}
        assert found.provider not in answered or found.raw_name
        assert not found.raw_name or (raw and not any(p.raw for p in past))
    elif isinstance(found, NoneAvailable):
        assert WaitingReason(found.reason)
    elif there:
        assert any(str(p.outcome) == found.outcome for p in past)


def test_a_name_as_typed_waits_for_the_provider_that_knew_the_other_spelling() -> None:
    past = _past(("a", Outcome.MISMATCHED), ("a", Outcome.TIMEOUT))
    assert route(Lane.CMCC, past, [_choice("a"), _choice("b")], 2, True) == Ask("a", raw_name=True)
    down = [_choice("a", available=False), _choice("b")]
    waits = NoneAvailable(NOW + timedelta(hours=1), "maintenance")
    assert route(Lane.CMCC, past, down, 2, True) == waits
    assert route(Lane.CMCC, past, down[1:], 2, True) == Settle("MISMATCHED", None, "a")


@given(st.lists(answers(), min_size=1, max_size=30))
def test_equal_answers_that_spend_nothing_stay_one_entry(rows: list[Past]) -> None:
    past = _joined(rows)
    free = [(p.provider, p.outcome) for p in past if not p.counts and not p.outcome.is_result]
    assert len(free) == len(set(free))
    assert sum(p.times for p in past) == len(rows)
    assert from_rows([p.to_row() for p in past], version=1) == past
    assert from_rows([p.to_row() for p in past], version=2) == ()


def _past(*outcomes: tuple[str, Outcome], detail: str | None = None) -> tuple[Past, ...]:
    return _joined([Past(1, p, o, detail, Billed.NO, TODAY) for p, o in outcomes])


def test_no_record_goes_elsewhere_once_and_then_settles() -> None:
    first = _past(("a", Outcome.NO_RECORD))
    assert decide(first, frozenset({"b"}), NOW, ZONE) == Wait(NOW, "retry")
    assert decide(first, frozenset(), NOW, ZONE) == Settle("NO_RECORD", None, "a")
    second = _past(("a", Outcome.NO_RECORD), ("b", Outcome.UNSUPPORTED_NUMBER))
    assert decide(second, frozenset({"c"}), NOW, ZONE) == Settle("NO_RECORD", None, "a")
    third = _past(("a", Outcome.UNSUPPORTED_NUMBER), ("b", Outcome.MATCHED))
    assert decide(third, frozenset({"c"}), NOW, ZONE) == Settle("MATCHED", None, "b")


def test_refused_parameters_are_our_fault_and_no_verdict() -> None:
    verdict = decide(_past(("a", Outcome.INVALID_INPUT), detail="PARAM"), frozenset(), NOW, ZONE)
    assert isinstance(verdict, Wait)


def _choice(name: str, preference: int = 1, available: bool = True) -> Choice:
    until = None if available else NOW + timedelta(hours=1)
    return Choice(name, preference, available, until, None if available else "maintenance")


def test_routing_prefers_what_is_available_and_has_not_answered() -> None:
    both = [_choice("a"), _choice("b", 2)]
    assert route(Lane.CMCC, (), both, 2) == Ask("a")
    assert route(Lane.CMCC, _past(("a", Outcome.NO_RECORD)), both, 2) == Ask("b")
    assert route(Lane.CMCC, _past(("a", Outcome.TIMEOUT)), both, 2) == Ask("b")
    assert route(Lane.CMCC, _past(("a", Outcome.PROVIDER_ERROR)), both, 2) == Ask("a")
    twice = _past(("a", Outcome.PROVIDER_ERROR), ("a", Outcome.PROVIDER_ERROR))
    assert route(Lane.CMCC, twice, both, 2) == Ask("b")
    assert route(Lane.CMCC, _past(("a", Outcome.TIMEOUT)), both[:1], 2) == Ask("a")
    refused = _past(("a", Outcome.INVALID_INPUT), detail="PARAM")
    assert route(Lane.CMCC, refused, both, 2) == Ask("b")  # our parameters, not the person
    assert route(Lane.CMCC, (), [_choice("a", available=False), _choice("b", 2)], 2) == Ask("b")


def test_without_an_available_provider_the_row_waits_or_settles_with_what_is_known() -> None:
    down = [_choice("a", available=False)]
    assert route(Lane.CMCC, (), down, 1) == NoneAvailable(NOW + timedelta(hours=1), "maintenance")
    assert route(Lane.MVNO, (), [], 1) == Settle("UNSUPPORTED_NUMBER", "MVNO", None)
    assert route(Lane.CBN, (), [], 1) == Settle("UNSUPPORTED_NUMBER", "BROADNET", None)
    assert route(Lane.CMCC, (), [], 0) == NoneAvailable(None, "no_provider")
    known = _past(("b", Outcome.MISMATCHED))
    assert route(Lane.CMCC, known, down, 2) == Settle("MISMATCHED", None, "b")


@pytest.mark.parametrize("guess", [Outcome.NO_RECORD, Outcome.UNSUPPORTED_NUMBER])
def test_an_outage_does_not_turn_the_answer_of_one_carrier_into_a_verdict(guess: Outcome) -> None:
    first = _past(("b", guess))
    down = [_choice("a", available=False), _choice("b")]
    waits = NoneAvailable(NOW + timedelta(hours=1), "maintenance")
    assert route(Lane.CMCC, first, down, 2) == waits
    assert route(Lane.CMCC, first, down[1:], 2) == Settle(str(guess), None, "b")
    # The calls of a day are used up by an outage: the question goes on tomorrow.
    lost = [Past(1, "a", Outcome.TIMEOUT, "LOST", Billed.MAYBE, TODAY)] * 2
    for past in (_joined([*first, *lost]), _joined([*lost, *first, *lost])):
        assert decide(past, frozenset({"a"}), NOW, ZONE) == Wait(
            next_business_day(NOW, ZONE), "next_day"
        )
        assert decide(past, frozenset(), NOW, ZONE) == Settle(str(guess), None, "b")


@given(st.dictionaries(_OUTCOMES, st.integers(1, 20), min_size=1), st.integers(0, 20))
def test_a_breaker_always_says_when_or_why_it_does_not_let_through(
    outcomes: dict[Outcome, int], failures: int
) -> None:
    after = breaker.step(Breaker(failures=failures), outcomes, NOW)
    assert after.state in ("closed", "open", "suspended")
    if after.state == "open":
        assert after.not_before is not None
        assert NOW < after.not_before <= NOW + timedelta(hours=1, seconds=15)
    operator = {Outcome.AUTH_CONFIG, Outcome.ARREARS} & outcomes.keys()
    assert (after.state == "suspended") == bool(operator)


def test_maintenance_opens_longer_each_time_and_a_result_closes() -> None:
    state, waits, now = Breaker(), [], NOW
    for _ in range(9):
        state = breaker.step(state, {Outcome.MAINTENANCE: 1}, now)
        assert state.state == "open"
        assert state.not_before is not None
        waits.append((state.not_before - now).total_seconds())
        # Calls that were under way when it opened come back late: that is no other outage.
        for late in (Outcome.MAINTENANCE, Outcome.TIMEOUT, Outcome.NOT_SENT):
            assert breaker.step(state, {late: 20}, now) == state
        now = state.not_before
    assert waits[0] < 60
    assert waits[-1] >= 3000
    assert breaker.step(state, {Outcome.MATCHED: 1}, now) == Breaker()


def test_a_good_answer_does_not_end_the_pause_that_the_vendor_asked_for() -> None:
    slowed = breaker.step(Breaker(), {Outcome.RATE_LIMITED: 1}, NOW, 600)
    soon = NOW + timedelta(seconds=1)
    assert breaker.step(slowed, {Outcome.MATCHED: 20}, soon) == slowed
    assert breaker.step(slowed, {Outcome.RATE_LIMITED: 1}, soon).not_before == slowed.not_before
    assert breaker.step(slowed, {Outcome.MATCHED: 1}, NOW + timedelta(seconds=601)) == Breaker()
    away = breaker.step(Breaker(), {Outcome.MAINTENANCE: 3}, NOW, 600)
    assert breaker.step(away, {Outcome.MATCHED: 20}, soon) == away


@pytest.mark.parametrize(
    ("detail", "until", "reason"),
    [
        ("NUMBER", NOW + timedelta(hours=24), "rate_limited"),
        ("IDENTITY_DAY", next_business_day(NOW, ZONE), "daily_cap"),
    ],
)
def test_one_vendors_limit_about_a_person_is_no_other_vendors(
    detail: str, until: datetime, reason: str
) -> None:
    def limited(provider: str) -> Past:
        return Past(1, provider, Outcome.RATE_LIMITED, detail, Billed.NO, TODAY)

    def asked(past: tuple[Past, ...], *choices: Choice) -> object:
        return route(Lane.CMCC, past, choices, 2, today=TODAY)

    past = _joined([limited("a")])
    assert decide(past, frozenset({"a", "b"}), NOW, ZONE) == Wait(NOW, "retry")
    a, b = Choice("a", 0, available=True), Choice("b", 1, available=True)
    assert asked(past, a, b) == Ask("b")
    # Also while the other is away: whoever was asked too often would say so again at once.
    back = NOW + timedelta(minutes=5)
    away = Choice("b", 1, available=False, not_before=back, reason="maintenance")
    assert asked(past, a, away) == NoneAvailable(back, "maintenance")
    past = _joined([limited("a"), limited("b")])
    assert decide(past, frozenset({"a", "b"}), NOW, ZONE) == Wait(until, reason)
    assert asked(past, a, b) == Ask("a")
    tomorrow = TODAY + timedelta(days=1)
    assert route(Lane.CMCC, _joined([limited("a")]), [a, b], 2, today=tomorrow) == Ask("a")


def test_a_limit_met_after_a_message_to_the_person_waits_for_a_day() -> None:
    past = _joined([Past(1, "a", Outcome.RATE_LIMITED, "AFTER_PROMPT", Billed.NO, TODAY)])
    found = decide(past, frozenset({"a", "b"}), NOW, ZONE)
    assert found == Wait(NOW + timedelta(hours=24), "rate_limited")


def test_single_failures_among_results_do_not_open() -> None:
    assert breaker.step(
        Breaker(failures=7), {Outcome.TIMEOUT: 3, Outcome.MATCHED: 1}, NOW
    ).available(NOW)
    assert breaker.step(Breaker(failures=7), {Outcome.TIMEOUT: 1}, NOW).state == "open"
    assert (
        breaker.step(Breaker(), {Outcome.MAINTENANCE: 1, Outcome.MATCHED: 5}, NOW).state == "closed"
    )


def test_the_policy_table_covers_every_outcome_that_is_not_a_result() -> None:
    assert set(retry.RULES) == {o for o in Outcome if not o.is_answer}
    for rule in retry.RULES.values():
        for attempt in (1, 5, 50):
            assert 0 <= retry.seconds_until_next(rule.wait, attempt) <= 3600
