"""Open work: what is due, who has claimed it, and giving it back.

A claim is a lease and a token, committed before anything is called. Only the holder of the token
may settle or return the row (:mod:`verifier.store.records`); a lease that ran out is given back by
:func:`release_expired`, whoever runs it, as often as they like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, text

from verifier.outcomes import Lane
from verifier.store import arrays

#: Present at so many crashes a row is worked on alone, and at the next one it is quarantined: what
#: kills its worker takes others down with it twice at most.
_SUSPECT_CRASHES: Final = 2

#: What somebody waits for is left to the interactive worker so long: among the rows that a drain
#: claims ahead it could wait for a second.
_HEAD_START_SECONDS: Final = 2

_CANDIDATE: Final = """
    SELECT o.id, o.user_id, o.lane, u.lane AS user_lane, nullif(o.history, '[]') AS history,
           o.attempts, o.crashes, o.attempt_id, o.attempt_started_at, u.platform,
           u.reference, u.version, u.phone, u.name, u.name_raw, u.id_number, u.id_number_index,
           (SELECT verifier.verifier_now()) AS now
      FROM verifier.open_verifications o JOIN verifier.users u ON u.id = o.user_id
"""


def lock_due(connection: Connection, lane: Lane, limit: int) -> Sequence[Row[Any]]:
    """Up to ``limit`` due rows of the lane, longest-waiting first, locked until commit.

    Rows that others hold are skipped. Rows that are suspected of crashes are left out: they are
    claimed alone. So is what the interactive worker has its head start for. The CTE is MATERIALIZED
    because a nested-loop plan may otherwise run the locking subquery again and again and return far
    more rows than ``limit``.
    """
    return connection.execute(
        text(f"""
            WITH due AS MATERIALIZED (
              SELECT user_id FROM verifier.open_verifications
               WHERE lane = :lane AND state = 'waiting' AND NOT held
                 AND due_at <= (SELECT verifier.verifier_now()) AND crashes < :suspect
                 AND (priority > 0 OR due_at <= (SELECT verifier.verifier_now())
                                              - make_interval(secs => :head_start))
               ORDER BY turn_at LIMIT :limit FOR UPDATE SKIP LOCKED)
            {_CANDIDATE} JOIN due ON due.user_id = o.user_id ORDER BY o.user_id
        """),  # noqa: S608 - constants only
        {
            "lane": lane,
            "limit": limit,
            "suspect": _SUSPECT_CRASHES,
            "head_start": _HEAD_START_SECONDS,
        },
    ).all()


def lock_suspect(connection: Connection, lane: Lane) -> Sequence[Row[Any]]:
    """One due row that is suspected of crashes, to be worked on alone."""
    return connection.execute(
        text(f"""
            WITH due AS MATERIALIZED (
              SELECT user_id FROM verifier.open_verifications
               WHERE lane = :lane AND state = 'waiting' AND NOT held
                 AND due_at <= (SELECT verifier.verifier_now()) AND crashes >= :suspect
               ORDER BY turn_at LIMIT 1 FOR UPDATE SKIP LOCKED)
            {_CANDIDATE} JOIN due ON due.user_id = o.user_id
        """),  # noqa: S608 - constants only
        {"lane": lane, "suspect": _SUSPECT_CRASHES},
    ).all()


def lock_one(connection: Connection, verification_id: int) -> Sequence[Row[Any]]:
    """The row of this verification if it waits and nobody holds it; empty otherwise."""
    return connection.execute(
        text(f"""
            {_CANDIDATE}
             WHERE o.id = :id AND o.state = 'waiting' AND NOT o.held
               AND o.due_at <= verifier.verifier_now()
               FOR UPDATE OF o SKIP LOCKED
        """),
        {"id": verification_id},
    ).all()


def in_progress(connection: Connection, verification_id: int) -> bool:
    """Whether the verification is being called, or could be at any moment. One look at one row."""
    return bool(
        connection.execute(
            text("""
                SELECT state = 'claimed'
                       OR (state = 'waiting' AND due_at <= verifier.verifier_now())
                  FROM verifier.open_verifications WHERE id = :id
            """),
            {"id": verification_id},
        ).scalar_one_or_none()
    )


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


class NewAttempt(NamedTuple):
    """A call about to be made, written down before it."""

    verification_id: int
    user_id: int
    data_version: int
    provider: str
    lane: Lane


def write_claims(
    connection: Connection, planned: Sequence[NewAttempt], *, token: int, lease_seconds: float
) -> dict[int, tuple[int, datetime]]:
    """Claim locked rows: attempt rows, lease and token. Verification id → (attempt id, started)."""
    if not planned:
        return {}
    written = connection.execute(
        text("""
            WITH planned AS (
              SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:users AS bigint[]),
                                   CAST(:versions AS int[]), CAST(:providers AS text[]),
                                   CAST(:lanes AS text[]))
                AS p (id, user_id, version, provider, lane)
            ), written AS (
              INSERT INTO verifier.attempts
                     (started_at, verification_id, user_id, data_version, provider, lane)
              SELECT (SELECT verifier.verifier_now()), id, user_id, version, provider, lane
                FROM planned
              RETURNING id, started_at, user_id
            )
            UPDATE verifier.open_verifications o
               SET state = 'claimed', token = :token,
                   lease_until = clock_timestamp() + make_interval(secs => :lease),
                   attempt_id = w.id, attempt_started_at = w.started_at, attempts = o.attempts + 1
              FROM written w WHERE o.user_id = w.user_id
            RETURNING o.id, w.id AS attempt_id, w.started_at
        """),
        {
            "ids": arrays.of_numbers(p.verification_id for p in planned),
            "users": arrays.of_numbers(p.user_id for p in planned),
            "versions": arrays.of_numbers(p.data_version for p in planned),
            "providers": arrays.of_texts(p.provider for p in planned),
            "lanes": arrays.of_texts(p.lane for p in planned),
            "token": token,
            "lease": lease_seconds,
        },
    )
    return {id_: (attempt_id, started) for id_, attempt_id, started in written.all()}


def claim_uncalled(
    connection: Connection, ids: Sequence[int], *, token: int, lease_seconds: float
) -> None:
    """Claim locked rows that will be settled without a call (a known answer, no provider)."""
    if not ids:
        return
    connection.execute(
        text("""
            UPDATE verifier.open_verifications
               SET state = 'claimed', token = :token,
                   lease_until = clock_timestamp() + make_interval(secs => :lease)
             WHERE id = ANY(CAST(:ids AS bigint[]))
        """),
        {"ids": arrays.of_numbers(ids), "token": token, "lease": lease_seconds},
    )


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


def take_billed_slots(
    connection: Connection, wanted: Sequence[tuple[int, bytes]], day: date
) -> set[int]:
    """Of (verification id, person), those that got one of the person's two slots of ``day``.

    Sorted and slot by slot, so that concurrent claims cannot deadlock.
    """
    got: set[int] = set()
    for slot in (1, 2):
        rest = sorted(((i, p) for i, p in wanted if i not in got), key=lambda w: (w[1], w[0]))
        if rest:
            got.update(
                connection.scalars(
                    text("""
                        INSERT INTO verifier.billed_slots (person, day, slot, verification_id)
                        SELECT w.person, :day, :slot, w.id
                          FROM unnest(CAST(:people AS bytea[]), CAST(:ids AS bigint[]))
                               WITH ORDINALITY AS w (person, id, place) ORDER BY w.place
                        ON CONFLICT DO NOTHING RETURNING verification_id
                    """),
                    {
                        "day": day,
                        "slot": slot,
                        "people": arrays.of_bytes(p for _, p in rest),
                        "ids": arrays.of_numbers(i for i, _ in rest),
                    },
                ).all()
            )
    return got


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


def release(
    connection: Connection,
    token: int,
    ids: Sequence[int],
    attempts: Sequence[int],
    *,
    zone: str,
    quarantine: bool = False,
) -> int:
    """Give back claimed rows whose call was never started. Returns how many were still ours.

    ``attempts``: the calls that were not made. A row that its holder lost and claimed anew has
    another, which is under way. The attempts end as ``released`` and their billed slots (of the
    business day in ``zone``) are free again. With ``quarantine`` an operator has to look before
    they are tried again.
    """
    rows = connection.execute(
        text("""
            WITH mine AS MATERIALIZED (
              SELECT user_id FROM verifier.open_verifications
               WHERE token = :token AND id = ANY(CAST(:ids AS bigint[]))
                 AND attempt_id = ANY(CAST(:attempts AS bigint[]))
               ORDER BY user_id FOR UPDATE)
            UPDATE verifier.open_verifications o
               SET state = CASE WHEN :quarantine THEN 'quarantined' ELSE 'waiting' END,
                   reason = CASE WHEN :quarantine THEN 'quarantined' ELSE o.reason END,
                   token = NULL, lease_until = NULL, attempts = o.attempts - 1
              FROM mine WHERE o.user_id = mine.user_id
            RETURNING o.attempt_id, o.attempt_started_at, o.id, o.user_id
        """),
        {
            "token": token,
            "ids": arrays.of_numbers(ids),
            "attempts": arrays.of_numbers(attempts),
            "quarantine": quarantine,
        },
    ).all()
    connection.execute(
        text("""
            UPDATE verifier.attempts a
               SET state = 'released', completed_at = verifier.verifier_now()
              FROM unnest(CAST(:ids AS bigint[]), CAST(:started AS timestamptz[]))
                   AS r (id, started)
             WHERE a.id = r.id AND a.started_at = r.started AND a.state = 'started'
        """),
        {
            "ids": [row.attempt_id for row in rows],
            "started": [row.attempt_started_at for row in rows],
        },
    )
    unasked = [(row.id, row.user_id, row.attempt_started_at) for row in rows]
    free_billed_slots(connection, unasked, zone)
    return len(rows)


def free_billed_slots(
    connection: Connection, unbilled: Sequence[tuple[int, int, datetime]], zone: str
) -> None:
    """Free a slot for each (verification id, user id, started) that was certainly not billed.

    Each on its own business day in ``zone``: an answer that comes after midnight must not free
    what today's call has taken.
    """
    if not unbilled:
        return
    connection.execute(
        text("""
            WITH unbilled AS (
              SELECT id, user_id, CAST(started AT TIME ZONE :zone AS date) AS day,
                     count(*) AS number
                FROM unnest(CAST(:ids AS bigint[]), CAST(:users AS bigint[]),
                            CAST(:started AS timestamptz[])) AS r (id, user_id, started)
               GROUP BY 1, 2, 3
            ), free AS (
              SELECT b.person, b.day, b.slot, n.number,
                     row_number() OVER (PARTITION BY n.id, n.day ORDER BY b.slot DESC) AS place
                FROM unbilled n JOIN verifier.users u ON u.id = n.user_id
                JOIN verifier.billed_slots b ON b.person = u.id_number_index AND b.day = n.day
                                            AND b.verification_id = n.id
            )
            DELETE FROM verifier.billed_slots s USING free
             WHERE s.person = free.person AND s.day = free.day AND s.slot = free.slot
               AND free.place <= free.number
        """),
        {
            "zone": zone,
            "ids": arrays.of_numbers(verification for verification, _, _ in unbilled),
            "users": arrays.of_numbers(user for _, user, _ in unbilled),
            "started": arrays.of_instants(started for _, _, started in unbilled),
        },
    )


def uncalled_of(connection: Connection, token: int) -> Sequence[Row[Any]]:
    """(id, attempt_id) of what stands claimed under ``token`` with its call not answered."""
    return connection.execute(
        text("""
            SELECT o.id, o.attempt_id FROM verifier.open_verifications o
              JOIN verifier.attempts a ON a.id = o.attempt_id
                   AND a.started_at = o.attempt_started_at AND a.state = 'started'
             WHERE o.state = 'claimed' AND o.token = :token
        """),
        {"token": token},
    ).all()


def release_expired(connection: Connection, zone: str, limit: int = 1000) -> int:
    """Give back rows whose lease ran out: their worker died, hung or lost its connection.

    Whether the vendor was asked is unknown: the attempt is ``lost`` and maybe billed, its slot
    stays taken, and it stands in the history like a call without an answer (``zone``: of the
    business day). A worker that comes back may still complete it. At the third crash the row is
    quarantined for an operator.
    """
    return connection.execute(
        text("""
            WITH gone AS MATERIALIZED (
              SELECT user_id FROM verifier.open_verifications
               WHERE state = 'claimed' AND lease_until < clock_timestamp()
               ORDER BY user_id LIMIT :limit FOR UPDATE SKIP LOCKED
            ), lost AS (
              UPDATE verifier.attempts a SET state = 'lost', billed = 'maybe'
                FROM gone JOIN verifier.open_verifications o USING (user_id)
               WHERE a.id = o.attempt_id AND a.started_at = o.attempt_started_at
                 AND a.state = 'started'
              RETURNING a.user_id, jsonb_build_object(
                'v', a.data_version, 'p', a.provider, 'o', 'TIMEOUT', 'd', 'LOST', 'b', 'maybe',
                'day', CAST(a.started_at AT TIME ZONE :zone AS date)) AS entry
            )
            UPDATE verifier.open_verifications o
               SET state = CASE WHEN o.crashes >= :suspect THEN 'quarantined' ELSE 'waiting' END,
                   reason = CASE WHEN o.crashes >= :suspect THEN 'quarantined'
                                 ELSE 'lease_expired' END,
                   crashes = o.crashes + 1, token = NULL, lease_until = NULL,
                   history = o.history || coalesce(
                       (SELECT lost.entry FROM lost WHERE lost.user_id = o.user_id), '[]')
              FROM gone WHERE o.user_id = gone.user_id
        """),
        {"limit": limit, "zone": zone, "suspect": _SUSPECT_CRASHES},
    ).rowcount


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


def open_one(connection: Connection, user_id: int, *, priority: int, deadline_hours: int) -> int:
    """Create, join or promote the open verification of an existing user; returns its id."""
    for _ in range(10):
        opened: int | None = connection.execute(
            text("""
                INSERT INTO verifier.open_verifications
                       (user_id, id, lane, priority, due_at, turn_at, reason, deadline_at)
                SELECT u.id, nextval('verifier.verification_ids'), u.lane, :priority, n.now,
                       verifier.turn_at(n.now, :priority), 'new',
                       n.now + make_interval(hours => :hours)
                  FROM verifier.users u CROSS JOIN (SELECT verifier.verifier_now() AS now) n
                 WHERE u.id = :user
                ON CONFLICT (user_id) DO NOTHING RETURNING id
            """),
            {"user": user_id, "priority": priority, "hours": deadline_hours},
        ).scalar_one_or_none()
        if opened is not None:
            return opened
        # The one that was in the way may settle before it is promoted: then a new one is opened.
        found = promote(connection, user_id, priority=priority)
        if found is not None:
            return found
    raise LookupError(f"user {user_id} does not exist")


def promote(connection: Connection, user_id: int, *, priority: int) -> int | None:
    """Bring a user's open verification forward and out of quarantine; its id, None if none is open.

    What is being called right now is joined. A wait for the next business day is kept: it guards
    money and the vendors' daily limits.
    """
    return connection.execute(
        text("""
            UPDATE verifier.open_verifications o
               SET priority = least(o.priority, :priority), held = false,
                   state = CASE o.state WHEN 'quarantined' THEN 'waiting' ELSE o.state END,
                   crashes = CASE o.state WHEN 'quarantined' THEN 0 ELSE o.crashes END,
                   reason = CASE o.state WHEN 'quarantined' THEN 'new' ELSE o.reason END,
                   due_at = due.at, turn_at = verifier.turn_at(due.at, least(o.priority, :priority))
              FROM (SELECT user_id,
                           CASE WHEN reason IN ('daily_cap', 'next_day') THEN due_at
                                ELSE verifier.verifier_now() END AS at
                      FROM verifier.open_verifications WHERE user_id = :user FOR NO KEY UPDATE) due
             WHERE o.user_id = due.user_id RETURNING o.id
        """),
        {"user": user_id, "priority": priority},
    ).scalar_one_or_none()


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
