"""The daily caps of checks: how often each was asked on a business day, all users together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date

from sqlalchemy import Connection, text

from verifier.outcomes import Check


def used(connection: Connection, day: date) -> dict[Check, int]:
    """Check → how often it was asked on ``day``."""
    rows = connection.execute(
        text("SELECT check_name, used FROM verifier.check_uses WHERE day = :day"), {"day": day}
    )
    return {Check(name): number for name, number in rows}


def take(connection: Connection, check: Check, day: date, number: int, cap: int) -> bool:
    """Take ``number`` uses of the day's cap, all or none; whether there was room."""
    if number > cap:
        return False
    taken = connection.execute(
        text("""
            INSERT INTO verifier.check_uses (check_name, day, used) VALUES (:check, :day, :number)
            ON CONFLICT (check_name, day) DO UPDATE SET used = check_uses.used + :number
             WHERE check_uses.used + :number <= :cap
        """),
        {"check": check, "day": day, "number": number, "cap": cap},
    )
    return taken.rowcount == 1


def give_back(connection: Connection, uses: Iterable[tuple[Check, date]]) -> None:
    """Checks (with their day) that were taken and then not asked."""
    for (check, day), number in sorted(Counter(uses).items()):
        connection.execute(
            text("""
                UPDATE verifier.check_uses SET used = used - :number
                 WHERE check_name = :check AND day = :day
            """),
            {"check": check, "day": day, "number": number},
        )


def forget_old(connection: Connection) -> int:
    """Remove the uses of days that are over everywhere. Returns how many rows."""
    return connection.execute(
        text("""
            DELETE FROM verifier.check_uses
             WHERE day < CAST((SELECT verifier.verifier_now()) AS date) - 2
        """)
    ).rowcount
