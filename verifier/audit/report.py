"""The data of ``verifier audit show``: one night, as plain values. Prints nothing.

What was found is what the night's audit kept; how its batch and the day's messages stand is read
now, since both go on after the audit.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import Connection, Row

from verifier.audit import policy
from verifier.audit.nightly import JOB
from verifier.errors import NotFoundError
from verifier.guidance import Actor
from verifier.store import audits, batches, jobs
from verifier.store.engine import transaction

_ISO_DATE: Final = 10  # the first characters of a period


@dataclass(frozen=True, slots=True)
class Group:
    """Users of one standing. ``who_acts`` is person, operator, system or nobody."""

    status: str
    outcome: str | None
    detail: str | None
    lane: str
    number: int
    who_acts: str


@dataclass(frozen=True, slots=True)
class Overdue:
    """Open work past its deadline that waits for one cause in one lane."""

    lane: str
    cause: str
    number: int
    oldest_deadline: datetime
    who_acts: str


@dataclass(frozen=True, slots=True)
class Requeued:
    """What the audit queued again, why, and how far that batch is now."""

    batch: int | None
    total: int
    settled: int
    outcomes: dict[str, int]
    causes: dict[str, int]


@dataclass(frozen=True, slots=True)
class Messages:
    """The day's messages: planned by the audit, and where they stand now."""

    planned: int
    not_planned_because: str | None
    states: dict[str, int]
    channels: dict[str, int]


@dataclass(frozen=True, slots=True)
class Report:
    """One audit. ``state`` is running or done; ``completion_rate`` is verified of all, 0 … 1."""

    night: date
    period: str
    state: str
    started_at: datetime
    finished_at: datetime | None
    users: int
    verified: int
    unverified: int
    failed: int
    completion_rate: float
    groups: tuple[Group, ...]
    reasons: dict[str, int]
    overdue: tuple[Overdue, ...]
    requeued: Requeued
    reminders: Messages
    who_must_act: dict[str, int]


def show(night: date | None = None) -> Report:
    """The latest audit, or the first of a night. Raises NotFoundError."""
    with transaction() as connection:
        if night is None:
            latest = jobs.latest(connection, JOB)
            row = latest[0] if latest else None
        else:
            row = jobs.get(connection, JOB, night.isoformat())
        if row is None:
            raise _no_audit(connection, night)
        return _report(connection, row)


def _no_audit(connection: Connection, night: date | None) -> NotFoundError:
    latest = jobs.latest(connection, JOB, 5)
    if night is None or not latest:
        return NotFoundError("There has been no audit yet.", fix="`verifier audit run` audits now.")
    periods = ", ".join(row.period for row in latest)
    return NotFoundError(
        f"There was no audit on {night}.",
        fix=f"The latest were {periods}; `verifier audit show` shows the last one.",
    )


def recent(limit: int = 30) -> list[tuple[str, str, datetime, datetime | None]]:
    """The latest audits: (period, state, started, finished), newest first."""
    with transaction() as connection:
        return [
            (row.period, row.state, row.started_at, row.finished_at)
            for row in jobs.latest(connection, JOB, limit)
        ]


def _report(connection: Connection, row: Row[Any]) -> Report:
    found: dict[str, Any] = row.counts
    night = date.fromisoformat(row.period[:_ISO_DATE])
    groups = tuple(
        Group(
            status, outcome, detail, lane, number, str(policy.who_acts_on_outcome(outcome, detail))
        )
        for status, outcome, detail, lane, number in found.get("users", ())
    )
    overdue = tuple(
        Overdue(
            lane, cause, number, datetime.fromisoformat(oldest),
            str(policy.who_acts_on_waiting(cause)),
        )
        for lane, cause, number, oldest in found.get("overdue", ())
    )  # fmt: skip
    by_status = _sum((group.status, group.number) for group in groups)
    users = sum(by_status.values())
    return Report(
        night=night,
        period=row.period,
        state=row.state,
        started_at=row.started_at,
        finished_at=row.finished_at,
        users=users,
        verified=by_status.get("verified", 0),
        unverified=by_status.get("unverified", 0),
        failed=by_status.get("failed", 0),
        completion_rate=by_status.get("verified", 0) / users if users else 0.0,
        groups=groups,
        reasons=_sum(
            (f"{g.outcome}/{g.detail}" if g.detail else str(g.outcome), g.number)
            for g in groups
            if g.status == "failed"
        ),
        overdue=overdue,
        requeued=_requeued(connection, found),
        reminders=_messages(connection, found, night),
        who_must_act=_sum(
            [(g.who_acts, g.number) for g in groups if g.status != "verified"]
            + [(o.who_acts, o.number) for o in overdue if o.who_acts == Actor.OPERATOR]
        ),
    )


def _requeued(connection: Connection, found: dict[str, Any]) -> Requeued:
    batch: int | None = found.get("batch")
    outcomes = batches.tallies(connection, batch) if batch is not None else {}
    return Requeued(
        batch=batch,
        total=found.get("requeued", 0),
        settled=sum(outcomes.values()),
        outcomes=outcomes,
        causes=dict(found.get("requeue", {})),
    )


def _messages(connection: Connection, found: dict[str, Any], day: date) -> Messages:
    rows = audits.planned_reminders(connection, day)
    return Messages(
        planned=found.get("reminders", 0),
        not_planned_because=found.get("reminders_skipped"),
        states=_sum((row.state, row.number) for row in rows),
        channels=_sum((row.channel, row.number) for row in rows),
    )


def _sum(pairs: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for name, number in pairs:
        total[name] += number
    return dict(total.most_common())
