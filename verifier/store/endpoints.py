"""Endpoints: who is told, whether they may be called, and how they are doing.

Whoever changes both an endpoint and its deliveries locks the endpoint's row first (NO KEY UPDATE,
which holds up nobody who adds a delivery).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

from verifier.events import CELERY, Event


@dataclass(frozen=True, slots=True)
class Subscription:
    """What the configuration says about an endpoint."""

    name: str
    events: Sequence[Event]
    max_events: int


def register(connection: Connection, subscriptions: Sequence[Subscription]) -> None:
    """Make the rows of exactly these webhooks the configured ones.

    A new endpoint, or one that newly wants settled verifications, is told what settles from now on.
    One that is no longer configured keeps its row, its cursor and what waits for it, and is tried
    anew when it is back. A cursor that this database cluster has not reached comes from another one
    (a restored dump): it starts anew.
    """
    connection.execute(
        text("""
            UPDATE verifier.endpoints
               SET cursor_xid = pg_snapshot_xmin(pg_current_snapshot()), cursor_id = 0
             WHERE cursor_xid > pg_snapshot_xmax(pg_current_snapshot())
        """)
    )
    connection.execute(
        text("""
            UPDATE verifier.endpoints SET configured = false
             WHERE configured AND name <> ALL(:names) AND name <> :celery
        """),
        {"names": [s.name for s in subscriptions], "celery": CELERY},
    )
    back = connection.scalars(
        text("""
            UPDATE verifier.endpoints SET configured = true
             WHERE NOT configured AND name = ANY(:names) RETURNING name
        """),
        {"names": [s.name for s in subscriptions]},
    ).all()
    try_anew(connection, back)
    for subscription in sorted(subscriptions, key=lambda s: s.name):
        connection.execute(
            text("""
                INSERT INTO verifier.endpoints AS e (name, events, max_events)
                VALUES (:name, :events, :most)
                ON CONFLICT (name) DO UPDATE
                   SET configured = true, events = excluded.events,
                       max_events = excluded.max_events,
                       cursor_xid = CASE WHEN :settled = ANY(e.events) THEN e.cursor_xid
                                         ELSE excluded.cursor_xid END,
                       cursor_id = CASE WHEN :settled = ANY(e.events) THEN e.cursor_id ELSE 0 END
                 WHERE (e.configured, e.events, e.max_events)
                       IS DISTINCT FROM (true, excluded.events, excluded.max_events)
            """),
            {
                "name": subscription.name,
                "events": [str(event) for event in subscription.events],
                "most": subscription.max_events,
                "settled": Event.SETTLED,
            },
        )


def pause(connection: Connection, name: str, *, by: str, reason: str | None) -> bool:
    """Tell the endpoint nothing more. False when there is no such row."""
    return (
        connection.execute(
            text("""
                UPDATE verifier.endpoints
                   SET paused_at = coalesce(paused_at, verifier.verifier_now()), paused_by = :by,
                       pause_reason = coalesce(:reason, pause_reason)
                 WHERE name = :name
            """),
            {"name": name, "by": by, "reason": reason},
        ).rowcount
        == 1
    )


def resume(connection: Connection, name: str) -> bool:
    """Tell the endpoint again, at once. False when there is no such row."""
    resumed = connection.execute(
        text("""
            UPDATE verifier.endpoints
               SET paused_at = NULL, paused_by = NULL, pause_reason = NULL,
                   failures = 0, not_before = NULL
             WHERE name = :name
        """),
        {"name": name},
    ).rowcount
    try_anew(connection, [name])
    return resumed == 1


def try_anew(connection: Connection, names: Sequence[str] | None = None) -> None:
    """Nobody was called for a while, by our own will: no failure before counts towards giving up.

    ``names``: these endpoints, whose rows the caller holds locked; None: all of them.
    """
    if names is None:
        names = connection.scalars(
            text("SELECT name FROM verifier.endpoints ORDER BY name FOR NO KEY UPDATE")
        ).all()
    connection.execute(
        text("""
            UPDATE verifier.deliveries SET trying_since = NULL
             WHERE endpoint = ANY(:names) AND state IN ('waiting', 'leased')
               AND trying_since IS NOT NULL
        """),
        {"names": list(names)},
    )


def listing(connection: Connection) -> Sequence[Row[Any]]:
    """Every endpoint with its backlog: waiting, dead, since when the oldest waits, feed behind."""
    return connection.execute(
        text("""
            SELECT e.*, verifier.verifier_now() AS now, d.waiting, d.oldest, x.dead,
                   e.configured AND :settled = ANY(e.events) AND EXISTS (
                     SELECT FROM verifier.verifications v
                      WHERE (v.xid, v.id) > (e.cursor_xid, e.cursor_id)
                        AND v.xid < pg_snapshot_xmin(pg_current_snapshot())) AS behind
              FROM verifier.endpoints e
             CROSS JOIN LATERAL (
               SELECT count(*)::int AS waiting, min(created_at) AS oldest
                 FROM verifier.deliveries
                WHERE endpoint = e.name AND state IN ('waiting', 'leased')) d
             CROSS JOIN LATERAL (
               SELECT count(*)::int AS dead FROM verifier.deliveries
                WHERE endpoint = e.name AND state = 'dead') x
             ORDER BY e.name
        """),
        {"settled": Event.SETTLED},
    ).all()
