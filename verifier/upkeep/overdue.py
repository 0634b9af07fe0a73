"""Overdue: what passed its deadline is escalated, once, and never failed for it.

By policy it goes ahead of normal work; whoever subscribed is told; and a warning says how many wait
for what. ``verifier verify overdue`` lists them for as long as they are open.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import structlog

from verifier.config import config
from verifier.store import operations, outbox, turns, waiting
from verifier.store.engine import transaction

_log = structlog.get_logger(__name__)

#: Verifications escalated in one transaction, and transactions in one run; the next does the rest.
_CHUNK: Final = 1000
_ROUNDS: Final = 20

#: Deadlines are hours, and looking reads all open work (an index would cost every claim).
_EVERY_SECONDS: Final = 60.0


def look() -> int:
    """Escalate what is late, if nobody has looked for a minute. Returns how many."""
    with transaction() as connection:
        if not operations.may_look_for_overdue(connection, _EVERY_SECONDS):
            return 0
    return escalate()


def escalate() -> int:
    """Escalate what is late by now. Returns how many."""
    found: Counter[str] = Counter()
    for _ in range(_ROUNDS):
        late = _escalate_chunk()
        found += late
        if late.total() < _CHUNK:
            break
    if found:
        _log.warning("past their deadline", total=found.total(), **found)
    return found.total()


def _escalate_chunk() -> Counter[str]:
    """By cause, in one transaction: the mark, the priority and whoever is to be told."""
    high = config().engine.overdue_priority == "high"
    with transaction() as connection:
        ids = turns.escalate_overdue(connection, raise_priority=high, limit=_CHUNK)
        if not ids:
            return Counter()
        late = waiting.causes(connection, ids)
        outbox.add_overdue(
            connection,
            [
                {
                    "id": row.id,
                    "user": row.user_id,
                    "lane": row.lane,
                    "cause": row.cause,
                    "deadline_at": row.deadline_at.isoformat(),
                }
                for row in late
            ],
        )
    return Counter(row.cause for row in late)
