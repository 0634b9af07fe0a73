"""What is told: read from the store when a delivery is sent, from the ids in its payload. Of
overdue work the payload also holds lane, cause and deadline as they were when it was found.

Nothing personal: references, outcomes, times, and the words that the person may be told anyway.
What settled or finished does not change any more, so a repeat says the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row

from verifier import guidance
from verifier.events import Event
from verifier.outcomes import RESULTS, UNRESOLVED
from verifier.store import batches, changes, users


@dataclass(frozen=True, slots=True)
class Callback:
    """A task that the caller of a batch named."""

    task: str
    queue: str
    arguments: dict[str, Any]


def data_of(
    connection: Connection, delivery: Row[Any], platforms: Sequence[str]
) -> dict[str, Any] | None:
    """The ``data`` of a webhook; None when nothing is left to tell (another product's users)."""
    payload = delivery.payload
    match delivery.event:
        case Event.BATCH_DONE:
            return batch(connection, payload["batch"])
        case Event.SETTLED:
            first, last = tuple(payload["after"]), tuple(payload["to"])
            rows = changes.between(connection, first, last, platforms)
            found = [_settled(row) for row in rows]
        case Event.OVERDUE:
            found = _overdue(connection, payload["late"], platforms)
        case unknown:
            raise ValueError(f"nobody knows what to tell about {unknown}")
    return {"verifications": found} if found else None


def batch(connection: Connection, batch_id: int) -> dict[str, Any] | None:
    """A batch that is done, and how it ended."""
    row = batches.get(connection, batch_id)
    if row is None:
        return None
    return {
        "batch": row.id,
        "caller": row.caller,
        "key": row.idempotency_key,
        "label": row.label,
        "total": row.total,
        "unknown": row.unknown,
        "outcomes": batches.tallies(connection, batch_id),
        "cancelled": row.cancelled_at is not None,
        "created_at": instant(row.created_at),
        "finished_at": instant(row.finished_at),
    }


def callback(connection: Connection, delivery: Row[Any]) -> Callback | None:
    """The task to send, with its arguments."""
    batch_id = delivery.payload["batch"]
    row = batches.get(connection, batch_id)
    if row is None or row.notify_task is None:
        return None
    return Callback(row.notify_task, row.notify_queue, batch(connection, batch_id) or {})


def instant(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC."""
    return moment.astimezone(UTC).isoformat() if moment is not None else None


def _settled(row: Row[Any]) -> dict[str, Any]:
    is_result = row.outcome in RESULTS
    said = row.outcome in (*RESULTS, UNRESOLVED)
    return {
        "verification": row.id,
        "platform": row.platform,
        "reference": row.reference,
        # What this verification made of the user; nothing if it ended without a result.
        "status": ("verified" if row.outcome == "MATCHED" else "failed") if is_result else None,
        "outcome": row.outcome,
        "detail": row.detail,
        "settled_at": instant(row.settled_at),
        "guidance": guidance.for_outcome(row.outcome, row.detail, row.locale).message
        if said
        else None,
    }


def _overdue(
    connection: Connection, late: Sequence[dict[str, Any]], platforms: Sequence[str]
) -> list[dict[str, Any]]:
    known = users.references_of(connection, [row["user"] for row in late])
    return [
        {
            "verification": row["id"],
            "platform": known[row["user"]].platform,
            "reference": known[row["user"]].reference,
            "lane": row["lane"],
            "cause": row["cause"],
            "deadline_at": instant(datetime.fromisoformat(row["deadline_at"])),
        }
        for row in late
        if row["user"] in known and (not platforms or known[row["user"]].platform in platforms)
    ]
