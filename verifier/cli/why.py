"""Why the work of a lane waits, in one sentence with its remedy. Pure.

The cause and the time are those of :mod:`verifier.store.waiting`. Here is added who stopped or
paused it, which providers could be asked, and whether a worker is there to do what is free to go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from verifier.cli import talk


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
    """Open verifications of the lane that wait for the same. ``due``: by their own time, whatever
    the lane waits for."""

    state: str
    cause: str
    users: int
    due: int
    overdue: int
    until: datetime | None

    @property
    def free(self) -> bool:
        """Whether nothing holds them: a worker may take them now."""
        return self.state == "waiting" and self.until is None and self.cause != "paused"


@dataclass(frozen=True, slots=True)
class PausedBatch:
    id: int
    by: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class LaneStanding:
    """All that decides whether a lane's work goes on."""

    lane: str
    stopped_by: str | None
    stop_reason: str | None
    paused_by: str | None
    pause_reason: str | None
    draining: int
    worker_seen: bool
    any_provider: bool
    providers: tuple[ProviderStanding, ...]
    groups: tuple[Group, ...]
    paused_batches: tuple[PausedBatch, ...] = ()


_OF_PROVIDERS: Final = frozenset({"provider_suspended", "provider_down", "maintenance"})


@dataclass(frozen=True, slots=True)
class Why:
    """``cause`` is a slug for programs, ``text`` a sentence, ``until`` None when nobody knows."""

    cause: str
    text: str
    until: datetime | None = None
    fix: str | None = None


def why(lane: LaneStanding) -> Why:
    """The one thing that holds the lane, the strongest first."""
    held = _held_by_hand(lane) or _no_provider_configured(lane)
    if held is not None:
        return held
    free = sum(group.users for group in lane.groups if group.free)
    waiting = [group for group in lane.groups if group.state == "waiting"]
    claimed = any(group.state == "claimed" for group in lane.groups)
    if waiting and not free and (_lane_waits(waiting) or not claimed):
        return _not_free(lane, waiting)
    if lane.providers and not any(provider.available for provider in lane.providers):
        return _no_provider_available(lane.providers)
    if not lane.groups:
        return Why("idle", "nothing waits")
    if free and not lane.worker_seen:
        return Why(
            "no_worker",
            f"{free:,} are due, but no worker of this lane has been seen lately",
            fix="`verifier dev up`, or `celery -A workers.app worker`",
        )
    if free or claimed:
        return Why("working", "being worked on" if lane.draining else "due now; a worker takes it")
    return Why(
        "quarantined",
        "what is left is quarantined: three workers ended while at it",
        fix="`verifier doctor` names them; `verifier verify one REF` tries one again",
    )


def _held_by_hand(lane: LaneStanding) -> Why | None:
    if lane.stopped_by is not None:
        return Why(
            "stopped",
            f"everything was stopped by {talk.by(lane.stopped_by, lane.stop_reason)}",
            fix="`verifier start`",
        )
    if lane.paused_by is not None:
        return Why(
            "paused",
            f"the lane was paused by {talk.by(lane.paused_by, lane.pause_reason)}",
            fix=f"`verifier lane resume {lane.lane}`",
        )
    return None


def _no_provider_configured(lane: LaneStanding) -> Why | None:
    if lane.any_provider:
        return None  # a lane that no provider supports settles its work, without a call
    return Why(
        "no_provider",
        "no provider is configured",
        fix="Add a [providers.NAME] table to the configuration (`verifier config show`).",
    )


def _no_provider_available(providers: Sequence[ProviderStanding]) -> Why:
    """What is free to go will find nobody to ask: the cause that its rows are about to have."""
    until = min((p.until for p in providers if p.until is not None), default=None)
    return Why("provider_down", _nobody(providers), until, _resumed_by_hand(providers))


def _nobody(providers: Sequence[ProviderStanding]) -> str:
    named = "; ".join(f"{p.name}: {p.reason or p.state}" for p in providers)
    return f"no provider of the lane can be asked ({named})"


def _resumed_by_hand(providers: Sequence[ProviderStanding]) -> str | None:
    """The remedy when none of them comes back by itself."""
    by_hand = [p.name for p in providers if p.state in ("paused", "suspended")]
    if not by_hand or any(p.until is not None for p in providers):
        return None
    return f"`verifier provider resume {by_hand[0]}`"


def _not_free(lane: LaneStanding, waiting: Sequence[Group]) -> Why:
    due = [group for group in waiting if group.due]  # by its own time: the lane holds it
    if due and lane.providers and not any(provider.available for provider in lane.providers):
        cause, until = _largest(due)
        return Why(cause, _nobody(lane.providers), until, _resumed_by_hand(lane.providers))
    others = [group for group in waiting if group.cause != "paused"]
    if not others:
        return _batches_paused(lane.paused_batches)
    # What the lane holds first: that is what an operator can do something about.
    cause, until = _largest([group for group in others if group.due] or others)
    if cause == "budget":
        return Why(
            "budget",
            "what may be spent is spent",
            fix="`verifier doctor` says of which budget; raise [budget] per_month and restart the "
            "workers, or `verifier batch resume BATCH --budget AMOUNT`",
        )
    if not _lane_waits(others):
        # A provider of the lane's, or one that is to answer a check about a mismatch.
        whose = "`verifier provider list` shows who is away, also for checks"
        fix = whose if cause in _OF_PROVIDERS else None
        return Why(cause, f"nothing is due yet ({cause})", until, fix)
    return Why(cause, f"the lane waits ({cause})", until)


def _largest(groups: Sequence[Group]) -> tuple[str, datetime | None]:
    """The cause of most of them, and when the first of these may go on."""
    cause = max(groups, key=lambda group: group.users).cause
    times = [g.until for g in groups if g.cause == cause and g.until is not None]
    return cause, min(times, default=None)


def _batches_paused(batches: Sequence[PausedBatch]) -> Why:
    if not batches:
        return Why("paused", "the batches are paused", fix="`verifier batch resume ID`")
    named = "; ".join(f"batch {b.id} by {talk.by(b.by, b.reason)}" for b in batches)
    more = " --budget AMOUNT" if batches[0].by == "budget" else ""
    return Why("paused", f"paused: {named}", fix=f"`verifier batch resume {batches[0].id}{more}`")


def _lane_waits(waiting: Sequence[Group]) -> bool:
    """Whether some, of which none is free, are due by their own time: the lane holds them."""
    return any(group.due for group in waiting)


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
                "reason": group.cause,
                "users": group.users,
                "due": group.due,
                "overdue": group.overdue,
                "until": group.until,
            }
            for group in lane.groups
        ],
    }
