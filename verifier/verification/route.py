"""Route: which provider is asked next about one verification. Pure.

A provider that gave a result for this data is not asked again. Among the rest the order is: not
the one that just failed (where the policy says so), then preference, then name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from verifier.outcomes import Lane, Outcome
from verifier.resilience.retry import RULES, Where
from verifier.verification.decide import (
    Settle,
    last_result,
    owes_second_opinion,
    settle_known,
    wants_raw_name,
)
from verifier.verification.past import Past


@dataclass(frozen=True, slots=True)
class Choice:
    """A provider of the lane as it stands now. ``not_before`` is None when only an operator can
    bring it back; ``reason`` says why it is not available."""

    name: str
    preference: int
    available: bool
    not_before: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Call this provider; with the name as typed if ``raw_name``."""

    provider: str
    raw_name: bool = False


@dataclass(frozen=True, slots=True)
class NoneAvailable:
    """Every provider that could be asked waits; the earliest is back at ``until`` (if known)."""

    until: datetime | None
    reason: str


Route = Ask | NoneAvailable | Settle

#: Lanes that need a provider of their own → the detail that says which.
_UNSUPPORTED_DETAIL: Final = {Lane.MVNO: "MVNO", Lane.CBN: "BROADNET"}


def route(
    lane: Lane,
    past: tuple[Past, ...],
    choices: Sequence[Choice],
    configured: int,
    has_raw_name: bool = False,
) -> Route:
    """Where to go. ``choices``: the lane's providers; ``configured``: how many there are in all.

    A number that no provider supports settles as such, without a call. Without any provider at all
    the question is not about the number: it waits.
    """
    if not choices:
        if not configured:
            return NoneAvailable(None, "no_provider")
        detail = _UNSUPPORTED_DETAIL.get(lane, "SEGMENT")
        return Settle(str(Outcome.UNSUPPORTED_NUMBER), detail, None)
    mismatched = last_result(past)
    if mismatched is not None and wants_raw_name(past, has_raw_name):
        same = next((c for c in choices if c.name == mismatched.provider), None)
        if same is not None and not same.available:
            return NoneAvailable(same.not_before, same.reason or "provider_down")
        if same is not None:
            return Ask(same.name, raw_name=True)
        return settle_known(past) or NoneAvailable(None, "provider_down")
    answered = {p.provider for p in past if p.outcome.is_result and p.detail != "PARAM"}
    open_choices = [c for c in choices if c.name not in answered]
    ready = [c for c in open_choices if c.available]
    if not ready:
        known = settle_known(past)
        if known is not None and not (open_choices and owes_second_opinion(past)):
            return known
        times = [c.not_before for c in open_choices if c.not_before is not None]
        reason = next((c.reason for c in open_choices if c.reason), None)
        return NoneAvailable(min(times, default=None), reason or "provider_down")
    avoided = _avoided(past)
    best = min(ready, key=lambda c: (c.name in avoided, c.preference, c.name))
    return Ask(best.name)


def _avoided(past: tuple[Past, ...]) -> set[str]:
    """Providers that the next try should not go to if there is another."""
    if not past or past[-1].outcome.is_result:
        return set()
    last = past[-1]
    where = RULES[last.outcome].where
    if where is Where.ANOTHER:
        return {p.provider for p in past if p.outcome is last.outcome}
    failures = sum(p.provider == last.provider and p.outcome is last.outcome for p in past)
    if where is Where.SAME_THEN_ANOTHER and failures >= 2:
        return {last.provider}
    return set()
