"""Decide: from everything a verification has been through, what happens next. Pure.

Only results settle a user. One answer NO_RECORD or UNSUPPORTED_NUMBER earns one try on another
provider, because the lane was a guess (number portability); while that one is away the row waits
for it. Everything else follows the table in :mod:`verifier.resilience.retry`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from verifier.clock import business_date, next_business_day
from verifier.outcomes import UNRESOLVED, Billed, Outcome
from verifier.resilience import retry
from verifier.verification.past import Past


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

#: Results that another provider may answer differently.
_ELSEWHERE: Final = (Outcome.NO_RECORD, Outcome.UNSUPPORTED_NUMBER)


def decide(
    past: tuple[Past, ...],
    others: frozenset[str],
    now: datetime,
    zone: ZoneInfo,
    has_raw_name: bool = False,
) -> Verdict:
    """What follows ``past`` (oldest first, the new answer last, one data version).

    ``others``: the lane's providers, also those that are away now, besides those that gave a result
    already: an outage must not turn one carrier's "no record" into a verdict.
    ``has_raw_name``: the name was typed in another spelling than the canonical one.
    """
    last = past[-1]
    if last.outcome.is_result and not _is_our_bug(last):
        if wants_raw_name(past, has_raw_name):
            return Wait(now, "retry")
        return _after_result(past, others, now)
    if _is_our_bug(last):
        # The vendor refuses our parameters, not the person's data: an error, never a verdict.
        return _after_error(past, Outcome.PROVIDER_ERROR, others, now, zone)
    return _after_error(past, last.outcome, others, now, zone)


def wants_raw_name(past: tuple[Past, ...], has_raw_name: bool) -> bool:
    """Whether the next call sends the name as typed: until it is answered, after a mismatch of the
    canonical one.

    Unicode calls U+F929 and U+6717 the same ideograph; a carrier's register may not.
    """
    last = last_result(past) if has_raw_name else None
    if last is None or last.outcome is not Outcome.MISMATCHED:
        return False
    return not any(p.raw and p.outcome.is_result for p in past)


def last_result(past: tuple[Past, ...]) -> Past | None:
    """The latest answer about the person, or None."""
    return next((p for p in reversed(past) if p.outcome.is_result and not _is_our_bug(p)), None)


def owes_second_opinion(past: tuple[Past, ...]) -> bool:
    """Whether the only answer so far is one that another provider may contradict."""
    results = [p for p in past if p.outcome.is_result and not _is_our_bug(p)]
    return len(results) == 1 and results[0].outcome in _ELSEWHERE


def after_crash(
    past: tuple[Past, ...], others: frozenset[str], now: datetime, zone: ZoneInfo
) -> Verdict | None:
    """What must follow when the last call's worker died, or None if another call may be made now.

    Nobody decided about that call: without this, a crash would buy one more on the same day.
    """
    if not past or past[-1].outcome.is_result:
        return None
    verdict = _after_error(past, past[-1].outcome, others, now, zone)
    over = isinstance(verdict, Settle) or verdict.reason == "next_day"
    return verdict if over else None


def _is_our_bug(answer: Past) -> bool:
    return answer.outcome is Outcome.INVALID_INPUT and answer.detail == "PARAM"


def _after_result(past: tuple[Past, ...], others: frozenset[str], now: datetime) -> Verdict:
    last = past[-1]
    if owes_second_opinion(past) and others - {last.provider}:
        return Wait(now, "retry")
    return settle_known(past) or Settle(str(last.outcome), last.detail, last.provider)


def settle_known(past: tuple[Past, ...]) -> Settle | None:
    """The best result known so far, or None. NO_RECORD says more than "not supported here"."""
    results = [p for p in past if p.outcome.is_result and not _is_our_bug(p)]
    if not results:
        return None
    best = min(
        reversed(results),
        key=lambda p: _ELSEWHERE.index(p.outcome) + 1 if p.outcome in _ELSEWHERE else 0,
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
    if outcome is Outcome.RATE_LIMITED and last.detail == "NUMBER":
        return Wait(now + timedelta(hours=retry.NUMBER_LIMIT_HOURS), "rate_limited")
    if outcome is Outcome.RATE_LIMITED and last.detail == "IDENTITY_DAY":
        return Wait(next_business_day(now, zone), "daily_cap")
    if not rule.counts:
        return Wait(_later(now, retry.seconds_until_next(rule.wait, last.times)), rule.reason)
    today = business_date(now, zone)
    spent = [p for p in past if p.day == today and (p.counts or _is_our_bug(p))]
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
    if len({p.day for p in past if p.counts or _is_our_bug(p)}) >= retry.MOST_DAYS:
        return known or Settle(UNRESOLVED, str(past[-1].outcome), past[-1].provider)
    return Wait(next_business_day(now, zone), "next_day")


def _later(now: datetime, seconds: float) -> datetime:
    return now + timedelta(seconds=seconds)
