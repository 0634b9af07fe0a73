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
from typing import Any, Final

from sqlalchemy import Connection, text

from verifier.outcomes import Billed, Outcome
from verifier.store.batches import tally_settled
from verifier.store.queue import free_billed_slots


@dataclass(frozen=True, slots=True)
class CompletedAttempt:
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


@dataclass(frozen=True, slots=True)
class Settled:
    """The verification ends. ``outcome`` is a result, or UNRESOLVED (the user stays as it was)."""

    verification_id: int
    user_id: int
    data_version: int
    outcome: str
    detail: str | None
    provider: str | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Returned:
    """The verification goes on waiting: when it is due, why, and what was tried so far."""

    verification_id: int
    user_id: int
    due_at: datetime
    reason: str
    history: tuple[dict[str, Any], ...]


@dataclass(slots=True)
class Flush:
    """Everything one flush writes."""

    token: int
    attempts: list[CompletedAttempt] = field(default_factory=list)
    settled: list[Settled] = field(default_factory=list)
    returned: list[Returned] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a flush did: settled per outcome, rows returned, rows whose token was gone."""

    settled: dict[str, int]
    returned: int
    data_changed: int
    lost: int


def record(connection: Connection, flush: Flush) -> Recorded:
    """Write a flush. Repeating one that was committed unseen changes nothing: its token is gone."""
    _complete_attempts(connection, flush.attempts)
    users = [row.user_id for row in flush.settled] + [row.user_id for row in flush.returned]
    owned = _fence(connection, flush.token, users)
    settled = [row for row in flush.settled if row.verification_id in owned]
    returned = [row for row in flush.returned if row.verification_id in owned]
    current = _apply_to_users(connection, settled)
    final = [row for row in settled if row.user_id in current]
    _settle(connection, final)
    _return(connection, returned)
    changed = _return_changed(connection, [r for r in settled if r.user_id not in current])
    counts: dict[str, int] = {}
    for row in final:
        counts[row.outcome] = counts.get(row.outcome, 0) + 1
    lost = len(flush.settled) + len(flush.returned) - len(owned)
    return Recorded(counts, len(returned), changed, lost)


def _complete_attempts(connection: Connection, attempts: Sequence[CompletedAttempt]) -> None:
    if not attempts:
        return
    ordered = sorted(attempts, key=lambda attempt: attempt.id)
    completed = connection.execute(
        text("""
            UPDATE verifier.attempts a
               SET state = 'completed', outcome = c.outcome, detail = c.detail, billed = c.billed,
                   code = c.code, request_id = c.request_id, http_status = c.http_status,
                   milliseconds = c.milliseconds, completed_at = verifier.verifier_now()
              FROM unnest(CAST(:ids AS bigint[]), CAST(:started AS timestamptz[]),
                          CAST(:outcomes AS text[]), CAST(:details AS text[]),
                          CAST(:billed AS text[]), CAST(:codes AS text[]),
                          CAST(:requests AS text[]), CAST(:statuses AS smallint[]),
                          CAST(:milliseconds AS int[]))
                   AS c (id, started_at, outcome, detail, billed, code, request_id, http_status,
                         milliseconds)
             WHERE a.id = c.id AND a.started_at = c.started_at AND a.state IN ('started', 'lost')
            RETURNING a.verification_id, a.started_at, a.billed
        """),
        {
            "ids": [a.id for a in ordered],
            "started": [a.started_at for a in ordered],
            "outcomes": [str(a.outcome) for a in ordered],
            "details": [a.detail for a in ordered],
            "billed": [str(a.billed) for a in ordered],
            "codes": [a.code for a in ordered],
            "requests": [a.request_id for a in ordered],
            "statuses": [a.http_status for a in ordered],
            "milliseconds": [a.milliseconds for a in ordered],
        },
    )
    # Only what this statement completed: a repeated flush must not free another attempt's slot.
    unbilled = [row for row in completed if row.billed == Billed.NO]
    free_billed_slots(
        connection, [row.verification_id for row in unbilled], [row.started_at for row in unbilled]
    )


def _fence(connection: Connection, token: int, user_ids: Sequence[int]) -> set[int]:
    """Verification ids still held under ``token``, locked in user order."""
    return set(
        connection.scalars(
            text("""
                SELECT id FROM verifier.open_verifications
                 WHERE user_id = ANY(:users) AND token = :token AND state = 'claimed'
                 ORDER BY user_id FOR UPDATE
            """),
            {"users": list(user_ids), "token": token},
        )
    )


def _apply_to_users(connection: Connection, settled: Sequence[Settled]) -> set[int]:
    """Give users their verdict where the data is still what was checked. Returns those users.

    UNRESOLVED changes no status; its rows are only locked and compared.
    """
    if not settled:
        return set()
    return set(
        connection.scalars(
            text("""
                WITH verdicts AS MATERIALIZED (
                  SELECT u.id, s.outcome, s.detail
                    FROM unnest(CAST(:users AS bigint[]), CAST(:versions AS int[]),
                                CAST(:outcomes AS text[]), CAST(:details AS text[]))
                         AS s (user_id, version, outcome, detail)
                    JOIN verifier.users u ON u.id = s.user_id AND u.version = s.version
                   ORDER BY u.id FOR NO KEY UPDATE OF u
                ), applied AS (
                  UPDATE verifier.users u
                     SET status = CASE v.outcome WHEN 'MATCHED' THEN 'verified' ELSE 'failed' END,
                         outcome = v.outcome, detail = v.detail,
                         checked_at = verifier.verifier_now()
                    FROM verdicts v WHERE u.id = v.id AND v.outcome <> 'UNRESOLVED'
                )
                SELECT id FROM verdicts
            """),
            {
                "users": [row.user_id for row in settled],
                "versions": [row.data_version for row in settled],
                "outcomes": [row.outcome for row in settled],
                "details": [row.detail for row in settled],
            },
        )
    )


_SETTLE: Final = text("""
    WITH settled AS (
      SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:users AS bigint[]),
                           CAST(:versions AS int[]), CAST(:outcomes AS text[]),
                           CAST(:details AS text[]), CAST(:providers AS text[]),
                           CAST(:attempts AS int[]))
        AS s (id, user_id, version, outcome, detail, provider, attempts)
    ), closed AS (
      DELETE FROM verifier.open_verifications o USING settled s WHERE o.user_id = s.user_id
      RETURNING o.id, o.lane, o.created_at
    )
    INSERT INTO verifier.verifications
           (id, settled_at, user_id, data_version, lane, outcome, detail, provider, attempts,
            created_at)
    SELECT s.id, n.now, s.user_id, s.version, c.lane, s.outcome, s.detail, s.provider, s.attempts,
           c.created_at
      FROM settled s JOIN closed c USING (id)
     CROSS JOIN (SELECT verifier.verifier_now() AS now) n
""")


def _settle(connection: Connection, rows: Sequence[Settled]) -> None:
    if not rows:
        return
    connection.execute(
        _SETTLE,
        {
            "ids": [row.verification_id for row in rows],
            "users": [row.user_id for row in rows],
            "versions": [row.data_version for row in rows],
            "outcomes": [row.outcome for row in rows],
            "details": [row.detail for row in rows],
            "providers": [row.provider for row in rows],
            "attempts": [row.attempts for row in rows],
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
            "users": [row.user_id for row in rows],
            "due": [row.due_at for row in rows],
            "reasons": [row.reason for row in rows],
            "histories": [json.dumps(row.history, separators=(",", ":")) for row in rows],
        },
    )


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
              FROM verifier.users u, (SELECT verifier.verifier_now() AS now) n
             WHERE o.user_id = ANY(:users) AND u.id = o.user_id
        """),
        {"users": [row.user_id for row in rows]},
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
        )
        for row in rows
    }
