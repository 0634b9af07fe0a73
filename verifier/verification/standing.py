"""How the providers of a lane stand now: configuration and stored state, as choices for routing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Row

from verifier.outcomes import Check, Lane
from verifier.resilience.breaker import Breaker
from verifier.store import providers
from verifier.verification.route import Choice
from verifier.verification.runtime import Runtime

#: The share of a provider that a divided lane does not name: asked when the others are away.
_LAST: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Standing:
    """The lane's choices, those whose probe is due, the breakers as read (by row, see
    :meth:`~.runtime.Runtime.breaker_of`), and who answers which check about its numbers."""

    choices: tuple[Choice, ...]
    probes: tuple[str, ...]
    breakers: dict[str, Breaker]
    now: datetime
    checkers: dict[Check, tuple[Choice, ...]] = field(default_factory=dict)

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
    rows, needed = providers.get_all(connection), runtime.breakers()
    if not needed.issubset(row.name for row in rows):
        providers.register(connection, needed)
        rows = providers.get_all(connection)
    return assess(runtime, lane, rows)


def assess(runtime: Runtime, lane: Lane, rows: Iterable[Row[Any]]) -> Standing:
    """The standing of ``lane`` given every provider's row."""
    by_name = {row.name: row for row in rows}
    now = next((row.now for row in by_name.values()), datetime.min.replace(tzinfo=UTC))
    names = runtime.names_for(lane)
    asked = {check: runtime.config.checkers_of(check, lane) for check in Check}
    of_checks = [
        runtime.breaker_of(name, check) for check, found in asked.items() for name in found
    ]
    breakers = {name: breaker_of(by_name[name]) for name in dict.fromkeys([*names, *of_checks])}
    shares = runtime.config.lanes[lane].weights if lane in runtime.config.lanes else {}

    def choice(place: int, name: str, check: Check | None = None) -> Choice:
        breaker = breakers[runtime.breaker_of(name, check)]
        paused = by_name[name].paused_at is not None
        usable = name in runtime.providers and not paused
        return Choice(
            name=name,
            preference=place,
            available=breaker.available(now) and usable,
            not_before=breaker.not_before if usable else None,
            reason="paused" if paused else _waiting_reason(breaker, usable=usable),
            weight=shares.get(name, _LAST) if shares else None,
            probe=breaker.probe_due(now) and usable,
        )

    choices = tuple(choice(place, name) for place, name in enumerate(names))
    return Standing(
        choices=choices,
        probes=tuple(c.name for c in choices if c.probe),
        breakers=breakers,
        now=now,
        checkers={
            check: tuple(choice(place, name, check) for place, name in enumerate(found))
            for check, found in asked.items()
            if found
        },
    )


def _waiting_reason(breaker: Breaker, *, usable: bool) -> str | None:
    """``usable``: it could be made from its configuration."""
    suspended = breaker.state == "suspended" or not usable
    return "provider_suspended" if suspended else breaker.reason
