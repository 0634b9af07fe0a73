"""Loading a batch: whom it is about, then a verification for each.

The *snapshot* writes down whom the batch is about, in one statement, once. Then chunks open a
verification for each, or join the one the user already has: nobody is dropped and nobody is opened
twice, whatever else settles or submits at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, TextClause, text

from verifier.store import batches, payers
from verifier.store.copying import copy_to_temporary

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


_KEY: Final = (("platform", "text"), ("reference", "text"))

#: References looked up at a time when one known is enough.
_LOOK_CHUNK: Final = 5000


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
    copy_to_temporary(connection, "wanted", _KEY, list(dict.fromkeys(keys)))
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


def any_listed(connection: Connection, keys: Sequence[tuple[str, str]]) -> bool:
    """Whether any of a list of (platform, reference) names a user; the first known one ends it."""
    found = False
    for start in range(0, len(keys), _LOOK_CHUNK):
        some = keys[start : start + _LOOK_CHUNK]
        found = connection.execute(
            text("""
                SELECT EXISTS (
                  SELECT FROM unnest(CAST(:platforms AS text[]), CAST(:references AS text[]))
                         AS k (platform, reference)
                    JOIN verifier.users u USING (platform, reference))
            """),
            {"platforms": [k[0] for k in some], "references": [k[1] for k in some]},
        ).scalar_one()
        if found:
            break
    return found


def any_selected(connection: Connection, selection: str, parameters: dict[str, Any]) -> bool:
    """Whether a selection would take anybody now."""
    found: bool = connection.execute(
        text(f"""
            SELECT EXISTS (SELECT FROM verifier.users u WHERE {SELECTIONS[selection]}
               AND (CAST(:platform AS text) IS NULL OR u.platform = :platform))
        """),  # noqa: S608 - one of the constants above
        {"platform": None, **parameters},
    ).scalar_one()
    return found


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
    copy_to_temporary(connection, "wanted", _KEY, list(dict.fromkeys(keys)))
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
        text("SELECT snapshot_taken FROM verifier.batches WHERE id = :batch FOR NO KEY UPDATE"),
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


def load_chunk(
    connection: Connection,
    batch_id: int,
    size: int,
    *,
    deadline_hours: int = 24,
    budget: Decimal | None = None,
    wait: bool = True,
) -> bool:
    """Open or join verifications for the next ``size`` items; whether items were left to load.

    One loader at a time holds the batch row; progress is committed with the chunk, so a loader
    that dies is resumed by anybody. Opens the batch when the last item is loaded.
    ``deadline_hours`` and ``budget`` are for a batch that asked for none of its own. Without
    ``wait`` a
    batch that somebody else is loading is left to them.
    """
    batch = batches.lock(connection, batch_id, wait=wait)
    if batch is None or batch.state != "loading" or not batch.snapshot_taken:
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
        "hours": batch.deadline_hours or deadline_hours,
        "held": batch.paused_at is not None,
        "asked_at": batch.created_at,
        "payer": batch_id if budget is not None or batch.budget is not None else None,
    }
    if budget is not None and batch.budget is None:
        connection.execute(
            text("UPDATE verifier.batches SET budget = :budget WHERE id = :batch"),
            {"batch": batch_id, "budget": budget},
        )
        if batch.loaded_to:  # half of it was loaded before there was one
            payers.begin_to_pay(connection, batch_id)
    done = before = 0
    ways = _AT_FIRST
    while done < top.number:
        # A user may settle between one statement and the next, so that none of them finds a row.
        # Each round sees what was committed before it, and the foreign key of the items holds that
        # every user is there.
        done += connection.execute(ways.open, span).rowcount
        if done < top.number:
            joined = connection.execute(ways.join, span).rowcount
            done += joined
            if joined and span["payer"] is not None:
                payers.settle(connection, batch_id, after=batch.loaded_to, to=top.top)
        if done < top.number:
            done += connection.execute(ways.take_answers, span).scalar_one()
        if done == before:  # an answer that stands with the user, but is not in the history
            span["asked_at"] = None
        before, ways = done, _FOR_THE_REST
    if done > top.number:
        raise RuntimeError(f"batch {batch_id}: an item was loaded twice")
    connection.execute(text("UPDATE verifier.batches SET loaded_to = :to WHERE id = :batch"), span)
    return True


# MATERIALIZED: the time is read once, not for each row.
# The range stands for both tables, and what may be unknown is spelt out (`IS NULL OR`): a planner
# that knows the range of one only, or takes `IS NOT FALSE` for rare, looks every user up instead of
# merging two ranges that are in order.
# No `NOT EXISTS` for those who are open: the conflict finds them through the primary key, while a
# plan made when the table was empty reads the whole of it for every item, as it grows.
_OPEN: Final = """
    WITH n AS MATERIALIZED (SELECT verifier.verifier_now() AS now)
    INSERT INTO verifier.open_verifications
           (user_id, id, lane, priority, due_at, turn_at, reason, deadline_at, held, created_at,
            payer)
    SELECT i.user_id, i.verification_id, u.lane, :priority, n.now,
           verifier.turn_at(n.now, :priority), 'new', n.now + make_interval(hours => :hours), :held,
           n.now, CAST(:payer AS bigint)
      FROM verifier.batch_items i
      JOIN verifier.users u ON u.id = i.user_id
     CROSS JOIN n
     WHERE i.batch_id = :batch AND i.user_id > :from AND i.user_id <= :to
       AND u.id > :from AND u.id <= :to
       AND (u.checked_at IS NULL OR u.checked_at < CAST(:asked_at AS timestamptz)
            OR CAST(:asked_at AS timestamptz) IS NULL) {unanswered}
     ORDER BY i.user_id
    ON CONFLICT (user_id) DO NOTHING
