"""Route: which provider is asked next about one verification. Pure.

A provider that gave a result for this data is not asked again. Among the rest the order is: not
the one that just failed (where the policy says so), then the lane's shares if it has any, then
preference, then name. A check that is owed goes to whoever answers it, in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import blake2s
from math import log
from types import MappingProxyType

from verifier.outcomes import Check, Lane, Outcome
from verifier.resilience.retry import RULES, Where
from verifier.verification.checking import NOTHING, Possible, owed, unsupported_detail
from verifier.verification.decide import Settle, owes_second_opinion, settle_known, wants_raw_name
from verifier.verification.past import Past, last_result, limited_on


@dataclass(frozen=True, slots=True)
class Choice:
    """A provider of the lane as it stands now. ``not_before`` is None when only an operator can
    bring it back; ``reason`` says why it is not available. ``weight``: its share of the lane's
    first calls, if the lane is divided so. ``probe``: only one call may ask whether it is back."""

    name: str
    preference: int
    available: bool
    not_before: datetime | None = None
    reason: str | None = None
    weight: float | None = None
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """Call this provider: about the person, with the name as typed if ``raw_name``, or ``check``.

    ``probe``: the call is the one that asks whether it is back.
    """

    provider: str
    raw_name: bool = False
    check: Check | None = None
    probe: bool = False


@dataclass(frozen=True, slots=True)
class NoneAvailable:
    """Every provider that could be asked waits; the earliest is back at ``until`` (if known)."""

    until: datetime | None
    reason: str


Route = Ask | NoneAvailable | Settle


def route(
    lane: Lane,
    past: tuple[Past, ...],
    choices: Sequence[Choice],
    configured: int,
    has_raw_name: bool = False,
    *,
    possible: Possible = NOTHING,
    checkers: Mapping[Check, Sequence[Choice]] = MappingProxyType({}),
    ticket: int = 0,
    today: date | None = None,
) -> Route:
    """Where to go. ``choices``: the lane's providers; ``configured``: how many there are in all.

    ``possible``: the checks that can be asked, of the ``checkers`` of each. ``ticket``: a number of
    the verification's own, by which it always falls to the same provider of a divided lane.
    ``today``: a provider that was asked about the person too often on it is left out while there
    is another, also one that is away.

    A number that no provider supports settles as such, without a call. Without any provider at all
    the question is not about the number: it waits.
    """
    if not choices:
        if not configured:
            return NoneAvailable(None, "no_provider")
        known = settle_known(past)  # by a provider of the lane it was taken for before
        check = owed(past, possible)
        if check is not None:
            return _ask_check(check, past, checkers.get(check, ()))
        return known or Settle(str(Outcome.UNSUPPORTED_NUMBER), unsupported_detail(lane), None)
    mismatched = last_result(past)
    if mismatched is not None and wants_raw_name(past, has_raw_name):
        same = next((c for c in choices if c.name == mismatched.provider), None)
        if same is not None and not (same.available or same.probe):
            return NoneAvailable(same.not_before, same.reason or "provider_down")
        if same is not None:
            return Ask(same.name, raw_name=True, probe=same.probe)
        return settle_known(past) or NoneAvailable(None, "provider_down")
    check = owed(past, possible)
    if check is not None:
        return _ask_check(check, past, checkers.get(check, ()))
    second = owes_second_opinion(past)
    if mismatched is not None and not second:
        return settle_known(past) or NoneAvailable(None, "provider_down")
    answered = {p.provider for p in past if p.is_verdict}
    open_choices = [c for c in choices if c.name not in answered]
    limited = limited_on(past, today) if today is not None else frozenset()
    open_choices = [c for c in open_choices if c.name not in limited] or open_choices
    ready = [c for c in open_choices if c.available or c.probe]
    if not ready:
        known = settle_known(past)
        if known is not None and not (open_choices and second):
            return known
        return _waits_for(open_choices)
    avoided = _avoided(tuple(p for p in past if p.check is None))
    best = min(
        ready,
        key=lambda c: (c.name in avoided, _share_place(c, ticket), c.preference, c.name),
    )
    return Ask(best.name, probe=best.probe and not best.available)


def _ask_check(check: Check, past: tuple[Past, ...], choices: Sequence[Choice]) -> Route:
    ready = [choice for choice in choices if choice.available or choice.probe]
    if not ready:
        return _waits_for(choices)
    avoided = _avoided(tuple(p for p in past if p.check is check))
    best = min(ready, key=lambda c: (c.name in avoided, c.probe, c.preference, c.name))
    return Ask(best.name, check=check, probe=best.probe)


def _waits_for(choices: Sequence[Choice]) -> NoneAvailable:
    times = [c.not_before for c in choices if c.not_before is not None]
    reason = next((c.reason for c in choices if c.reason), None)
    return NoneAvailable(min(times, default=None), reason or "provider_down")


def _share_place(choice: Choice, ticket: int) -> float:
    """Where it stands for this ticket; the lowest is asked first. 0 in a lane without shares.

    Weighted rendezvous hashing: of many tickets each provider is first for its share, and when one
    is away only its own tickets move.
    """
    if choice.weight is None:
        return 0.0
    digest = blake2s(f"{ticket}:{choice.name}".encode(), digest_size=8).digest()
    uniform = (int.from_bytes(digest) + 1) / (2**64 + 2)
    return -log(uniform) / choice.weight


def _avoided(past: tuple[Past, ...]) -> set[str]:
    """Providers that the next try should not go to if there is another."""
    if not past:
        return set()
    last = past[-1]
    if last.is_our_bug:  # who refuses our parameters will do so again
        return {p.provider for p in past if p.is_our_bug}
    if last.outcome.is_answer:
        return set()
    where = RULES[last.outcome].where
    if where is Where.ANOTHER:
        return {p.provider for p in past if p.outcome is last.outcome}
    failures = sum(p.provider == last.provider and p.outcome is last.outcome for p in past)
    if where is Where.SAME_THEN_ANOTHER and failures >= 2:
        return {last.provider}
    return set()
