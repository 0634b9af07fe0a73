"""When, and in which lane, waiting work has its turn: what is due, put off, or brought forward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from verifier.outcomes import Lane
from verifier.store import arrays


def due_per_lane(connection: Connection, limit: int) -> dict[Lane, int]:
    """How many rows each lane has due now, counted up to ``limit``."""
    rows = connection.execute(
        text("""
            SELECT l.lane, (SELECT count(*) FROM (
                     SELECT FROM verifier.open_verifications o
                      WHERE o.lane = l.lane AND o.state = 'waiting' AND NOT o.held
                        AND o.due_at <= (SELECT verifier.verifier_now()) LIMIT :limit) d) AS due
              FROM verifier.lanes l
        """),
        {"limit": limit},
    )
    return {Lane(row.lane): row.due for row in rows if row.due}


def lane_of(connection: Connection, verification_id: int) -> Lane | None:
    """The lane of a waiting verification, or None when it is settled or being called.

    It is moved to the lane that its number has now, if the data changed meanwhile.
    """
    row = connection.execute(
        text("""
            SELECT o.lane, u.lane AS user_lane
              FROM verifier.open_verifications o JOIN verifier.users u ON u.id = o.user_id
             WHERE o.id = :id AND o.state = 'waiting'
        """),
        {"id": verification_id},
    ).one_or_none()
    if row is None:
        return None
    if row.lane != row.user_lane:
        move_to_lane(connection, [verification_id], [row.user_lane])
    return Lane(row.user_lane)


def move_to_lane(connection: Connection, ids: Sequence[int], lanes: Sequence[str]) -> None:
    """Put locked rows into the lane their number has now (the data changed while they waited)."""
    connection.execute(
        text("""
            UPDATE verifier.open_verifications o SET lane = m.lane
              FROM unnest(CAST(:ids AS bigint[]), CAST(:lanes AS text[])) AS m (id, lane)
             WHERE o.id = m.id
        """),
        {"ids": arrays.of_numbers(ids), "lanes": arrays.of_texts(lanes)},
    )


@dataclass(frozen=True, slots=True)
class Postponed:
    """A locked, unclaimed row that cannot be called now, and why."""

    verification_id: int
    due_at: datetime
    reason: str


def postpone(connection: Connection, rows: Sequence[Postponed]) -> None:
    """Give locked rows a later due time and a reason. Never moves a due time back."""
    if not rows:
        return
    connection.execute(
        text("""
            UPDATE verifier.open_verifications o
               SET due_at = greatest(o.due_at, p.due), reason = p.reason,
                   turn_at = verifier.turn_at(greatest(o.due_at, p.due), o.priority)
              FROM unnest(CAST(:ids AS bigint[]), CAST(:due AS timestamptz[]),
                          CAST(:reasons AS text[])) AS p (id, due, reason)
             WHERE o.id = p.id
        """),
        {
            "ids": arrays.of_numbers(r.verification_id for r in rows),
            "due": arrays.of_instants(r.due_at for r in rows),
            "reasons": arrays.of_texts(r.reason for r in rows),
        },
    )


def bring_forward(connection: Connection, batch_id: int) -> int:
    """An operator's re-run of what waits: due now, out of quarantine. Returns how many rows."""
    return connection.execute(
        text("""
            WITH mine AS MATERIALIZED (
              SELECT o.user_id FROM verifier.open_verifications o
                JOIN verifier.batch_items i ON i.verification_id = o.id
               WHERE i.batch_id = :batch AND o.state <> 'claimed'
               ORDER BY o.user_id FOR UPDATE OF o)
            UPDATE verifier.open_verifications o
               SET state = 'waiting', crashes = 0,
                   reason = CASE o.state WHEN 'quarantined' THEN 'new' ELSE o.reason END,
                   due_at = least(o.due_at, (SELECT verifier.verifier_now())),
                   turn_at = verifier.turn_at(
                       least(o.due_at, (SELECT verifier.verifier_now())), o.priority)
              FROM mine WHERE o.user_id = mine.user_id
        """),
        {"batch": batch_id},
    ).rowcount


def escalate_overdue(connection: Connection, *, raise_priority: bool, limit: int) -> list[int]:
    """Mark open rows that passed their deadline, once each. Never fails a user. Returns the ids.

    With ``raise_priority`` they go ahead of normal work. Rows that somebody works on are left for
    the next time.
    """
    return list(
        connection.scalars(
            text("""
                WITH late AS MATERIALIZED (
                  SELECT user_id FROM verifier.open_verifications
                   WHERE escalated_at IS NULL AND deadline_at < (SELECT verifier.verifier_now())
                   ORDER BY user_id LIMIT :limit FOR UPDATE SKIP LOCKED)
                UPDATE verifier.open_verifications o
                   SET escalated_at = (SELECT verifier.verifier_now()),
                       priority = CASE WHEN :high THEN least(o.priority, 1) ELSE o.priority END,
                       turn_at = CASE WHEN :high
                                      THEN verifier.turn_at(o.due_at, least(o.priority, 1))
                                      ELSE o.turn_at END
                  FROM late WHERE o.user_id = late.user_id
                RETURNING o.id
            """),
            {"high": raise_priority, "limit": limit},
        )
    )
