"""The outbox: what endpoints are to be told, who is telling it now, and what came of it.

Settled verifications reach it without any cost where they settle: the commit-safe feed
(:mod:`.changes`) is cut into deliveries afterwards, in one transaction with moving the endpoint's
cursor. Everything else is written down in the transaction that makes it true. A delivery is leased
under a token; whoever locks the endpoint's row leases at most one delivery of it, so an endpoint is
never called twice at once. That lock (NO KEY UPDATE) holds up nobody who adds a delivery; whoever
changes both an endpoint and its deliveries takes it first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

from verifier.events import CELERY, Event
from verifier.store import changes


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


def cut_settled(connection: Connection, most_waiting: int) -> int:
    """Cut one piece of the feed for every endpoint that wants it. Returns how many were cut.

    An endpoint that is paused, or has ``most_waiting`` pieces not delivered yet, is left alone:
    what it was not told yet stays in the feed. Somebody else's transaction at an endpoint is not
    waited for.
    """
    wanting = connection.execute(
        text("""
            SELECT e.name, e.max_events, e.cursor_xid::text AS xid, e.cursor_id AS id
              FROM verifier.endpoints e
             WHERE e.configured AND e.paused_at IS NULL AND :settled = ANY(e.events)
               AND (SELECT count(*) FROM verifier.deliveries d
                     WHERE d.endpoint = e.name AND d.state IN ('waiting', 'leased')
                       AND d.event = :settled) < :most
             ORDER BY e.name FOR NO KEY UPDATE OF e SKIP LOCKED
        """),
        {"settled": Event.SETTLED, "most": most_waiting},
    ).all()
    cut = 0
    for endpoint in wanting:
        piece = changes.positions(connection, endpoint.xid, endpoint.id, endpoint.max_events)
        if piece is None:
            continue
        connection.execute(
            text("""
                WITH moved AS (
                  UPDATE verifier.endpoints
                     SET cursor_xid = CAST(:to_xid AS text)::xid8, cursor_id = :to_id
                   WHERE name = :name)
                INSERT INTO verifier.deliveries (endpoint, event, payload, events)
                VALUES (:name, :event, CAST(:payload AS jsonb), :number)
            """),
            {
                "name": endpoint.name,
                "to_xid": piece.xid,
                "to_id": piece.id,
                "event": Event.SETTLED,
                "payload": json.dumps(
                    {"after": [endpoint.xid, endpoint.id], "to": [piece.xid, piece.id]}
                ),
                "number": piece.number,
            },
        )
        cut += 1
    return cut


def add_overdue(connection: Connection, late: Sequence[Mapping[str, Any]]) -> None:
    """Tell every endpoint that wants it that these verifications passed their deadline."""
    wanting = connection.execute(
        text("""
            SELECT name, max_events FROM verifier.endpoints
             WHERE configured AND :overdue = ANY(events) ORDER BY name
        """),
        {"overdue": Event.OVERDUE},
    ).all()
    for endpoint in wanting:
        for start in range(0, len(late), endpoint.max_events):
            piece = [dict(row) for row in late[start : start + endpoint.max_events]]
            connection.execute(
                text("""
                    INSERT INTO verifier.deliveries (endpoint, event, payload, events)
                    VALUES (:name, :event, CAST(:payload AS jsonb), :number)
                """),
                {
                    "name": endpoint.name,
                    "event": Event.OVERDUE,
                    "payload": json.dumps({"late": piece}),
                    "number": len(piece),
                },
            )


def lease(
    connection: Connection,
    *,
    token: int,
    lease_seconds: Mapping[str, float],
    limit: int,
    limit_failing: int,
) -> Sequence[Row[Any]]:
    """Lease the next due delivery of each endpoint that may be called now.

    ``lease_seconds``: how long a call of an endpoint takes at most; endpoints not named are left
    alone. At most ``limit`` endpoints, and at most ``limit_failing`` of them failed last time, so
    that those that hang leave room for the others.
    """
    locked = connection.scalars(
        text("""
            SELECT name FROM verifier.endpoints
             WHERE name = ANY(:names) AND paused_at IS NULL
             ORDER BY name FOR NO KEY UPDATE SKIP LOCKED
        """),
        {"names": list(lease_seconds)},
    ).all()
    # Only now, with the rows locked, look at what is being told: nobody else can lease meanwhile.
    return connection.execute(
        text("""
            WITH now AS MATERIALIZED (SELECT verifier.verifier_now() AS now
                                        FROM verifier.control WHERE stopped_at IS NULL),
            free AS MATERIALIZED (
              SELECT e.name, e.failures, w.seconds, n.now,
                     row_number() OVER (PARTITION BY e.failures > 0 ORDER BY e.not_before, e.name)
                       AS place
                FROM verifier.endpoints e
                JOIN unnest(CAST(:names AS text[]), CAST(:seconds AS float8[]))
                     AS w (name, seconds) USING (name)
               CROSS JOIN now n
               WHERE e.paused_at IS NULL AND (e.not_before IS NULL OR e.not_before <= n.now)
                 AND EXISTS (SELECT FROM verifier.deliveries d WHERE d.endpoint = e.name
                              AND (d.state = 'waiting' AND d.due_at <= n.now
                                   OR d.state = 'leased' AND d.lease_until <= clock_timestamp()))
                 AND NOT EXISTS (SELECT FROM verifier.deliveries d
                                  WHERE d.endpoint = e.name AND d.state = 'leased'
                                    AND d.lease_until > clock_timestamp())
            ), chosen AS (
              SELECT f.name, f.failures, f.seconds, d.id FROM free f
               CROSS JOIN LATERAL (
                SELECT d.id FROM verifier.deliveries d
                 WHERE d.endpoint = f.name
                   AND (d.state = 'waiting' AND d.due_at <= f.now
                        OR d.state = 'leased' AND d.lease_until <= clock_timestamp())
                 ORDER BY d.due_at, d.id LIMIT 1) d
               WHERE f.failures = 0 OR f.place <= :failing
               ORDER BY f.failures, f.place LIMIT :limit
            )
            UPDATE verifier.deliveries d
               SET state = 'leased', token = :token, tries = d.tries + 1,
                   lease_until = clock_timestamp() + make_interval(secs => c.seconds)
              FROM chosen c WHERE d.id = c.id
               AND (d.state = 'waiting' OR d.lease_until <= clock_timestamp())
            RETURNING d.*, c.failures
        """),
        {
            "names": list(locked),
            "seconds": [lease_seconds[name] for name in locked],
            "token": token,
            "limit": limit,
            "failing": limit_failing,
        },
    ).all()


def delivered(
    connection: Connection, delivery_id: int, *, token: int, status: int | None = None
) -> bool:
    """It was taken (or there was nothing left to tell). False when the lease is no longer ours."""
    if _lock_endpoint_of(connection, delivery_id, token) is None:
        return False
    return (
        connection.execute(
            text("""
                WITH ended AS (
                  UPDATE verifier.deliveries
                     SET state = 'delivered', ended_at = verifier.verifier_now(), status = :status,
                         error = NULL, token = NULL, lease_until = NULL
                   WHERE id = :id AND token = :token
                  RETURNING endpoint)
                UPDATE verifier.endpoints e
                   SET failures = 0, not_before = NULL, last_error = NULL,
                       delivered_at = verifier.verifier_now()
                  FROM ended WHERE e.name = ended.endpoint
            """),
            {"id": delivery_id, "token": token, "status": status},
        ).rowcount
        == 1
    )


def failed(
    connection: Connection,
    delivery_id: int,
    *,
    token: int,
    error: str,
    status: int | None,
    again_seconds: float,
    endpoint_seconds: float,
    give_up_hours: float,
    pause_reason: str | None = None,
) -> str | None:
    """It was not taken: due again later, or dead once it has failed for ``give_up_hours``.

    The endpoint is left alone for ``endpoint_seconds``; with ``pause_reason``, until an operator
    resumes it. Returns the delivery's new state, None when the lease is no longer ours.
    """
    endpoint = _lock_endpoint_of(connection, delivery_id, token)
    if endpoint is None:
        return None
    state: str | None = connection.execute(
        text("""
            UPDATE verifier.deliveries d
               SET state = CASE WHEN old.is_dead THEN 'dead' ELSE 'waiting' END,
                   ended_at = CASE WHEN old.is_dead THEN n.now END,
                   trying_since = coalesce(d.trying_since, n.now),
                   due_at = n.now + make_interval(secs => :again),
                   status = :status, error = :error, token = NULL, lease_until = NULL
              FROM (SELECT verifier.verifier_now() AS now) n
             CROSS JOIN LATERAL (
               SELECT coalesce(trying_since + make_interval(secs => :give_up) <= n.now, false)
                      AND CAST(:pause AS text) IS NULL AS is_dead
                 FROM verifier.deliveries WHERE id = :id) old
             WHERE d.id = :id AND d.token = :token
            RETURNING d.state
        """),
        {
            "id": delivery_id,
            "token": token,
            "status": status,
            "error": error,
            "again": again_seconds,
            "give_up": give_up_hours * 3600,
            "pause": pause_reason,
        },
    ).scalar_one_or_none()
    if state is None:
        return None
    connection.execute(
        text("""
            UPDATE verifier.endpoints
               SET failures = failures + 1, last_error = :error,
                   not_before = verifier.verifier_now() + make_interval(secs => :seconds)
             WHERE name = :name
        """),
        {"name": endpoint, "error": error, "seconds": endpoint_seconds},
    )
    if pause_reason is not None:
        pause(connection, endpoint, by="verifier", reason=pause_reason)
    return state


def release(connection: Connection, delivery_id: int, *, token: int) -> None:
    """Give a lease back: nothing was sent, and the try does not count."""
    connection.execute(
        text("""
            UPDATE verifier.deliveries
               SET state = 'waiting', token = NULL, lease_until = NULL, tries = tries - 1
             WHERE id = :id AND token = :token
        """),
        {"id": delivery_id, "token": token},
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


def retry(connection: Connection, name: str, delivery_id: int | None = None) -> int:
    """Bring what is dead back, and make what waits due now. Returns how many deliveries."""
    connection.execute(
        text("SELECT FROM verifier.endpoints WHERE name = :name FOR NO KEY UPDATE"), {"name": name}
    )
    due = connection.execute(
        text("""
            UPDATE verifier.deliveries
               SET state = 'waiting', ended_at = NULL, due_at = verifier.verifier_now(),
                   trying_since = NULL
             WHERE endpoint = :name AND state IN ('waiting', 'dead')
               AND (CAST(:id AS bigint) IS NULL OR id = :id)
        """),
        {"name": name, "id": delivery_id},
    ).rowcount
    if due:
        connection.execute(
            text("UPDATE verifier.endpoints SET not_before = NULL WHERE name = :name"),
            {"name": name},
        )
    return due


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


def _lock_endpoint_of(connection: Connection, delivery_id: int, token: int) -> str | None:
    """Lock the endpoint of a delivery that is ours and return its name; None when it is not."""
    name: str | None = connection.execute(
        text("""
            SELECT e.name FROM verifier.endpoints e
              JOIN verifier.deliveries d ON d.endpoint = e.name
             WHERE d.id = :id AND d.token = :token FOR NO KEY UPDATE OF e
        """),
        {"id": delivery_id, "token": token},
    ).scalar_one_or_none()
    return name


def endpoints(connection: Connection) -> Sequence[Row[Any]]:
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


def listing(
    connection: Connection, name: str, *, state: str | None, limit: int
) -> Sequence[Row[Any]]:
    """Deliveries of an endpoint, the newest first."""
    return connection.execute(
        text("""
            SELECT id, message_id, event, events, state, tries, due_at, status, error, created_at,
                   ended_at
              FROM verifier.deliveries
             WHERE endpoint = :name AND (CAST(:state AS text) IS NULL OR state = :state)
             ORDER BY id DESC LIMIT :limit
        """),
        {"name": name, "state": state, "limit": limit},
    ).all()


def forget_before(connection: Connection, days: int, most: int) -> int:
    """Remove up to ``most`` deliveries that were taken before so many days. Returns how many."""
    return connection.execute(
        text("""
            DELETE FROM verifier.deliveries WHERE id IN (
              SELECT id FROM verifier.deliveries
               WHERE state = 'delivered'
                 AND ended_at < (SELECT verifier.verifier_now()) - make_interval(days => :days)
               ORDER BY ended_at LIMIT :most)
        """),
        {"days": days, "most": most},
    ).rowcount
