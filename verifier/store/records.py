"""Recording what came back: one transaction per flush, fenced by token, rows in sorted order.

``record`` completes attempts (always, once: a paid answer is kept even when the lease is lost) and
then, only for rows whose token still matches, settles or returns them. A verdict for data that has
changed since the claim never reaches the user: the row goes back to be checked again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, text

from verifier.outcomes import Billed, Check, Fact, Lane, Outcome
from verifier.store import arrays, spending
from verifier.store.batches import tally_settled
from verifier.store.billing import free_billed_slots


class CompletedAttempt(NamedTuple):
    """What one call brought. ``id`` and ``started_at`` name the row written before it."""

    id: int
    started_at: datetime
    verification_id: int
    provider: str
    outcome: Outcome
    detail: str | None
    billed: Billed
    code: str | None = None
    request_id: str | None = None
    http_status: int | None = None
    milliseconds: int | None = None
    fact: Fact | None = None
    check: Check | None = None
    carrier: Lane | None = None
    raw_name: bool = False


class Settled(NamedTuple):
    """The verification ends. ``outcome`` is a result, or UNRESOLVED (the user stays as it was).

    ``attempt_id``: the call that this follows from; None where there was none.
    """

    verification_id: int
    user_id: int
    data_version: int
    outcome: str
    detail: str | None
    provider: str | None
    attempts: int
    attempt_id: int | None = None


class Returned(NamedTuple):
    """The verification goes on waiting: when it is due, why, and what was tried so far.

    ``attempt_id`` as for :class:`Settled`. ``carrier``: who carries the number of ``data_version``,
    if that was looked up: the row goes on in its lane.
    """

    verification_id: int
    user_id: int
    due_at: datetime
    reason: str
    history: tuple[dict[str, Any], ...]
    attempt_id: int | None = None
    data_version: int = 0
    carrier: Lane | None = None


@dataclass(slots=True)
class Flush:
    """Everything one flush writes."""

    token: int
    attempts: list[CompletedAttempt] = field(default_factory=list)
    settled: list[Settled] = field(default_factory=list)
    returned: list[Returned] = field(default_factory=list)
    #: Calls of this flush that were not made: their money goes back with that of the unbilled.
    unasked: list[Row[Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a flush did: settled per outcome, rows returned, rows whose token was gone."""

    settled: dict[str, int]
    returned: int
    data_changed: int
    lost: int


def record(connection: Connection, flush: Flush, zone: str) -> Recorded:
    """Write a flush. Repeating one that was committed unseen changes nothing: its token is gone.

    ``zone``: of the business day, for the billed slots of calls that cost nothing.
    """
    unbilled = _complete_attempts(connection, flush.attempts, zone)
    users = [row.user_id for row in flush.settled] + [row.user_id for row in flush.returned]
    held = _fence(connection, flush.token, users)
    final: list[Settled] = []
    outdated: list[Settled] = []
    for row in flush.settled:
        found = _take(held, row)
        if found is not None:
            (final if row.data_version == found.version else outdated).append(row)
    returned: list[Returned] = []
    for back in flush.returned:
        found = _take(held, back)
        if found is not None:
            same = back.data_version == found.version
            returned.append(back if same else back._replace(carrier=None))
    _settle(connection, final)
    _return(connection, returned)
    _see_carriers(connection, [row for row in returned if row.carrier is not None])
    changed = _return_changed(connection, outdated)
    counts: dict[str, int] = {}
    for row in final:
        counts[row.outcome] = counts.get(row.outcome, 0) + 1
    lost = len(users) - len(final) - len(outdated) - len(returned)
    spending.give_back(connection, [*unbilled, *flush.unasked], zone)  # locked last: see there
    return Recorded(counts, len(returned), changed, lost)


