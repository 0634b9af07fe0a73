"""Batches: who asked for what, loaded in resumable chunks, counted by tally deltas.

Loading has two steps. The *snapshot* writes down whom the batch is about, in one statement, once.
Then chunks open a verification for each, or join the one the user already has: nobody is dropped
and nobody is opened twice, whatever else settles or submits at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, text

from verifier.store.copying import copy_to_temporary


def create(
    connection: Connection,
    *,
    caller: str,
    key: str,
    digest: bytes,
    selection: str,
    priority: int,
    deadline_hours: int,
    label: str | None,
    rerun_of: int | None,
) -> tuple[Row[Any], bool]:
    """The batch of (caller, key), and whether this call made it. The caller compares digests."""
    made = connection.execute(
        text("""
            INSERT INTO verifier.batches (caller, idempotency_key, request_digest, selection,
                                          priority, deadline_hours, label, rerun_of)
            VALUES (:caller, :key, :digest, CAST(:selection AS jsonb), :priority, :hours, :label,
                    :rerun_of)
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
        },
    ).scalar_one_or_none()
    row = connection.execute(
        text("SELECT * FROM verifier.batches WHERE caller = :caller AND idempotency_key = :key"),
        {"caller": caller, "key": key},
    ).one()
    return row, made is not None


#: Selections by what is stored; each is a condition on users ``u``. ``:of`` is the re-run batch.
SELECTIONS: Final = {
    "all": "true",
    "unverified": "u.status = 'unverified'",
    "failed": "u.status = 'failed'",
    "rerun": "u.id IN (SELECT user_id FROM verifier.batch_items WHERE batch_id = :of)",
    "rerun-failed": """u.id IN (
        SELECT i.user_id FROM verifier.batch_items i
          JOIN verifier.verifications v ON v.id = i.verification_id
         WHERE i.batch_id = :of AND v.outcome <> 'MATCHED')""",
    "rerun-waiting": """u.id IN (
        SELECT i.user_id FROM verifier.batch_items i
          JOIN verifier.open_verifications o ON o.id = i.verification_id
         WHERE i.batch_id = :of)""",
    # What the nightly audit queues again: see verifier/audit/policy.py for the reasons.
    "audit": """NOT EXISTS (SELECT FROM verifier.open_verifications o WHERE o.user_id = u.id)
        AND (u.status = 'unverified'
          OR (u.status = 'verified' AND u.checked_at < :verified_before)
          OR (u.outcome = 'NO_RECORD' AND u.checked_at < :no_record_before)
          OR (u.outcome = 'NUMBER_INACTIVE' AND u.checked_at < :inactive_before))""",
}


def take_snapshot(
    connection: Connection, batch_id: int, selection: str, parameters: dict[str, Any]
) -> int:
    """Write down whom the batch is about, by a selection of :data:`SELECTIONS`. Once."""
    if not _lock_without_snapshot(connection, batch_id):
        return 0
    taken = connection.execute(
        text(f"""
            INSERT INTO verifier.batch_items (batch_id, user_id, verification_id)
            SELECT :batch, u.id, nextval('verifier.verification_ids')
              FROM verifier.users u WHERE {SELECTIONS[selection]}
               AND (CAST(:platform AS text) IS NULL OR u.platform = :platform)
             ORDER BY u.id
        """),  # noqa: S608 - one of the constants above
        {"platform": None, **parameters, "batch": batch_id},
    ).rowcount
    return _snapshot_taken(connection, batch_id, total=taken, unknown=0)


def take_listed_snapshot(
    connection: Connection, batch_id: int, keys: Sequence[tuple[str, str]]
) -> int:
    """As :func:`take_snapshot`, from a list of (platform, reference); unknown ones are counted."""
    if not _lock_without_snapshot(connection, batch_id):
        return 0
    copy_to_temporary(
        connection, "wanted", (("platform", "text"), ("reference", "text")), dict.fromkeys(keys)
    )
    connection.execute(text("ANALYZE wanted"))
    taken = connection.execute(
        text("""
            INSERT INTO verifier.batch_items (batch_id, user_id, verification_id)
            SELECT :batch, u.id, nextval('verifier.verification_ids')
              FROM wanted w JOIN verifier.users u USING (platform, reference) ORDER BY u.id
        """),
        {"batch": batch_id},
    ).rowcount
    unknown = len(set(keys)) - taken
    return _snapshot_taken(connection, batch_id, total=taken, unknown=unknown)


