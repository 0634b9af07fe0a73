"""Lanes and their slots: how many drains a lane may have, and who has been rung for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from verifier.outcomes import Lane


def all_lanes(connection: Connection) -> Sequence[Row[Any]]:
    """Every lane with its pause (``halted``: its own or the global stop), its ``not_before``, and
    how many drains it has."""
    return connection.execute(
        text("""
            SELECT l.*, verifier.verifier_now() AS now,
                   l.paused_at IS NOT NULL OR c.stopped_at IS NOT NULL AS halted,
                   (SELECT count(*) FROM verifier.lane_slots s WHERE s.lane = l.lane
                     AND s.state = 'held' AND s.expires_at > clock_timestamp()) AS draining
              FROM verifier.lanes l CROSS JOIN verifier.control c ORDER BY l.lane
        """)
    ).all()


def is_open(connection: Connection, lane: Lane) -> bool:
    """Whether the lane may be drained now: not paused, not waiting, no global stop."""
    answer: bool = connection.execute(
        text("""
            SELECT l.paused_at IS NULL AND c.stopped_at IS NULL
               AND (l.not_before IS NULL OR l.not_before <= verifier.verifier_now())
              FROM verifier.lanes l CROSS JOIN verifier.control c WHERE l.lane = :lane
        """),
        {"lane": lane},
    ).scalar_one()
    return answer


def set_not_before(
    connection: Connection, lane: Lane, instant: datetime | None, reason: str | None
) -> None:
    """Nothing of this lane is rung for or claimed before ``instant``."""
    connection.execute(
        text("""
            UPDATE verifier.lanes SET not_before = :instant, not_before_reason = :reason
             WHERE lane = :lane AND (not_before IS DISTINCT FROM :instant)
        """),
        {"lane": lane, "instant": instant, "reason": reason},
    )


def ensure_slots(connection: Connection, per_lane: int) -> None:
    """Give every lane slots 1 … ``per_lane``. More than that (an older setting) are removed."""
    connection.execute(
        text("""
            INSERT INTO verifier.lane_slots (lane, slot)
            SELECT lane, slot FROM verifier.lanes CROSS JOIN generate_series(1, :n) AS slot
            ON CONFLICT DO NOTHING
        """),
        {"n": per_lane},
    )
    connection.execute(
        text("DELETE FROM verifier.lane_slots WHERE slot > :n AND state = 'free'"), {"n": per_lane}
    )


def ring(connection: Connection, lane: Lane, rings: int, seconds: float) -> int:
    """Mark up to ``rings`` free slots as rung for ``seconds``; returns how many to send.

    Nothing for ``rings`` of zero or less.

    A message that is lost frees its slot when the ring expires.
    """
    return connection.execute(
        text("""
            WITH free AS MATERIALIZED (
              SELECT slot FROM verifier.lane_slots
               WHERE lane = :lane AND (state = 'free' OR expires_at < clock_timestamp())
               ORDER BY slot LIMIT :rings FOR UPDATE SKIP LOCKED)
            UPDATE verifier.lane_slots s
               SET state = 'rung', token = NULL,
                   expires_at = clock_timestamp() + make_interval(secs => :seconds)
              FROM free WHERE s.lane = :lane AND s.slot = free.slot
        """),
        {"lane": lane, "rings": max(0, rings), "seconds": seconds},
    ).rowcount


def busy(connection: Connection, lane: Lane) -> int:
    """How many slots are rung or held now."""
    count: int = connection.execute(
        text("""
            SELECT count(*) FROM verifier.lane_slots
             WHERE lane = :lane AND state <> 'free' AND expires_at >= clock_timestamp()
        """),
        {"lane": lane},
    ).scalar_one()
    return count


def unring(connection: Connection, lane: Lane, rings: int) -> None:
    """Free rung slots again: the broker did not take the message."""
    connection.execute(
        text("""
            WITH rung AS MATERIALIZED (
              SELECT slot FROM verifier.lane_slots WHERE lane = :lane AND state = 'rung'
               ORDER BY slot LIMIT :rings FOR UPDATE SKIP LOCKED)
            UPDATE verifier.lane_slots s SET state = 'free', expires_at = NULL
              FROM rung WHERE s.lane = :lane AND s.slot = rung.slot
        """),
        {"lane": lane, "rings": rings},
    )


def take_slot(connection: Connection, lane: Lane, token: int, seconds: float) -> int | None:
    """Hold a slot of the lane for a drain (a rung one first), or None when all are held."""
    return connection.execute(
        text("""
            WITH pick AS MATERIALIZED (
              SELECT slot FROM verifier.lane_slots
               WHERE lane = :lane AND (state <> 'held' OR expires_at < clock_timestamp())
               ORDER BY (state = 'rung') DESC, slot LIMIT 1 FOR UPDATE SKIP LOCKED)
            UPDATE verifier.lane_slots s
               SET state = 'held', token = :token,
                   expires_at = clock_timestamp() + make_interval(secs => :seconds)
              FROM pick WHERE s.lane = :lane AND s.slot = pick.slot RETURNING s.slot
        """),
        {"lane": lane, "token": token, "seconds": seconds},
    ).scalar_one_or_none()


def free_slot(connection: Connection, lane: Lane, token: int) -> None:
    """Give a held slot back."""
    connection.execute(
        text("""
            UPDATE verifier.lane_slots SET state = 'free', token = NULL, expires_at = NULL
             WHERE lane = :lane AND token = :token AND state = 'held'
        """),
        {"lane": lane, "token": token},
    )


def pause(connection: Connection, lane: Lane, *, by: str, reason: str | None) -> None:
    connection.execute(
        text("""
            UPDATE verifier.lanes SET paused_at = coalesce(paused_at, verifier.verifier_now()),
                   paused_by = :by, pause_reason = coalesce(:reason, pause_reason)
             WHERE lane = :lane
        """),
        {"lane": lane, "by": by, "reason": reason},
    )


def resume(connection: Connection, lane: Lane) -> None:
    """Drain the lane again, also if it waited for a provider."""
    connection.execute(
        text("""
            UPDATE verifier.lanes SET paused_at = NULL, paused_by = NULL, pause_reason = NULL,
                   not_before = NULL, not_before_reason = NULL WHERE lane = :lane
        """),
        {"lane": lane},
    )
