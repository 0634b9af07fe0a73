"""Deliveries: who is telling one now, and what came of it.

A delivery is leased under a token; whoever locks the endpoint's row leases at most one delivery of
it, so an endpoint is never called twice at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, text

from verifier.store import endpoints


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
        endpoints.pause(connection, endpoint, by="verifier", reason=pause_reason)
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
