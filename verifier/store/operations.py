"""What operators set and see: the global stop, canaries, partitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, text

from verifier.store import endpoints


def stop(connection: Connection, *, by: str, reason: str | None) -> None:
    """Nothing is claimed or sent from now on; what is in flight finishes."""
    connection.execute(
        text("""
            UPDATE verifier.control SET stopped_at = coalesce(stopped_at, verifier.verifier_now()),
                   stopped_by = :by, stop_reason = coalesce(:reason, stop_reason)
        """),
        {"by": by, "reason": reason},
    )


def start(connection: Connection) -> bool:
    """End the global stop. Returns whether there was one."""
    started = connection.execute(
        text("""
            UPDATE verifier.control SET stopped_at = NULL, stopped_by = NULL, stop_reason = NULL
             WHERE stopped_at IS NOT NULL
        """)
    ).rowcount
    if started:
        endpoints.try_anew(connection)
    return bool(started)


def control(connection: Connection) -> Row[Any]:
    """The global stop: (stopped_at, stopped_by, stop_reason)."""
    return connection.execute(text("SELECT * FROM verifier.control")).one()


def may_look_for_overdue(connection: Connection, seconds: float) -> bool:
    """Whether nobody has looked for so long; whoever is told yes looks."""
    return (
        connection.execute(
            text("""
                UPDATE verifier.control c SET overdue_looked_at = n.now
                  FROM (SELECT verifier.verifier_now() AS now OFFSET 0) n
                 WHERE c.overdue_looked_at IS NULL OR c.overdue_looked_at > n.now
                    OR c.overdue_looked_at <= n.now - make_interval(secs => :seconds)
            """),
            {"seconds": seconds},
        ).rowcount
        == 1
    )


def canary_seen(connection: Connection, queue: str, host: str) -> None:
    """A worker of ``queue`` on ``host`` does its work right now."""
    connection.execute(
        text("""
            INSERT INTO verifier.canaries (queue, host, seen_at)
            VALUES (:queue, :host, clock_timestamp())
            ON CONFLICT (queue, host) DO UPDATE SET seen_at = excluded.seen_at
        """),
        {"queue": queue, "host": host},
    )


def canaries(connection: Connection) -> Sequence[Row[Any]]:
    """When each queue was last served: (queue, host, seconds ago)."""
    return connection.execute(
        text("""
            SELECT queue, host, extract(epoch FROM clock_timestamp() - seen_at)::float8 AS seconds
              FROM verifier.canaries ORDER BY queue, host
        """)
    ).all()


def ensure_partitions(connection: Connection, months_ahead: int = 2) -> int:
    """Make the partitions of this month and the next ones. Returns how many months were made."""
    made: int = connection.execute(
        text("""
            SELECT count(*) FROM generate_series(0, :ahead) AS m
             WHERE verifier.ensure_partition(verifier.verifier_now() + make_interval(months => m))
        """),
        {"ahead": months_ahead},
    ).scalar_one()
    return made
