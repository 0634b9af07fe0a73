"""What an audit found, in the form in which it is kept with the night (``job_runs.counts``)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from verifier.audit.policy import Limits
from verifier.store import audits, waiting


def scan(connection: Connection, limits: Limits) -> dict[str, Any]:
    """Look at everybody, before anything is queued: users, overdue work, what is queued again."""
    users = [
        [row.status, row.outcome, row.detail, row.lane, row.number]
        for row in audits.standing(connection)
    ]
    overdue = [
        [row.lane, row.cause, row.number, _text(row.oldest)]
        for row in waiting.overdue_by_cause(connection)
    ]
    requeue = {row.cause: row.number for row in audits.to_requeue(connection, limits.parameters())}
    instants = {name: _text(instant) for name, instant in limits.parameters().items()}
    return {"users": users, "overdue": overdue, "requeue": requeue, "limits": instants}


def limits_of(found: dict[str, Any]) -> dict[str, datetime]:
    """The instants that the scan used: a resumed audit asks for the same, also if the
    configuration has changed since."""
    return {name: datetime.fromisoformat(text) for name, text in found["limits"].items()}


def _text(instant: datetime) -> str:
    return instant.isoformat()


def summary(night: str, found: dict[str, Any]) -> dict[str, int | str]:
    """The few numbers that a task returns and a log line carries."""
    by_status = {"unverified": 0, "verified": 0, "failed": 0}
    for status, _outcome, _detail, _lane, number in found["users"]:
        by_status[status] += number
    return {
        "night": night,
        "users": sum(by_status.values()),
        **by_status,
        "overdue": sum(number for _lane, _cause, number, _oldest in found["overdue"]),
        "requeued": found.get("requeued", 0),
        "batch": found.get("batch", 0),
        "reminders": found.get("reminders", 0),
    }
