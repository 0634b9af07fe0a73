"""Batches as operators see them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from verifier.cli import costs, talk
from verifier.store import waiting as waits
from verifier.store.engine import transaction
from verifier.verification.batches import existing

_PRIORITY_NAMES = {0: "interactive", 1: "high", 2: "normal", 3: "low"}


def brief(row: Row[Any]) -> dict[str, Any]:
    """One line of the list."""
    return {
        "batch": row.id,
        "state": _state(row),
        "total": row.total,
        "settled": row.settled,
        "unknown": row.unknown,
        "caller": row.caller,
        "key": row.idempotency_key,
        "label": row.label,
        "priority": _PRIORITY_NAMES.get(row.priority, str(row.priority)),
        "rerun_of": row.rerun_of,
        "created_at": row.created_at,
        "finished_at": row.finished_at,
    }


def _state(row: Row[Any]) -> str:
    if row.cancelled_at is not None:
        return "cancelled"
    return "paused" if row.paused_at is not None and row.state != "done" else str(row.state)


def detail(batch: int, *, with_costs: bool = True) -> dict[str, Any]:
    """Everything about one batch. Raises NotFoundError.

    What it cost is summed over all its calls: not while it is shown again and again.
    """
    from verifier import client
    from verifier.cli import waiting

    state = client.get_batch(batch)
    row = existing(batch)
    with transaction() as connection:
        groups = waits.of_batch(connection, batch) if row.state != "done" else []
    return {
        **waiting.as_object(state),
        "state": _state(row),
        "caller": row.caller,
        "key": row.idempotency_key,
        "label": row.label,
        "priority": _PRIORITY_NAMES.get(row.priority, str(row.priority)),
        "selection": row.selection,
        "rerun_of": row.rerun_of,
        "created_at": row.created_at,
        "finished_at": row.finished_at,
        "cancelled_at": row.cancelled_at,
        "paused_at": row.paused_at,
        "paused_by": row.paused_by,
        "pause_reason": row.pause_reason,
        "budget": costs.amount(row.budget),
        "costs": costs.of_batch(batch) if with_costs or row.state == "done" else [],
        "waits_for": [
            {
                "state": group.state,
                "reason": group.cause,
                "users": group.number,
                "until": group.until,
            }
            for group in groups
        ],
    }


_FACTS = (
    "batch", "state", "label", "caller", "key", "priority", "rerun_of", "total", "settled",
    "unknown", "created_at", "finished_at", "cancelled_at", "paused_at", "paused_by",
    "pause_reason", "budget",
)  # fmt: skip


def print_detail(view: dict[str, Any]) -> None:
    talk.facts((name.replace("_", " "), view[name]) for name in _FACTS if view[name] is not None)
    if view["outcomes"]:
        talk.out()
        talk.table(("outcome", "users"), view["outcomes"].items())
    if any(row["currency"] for row in view["costs"]):
        talk.out()
        names = ("calls", "billed", "free", "maybe", "cost", "maybe_cost", "currency")
        talk.table(names, ([row[name] for name in names] for row in view["costs"]))
    if view["waits_for"]:
        talk.out()
        columns = ("state", "reason", "users", "until")
        talk.table(columns, ([group[c] for c in columns] for group in view["waits_for"]))
        talk.say("`verifier queue why` says what the lanes wait for")