def unknown_keys(
    connection: Connection, keys: Sequence[tuple[str, str]], limit: int
) -> list[tuple[str, str]]:
    """The first ``limit`` of ``keys`` that name no user."""
    rows = connection.execute(
        text("""
            SELECT k.platform, k.reference
              FROM unnest(CAST(:platforms AS text[]), CAST(:references AS text[]))
                   WITH ORDINALITY AS k (platform, reference, place)
             WHERE NOT EXISTS (SELECT FROM verifier.users u
                    WHERE u.platform = k.platform AND u.reference = k.reference)
             ORDER BY k.place LIMIT :limit
        """),
        {"platforms": [k[0] for k in keys], "references": [k[1] for k in keys], "limit": limit},
    )
    return [(row.platform, row.reference) for row in rows]


def count_selected(
    connection: Connection, selection: str, parameters: dict[str, Any]
) -> dict[str, int]:
    """Users per lane that a selection would take now."""
    rows = connection.execute(
        text(f"""
            SELECT u.lane, count(*)::int AS number FROM verifier.users u
             WHERE {SELECTIONS[selection]}
               AND (CAST(:platform AS text) IS NULL OR u.platform = :platform)
             GROUP BY u.lane ORDER BY u.lane
        """),  # noqa: S608 - one of the constants above
        {"platform": None, **parameters},
    )
    return {row.lane: row.number for row in rows}


