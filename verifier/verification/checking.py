"""Checks: what else is to be asked about a number before its verification may settle. Pure.

*status*, before a mismatch is told: an empty or cancelled number of some carriers is answered like
a mismatch, and nobody must be told that his name is wrong because his number is dead.
*recycled*, after a mismatch of somebody who matched before: the number may have a new owner.
*carrier*, after an answer that porting may explain (or before any call, if the policy says so): the
lane by segment is a guess, and the number may belong to another carrier's providers.

A check never settles anything by its trouble: after :data:`TRIES` failed calls, or a refusal that
would last a day, the verification goes on without it. Its provider's outage is waited for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from verifier.outcomes import AFTER_PROMPT, PERSONS_LIMITS, Check, Fact, Lane, Outcome
from verifier.verification.past import Past, last_result

#: Failed calls after which a verification goes on without the answer.
TRIES: Final = 2

#: Results that another provider may answer differently: the carrier was a guess.
ELSEWHERE: Final = (Outcome.NO_RECORD, Outcome.UNSUPPORTED_NUMBER)

#: Facts about a number that explain a mismatch. A suspended number is verified like any other.
_DEAD: Final = frozenset({Fact.CANCELLED, Fact.NOT_IN_NETWORK})


def unsupported_detail(lane: Lane) -> str:
    """What is said of a number whose lane nobody reaches."""
    return {Lane.MVNO: "MVNO", Lane.CBN: "BROADNET"}.get(lane, "SEGMENT")


@dataclass(frozen=True, slots=True)
class Possible:
    """The checks that policy allows about a verification and somebody can answer.

    ``carrier_first``: its carrier is looked up before anything else is asked. ``status_of``: the
    status too, if the answer itself names one of these as the number's carrier.
    """

    checks: frozenset[Check] = frozenset()
    carrier_first: bool = False
    status_of: frozenset[Lane] = frozenset()

    def without(self, gone: frozenset[Check]) -> Possible:
        """Without the checks that are ``gone`` for the day."""
        status_of = frozenset() if Check.STATUS in gone else self.status_of
        return replace(self, checks=self.checks - gone, status_of=status_of)


NOTHING: Final = Possible()


def owed(past: tuple[Past, ...], possible: Possible) -> Check | None:
    """The check to ask next, or None."""
    if not possible.checks and not possible.status_of:
        return None
    wanted: tuple[Check, ...] = ()
    last = last_result(past)
    checks = possible.checks
    if last is not None and last.named in possible.status_of:
        checks |= {Check.STATUS}
    if last is None:
        wanted = (Check.CARRIER,) if possible.carrier_first else ()
    elif last.outcome is Outcome.MISMATCHED:
        wanted = (Check.STATUS, Check.RECYCLED)
    elif last.outcome in ELSEWHERE and sum(p.is_verdict for p in past) == 1:
        wanted = (Check.CARRIER,)
    return next((c for c in wanted if c in checks and not is_over(past, c)), None)


def is_over(past: tuple[Past, ...], check: Check) -> bool:
    """Whether the check was answered, or is given up."""
    asked = [p for p in past if p.check is check]
    return any(_ends(p) for p in asked) or sum(p.counts for p in asked) >= TRIES


def _ends(entry: Past) -> bool:
    for_a_day = entry.outcome is Outcome.RATE_LIMITED and entry.detail in {
        *PERSONS_LIMITS,
        AFTER_PROMPT,
    }
    # Whatever result a provider may have put into a check: it says nothing about the person.
    return entry.outcome.is_answer or for_a_day


def explained(past: tuple[Past, ...]) -> tuple[Outcome, str] | None:
    """The result and detail that the last check's fact makes of a mismatch, or None."""
    last = past[-1]
    result = last_result(past)
    if result is None or result.outcome is not Outcome.MISMATCHED:
        return None
    if last.check is Check.STATUS and last.fact in _DEAD:
        return Outcome.NUMBER_INACTIVE, str(last.fact)
    if last.check is Check.RECYCLED and last.fact is Fact.CHANGED_HANDS:
        return Outcome.MISMATCHED, "RECYCLED"
    return None
