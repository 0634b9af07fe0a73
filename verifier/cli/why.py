"""Why the work of a lane waits, in one sentence with its remedy. Pure.

Waiting for a provider is written in the provider's and the lane's row, not in a million users'
rows: here the rows are put together again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ProviderStanding:
    """A provider of the lane. ``available``: it may be asked now."""

    name: str
    state: str
    available: bool
    reason: str | None
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Group:
    """Open verifications of the lane that are alike."""

    state: str
    reason: str
    users: int
    due: int
    overdue: int
    next_due: datetime | None


@dataclass(frozen=True, slots=True)
class LaneStanding:
    """All that decides whether a lane's work goes on."""

    lane: str
    now: datetime
    stopped_by: str | None
    stop_reason: str | None
    paused_by: str | None
    pause_reason: str | None
    not_before: datetime | None
    not_before_reason: str | None
    draining: int
    worker_seen: bool
    any_provider: bool
    providers: tuple[ProviderStanding, ...]
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Why:
    """``cause`` is a slug for programs, ``text`` a sentence, ``until`` None when nobody knows."""

    cause: str
    text: str
    until: datetime | None = None
    fix: str | None = None


def why(lane: LaneStanding) -> Why:
    """The one thing that holds the lane, the strongest first."""
    blocked = _blocked(lane)
    if blocked is not None:
        return blocked
    waiting = [group for group in lane.groups if group.state == "waiting"]
    if not lane.groups:
        return Why("idle", "nothing waits")
    due = sum(group.due for group in waiting)
    if due and not lane.worker_seen:
        return Why(
            "no_worker",
            f"{due:,} are due, but no worker of this lane has been seen lately",
            fix="`verifier dev up`, or `celery -A workers.app worker`",
        )
    if due or any(group.state == "claimed" for group in lane.groups):
        return Why("working", "being worked on" if lane.draining else "due now; a worker takes it")
    return _not_due(waiting)


def _blocked(lane: LaneStanding) -> Why | None:
    if lane.stopped_by is not None:
        return Why(
            "stopped",
            f"everything was stopped by {lane.stopped_by}{_because(lane.stop_reason)}",
            fix="`verifier start`",
        )
    if lane.paused_by is not None:
        return Why(
            "paused",
            f"the lane was paused by {lane.paused_by}{_because(lane.pause_reason)}",
            fix=f"`verifier lane resume {lane.lane}`",
        )
    if not lane.any_provider:
        return Why(
            "no_provider",
            "no provider is configured",
            fix="Add a [providers.NAME] table to the configuration (`verifier config show`).",
        )
    if not lane.providers:
        return None  # no provider supports the lane: its work settles, without a call
    if not any(provider.available for provider in lane.providers):
        return _no_provider_available(lane.providers)
    if lane.not_before is not None and lane.not_before > lane.now:
        reason = lane.not_before_reason or "provider_down"
        return Why(reason, f"the lane waits ({reason})", lane.not_before)
    return None


def _no_provider_available(providers: Sequence[ProviderStanding]) -> Why:
    named = "; ".join(f"{p.name}: {p.reason or p.state}" for p in providers)
    until = min((p.until for p in providers if p.until is not None), default=None)
    by_hand = [p.name for p in providers if p.state in ("paused", "suspended")]
    return Why(
        "provider_down",
        f"no provider of the lane can be asked ({named})",
        until,
        f"`verifier provider resume {by_hand[0]}`" if by_hand and until is None else None,
    )


def _not_due(waiting: Sequence[Group]) -> Why:
    if not waiting:
        return Why(
            "quarantined",
            "what is left is quarantined: three workers ended while at it",
            fix="`verifier doctor` names them; `verifier verify one REF` tries one again",
        )
    if all(group.reason == "paused" for group in waiting):
        return Why("paused", "the batches are paused", fix="`verifier batch resume ID`")
    reason = max(waiting, key=lambda group: group.users).reason
    times = [group.next_due for group in waiting if group.next_due is not None]
    return Why(reason, f"nothing is due yet ({reason})", min(times, default=None))


def _because(reason: str | None) -> str:
    return f": {reason}" if reason else ""


def as_object(lane: LaneStanding) -> Mapping[str, object]:
    """A lane with its cause, as ``queue why --json`` shows it."""
    found = why(lane)
    return {
        "lane": lane.lane,
        "open": sum(group.users for group in lane.groups),
        "due": sum(group.due for group in lane.groups),
        "overdue": sum(group.overdue for group in lane.groups),
        "draining": lane.draining,
        "cause": found.cause,
        "text": found.text,
        "until": found.until,
        "fix": found.fix,
        "providers": [
            {
                "name": p.name,
                "state": p.state,
                "available": p.available,
                "reason": p.reason,
                "until": p.until,
            }
            for p in lane.providers
        ],
        "waits_for": [
            {
                "state": group.state,
                "reason": group.reason,
                "users": group.users,
                "due": group.due,
                "overdue": group.overdue,
                "next_due_at": group.next_due,
            }
            for group in lane.groups
        ],
    }
