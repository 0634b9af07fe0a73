"""What the audit finds: set-based counts over users and messages. Reads only."""

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
