"""The pure decisions about checks: when one is owed, what its fact makes of a mismatch, and that
none of its troubles ever decides about a person. And how a lane is divided."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.outcomes import UNRESOLVED, Billed, Check, Fact, Lane, Outcome
from verifier.resilience import retry
from verifier.verification.checking import TRIES, Possible, owed
from verifier.verification.decide import Settle, Wait, after_crash, decide
from verifier.verification.past import Past, extend, from_rows
from verifier.verification.route import Ask, Choice, NoneAvailable, route

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
ZONE = ZoneInfo("Asia/Shanghai")
TODAY = NOW.astimezone(ZONE).date()
ALL = Possible(frozenset(Check))
STATUS = Possible(frozenset({Check.STATUS}))
AGAIN = Wait(NOW, "retry")


def said(outcome: Outcome, detail: str | None = None, provider: str = "a") -> Past:
    return Past(1, provider, outcome, detail, Billed.YES, TODAY)


def checked(check: Check, fact: Fact, carrier: Lane | None = None) -> Past:
    return Past(
        1, "c", Outcome.CHECKED, None, Billed.YES, TODAY, check=check, fact=fact, carrier=carrier
    )


def troubled(check: Check, outcome: Outcome, detail: str | None = None) -> Past:
    return Past(1, "c", outcome, detail, Billed.NO, TODAY, check=check)


def joined(*rows: Past) -> tuple[Past, ...]:
    past: tuple[Past, ...] = ()
    for row in rows:
        past = extend(past, row)
    return past


MISMATCH = said(Outcome.MISMATCHED, "NAME")


def after(*rows: Past, possible: Possible = ALL, others: frozenset[str] = frozenset()) -> object:
    return decide(joined(*rows), others, NOW, ZONE, possible=possible)


def test_nobody_is_told_that_his_data_is_wrong_before_the_number_was_looked_at() -> None:
    assert after(MISMATCH) == AGAIN
    assert owed(joined(MISMATCH), STATUS) is Check.STATUS
    assert after(MISMATCH, possible=Possible()) == Settle("MISMATCHED", "NAME", "a")


@pytest.mark.parametrize("fact", [Fact.CANCELLED, Fact.NOT_IN_NETWORK])
def test_a_dead_number_explains_a_mismatch(fact: Fact) -> None:
    verdict = after(MISMATCH, checked(Check.STATUS, fact))
    assert verdict == Settle("NUMBER_INACTIVE", str(fact), "c")


@pytest.mark.parametrize("fact", [Fact.ACTIVE, Fact.SUSPENDED, Fact.UNKNOWN])
def test_a_number_that_lives_or_is_suspended_leaves_the_mismatch(fact: Fact) -> None:
    verdict = after(MISMATCH, checked(Check.STATUS, fact), possible=STATUS)
    assert verdict == Settle("MISMATCHED", "NAME", "a")


def test_the_lane_was_a_guess_that_the_mismatch_itself_corrects() -> None:
    """A number ported to Unicom, dead: the answer names its carrier."""
    possible = Possible(status_of=frozenset({Lane.CUCC}))
    named = replace(MISMATCH, named=Lane.CUCC)
    assert owed(joined(named), possible) is Check.STATUS
    dead = checked(Check.STATUS, Fact.CANCELLED)
    assert after(named, possible=possible) == AGAIN
    assert after(named, dead, possible=possible) == Settle("NUMBER_INACTIVE", "CANCELLED", "c")
    assert from_rows([p.to_row() for p in joined(named)], version=1) == joined(named)
    for other in (MISMATCH, replace(MISMATCH, named=Lane.CMCC)):
        assert after(other, possible=possible) == Settle("MISMATCHED", "NAME", "a")
    spent = possible.without(frozenset({Check.STATUS}))
    assert owed(joined(named), spent) is None


def test_who_matched_before_is_told_that_the_number_changed_hands() -> None:
    alive = checked(Check.STATUS, Fact.ACTIVE)
    assert after(MISMATCH, alive) == AGAIN
    assert owed(joined(MISMATCH, alive), ALL) is Check.RECYCLED
    recycled = checked(Check.RECYCLED, Fact.CHANGED_HANDS)
    assert after(MISMATCH, alive, recycled) == Settle("MISMATCHED", "RECYCLED", "c")
    same = checked(Check.RECYCLED, Fact.SAME_HOLDER)
    assert after(MISMATCH, alive, same) == Settle("MISMATCHED", "NAME", "a")


@pytest.mark.parametrize("guess", [Outcome.NO_RECORD, Outcome.UNSUPPORTED_NUMBER])
def test_the_carrier_is_looked_up_before_a_guess_becomes_a_verdict(guess: Outcome) -> None:
    first = said(guess)
    assert after(first) == AGAIN
    assert owed(joined(first), ALL) is Check.CARRIER
    # The same carrier, or nobody knows: another provider of the lane has one try, as ever.
    for fact in (Fact.CARRIER, Fact.UNKNOWN):
        looked = checked(Check.CARRIER, fact)
        assert after(first, looked, others=frozenset({"b"})) == AGAIN
        assert after(first, looked) == Settle(str(guess), None, "a")
    second = said(Outcome.NO_RECORD, provider="b")
    assert after(first, second) == Settle("NO_RECORD", None, "b")


def test_a_policy_may_look_up_the_carrier_before_anything_else() -> None:
    first = Possible(frozenset({Check.CARRIER}), carrier_first=True)
    there = {Check.CARRIER: [Choice("c", 0, available=True)]}
    asked = route(
        Lane.CMCC, (), [Choice("a", 0, available=True)], 2, possible=first, checkers=there
    )
    assert asked == Ask("c", check=Check.CARRIER)
    known = joined(checked(Check.CARRIER, Fact.CARRIER))
    assert decide(known, frozenset({"a"}), NOW, ZONE, possible=first) == AGAIN
    asked = route(
        Lane.CMCC, known, [Choice("a", 0, available=True)], 2, possible=first, checkers=there
    )
    assert asked == Ask("a")


@pytest.mark.parametrize(
    "trouble",
    [
        [(Outcome.TIMEOUT, None), (Outcome.PROVIDER_ERROR, None)],
        [(Outcome.RATE_LIMITED, "NUMBER")],
        [(Outcome.RATE_LIMITED, "IDENTITY_DAY")],
        [(Outcome.INVALID_INPUT, "PARAM")],
    ],
)
def test_a_check_that_cannot_be_had_holds_nobody_up(
    trouble: list[tuple[Outcome, str | None]],
) -> None:
    rows = [MISMATCH, *(troubled(Check.STATUS, *one) for one in trouble)]
    assert after(*rows, possible=STATUS) == Settle("MISMATCHED", "NAME", "a")


@pytest.mark.parametrize(
    "outcome", [Outcome.MAINTENANCE, Outcome.NOT_SENT, Outcome.AUTH_CONFIG, Outcome.ARREARS]
)
def test_the_outage_of_who_checks_is_waited_for(outcome: Outcome) -> None:
    verdict = after(MISMATCH, troubled(Check.STATUS, outcome), possible=STATUS)
    assert isinstance(verdict, Wait)
    assert verdict.due_at >= NOW
    down = Choice(
        "c", 0, available=False, not_before=NOW + timedelta(hours=2), reason="maintenance"
    )
    past = joined(MISMATCH, troubled(Check.STATUS, outcome))
    found = route(
        Lane.CUCC,
        past,
        [Choice("a", 0, available=True), Choice("b", 1, available=True)],
        3,
        possible=STATUS,
        checkers={Check.STATUS: [down]},
    )
    assert found == NoneAvailable(NOW + timedelta(hours=2), "maintenance")


def test_a_provider_that_only_checks_gets_its_probe() -> None:
    back = Choice("c", 0, available=False, probe=True)
    found = route(
        Lane.CUCC, joined(MISMATCH), [Choice("a", 0, available=True)], 2,
        possible=STATUS, checkers={Check.STATUS: [back]},
    )  # fmt: skip
    assert found == Ask("c", check=Check.STATUS, probe=True)


def test_without_the_check_a_known_result_settles_and_is_not_bought_again() -> None:
    """The cap of the day is used up between the answer and the next claim."""
    choices = [Choice("a", 0, available=True), Choice("b", 1, available=True)]
    found = route(Lane.CUCC, joined(MISMATCH), choices, 2, possible=Possible())
    assert found == Settle("MISMATCHED", "NAME", "a")


def test_a_worker_that_dies_at_a_check_buys_no_verification() -> None:
    lost = Past(1, "c", Outcome.TIMEOUT, "LOST", Billed.MAYBE, TODAY, check=Check.STATUS)
    assert after_crash(joined(MISMATCH, lost), frozenset({"b"}), NOW, ZONE, STATUS) is None
    twice = joined(MISMATCH, lost, lost)
    assert after_crash(twice, frozenset({"b"}), NOW, ZONE, STATUS) == Settle(
        "MISMATCHED", "NAME", "a"
    )


def test_a_look_up_of_another_carrier_goes_on_there_and_of_the_same_settles() -> None:
    first = said(Outcome.NO_RECORD)
    there = joined(first, checked(Check.CARRIER, Fact.CARRIER, Lane.CUCC))
    assert decide(there, frozenset(), NOW, ZONE, possible=ALL, lane=Lane.CMCC) == AGAIN
    same = joined(first, checked(Check.CARRIER, Fact.CARRIER, Lane.CMCC))
    settled = Settle("NO_RECORD", None, "a")
    assert decide(same, frozenset(), NOW, ZONE, possible=ALL, lane=Lane.CMCC) == settled
    assert from_rows([p.to_row() for p in there], version=1) == there


def test_a_number_moved_to_a_lane_without_providers_settles_with_what_is_known() -> None:
    past = joined(said(Outcome.NO_RECORD), checked(Check.CARRIER, Fact.CARRIER))
    assert route(Lane.MVNO, past, [], 2) == Settle("NO_RECORD", None, "a")


_TROUBLE = st.sampled_from([o for o in Outcome if o is not Outcome.CHECKED])
_ANSWERS = st.one_of(
    st.builds(lambda fact: (Outcome.CHECKED, fact), st.sampled_from(list(Fact))),
    st.builds(lambda outcome: (outcome, None), _TROUBLE),
)


@given(
    st.sampled_from([o for o in Outcome if o.is_result]),
    st.lists(_ANSWERS, min_size=40, max_size=40),
    st.frozensets(st.sampled_from(list(Check))),
)
def test_whatever_checks_answer_they_end_and_decide_nothing_that_was_not_said(
    result: Outcome, answers: list[tuple[Outcome, Fact | None]], checks: frozenset[Check]
) -> None:
    """Follow the decisions: every check that is owed gets the next answer, whatever it is."""
    possible = Possible(checks)
    past = joined(said(result))
    asked: Counter[Check] = Counter()
    for outcome, fact in answers:
        verdict = decide(past, frozenset(), NOW, ZONE, possible=possible)
        if isinstance(verdict, Settle):
            break
        check = owed(past, possible)
        assert check is not None
        assert check in checks
        asked[check] += outcome.is_answer or retry.RULES[outcome].counts
        past = extend(past, Past(1, "c", outcome, None, Billed.NO, TODAY, check=check, fact=fact))
    else:
        free = [o for o, _ in answers if not o.is_answer and not retry.RULES[o].counts]
        assert free, "checks never end"
        return
    assert max(asked.values(), default=0) <= TRIES
    assert verdict.outcome in (str(result), "NUMBER_INACTIVE")
    if verdict.outcome == "NUMBER_INACTIVE" != str(result):
        assert past[-1].fact in (Fact.CANCELLED, Fact.NOT_IN_NETWORK)
    assert verdict.outcome != UNRESOLVED
    assert from_rows([p.to_row() for p in past], version=1) == past


SHARES = [
    Choice("a", 0, available=True, weight=70),
    Choice("b", 1, available=True, weight=20),
    Choice("c", 2, available=True, weight=10),
]


def _first(choices: list[Choice], ticket: int) -> str:
    found = route(Lane.CMCC, (), choices, 3, ticket=ticket)
    assert isinstance(found, Ask)
    return found.provider


def test_a_divided_lane_asks_each_provider_first_for_its_share() -> None:
    asked = Counter(_first(SHARES, ticket) for ticket in range(20_000))
    shares = {name: number / 20_000 for name, number in asked.items()}
    assert shares == pytest.approx({"a": 0.7, "b": 0.2, "c": 0.1}, abs=0.015)


@given(st.integers(1, 2**62))
def test_in_a_divided_lane_only_those_of_who_is_away_go_elsewhere(ticket: int) -> None:
    first = _first(SHARES, ticket)
    assert _first(SHARES, ticket) == first
    away = [Choice(c.name, 0, c.name != "a", weight=c.weight) for c in SHARES]
    assert _first(away, ticket) == first or first == "a"


def test_a_mismatch_of_a_provider_that_is_gone_still_owes_its_check() -> None:
    there = {Check.STATUS: [Choice("c", 0, available=True)]}
    gone = route(Lane.CUCC, joined(MISMATCH), [], 3, possible=STATUS, checkers=there)
    assert gone == Ask("c", check=Check.STATUS)
    alive = joined(MISMATCH, checked(Check.STATUS, Fact.ACTIVE))
    settled = route(Lane.CUCC, alive, [], 3, possible=STATUS, checkers=there)
    assert settled == Settle("MISMATCHED", "NAME", "a")
