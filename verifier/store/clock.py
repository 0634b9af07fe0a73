"""Business time, as every process sees it: ``verifier_now()`` and its offset."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, text


def now(connection: Connection) -> datetime:
    """The business time (UTC)."""
    found: datetime = connection.execute(text("SELECT verifier.verifier_now()")).scalar_one()
    return found


def offset(connection: Connection) -> timedelta:
    """How far the business time is from the raw clock; zero in production."""
    found: timedelta = connection.execute(text('SELECT "offset" FROM verifier.clock')).scalar_one()
    return found


def move_to(connection: Connection, instant: datetime) -> None:
    """Make the business time ``instant`` now; it runs on from there. For tests and the demo."""
    connection.execute(
        text('UPDATE verifier.clock SET "offset" = :instant - clock_timestamp()'),
        {"instant": instant},
    )


def reset(connection: Connection) -> None:
    """Business time is the raw clock again."""
    connection.execute(text("UPDATE verifier.clock SET \"offset\" = '0'"))
