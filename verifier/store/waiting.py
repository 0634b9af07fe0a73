"""Why open work waits, and until when: reads the view ``verifier.waiting``, the one derivation.

Waiting for a provider, a pause or the stop is written once, in the lane or the control row, not in
a million users' rows; the view puts it together. Whatever tells a cause reads it from there. One
user's stands in :func:`verifier.store.users.find`, those of an export in
:func:`verifier.store.batches.results`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, text


def of_batch(connection: Connection, batch_id: int) -> Sequence[Row[Any]]:
    """What a batch's unsettled items wait for: (state, cause, number, until at the earliest)."""
    return connection.execute(
        text("""
            SELECT w.state, w.cause, count(*) AS number, min(w.until) AS until
              FROM verifier.batch_items i JOIN verifier.waiting w ON w.id = i.verification_id
             WHERE i.batch_id = :batch GROUP BY w.state, w.cause
             ORDER BY number DESC, w.state, w.cause
        """),
        {"batch": batch_id},
    ).all()


def by_lane(connection: Connection) -> Sequence[Row[Any]]:
    """All open work: (lane, state, cause, number, due by its own time, overdue, until)."""
    return connection.execute(
        text("""
            SELECT lane, state, cause, count(*) AS number,
                   count(*) FILTER (WHERE state = 'waiting' AND NOT held AND due_at <= now) AS due,
                   count(*) FILTER (WHERE deadline_at < now) AS overdue, min(until) AS until
              FROM verifier.waiting GROUP BY lane, state, cause
             ORDER BY lane, number DESC, state, cause
        """)
    ).all()


def overdue(connection: Connection, limit: int, after: int = 0) -> Sequence[Row[Any]]:
    """Open verifications past their deadline with their cause, by id, after ``after``."""
    return connection.execute(
        text("""
            SELECT w.id, u.platform, u.reference, w.lane, w.state, w.cause, w.until, w.attempts,
                   w.deadline_at, w.escalated_at, w.now
              FROM verifier.waiting w JOIN verifier.users u ON u.id = w.user_id
             WHERE w.deadline_at < w.now AND w.id > :after
             ORDER BY w.id LIMIT :limit
        """),
        {"limit": limit, "after": after},
    ).all()


def causes(connection: Connection, ids: Sequence[int]) -> Sequence[Row[Any]]:
    """Of these open verifications: (id, user_id, lane, cause, deadline_at), by id."""
    return connection.execute(
        text("""
            SELECT id, user_id, lane, cause, deadline_at FROM verifier.waiting
             WHERE id = ANY(:ids) ORDER BY id
        """),
        {"ids": list(ids)},
    ).all()


def overdue_by_cause(connection: Connection) -> Sequence[Row[Any]]:
    """Open work past its deadline per lane and cause, with the oldest deadline."""
    return connection.execute(
        text("""
            SELECT lane, cause, count(*) AS number, min(deadline_at) AS oldest
              FROM verifier.waiting WHERE deadline_at < now
             GROUP BY lane, cause ORDER BY number DESC, lane, cause
        """)
    ).all()