def _complete_attempts(
    connection: Connection, attempts: Sequence[CompletedAttempt], zone: str
) -> Sequence[Row[Any]]:
    """Returns those that were certainly not billed, and that this statement completed."""
    if not attempts:
        return ()
    ordered = sorted(attempts, key=lambda attempt: attempt.id)
    unbilled = connection.execute(
        text("""
            WITH completed AS (
              UPDATE verifier.attempts a
                 SET state = 'completed', outcome = c.outcome, detail = c.detail, billed = c.billed,
                     code = c.code, request_id = c.request_id, http_status = c.http_status,
                     milliseconds = c.milliseconds, fact = c.fact,
                     carrier = c.carrier,
                     completed_at = (SELECT verifier.verifier_now())
                FROM unnest(CAST(:ids AS bigint[]), CAST(:started AS timestamptz[]),
                            CAST(:outcomes AS text[]), CAST(:details AS text[]),
                            CAST(:billed AS text[]), CAST(:codes AS text[]),
                            CAST(:requests AS text[]), CAST(:statuses AS smallint[]),
                            CAST(:milliseconds AS int[]), CAST(:facts AS text[]),
                            CAST(:carriers AS text[]))
                     AS c (id, started_at, outcome, detail, billed, code, request_id, http_status,
                           milliseconds, fact, carrier)
               WHERE a.id = c.id AND a.started_at = c.started_at
                 -- CASE: or the planner, taking such states for rare, would begin with them.
                 AND CASE WHEN a.state IN ('started', 'lost') THEN true ELSE false END
              RETURNING a.verification_id, a.user_id, a.started_at, a.billed, a.purpose, a.price,
                        a.payer, a.charged)
            SELECT verification_id, user_id, started_at, purpose, price, payer, charged
              FROM completed WHERE billed = 'no'
        """),
        {
            "ids": arrays.of_numbers(a.id for a in ordered),
            "started": arrays.of_instants(a.started_at for a in ordered),
            "outcomes": arrays.of_texts(a.outcome for a in ordered),
            "details": arrays.of_texts(a.detail for a in ordered),
            "billed": arrays.of_texts(a.billed for a in ordered),
            "codes": arrays.of_texts(a.code for a in ordered),
            "requests": arrays.of_texts(a.request_id for a in ordered),
            "statuses": arrays.of_numbers(a.http_status for a in ordered),
            "milliseconds": arrays.of_numbers(a.milliseconds for a in ordered),
            "facts": arrays.of_texts(a.fact for a in ordered),
            "carriers": arrays.of_texts(a.carrier for a in ordered),
        },
    ).all()
    # Only what this statement completed: a repeated flush must not free another attempt's slot.
    # A check takes no slot, and frees none.
    slots = [
        (row.verification_id, row.user_id, row.started_at)
        for row in unbilled
        if row.purpose == "verify"
    ]
    free_billed_slots(connection, slots, zone)
    return unbilled


class _Held(NamedTuple):
    """A row still under our token: the call that is under way for it, the data version now."""

    attempt_id: int | None
    version: int


def _fence(connection: Connection, token: int, user_ids: Sequence[int]) -> dict[int, _Held]:
    """Verifications still held under ``token``, locked with their users in user order."""
    if not user_ids:
        return {}
    rows = connection.execute(
        text("""
            SELECT o.id, o.attempt_id, u.version
              FROM unnest(CAST(:users AS bigint[])) AS w (user_id)
             CROSS JOIN LATERAL (
                   SELECT id, user_id, attempt_id FROM verifier.open_verifications
                    WHERE user_id = w.user_id AND token = :token FOR UPDATE) o
             CROSS JOIN LATERAL (
                   SELECT version FROM verifier.users
                    WHERE id = o.user_id FOR NO KEY UPDATE) u
        """),
        {"users": arrays.of_numbers(sorted(user_ids)), "token": token},
    )
    return {id_: _Held(attempt_id, version) for id_, attempt_id, version in rows.all()}


def _take(held: dict[int, _Held], row: Settled | Returned) -> _Held | None:
    """The held row that ``row`` may be written to: once, and only for the call of its claim.

    A drain that stood still beyond a lease may hold the same row under the same token again: what
    the first call brought is then late, like any other worker's.
    """
    found = held.get(row.verification_id)
    if found is None or row.attempt_id not in (None, found.attempt_id):
        return None
    return held.pop(row.verification_id)


# UNRESOLVED leaves the user as it was.
_SETTLE: Final = text("""
    WITH settled AS MATERIALIZED (
      SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:users AS bigint[]),
                           CAST(:versions AS int[]), CAST(:outcomes AS text[]),
                           CAST(:details AS text[]), CAST(:providers AS text[]),
                           CAST(:attempts AS int[]))
        AS s (id, user_id, version, outcome, detail, provider, attempts)
    ), applied AS (
      UPDATE verifier.users u
         SET status = CASE s.outcome WHEN 'MATCHED' THEN 'verified' ELSE 'failed' END,
             outcome = s.outcome, detail = s.detail, checked_at = (SELECT verifier.verifier_now()),
             matched_at = CASE s.outcome WHEN 'MATCHED' THEN (SELECT verifier.verifier_now())
                                         ELSE u.matched_at END,
             -- Whoever was taken for its carrier knows nothing of the number: look it up anew.
             carrier_seen_at = CASE WHEN s.outcome NOT IN ('NO_RECORD', 'UNSUPPORTED_NUMBER')
                                    THEN u.carrier_seen_at END
        FROM settled s WHERE u.id = s.user_id AND s.outcome <> 'UNRESOLVED'
    ), closed AS (
      DELETE FROM verifier.open_verifications o USING settled s WHERE o.user_id = s.user_id
      RETURNING s.*, o.lane, o.created_at
    )
    INSERT INTO verifier.verifications
           (id, settled_at, user_id, data_version, lane, outcome, detail, provider, attempts,
            created_at)
    SELECT id, (SELECT verifier.verifier_now()), user_id, version, lane, outcome, detail, provider,
           attempts, created_at
      FROM closed
""")