"""


# Items whose user was verified after the batch was asked for but before it was loaded: that answers
# them, as if they had been open together. Nobody is asked about twice because a large batch takes
# its time to load. One whose verification is open again waits for that one (_JOIN).
_TAKE_ANSWERS: Final = """
    WITH answered AS MATERIALIZED (
      SELECT i.user_id, v.id, v.outcome
        FROM verifier.batch_items i
        JOIN verifier.users u ON u.id = i.user_id
       CROSS JOIN LATERAL (
             SELECT s.id, s.outcome FROM verifier.verifications s
              WHERE s.user_id = u.id AND s.data_version = u.version AND s.outcome = u.outcome
              ORDER BY s.settled_at DESC LIMIT 1) v
       WHERE i.batch_id = :batch AND i.user_id > :from AND i.user_id <= :to
         AND u.id > :from AND u.id <= :to
         AND u.checked_at >= :asked_at AND v.id <> i.verification_id
         AND NOT EXISTS (SELECT FROM verifier.open_verifications o WHERE o.user_id = i.user_id)
         {unanswered}
    ), taken AS (
      UPDATE verifier.batch_items i SET verification_id = a.id FROM answered a
       WHERE i.batch_id = :batch AND i.user_id = a.user_id RETURNING a.outcome
    ), tallied AS (
      INSERT INTO verifier.batch_tallies (batch_id, outcome, count)
      SELECT :batch, outcome, count(*) FROM taken GROUP BY outcome
    )
    SELECT count(*) FROM taken
"""


# The key-share lock keeps the joined verification from being settled before this item is visible
# to the tally that settling makes; it does not get in the way of claims.
_JOIN: Final = """
    WITH joined AS MATERIALIZED (
      SELECT o.user_id, o.id FROM verifier.open_verifications o
        JOIN verifier.batch_items i ON i.user_id = o.user_id
       WHERE i.batch_id = :batch AND i.user_id > :from AND i.user_id <= :to
         AND o.id <> i.verification_id {unanswered}
       ORDER BY o.user_id FOR KEY SHARE OF o
    ), promoted AS (
      UPDATE verifier.open_verifications o
         SET priority = least(o.priority, :priority), held = o.held AND :held,
             -- Who has no budget pays for all; of one who has, the payers are settled.
             payer = CASE WHEN CAST(:payer AS bigint) IS NULL AND NOT :held THEN NULL
                          ELSE o.payer END,
             turn_at = verifier.turn_at(o.due_at, least(o.priority, :priority))
        FROM joined j WHERE o.user_id = j.user_id
         AND (o.priority > :priority OR (o.held AND NOT :held)
              OR (o.payer IS NOT NULL AND CAST(:payer AS bigint) IS NULL AND NOT :held))
    )
    UPDATE verifier.batch_items i SET verification_id = j.id FROM joined j
     WHERE i.batch_id = :batch AND i.user_id = j.user_id
"""


class _Ways(NamedTuple):
    """The three ways in which an item finds its verification, tried one after the other."""

    open: TextClause
    join: TextClause
    take_answers: TextClause

    @classmethod
    def of(cls, unanswered: str) -> _Ways:
        return cls(
            *(text(sql.format(unanswered=unanswered)) for sql in (_OPEN, _JOIN, _TAKE_ANSWERS))
        )


_AT_FIRST: Final = _Ways.of("")
# From the second round on some items point to a verification that has settled: they are done.
# Opened again, that verification would settle twice.
_FOR_THE_REST: Final = _Ways.of(
    "AND NOT EXISTS (SELECT FROM verifier.verifications x WHERE x.id = i.verification_id)"
)
