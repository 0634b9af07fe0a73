"""Holding a batch: pause, resume, cancel. What somebody else wants too goes on."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection, Row, text

from verifier.store import payers
from verifier.store.batches import lock, tally_settled

# A row is held when everybody who waits for it has paused: another running batch, or somebody who
# asked interactively (priority 0), lets it go on.
_SETTLE_HOLDS: Final = """
    WITH mine AS MATERIALIZED (
      SELECT o.user_id, o.id, o.priority FROM verifier.open_verifications o
       WHERE {chosen} ORDER BY o.user_id FOR UPDATE OF o
    ), wanted AS (
      SELECT m.user_id, m.priority > 0 AND bool_and(b.paused_at IS NOT NULL) AS held
        FROM mine m JOIN verifier.batch_items x ON x.verification_id = m.id
        JOIN verifier.batches b ON b.id = x.batch_id
             AND b.cancelled_at IS NULL AND b.state <> 'done'
       GROUP BY m.user_id, m.priority
    )
    UPDATE verifier.open_verifications o SET held = w.held
      FROM wanted w WHERE o.user_id = w.user_id AND o.held <> w.held
"""
_OF_BATCH: Final = text(
    _SETTLE_HOLDS.format(
        chosen="o.id IN (SELECT verification_id FROM verifier.batch_items WHERE batch_id = :batch)"
    )
)
_OF_IDS: Final = text(_SETTLE_HOLDS.format(chosen="o.id = ANY(:ids)"))


def pause(connection: Connection, batch_id: int, *, by: str, reason: str | None) -> int:
    """Hold the batch's rows, unless somebody else wants them too. Returns how many were held."""
    connection.execute(
        text("""
            UPDATE verifier.batches SET paused_at = coalesce(paused_at, verifier.verifier_now()),
                   paused_by = :by, pause_reason = coalesce(:reason, pause_reason)
             WHERE id = :batch
        """),
        {"batch": batch_id, "by": by, "reason": reason},
    )
    payers.settle(connection, batch_id)
    return connection.execute(_OF_BATCH, {"batch": batch_id}).rowcount


def resume(connection: Connection, batch_id: int, budget: Decimal | None = None) -> int:
    """Let the batch's rows go on, with another ``budget`` if given. Returns how many were released.

    Its rows that waited for money are due at once.
    """
    had_one: bool = connection.execute(
        text("""
            UPDATE verifier.batches b SET paused_at = NULL, paused_by = NULL, pause_reason = NULL,
                   budget = coalesce(CAST(:budget AS numeric), b.budget)
              FROM (SELECT id, budget FROM verifier.batches WHERE id = :batch FOR NO KEY UPDATE) was
             WHERE b.id = was.id RETURNING was.budget IS NOT NULL
        """),
        {"batch": batch_id, "budget": budget},
    ).scalar_one()
    if budget is not None and not had_one:
        payers.begin_to_pay(connection, batch_id)
    else:
        payers.settle(connection, batch_id)
    connection.execute(
        text("""
            WITH mine AS MATERIALIZED (
              SELECT o.user_id FROM verifier.open_verifications o
               WHERE o.payer = :batch AND o.state = 'waiting' AND o.reason = 'budget'
               ORDER BY o.user_id FOR UPDATE OF o)
            UPDATE verifier.open_verifications o
               SET due_at = n.now, turn_at = verifier.turn_at(n.now, o.priority)
              FROM mine, (SELECT verifier.verifier_now() AS now OFFSET 0) n
             WHERE o.user_id = mine.user_id
        """),
        {"batch": batch_id},
    )
    released = connection.execute(_OF_BATCH, {"batch": batch_id}).rowcount
    # Locked last, as everywhere.
    connection.execute(
        text("UPDATE verifier.spending SET exhausted_at = NULL WHERE scope = 'batch:' || :batch"),
        {"batch": str(batch_id)},
    )
    return released


def paused(connection: Connection, limit: int = 3) -> Sequence[Row[Any]]:
    """(id, paused_by, pause_reason) of the paused batches that are not done, newest first."""
    return connection.execute(
        text("""
            SELECT id, paused_by, pause_reason FROM verifier.batches
             WHERE paused_at IS NOT NULL AND state <> 'done' ORDER BY id DESC LIMIT :limit
        """),
        {"limit": limit},
    ).all()


def mark_cancelled(connection: Connection, batch_id: int) -> None:
    """From now on nothing of this batch is loaded, and :func:`cancel_chunk` ends what waits."""
    connection.execute(
        text("""
            UPDATE verifier.batches
               SET cancelled_at = coalesce(cancelled_at, verifier.verifier_now())
             WHERE id = :batch AND state <> 'done'
        """),
        {"batch": batch_id},
    )
    payers.settle(connection, batch_id)


