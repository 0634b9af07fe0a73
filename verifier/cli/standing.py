"""Reads how lanes, providers and gateways stand, for ``queue why``, the lists and ``status``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row

from verifier.cli import talk
from verifier.cli.why import Group, LaneStanding, PausedBatch, ProviderStanding
from verifier.cli.workers_seen import fresh_queues
from verifier.config import config
from verifier.config.providers import ProviderConfig
from verifier.doorbell import lane_queue
from verifier.outcomes import Lane
from verifier.resilience.breaker import Breaker
from verifier.store import gateways, holding, lanes, operations, providers, waiting


def read_lanes(connection: Connection) -> list[LaneStanding]:
    """Every lane, as it stands now."""
    control = operations.control(connection)
    rows = {row.name: row for row in providers.get_all(connection)}
    fresh = fresh_queues(connection)
    paused = tuple(
        PausedBatch(row.id, row.paused_by, row.pause_reason) for row in holding.paused(connection)
    )
    groups: dict[str, list[Group]] = {}
    for row in waiting.by_lane(connection):
        groups.setdefault(row.lane, []).append(_group(row))
    return [
        LaneStanding(
            lane=lane.lane,
            stopped_by=(control.stopped_by or "somebody") if control.stopped_at else None,
            stop_reason=control.stop_reason,
            paused_by=(lane.paused_by or "somebody") if lane.paused_at else None,
            pause_reason=lane.pause_reason,
            draining=lane.draining,
            worker_seen=lane_queue(Lane(lane.lane)) in fresh,
            any_provider=bool(config().providers),
            providers=_providers_of(Lane(lane.lane), rows),
            groups=tuple(groups.get(lane.lane, ())),
            paused_batches=paused,
        )
        for lane in lanes.all_lanes(connection)
    ]


def _group(row: Row[Any]) -> Group:
    return Group(
        state=row.state,
        cause=row.cause,
        users=row.number,
        due=row.due,
        overdue=row.overdue,
        until=row.until,
    )


def _providers_of(lane: Lane, rows: Mapping[str, Row[Any]]) -> tuple[ProviderStanding, ...]:
    return tuple(standing(name, rows.get(name)) for name in config().providers_of(lane))


def standing(name: str, row: Row[Any] | None) -> ProviderStanding:
    """One provider; one that no worker has registered yet has never failed."""
    if row is None:
        return ProviderStanding(name, "new", True, None, None)
    if row.paused_at is not None:
        why = f"paused by {talk.by(row.paused_by, row.pause_reason)}"
        return ProviderStanding(name, "paused", False, why, None)
    breaker = Breaker(row.state, row.failures, row.openings, row.not_before, row.reason)
    available = breaker.available(row.now) or breaker.probe_due(row.now)
    later = breaker.not_before is not None and breaker.not_before > row.now
    return ProviderStanding(
        name=name,
        state=breaker.state,
        available=available,
        reason=breaker.reason,
        until=breaker.not_before if later else None,
    )


def read_providers(connection: Connection) -> list[dict[str, Any]]:
    """Configured providers, and those of an earlier configuration that still have a row."""
    every = providers.get_all(connection)
    rows, of_checks = gateways.providers_only(every), providers.of_checks(every)
    configured = config().providers
    found = []
    for name in sorted({*rows, *configured}):
        shown = standing(name, rows.get(name))
        settings = configured.get(name)
        found.append(
            {
                "name": name,
                "configured": settings is not None,
                "lanes": [str(lane) for lane in settings.lanes] if settings else [],
                "preference": settings.preference if settings else None,
                "qps": settings.qps if settings else None,
                "state": shown.state,
                "available": shown.available and settings is not None,
                "reason": shown.reason,
                "until": shown.until,
                "checks": _of_checks(name, settings, shown, of_checks.get(name)),
            }
        )
    return found


def _of_checks(
    name: str,
    settings: ProviderConfig | None,
    provider: ProviderStanding,
    row: Row[Any] | None,
) -> dict[str, Any] | None:
    """How its checks stand, which have a breaker of their own; None: it answers none."""
    if settings is None or not settings.checks:
        return None
    shown = standing(name, row) if settings.lanes and provider.state != "paused" else provider
    return {
        "names": [str(check) for check in settings.checks],
        "state": shown.state,
        "available": shown.available,
        "reason": shown.reason,
        "until": shown.until,
    }


def read_gateways(connection: Connection) -> list[dict[str, Any]]:
    """Configured gateways, and those of an earlier configuration that still have a row."""
    rows = gateways.get_all(connection)
    configured = config().gateways
    found = []
    for name in sorted({*rows, *configured}):
        shown = standing(name, rows.get(name))
        settings = configured.get(name)
        found.append(
            {
                "name": name,
                "configured": settings is not None,
                "kind": settings.kind if settings else None,
                "preference": settings.preference if settings else None,
                "qps": settings.qps if settings else None,
                "state": shown.state,
                "available": shown.available and settings is not None,
                "reason": shown.reason,
            }
        )
    return found
