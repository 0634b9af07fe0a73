"""Batches: who asked for what, how far it is, counted by tally deltas so that no row is hot."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, text

from verifier.events import CELERY, Event
from verifier.store import arrays


def create(
    connection: Connection,
    *,
    caller: str,
    key: str,
    digest: bytes,
    selection: str,
    priority: int,
    deadline_hours: int | None,
    label: str | None,
    rerun_of: int | None,
    notify: tuple[str, str] | None = None,
    budget: Decimal | None = None,
) -> tuple[Row[Any], bool]:
    """The batch of (caller, key), and whether this call made it. The caller compares digests.

    ``notify``: the task and the queue that are told when it is done. ``budget``: what its calls may
    cost, if not what is configured.
    """
    made = connection.execute(
        text("""
            INSERT INTO verifier.batches (caller, idempotency_key, request_digest, selection,
                                          priority, deadline_hours, label, rerun_of,
                                          notify_task, notify_queue, budget)
            VALUES (:caller, :key, :digest, CAST(:selection AS jsonb), :priority, :hours, :label,
                    :rerun_of, :task, :queue, :budget)
            ON CONFLICT (caller, idempotency_key) DO NOTHING RETURNING id
        """),
        {
            "caller": caller,
            "key": key,
            "digest": digest,
            "selection": selection,
            "priority": priority,
            "hours": deadline_hours,
            "label": label,
            "rerun_of": rerun_of,
            "task": notify[0] if notify else None,
            "queue": notify[1] if notify else None,
            "budget": budget,
        },
    ).scalar_one_or_none()
    row = connection.execute(
        text("SELECT * FROM verifier.batches WHERE caller = :caller AND idempotency_key = :key"),
        {"caller": caller, "key": key},
    ).one()
    return row, made is not None


def request_of(connection: Connection, caller: str, key: str) -> dict[str, Any] | None:
    """What was asked for under this key, as it was described; None for a new one."""
    return connection.execute(
        text("""
            SELECT selection FROM verifier.batches
             WHERE caller = :caller AND idempotency_key = :key
        """),
        {"caller": caller, "key": key},
    ).scalar_one_or_none()


def has_key(connection: Connection, caller: str, key: str) -> bool:
    """Whether the caller has used this key."""
    found: bool = connection.execute(
        text("""
            SELECT EXISTS (SELECT FROM verifier.batches
                            WHERE caller = :caller AND idempotency_key = :key)
        """),
        {"caller": caller, "key": key},
    ).scalar_one()
    return found


def tally_settled(connection: Connection, ids: Sequence[int], outcomes: Sequence[str]) -> None:
    """Add what just settled to every batch that waits for it. Same transaction as the settling."""
    connection.execute(
        text("""
            INSERT INTO verifier.batch_tallies (batch_id, outcome, count)
            SELECT i.batch_id, s.outcome, count(*)
              FROM unnest(CAST(:ids AS bigint[]), CAST(:outcomes AS text[])) AS s (id, outcome)
              JOIN verifier.batch_items i ON i.verification_id = s.id
             GROUP BY i.batch_id, s.outcome
        """),
        {"ids": arrays.of_numbers(ids), "outcomes": arrays.of_texts(outcomes)},
    )


def finish_completed(connection: Connection, batch_id: int | None = None) -> int:
    """Mark open batches (or this one) done whose every item has settled. Returns how many.

    Whoever is to be told (endpoints that asked for it, the task that the caller named) is written
    down in the same statement.
    """
    finished: int = connection.execute(
        text("""
            WITH finished AS (
              UPDATE verifier.batches b SET state = 'done', finished_at = verifier.verifier_now()
               WHERE b.state = 'open' AND (CAST(:batch AS bigint) IS NULL OR b.id = :batch)
                 AND b.total <= (SELECT coalesce(sum(t.count), 0) FROM verifier.batch_tallies t
                                  WHERE t.batch_id = b.id)
              RETURNING b.id, b.notify_task
            ), told AS (
              INSERT INTO verifier.deliveries (endpoint, event, payload, events)
              SELECT e.name, :event, jsonb_build_object('batch', f.id), 1
                FROM finished f JOIN verifier.endpoints e
                  ON (e.configured AND :event = ANY(e.events))
                  OR (e.name = :celery AND f.notify_task IS NOT NULL)
            )
            SELECT count(*) FROM finished
        """),
        {"batch": batch_id, "event": Event.BATCH_DONE, "celery": CELERY},
    ).scalar_one()
    return finished


def fold_tallies(connection: Connection, at_least: int = 16) -> int:
    """Sum the deltas of batches that have gathered many. Returns how many rows went away."""
    folded: int = connection.execute(
        text("""
            WITH many AS (
              SELECT batch_id FROM verifier.batch_tallies GROUP BY batch_id
              HAVING count(*) >= :at_least
            ), taken AS (
              DELETE FROM verifier.batch_tallies t USING many m WHERE t.batch_id = m.batch_id
              RETURNING t.batch_id, t.outcome, t.count
            ), folded AS (
              INSERT INTO verifier.batch_tallies (batch_id, outcome, count)
              SELECT batch_id, outcome, sum(count) FROM taken GROUP BY batch_id, outcome
              RETURNING 1
            )
            SELECT (SELECT count(*) FROM taken) - (SELECT count(*) FROM folded)
        """),
        {"at_least": at_least},
    ).scalar_one()
    return folded


def lock(connection: Connection, batch_id: int, *, wait: bool = True) -> Row[Any] | None:
    """One batch, locked until commit. None if, without ``wait``, somebody else has it."""
    patience = "" if wait else "SKIP LOCKED"
    return connection.execute(
        text(f"SELECT * FROM verifier.batches WHERE id = :batch FOR NO KEY UPDATE {patience}"),  # noqa: S608
        {"batch": batch_id},
    ).one_or_none()


def get(connection: Connection, batch_id: int) -> Row[Any] | None:
    """One batch."""
    return connection.execute(
        text("SELECT * FROM verifier.batches WHERE id = :batch"), {"batch": batch_id}
    ).one_or_none()


def tallies(connection: Connection, batch_id: int) -> dict[str, int]:
    """Outcome → how many items of the batch settled so."""
    rows = connection.execute(
        text("""
            SELECT outcome, sum(count)::int AS number FROM verifier.batch_tallies
             WHERE batch_id = :batch GROUP BY outcome ORDER BY number DESC
        """),
        {"batch": batch_id},
    )
    return {row.outcome: row.number for row in rows}


def listing(connection: Connection, limit: int = 20) -> Sequence[Row[Any]]:
    """The latest batches, newest first, with how many items settled."""
    return connection.execute(
        text("""
            SELECT b.*, (SELECT coalesce(sum(t.count), 0)::int FROM verifier.batch_tallies t
                          WHERE t.batch_id = b.id) AS settled
              FROM verifier.batches b ORDER BY b.id DESC LIMIT :limit
        """),
        {"limit": limit},
    ).all()


def results(connection: Connection, batch_id: int) -> Any:
    """Stream all items of a batch: result or, while there is none, what they wait for."""
    return connection.execute(
        text("""
            SELECT u.platform, u.reference, v.outcome, v.detail, v.provider, v.attempts,
                   v.settled_at, w.state AS open_state, w.cause, w.until
              FROM verifier.batch_items i
              JOIN verifier.users u ON u.id = i.user_id
              LEFT JOIN verifier.verifications v ON v.id = i.verification_id
              LEFT JOIN verifier.waiting w ON w.id = i.verification_id
             WHERE i.batch_id = :batch ORDER BY i.user_id
        """),
        {"batch": batch_id},
        execution_options={"yield_per": 5000},
    )