def _settle(connection: Connection, rows: Sequence[Settled]) -> None:
    """Close locked rows; users get their verdict, batches their tally."""
    if not rows:
        return
    connection.execute(
        _SETTLE,
        {
            "ids": arrays.of_numbers(row.verification_id for row in rows),
            "users": arrays.of_numbers(row.user_id for row in rows),
            "versions": arrays.of_numbers(row.data_version for row in rows),
            "outcomes": arrays.of_texts(row.outcome for row in rows),
            "details": arrays.of_texts(row.detail for row in rows),
            "providers": arrays.of_texts(row.provider for row in rows),
            "attempts": arrays.of_numbers(row.attempts for row in rows),
        },
    )
    tally_settled(connection, [row.verification_id for row in rows], [row.outcome for row in rows])


def _return(connection: Connection, rows: Sequence[Returned]) -> None:
    if not rows:
        return
    connection.execute(
        text("""
            UPDATE verifier.open_verifications o
               SET state = 'waiting', token = NULL, lease_until = NULL, crashes = 0,
                   due_at = greatest(o.due_at, r.due), reason = r.reason,
                   turn_at = verifier.turn_at(greatest(o.due_at, r.due), o.priority),
                   history = CAST(r.history AS jsonb)
              FROM unnest(CAST(:users AS bigint[]), CAST(:due AS timestamptz[]),
                          CAST(:reasons AS text[]), CAST(:histories AS text[]))
                   AS r (user_id, due, reason, history)
             WHERE o.user_id = r.user_id
        """),
        {
            "users": arrays.of_numbers(row.user_id for row in rows),
            "due": arrays.of_instants(row.due_at for row in rows),
            "reasons": arrays.of_texts(row.reason for row in rows),
            "histories": arrays.of_texts(
                json.dumps(row.history, separators=(",", ":")) for row in rows
            ),
        },
    )


def _see_carriers(connection: Connection, rows: Sequence[Returned]) -> None:
    """Write down who carries the numbers of locked users, and move their rows to that lane."""
    if not rows:
        return
    carriers = {
        "users": arrays.of_numbers(row.user_id for row in rows),
        "lanes": arrays.of_texts(row.carrier for row in rows),
    }
    for statement in (
        """
            UPDATE verifier.users u
               SET lane = c.lane, carrier_seen_at = (SELECT verifier.verifier_now())
              FROM unnest(CAST(:users AS bigint[]), CAST(:lanes AS text[])) AS c (id, lane)
             WHERE u.id = c.id
        """,
        """
            UPDATE verifier.open_verifications o SET lane = c.lane
              FROM unnest(CAST(:users AS bigint[]), CAST(:lanes AS text[])) AS c (id, lane)
             WHERE o.user_id = c.id AND o.lane <> c.lane
        """,
    ):
        connection.execute(text(statement), carriers)


def _return_changed(connection: Connection, rows: Sequence[Settled]) -> int:
    """Back to waiting, with a clean history: what was learned was about other data."""
    if not rows:
        return 0
    return connection.execute(
        text("""
            UPDATE verifier.open_verifications o
               SET state = 'waiting', token = NULL, lease_until = NULL, crashes = 0,
                   due_at = n.now, turn_at = verifier.turn_at(n.now, o.priority),
                   reason = 'data_changed', history = '[]', lane = u.lane
              FROM verifier.users u, (SELECT verifier.verifier_now() AS now OFFSET 0) n
             WHERE o.user_id = ANY(CAST(:users AS bigint[])) AND u.id = o.user_id
        """),
        {"users": arrays.of_numbers(row.user_id for row in rows)},
    ).rowcount


def earlier_answers(
    connection: Connection, attempts: Sequence[tuple[int, datetime]]
) -> dict[int, CompletedAttempt]:
    """Answers of earlier attempts (id, started) that were completed after their lease was lost.

    Verification id → the answer, if the data is still what was asked about. A paid answer is
    decided from instead of calling again.
    """
    rows = connection.execute(
        text("""
            SELECT a.* FROM verifier.attempts a
              JOIN unnest(CAST(:ids AS bigint[]), CAST(:started AS timestamptz[]))
                   AS w (id, started)
                ON a.id = w.id AND a.started_at = w.started
              JOIN verifier.users u ON u.id = a.user_id AND u.version = a.data_version
             WHERE a.state = 'completed'
        """),
        {"ids": [a for a, _ in attempts], "started": [s for _, s in attempts]},
    )
    return {
        row.verification_id: CompletedAttempt(
            id=row.id,
            started_at=row.started_at,
            verification_id=row.verification_id,
            provider=row.provider,
            outcome=Outcome(row.outcome),
            detail=row.detail,
            billed=Billed(row.billed),
            code=row.code,
            request_id=row.request_id,
            http_status=row.http_status,
            fact=Fact(row.fact) if row.fact else None,
            check=Check(row.purpose) if row.purpose != "verify" else None,
            carrier=Lane(row.carrier) if row.carrier else None,
            raw_name=row.raw_name,
        )
        for row in rows
    }
