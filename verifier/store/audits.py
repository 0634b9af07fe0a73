"""What the audit finds: set-based counts over users and open work. Reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from verifier.store.loading import SELECTIONS


def standing(connection: Connection) -> Sequence[Row[Any]]:
    """How many users there are per status, outcome, detail and lane."""
    return connection.execute(
        text("""
            SELECT status, outcome, detail, lane, count(*) AS number FROM verifier.users
             GROUP BY status, outcome, detail, lane
             ORDER BY status, outcome, detail NULLS FIRST, lane
        """)
    ).all()


def overdue(connection: Connection) -> Sequence[Row[Any]]:
    """Open work past its deadline per lane and cause, with the oldest deadline.

    What waits for a provider or a pause carries that in its lane, not in its row.
    """
    return connection.execute(
        text("""
            SELECT o.lane, c.cause, count(*) AS number, min(o.deadline_at) AS oldest
              FROM verifier.open_verifications o
              JOIN verifier.lanes l ON l.lane = o.lane
             CROSS JOIN (SELECT verifier.verifier_now() AS now) n
             CROSS JOIN LATERAL (SELECT CASE
                     WHEN o.state = 'quarantined' THEN 'quarantined'
                     WHEN o.held THEN 'paused'
                     WHEN o.state = 'waiting' AND o.due_at > n.now THEN o.reason
                     WHEN l.paused_at IS NOT NULL THEN 'paused'
                     WHEN l.not_before > n.now THEN coalesce(l.not_before_reason, 'provider_down')
                     ELSE o.reason END AS cause) c
             WHERE o.deadline_at < n.now
             GROUP BY o.lane, c.cause ORDER BY number DESC, o.lane, c.cause
        """)
    ).all()


def to_requeue(connection: Connection, limits: Mapping[str, datetime]) -> Sequence[Row[Any]]:
    """How many users the selection ``audit`` would take now, per cause."""
    return connection.execute(
        text(f"""
            SELECT CASE WHEN u.status = 'unverified' THEN 'unverified'
                        WHEN u.status = 'verified' THEN 'verified_long_ago'
                        ELSE lower(u.outcome) END AS cause, count(*) AS number
              FROM verifier.users u WHERE {SELECTIONS["audit"]}
             GROUP BY cause ORDER BY cause
        """),  # noqa: S608 - one of our constants
        dict(limits),
    ).all()


def planned_reminders(connection: Connection, day: date) -> Sequence[Row[Any]]:
    """How the messages of ``day`` stand, per channel and state."""
    return connection.execute(
        text("""
            SELECT channel, state, count(*) AS number FROM verifier.reminders
             WHERE day = :day GROUP BY channel, state ORDER BY channel, state
        """),
        {"day": day},
    ).all()