def count_listed(connection: Connection, keys: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Users per lane that a list of (platform, reference) names."""
    copy_to_temporary(
        connection, "wanted", (("platform", "text"), ("reference", "text")), dict.fromkeys(keys)
    )
    rows = connection.execute(
        text("""
            SELECT u.lane, count(*)::int AS number
              FROM wanted w JOIN verifier.users u USING (platform, reference)
             GROUP BY u.lane ORDER BY u.lane
        """)
    )
    return {row.lane: row.number for row in rows}


def _lock_without_snapshot(connection: Connection, batch_id: int) -> bool:
    """Lock the batch; whether its snapshot is still to be taken."""
    return not connection.execute(
        text("SELECT snapshot_taken FROM verifier.batches WHERE id = :batch FOR UPDATE"),
        {"batch": batch_id},
    ).scalar_one()


def _snapshot_taken(connection: Connection, batch_id: int, *, total: int, unknown: int) -> int:
    connection.execute(
        text("""
            UPDATE verifier.batches SET snapshot_taken = true, total = :total, unknown = :unknown
             WHERE id = :batch
        """),
        {"batch": batch_id, "total": total, "unknown": unknown},
    )
    return total


def load_chunk(connection: Connection, batch_id: int, size: int) -> bool:
    """Open or join verifications for the next ``size`` items; whether items were left to load.

    One loader at a time holds the batch row; progress is committed with the chunk, so a loader
    that dies is resumed by anybody. Opens the batch when the last item is loaded.
    """
    batch = connection.execute(
        text("SELECT * FROM verifier.batches WHERE id = :batch FOR UPDATE"), {"batch": batch_id}
    ).one()
    if batch.state != "loading" or not batch.snapshot_taken:
        return False
    top = connection.execute(
        text("""
            SELECT max(user_id) AS top, count(*) AS number FROM (
              SELECT user_id FROM verifier.batch_items
               WHERE batch_id = :batch AND user_id > :from ORDER BY user_id LIMIT :size) AS chunk
        """),
        {"batch": batch_id, "from": batch.loaded_to, "size": size},
    ).one()
    if top.top is None or batch.cancelled_at is not None:
        connection.execute(
            text("UPDATE verifier.batches SET state = 'open' WHERE id = :batch"),
            {"batch": batch_id},
        )
        return False
    span = {
        "batch": batch_id,
        "from": batch.loaded_to,
        "to": top.top,
        "priority": batch.priority,
        "hours": batch.deadline_hours,
        "held": batch.paused_at is not None,
    }
    done = 0
    while done < top.number:
        # A user may settle between the insert and the join: then neither finds a row, and the
        # next round opens a new one. Each round sees what was committed before it.
        done += connection.execute(_OPEN, span).rowcount
        done += connection.execute(_JOIN, span).rowcount
    connection.execute(text("UPDATE verifier.batches SET loaded_to = :to WHERE id = :batch"), span)
    return True


_OPEN: Final = text("""
    INSERT INTO verifier.open_verifications
           (user_id, id, lane, priority, due_at, turn_at, reason, deadline_at, held)
    SELECT i.user_id, i.verification_id, u.lane, :priority, n.now,
           verifier.turn_at(n.now, :priority), 'new', n.now + make_interval(hours => :hours), :held
      FROM verifier.batch_items i
      JOIN verifier.users u ON u.id = i.user_id
     CROSS JOIN (SELECT verifier.verifier_now() AS now) n
     WHERE i.batch_id = :batch AND i.user_id > :from AND i.user_id <= :to
       AND NOT EXISTS (SELECT FROM verifier.open_verifications o WHERE o.user_id = i.user_id)
     ORDER BY i.user_id
    ON CONFLICT (user_id) DO NOTHING
""")

# The key-share lock keeps the joined verification from being settled before this item is visible
# to the tally that settling makes; it does not get in the way of claims.
_JOIN: Final = text("""
    WITH joined AS MATERIALIZED (
      SELECT o.user_id, o.id FROM verifier.open_verifications o
        JOIN verifier.batch_items i ON i.user_id = o.user_id
       WHERE i.batch_id = :batch AND i.user_id > :from AND i.user_id <= :to
         AND o.id <> i.verification_id
       ORDER BY o.user_id FOR KEY SHARE OF o
    ), promoted AS (
      UPDATE verifier.open_verifications o
         SET priority = least(o.priority, :priority), held = o.held AND :held,
             turn_at = verifier.turn_at(o.due_at, least(o.priority, :priority))
        FROM joined j WHERE o.user_id = j.user_id
         AND (o.priority > :priority OR (o.held AND NOT :held))
    )
    UPDATE verifier.batch_items i SET verification_id = j.id FROM joined j
     WHERE i.batch_id = :batch AND i.user_id = j.user_id
""")


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
        {"ids": list(ids), "outcomes": list(outcomes)},
    )


def finish_completed(connection: Connection) -> int:
    """Mark open batches done whose every item has settled; fold their tallies. Returns how many."""
    finished = connection.execute(
        text("""
            UPDATE verifier.batches b SET state = 'done', finished_at = verifier.verifier_now()
             WHERE b.state = 'open'
               AND b.total <= (SELECT coalesce(sum(t.count), 0) FROM verifier.batch_tallies t
                                WHERE t.batch_id = b.id)
            RETURNING b.id
        """)
    ).scalars()
    return len(finished.all())


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


def waiting(connection: Connection, batch_id: int) -> Sequence[Row[Any]]:
    """What a batch's unsettled items wait for: (state, reason, held, number, next due)."""
    return connection.execute(
        text("""
            SELECT o.state, o.reason, o.held, count(*) AS number, min(o.due_at) AS due_at
              FROM verifier.batch_items i
              JOIN verifier.open_verifications o ON o.id = i.verification_id
             WHERE i.batch_id = :batch GROUP BY o.state, o.reason, o.held ORDER BY number DESC
        """),
        {"batch": batch_id},
    ).all()


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


def unfinished_loads(connection: Connection) -> list[int]:
    """Batches with their snapshot taken but not all loaded: anybody may resume them."""
    return list(
        connection.scalars(
            text("""
                SELECT id FROM verifier.batches WHERE state = 'loading' AND snapshot_taken
                 ORDER BY id
            """)
        )
    )


def results(connection: Connection, batch_id: int) -> Any:
    """Stream (platform, reference, outcome, detail, provider, settled_at, reason) of all items."""
    return connection.execute(
        text("""
            SELECT u.platform, u.reference, v.outcome, v.detail, v.provider, v.attempts,
                   v.settled_at, o.state AS open_state, o.reason, o.due_at, u.locale, u.time_zone
              FROM verifier.batch_items i
              JOIN verifier.users u ON u.id = i.user_id
              LEFT JOIN verifier.verifications v ON v.id = i.verification_id
              LEFT JOIN verifier.open_verifications o ON o.id = i.verification_id
             WHERE i.batch_id = :batch ORDER BY i.user_id
        """),
        {"batch": batch_id},
        execution_options={"yield_per": 5000},
    )


def pause(connection: Connection, batch_id: int, *, by: str, reason: str | None) -> int:
    """Hold the batch's waiting rows, unless another running batch wants them too. Returns held."""
    connection.execute(
        text("""
            UPDATE verifier.batches SET paused_at = coalesce(paused_at, verifier.verifier_now()),
                   paused_by = :by, pause_reason = :reason WHERE id = :batch
        """),
        {"batch": batch_id, "by": by, "reason": reason},
    )
    return connection.execute(
        text("""
            WITH mine AS MATERIALIZED (
              SELECT o.user_id FROM verifier.open_verifications o
                JOIN verifier.batch_items i ON i.verification_id = o.id
               WHERE i.batch_id = :batch AND NOT o.held AND o.priority > 0
                 AND NOT EXISTS (
                     SELECT FROM verifier.batch_items x JOIN verifier.batches b ON b.id = x.batch_id
                      WHERE x.verification_id = o.id AND b.paused_at IS NULL
                        AND b.cancelled_at IS NULL AND b.state <> 'done')
               ORDER BY o.user_id FOR UPDATE OF o)
            UPDATE verifier.open_verifications o SET held = true
              FROM mine WHERE o.user_id = mine.user_id
        """),
        {"batch": batch_id},
    ).rowcount


def resume(connection: Connection, batch_id: int) -> int:
    """Let the batch's rows go on. Returns how many were released."""
    connection.execute(
        text("""
            UPDATE verifier.batches SET paused_at = NULL, paused_by = NULL, pause_reason = NULL
             WHERE id = :batch
        """),
        {"batch": batch_id},
    )
    return connection.execute(
        text("""
            WITH mine AS MATERIALIZED (
              SELECT o.user_id FROM verifier.open_verifications o
                JOIN verifier.batch_items i ON i.verification_id = o.id
               WHERE i.batch_id = :batch AND o.held ORDER BY o.user_id FOR UPDATE OF o)
            UPDATE verifier.open_verifications o SET held = false
              FROM mine WHERE o.user_id = mine.user_id
        """),
        {"batch": batch_id},
    ).rowcount


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


def cancel_chunk(connection: Connection, batch_id: int, size: int) -> int:
    """End up to ``size`` waiting items of a cancelled batch. Returns how many; 0 when none is left.

    A verification that somebody else still waits for (another batch, an interactive caller) goes
    on; this batch's item then points to a cancelled verification of its own. What is being called
    right now is left to finish. Items that were never loaded are cancelled the same way.
    """
    rows = connection.execute(
        text("""
            SELECT i.user_id, i.verification_id AS id, o.user_id AS open_user, u.lane, u.version,
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
               AND (o.state <> 'claimed' OR (o.id IS NULL AND NOT EXISTS (
                    SELECT FROM verifier.verifications v WHERE v.id = i.verification_id)))
             ORDER BY i.user_id LIMIT :size
        """),
        {"batch": batch_id, "size": size},
    ).all()
    if not rows:
        return 0
    # Locked second, by what was seen: a row that was claimed or settled meanwhile drops out.
    locked = set(
        connection.scalars(
            text("""
                SELECT id FROM verifier.open_verifications
                 WHERE user_id = ANY(:users) AND state <> 'claimed' ORDER BY user_id FOR UPDATE
            """),
            {"users": [row.open_user for row in rows if row.open_user is not None]},
        )
    )
    gone = [row for row in rows if row.open_user is None or row.id in locked]
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
