"""What only the demo asks: starting afresh on its own earlier state, and what it sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, text


def foreign_users(connection: Connection, prefix: str) -> int:
    """How many users no demo made: their reference does not begin with ``prefix``."""
    number: int = connection.execute(
        text("SELECT count(*) FROM verifier.users WHERE NOT starts_with(reference, :prefix)"),
        {"prefix": prefix},
    ).scalar_one()
    return number


def wipe(connection: Connection) -> None:
    """Remove every user and all that is known about them; business time is the raw clock again."""
    connection.execute(
        text("""
            TRUNCATE verifier.users, verifier.batches, verifier.batch_items, verifier.batch_tallies,
                     verifier.open_verifications, verifier.verifications, verifier.attempts,
                     verifier.billed_slots, verifier.job_runs, verifier.reminders,
                     verifier.providers, verifier.pacing, verifier.lane_slots,
                     verifier.deliveries, verifier.spending, verifier.check_uses RESTART IDENTITY
        """)
    )
    connection.execute(text("DELETE FROM verifier.endpoints WHERE name <> 'celery'"))
    connection.execute(
        text("UPDATE verifier.lanes SET not_before = NULL, not_before_reason = NULL")
    )
    connection.execute(text("UPDATE verifier.control SET overdue_looked_at = NULL"))
    connection.execute(text("UPDATE verifier.clock SET \"offset\" = '0'"))


def reminders_due_or_sending(connection: Connection) -> int:
    """How many reminders should have gone out by now and have not ended."""
    number: int = connection.execute(
        text("""
            SELECT count(*) FROM verifier.reminders
             WHERE state = 'sending'
                OR (state = 'planned' AND due_at <= (SELECT verifier.verifier_now()))
        """)
    ).scalar_one()
    return number


def reminders_sent(connection: Connection) -> Sequence[Row[Any]]:
    """Messages that were sent, by outcome and channel: (outcome, channel, number)."""
    return connection.execute(
        text("""
            SELECT outcome, channel, count(*)::int AS number FROM verifier.reminders
             WHERE state = 'sent' GROUP BY outcome, channel
        """)
    ).all()