def cancelled_unfinished(connection: Connection) -> list[int]:
    """Cancelled batches that are not done: calls were in flight when they were cancelled."""
    return list(
        connection.scalars(
            text("""
                SELECT id FROM verifier.batches
                 WHERE cancelled_at IS NOT NULL AND state <> 'done' ORDER BY id
            """)
        )
    )


def cancel_chunk(connection: Connection, batch_id: int, size: int, *, wait: bool = True) -> int:
    """End up to ``size`` waiting items of a cancelled batch. Returns how many; 0 when none is left.

    A verification that somebody else still waits for (another batch, an interactive caller) goes
    on; this batch's item then points to a cancelled verification of its own. What is being called
    right now is left to finish. Items that were never loaded are cancelled the same way.
    """
    # One canceller at a time: what the other has ended is seen by the statements after this one.
    if lock(connection, batch_id, wait=wait) is None:
        return 0
    # Lock first, look afterwards: whoever was joining a row has then committed, and is seen.
    locked = list(
        connection.scalars(
            text("""
                SELECT o.id FROM verifier.open_verifications o
                  JOIN verifier.batch_items i ON i.verification_id = o.id
                 WHERE i.batch_id = :batch AND o.state <> 'claimed'
                 ORDER BY o.user_id LIMIT :size FOR UPDATE OF o
            """),
            {"batch": batch_id, "size": size},
        )
    )
    gone = connection.execute(
        text("""
            SELECT i.user_id, i.verification_id AS id, u.lane, u.version,
                   coalesce(o.created_at, verifier.verifier_now()) AS created_at,
                   coalesce(o.attempts, 0) AS attempts,
                   o.id IS NOT NULL AND (o.priority = 0 OR EXISTS (
                     SELECT FROM verifier.batch_items x JOIN verifier.batches b ON b.id = x.batch_id
                      WHERE x.verification_id = o.id AND x.batch_id <> :batch
                        AND b.cancelled_at IS NULL AND b.state <> 'done')) AS shared
              FROM verifier.batch_items i
              JOIN verifier.users u ON u.id = i.user_id
              LEFT JOIN verifier.open_verifications o ON o.id = i.verification_id
             WHERE i.batch_id = :batch
               AND (o.id = ANY(:locked) OR (o.id IS NULL AND NOT EXISTS (
                    SELECT FROM verifier.verifications v WHERE v.id = i.verification_id)))
             ORDER BY i.user_id LIMIT :size
        """),
        {"batch": batch_id, "locked": locked, "size": size},
    ).all()
    if not gone:
        return 0
    shared = [row for row in gone if row.shared]
    ended = [(row, row.id) for row in gone if not row.shared]
    if shared:
        fresh = connection.execute(
            text("""
                UPDATE verifier.batch_items
                   SET verification_id = nextval('verifier.verification_ids')
                 WHERE batch_id = :batch AND user_id = ANY(:users)
                RETURNING user_id, verification_id
            """),
            {"batch": batch_id, "users": [row.user_id for row in shared]},
        )
        new_ids = {row.user_id: row.verification_id for row in fresh}
        ended += [(row, new_ids[row.user_id]) for row in shared]
        connection.execute(_OF_IDS, {"ids": [row.id for row in shared]})
    connection.execute(
        text("""
            INSERT INTO verifier.verifications
                   (id, settled_at, user_id, data_version, lane, outcome, attempts, created_at)
            SELECT c.id, verifier.verifier_now(), c.user_id, c.version, c.lane, 'CANCELLED',
                   c.attempts, c.created_at
              FROM unnest(CAST(:ids AS bigint[]), CAST(:users AS bigint[]),
                          CAST(:versions AS int[]), CAST(:lanes AS text[]),
                          CAST(:attempts AS int[]), CAST(:created AS timestamptz[]))
                   AS c (id, user_id, version, lane, attempts, created_at)
        """),
        {
            "ids": [new_id for _, new_id in ended],
            "users": [row.user_id for row, _ in ended],
            "versions": [row.version for row, _ in ended],
            "lanes": [row.lane for row, _ in ended],
            "attempts": [row.attempts for row, _ in ended],
            "created": [row.created_at for row, _ in ended],
        },
    )
    connection.execute(
        text("DELETE FROM verifier.open_verifications WHERE id = ANY(:ids)"),
        {"ids": [row.id for row in gone if not row.shared]},
    )
    tally_settled(connection, [new_id for _, new_id in ended], ["CANCELLED"] * len(ended))
    return len(gone)
