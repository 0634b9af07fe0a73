"""Candidates of a claim: locked rows, what they have been through, what may be checked."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Row

from verifier.clock import business_date
from verifier.outcomes import Check, Lane
from verifier.verification.checking import Possible
from verifier.verification.past import Past
from verifier.verification.route import Ask
from verifier.verification.runtime import Runtime
from verifier.verification.standing import Standing


class Candidate(NamedTuple):
    """A locked row of :mod:`verifier.store.claims`."""

    row: Row[Any]
    past: tuple[Past, ...]
    possible: Possible


class Asked(NamedTuple):
    """A row and the call that is meant for it."""

    candidate: Candidate
    ask: Ask


class CheckPolicy:
    """Which checks the configuration allows about the lane's rows, and who could answer them."""

    def __init__(self, runtime: Runtime, lane: Lane, now_standing: Standing) -> None:
        config = runtime.config
        policy = config.checks
        self.caps = {
            Check.STATUS: policy.status.daily_cap,
            Check.RECYCLED: policy.recycled.daily_cap,
            Check.CARRIER: policy.carrier.daily_cap,
        }
        #: Whether the lane's calls are divided among its providers, each user by itself.
        self.divided = lane in config.lanes and bool(config.lanes[lane].weights)
        self._zone = config.zone
        allowed = {
            Check.STATUS: policy.status.enabled,
            Check.RECYCLED: policy.recycled.enabled,
            Check.CARRIER: policy.carrier.enabled,
        }
        answered = frozenset(c for c, yes in allowed.items() if yes and c in now_standing.checkers)
        status = answered & {Check.STATUS}
        self._always = status if lane in policy.status.lanes else frozenset()
        # The lane may be a guess that the answer corrects.
        self._status_of = frozenset(policy.status.lanes) - {lane} if status else frozenset()
        self._recycled = answered & {Check.RECYCLED}
        self._carrier = answered & {Check.CARRIER}
        self._fresh = timedelta(days=policy.carrier.fresh_days)
        self._first = policy.carrier.when == "first"
        #: Nobody reaches the lane: a look-up that put a number into it is not believed for ever.
        self._dead = not now_standing.choices
        self._plain = Possible(self._always, status_of=self._status_of)

    def possible(self, row: Row[Any]) -> Possible:
        found = self._always
        if self._recycled and row.matched_at is not None:
            found |= self._recycled
        stale = bool(self._carrier) and (
            row.carrier_seen_at is None or row.carrier_seen_at < row.now - self._fresh
        )
        if stale:
            found |= self._carrier
        if found == self._plain.checks:
            return self._plain
        first = self._first or (self._dead and row.carrier_seen_at is not None)
        return Possible(found, stale and first, self._status_of)

    def since(self, row: Row[Any]) -> date | None:
        """The day since which one person should have held the number: when it was bound, or else
        when it last matched."""
        since = row.bound_at or row.matched_at
        return business_date(since, self._zone) if since is not None else None
