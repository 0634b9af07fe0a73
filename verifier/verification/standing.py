"""How the providers of a lane stand now: configuration and stored state, as choices for routing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row

from verifier.outcomes import Lane
from verifier.resilience.breaker import Breaker
from verifier.store import providers
from verifier.verification.route import Choice
from verifier.verification.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Standing:
    """The lane's choices, those whose probe is due, and the breakers as read."""

    choices: tuple[Choice, ...]
    probes: tuple[str, ...]
    breakers: dict[str, Breaker]
    now: datetime

    @property
    def available(self) -> frozenset[str]:
        return frozenset(choice.name for choice in self.choices if choice.available)

    @property
    def providers(self) -> frozenset[str]:
        """All of the lane's, also those that are away."""
        return frozenset(choice.name for choice in self.choices)

    def back_at(self) -> datetime | None:
        """When the first of them can be asked again, if that is known."""
        times = [choice.not_before for choice in self.choices if choice.not_before is not None]
        return min(times, default=None)


def breaker_of(row: Row[Any]) -> Breaker:
    """The stored breaker of a provider row."""
    return Breaker(row.state, row.failures, row.openings, row.not_before, row.reason)


def read(connection: Connection, runtime: Runtime, lane: Lane) -> Standing:
    """Read the lane's standing. A provider whose row is gone (a database made anew) gets one."""
    rows = providers.get_all(connection)
    if not {row.name for row in rows}.issuperset(runtime.names_for(lane)):
        providers.register(connection, runtime.providers)
        rows = providers.get_all(connection)
    return assess(runtime, lane, rows)


def assess(runtime: Runtime, lane: Lane, rows: Iterable[Row[Any]]) -> Standing:
    """The standing of ``lane`` given every provider's row."""
    by_name = {row.name: row for row in rows}
    names: Sequence[str] = runtime.names_for(lane)
    now = next((row.now for row in by_name.values()), datetime.min.replace(tzinfo=UTC))
    breakers = {name: breaker_of(by_name[name]) for name in names}
    choices, probes = [], []
    for name in names:
        breaker, paused = breakers[name], by_name[name].paused_at is not None
        if breaker.probe_due(now) and not paused:
            probes.append(name)
        choices.append(
            Choice(
                name=name,
                preference=runtime.config.providers[name].preference,
                available=breaker.available(now) and not paused,
                not_before=None if paused else breaker.not_before,
                reason="paused" if paused else _waiting_reason(breaker),
            )
        )
    return Standing(tuple(choices), tuple(probes), breakers, now)


def _waiting_reason(breaker: Breaker) -> str | None:
    return "provider_suspended" if breaker.state == "suspended" else breaker.reason
