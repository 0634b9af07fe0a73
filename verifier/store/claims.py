"""Claims: who works on a waiting row, until when, and giving it back.

A claim is a lease and a token, committed before anything is called. Only the holder of the token
may settle or return the row (:mod:`verifier.store.records`); a lease that ran out is given back by
:func:`release_expired`, whoever runs it, as often as they like.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, text

from verifier.clock import business_date
from verifier.outcomes import Check, Lane
from verifier.store import arrays, billing, check_caps

#: Present at so many crashes a row is worked on alone, and at the next one it is quarantined: what
#: kills its worker takes others down with it twice at most.
_SUSPECT_CRASHES: Final = 2

#: Detail of the history's entry of a call whose answer nobody brought while its lease ran.
LOST: Final = "LOST"

#: What somebody waits for is left to the interactive worker so long: among the rows that a drain
#: claims ahead it could wait for a second.
_HEAD_START_SECONDS: Final = 2

_CANDIDATE: Final = """
    SELECT o.id, o.user_id, o.lane, u.lane AS user_lane, nullif(o.history, '[]') AS history,
           o.attempts, o.crashes, o.attempt_id, o.attempt_started_at, u.platform,
           u.reference, u.version, u.phone, u.name, u.name_raw, u.id_number, u.id_number_index,
           o.payer, u.bound_at, u.matched_at, u.carrier_seen_at,
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


class Released(NamedTuple):
    """How many rows were still ours, and the calls that were not made for them."""

    rows: int
    unasked: Sequence[Row[Any]]


class NewAttempt(NamedTuple):
    """A call about to be made, written down before it.

    ``purpose``: ``verify`` or a check's name. ``price``: of a billed answer, in ``currency``; None
    where it costs nothing. ``payer``: the batch whose budget it is charged to; ``charged``: to the
    month's too. ``raw_name``: with the name as typed.
    """

    verification_id: int
    user_id: int
    data_version: int
    provider: str
    lane: Lane
    purpose: str = "verify"
    price: Decimal | None = None
    currency: str | None = None
    payer: int | None = None
    charged: bool = False
    raw_name: bool = False


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
                                   CAST(:lanes AS text[]), CAST(:purposes AS text[]),
                                   CAST(:prices AS numeric[]), CAST(:currencies AS text[]),
                                   CAST(:payers AS bigint[]), CAST(:charged AS bool[]),
                                   CAST(:raw AS bool[]))
                AS p (id, user_id, version, provider, lane, purpose, price, currency, payer,
                      charged, raw)
            ), written AS (
              INSERT INTO verifier.attempts
                     (started_at, verification_id, user_id, data_version, provider, lane, purpose,
                      price, currency, payer, charged, raw_name)
              SELECT (SELECT verifier.verifier_now()), id, user_id, version, provider, lane,
                     purpose, price, currency, payer, charged, raw
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
            "purposes": arrays.of_texts(p.purpose for p in planned),
            "prices": arrays.of_numbers(p.price for p in planned),
            "currencies": arrays.of_texts(p.currency for p in planned),
            "payers": arrays.of_numbers(p.payer for p in planned),
            "charged": arrays.of_numbers(p.charged for p in planned),
            "raw": arrays.of_numbers(p.raw_name for p in planned),
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


def release(
    connection: Connection,
    token: int,
    ids: Sequence[int],
    attempts: Sequence[int],
    *,
    zone: str,
    quarantine: bool = False,
) -> Released:
    """Give back claimed rows whose call was never started. The caller gives their money back, last.

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
    unasked = connection.execute(
        text("""
            UPDATE verifier.attempts a
               SET state = 'released', completed_at = verifier.verifier_now()
              FROM unnest(CAST(:ids AS bigint[]), CAST(:started AS timestamptz[]))
                   AS r (id, started)
             WHERE a.id = r.id AND a.started_at = r.started AND a.state = 'started'
            RETURNING a.verification_id, a.user_id, a.started_at, a.purpose, a.price, a.payer,
                      a.charged
        """),
        {
            "ids": [row.attempt_id for row in rows],
            "started": [row.attempt_started_at for row in rows],
        },
    ).all()
    check_caps.give_back(
        connection,
        [
            (Check(a.purpose), business_date(a.started_at, ZoneInfo(zone)))
            for a in unasked
            if a.purpose != "verify"
        ],
    )
    billing.free_billed_slots(
        connection,
        [(a.verification_id, a.user_id, a.started_at) for a in unasked if a.purpose == "verify"],
        zone,
    )
    return Released(len(rows), unasked)


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
                'v', a.data_version, 'p', a.provider, 'o', 'TIMEOUT', 'd', CAST(:lost AS text),
                'b', 'maybe',
                'day', CAST(a.started_at AT TIME ZONE :zone AS date))
                || CASE a.purpose WHEN 'verify' THEN '{}'
                        ELSE jsonb_build_object('c', a.purpose) END
                || CASE WHEN a.raw_name THEN jsonb_build_object('raw', true)
                        ELSE '{}' END AS entry
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
        {"limit": limit, "zone": zone, "suspect": _SUSPECT_CRASHES, "lost": LOST},
    ).rowcount
