"""Decide: from everything a verification has been through, what happens next. Pure.

Only results settle a user. One answer NO_RECORD or UNSUPPORTED_NUMBER earns one try on another
provider, because the lane was a guess (number portability); while that one is away the row waits
for it. What else is asked about a number before it settles is :mod:`.checking`'s. Everything else
follows the table in :mod:`verifier.resilience.retry`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from verifier.clock import business_date, next_business_day
from verifier.outcomes import (
    AFTER_PROMPT,
    IDENTITY_DAY_LIMIT,
    NUMBER_LIMIT,
    PERSONS_LIMITS,
    UNRESOLVED,
    Billed,
    Lane,
    Outcome,
)
from verifier.resilience import retry
from verifier.verification.checking import (
    ELSEWHERE,
    NOTHING,
    Possible,
    explained,
    is_over,
    owed,
    unsupported_detail,
)
from verifier.verification.past import Past, last_result, limited_on


@dataclass(frozen=True, slots=True)
class Settle:
    """The verification ends with ``outcome`` (a result, or UNRESOLVED)."""

    outcome: str
    detail: str | None
    provider: str | None


@dataclass(frozen=True, slots=True)
class Wait:
    """The verification is due again at ``due_at``; ``reason`` says why it waits."""

    due_at: datetime
    reason: str


Verdict = Settle | Wait


def decide(
    past: tuple[Past, ...],
    others: frozenset[str],
    now: datetime,
    zone: ZoneInfo,
    has_raw_name: bool = False,
    possible: Possible = NOTHING,
    lane: Lane | None = None,
    reached: frozenset[Lane] = frozenset(Lane),
) -> Verdict:
    """What follows ``past`` (oldest first, the new answer last, one data version).

    ``others``: the lane's providers, also those that are away now, besides those that gave a result
    already: an outage must not turn one carrier's "no record" into a verdict.
    ``has_raw_name``: the name was typed in another spelling than the canonical one.
    ``possible``: the checks that can be asked about it. ``lane``: whose providers were asked;
    ``reached``: the lanes that anybody reaches.
    """
    last = past[-1]
    if last.carrier is not None and last.carrier is not lane:
        if last.carrier in reached:
            return Wait(now, "retry")  # its own carrier's providers have not been asked
        detail = unsupported_detail(last.carrier)
        return Settle(str(Outcome.UNSUPPORTED_NUMBER), detail, last.provider)
    if last.check is not None:
        return _after_check(past, others, now, has_raw_name, possible)
    if last.is_verdict:
        return _goes_on(past, others, now, has_raw_name, possible)
    if not last.is_our_bug:
        return _after_error(past, last.outcome, others, now, zone)
    verdict = _after_error(past, Outcome.PROVIDER_ERROR, others, now, zone)
    refusing = {p.provider for p in past if p.is_our_bug}
    if isinstance(verdict, Wait) and verdict.reason == "retry" and others - refusing:
        return Wait(now, "retry")  # who refuses our parameters is not waited for: others may not
    return verdict


def _goes_on(
    past: tuple[Past, ...],
    others: frozenset[str],
    now: datetime,
    has_raw_name: bool,
    possible: Possible,
) -> Verdict:
    """Ask on at once if anything is left to ask; otherwise settle with what is known."""
    known = settle_known(past)
    if (
        known is None
        or wants_raw_name(past, has_raw_name)
        or owed(past, possible) is not None
        or (owes_second_opinion(past) and others - {known.provider})
    ):
        return Wait(now, "retry")
    return known


def _after_check(
    past: tuple[Past, ...],
    others: frozenset[str],
    now: datetime,
    has_raw_name: bool,
    possible: Possible,
) -> Verdict:
    last = past[-1]
    found = explained(past)
    if found is not None:
        return Settle(str(found[0]), found[1], last.provider)
    if last.check is not None and not is_over(past, last.check):
        rule = retry.RULES[last.outcome]
        tries = sum(p.times for p in past if p.check is last.check)
        return Wait(_later(now, retry.seconds_until_next(rule.wait, tries)), rule.reason)
    return _goes_on(past, others, now, has_raw_name, possible)


def wants_raw_name(past: tuple[Past, ...], has_raw_name: bool) -> bool:
    """Whether the next call sends the name as typed: until it is answered, after a mismatch of the
    canonical one.

    Unicode calls U+F929 and U+6717 the same ideograph; a carrier's register may not.
    """
    last = last_result(past) if has_raw_name else None
    if last is None or last.outcome is not Outcome.MISMATCHED:
        return False
    return not any(p.raw and p.is_verdict for p in past)


def owes_second_opinion(past: tuple[Past, ...]) -> bool:
    """Whether the only answer so far is one that another provider may contradict."""
    results = [p for p in past if p.is_verdict]
    return len(results) == 1 and results[0].outcome in ELSEWHERE


def after_crash(
    past: tuple[Past, ...],
    others: frozenset[str],
    now: datetime,
    zone: ZoneInfo,
    possible: Possible = NOTHING,
) -> Verdict | None:
    """What must follow when the last call's worker died, or None if another call may be made now.

    Nobody decided about that call: without this, a crash would buy one more on the same day.
    """
    if not past or past[-1].outcome.is_answer:
        return None
    if past[-1].check is not None:
        after = _after_check(past, others, now, False, possible)
        return after if isinstance(after, Settle) else None
    verdict = _after_error(past, past[-1].outcome, others, now, zone)
    over = isinstance(verdict, Settle) or verdict.reason == "next_day"
    return verdict if over else None


def settle_known(past: tuple[Past, ...]) -> Settle | None:
    """The best result known so far, or None. NO_RECORD says more than "not supported here"."""
    results = [p for p in past if p.is_verdict]
    if not results:
        return None
    best = min(
        reversed(results),
        key=lambda p: ELSEWHERE.index(p.outcome) + 1 if p.outcome in ELSEWHERE else 0,
    )
    return Settle(str(best.outcome), best.detail, best.provider)


def _after_error(
    past: tuple[Past, ...],
    outcome: Outcome,
    others: frozenset[str],
    now: datetime,
    zone: ZoneInfo,
) -> Verdict:
    last = past[-1]
    rule = retry.RULES[outcome]
    if outcome is Outcome.RATE_LIMITED and last.detail in PERSONS_LIMITS:
        if others - limited_on(past, business_date(now, zone)):
            return Wait(now, "retry")  # the limit is one vendor's
        if last.detail == IDENTITY_DAY_LIMIT:
            return Wait(next_business_day(now, zone), "daily_cap")
    if outcome is Outcome.RATE_LIMITED and last.detail in (NUMBER_LIMIT, AFTER_PROMPT):
        return Wait(now + timedelta(hours=retry.NUMBER_LIMIT_HOURS), "rate_limited")
    if not rule.counts:
        return Wait(_later(now, retry.seconds_until_next(rule.wait, last.times)), rule.reason)
    today = business_date(now, zone)
    spent = [p for p in past if p.day == today and _spends(p)]
    maybe = sum(p.billed is Billed.MAYBE for p in spent)
    if retry.exhausted(rule.stop, len(spent)) or retry.exhausted(retry.MAYBE_BILLED_STOP, maybe):
        return _day_is_over(past, others, now, zone)
    return Wait(_later(now, retry.seconds_until_next(rule.wait, len(spent))), rule.reason)


def _day_is_over(
    past: tuple[Past, ...], others: frozenset[str], now: datetime, zone: ZoneInfo
) -> Verdict:
    known = settle_known(past)
    if known is not None and not (owes_second_opinion(past) and others - {known.provider}):
        return known
    if len({p.day for p in past if _spends(p)}) >= retry.MOST_DAYS:
        return known or Settle(UNRESOLVED, str(past[-1].outcome), past[-1].provider)
    return Wait(next_business_day(now, zone), "next_day")


def _spends(entry: Past) -> bool:
    """Whether it is one of a day's tries to have the person verified."""
    return entry.check is None and (entry.counts or entry.is_our_bug)


def _later(now: datetime, seconds: float) -> datetime:
    return now + timedelta(seconds=seconds)
