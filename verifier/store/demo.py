"""Starting a demo afresh: for a state that holds nothing but an earlier demo."""

from __future__ import annotations

from sqlalchemy import Connection, text


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
                     verifier.providers, verifier.pacing, verifier.lane_slots RESTART IDENTITY
        """)
    )
    connection.execute(
        text("UPDATE verifier.lanes SET not_before = NULL, not_before_reason = NULL")
    )
    connection.execute(text("UPDATE verifier.clock SET \"offset\" = '0'"))
