"""Reminders: planned, sending, and then sent, rejected, unknown or skipped. All their SQL.

``sending`` is committed before a message can leave us and is never leased again: only the sender
that wrote it (by its token) or a reconciliation ends it. While a row is planned, ``lease_until`` is
the sender's lease; while it is sending, the instant (raw clock) by which its call has ended, and
``due_at`` the business time from which the vendor may be asked about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, text

#: A verification of user ``u`` is open and will soon say more than is known now.
_ANSWERING: Final = """
    EXISTS (SELECT FROM verifier.open_verifications o
             WHERE o.user_id = u.id AND o.state <> 'quarantined' AND NOT o.held
               AND o.due_at < :day_ends AND o.deadline_at > (SELECT verifier.verifier_now()))
"""


def time_zones(connection: Connection) -> list[str]:
    """The time zones of users whose check failed."""
    return list(
        connection.scalars(
            text("SELECT DISTINCT time_zone FROM verifier.users WHERE status = 'failed'")
        )
    )


def candidates(
    connection: Connection, *, after: int, size: int, day_ends: datetime
) -> Sequence[Row[Any]]:
    """The next ``size`` failed users in id order, each with the history of its reminders.

    ``steps`` and ``last_day`` are about the present outcome and data version, since the user was
    last verified: messages that reached the person, may have, or were refused for the person's own
    reasons. ``sms_refused``: the number takes no SMS from us.
    """
    return connection.execute(
        text(f"""
            SELECT u.id, u.version, u.outcome, u.detail, u.time_zone,
                   u.push_token IS NOT NULL AS has_token, h.steps, h.last_day, h.sms_refused,
                   {_ANSWERING} AS answering
              FROM verifier.users u
             CROSS JOIN LATERAL (
               SELECT count(*) FILTER (WHERE r.counts) AS steps,
                      max(r.day) FILTER (WHERE r.counts) AS last_day,
                      coalesce(bool_or(r.channel = 'sms' AND r.state = 'rejected'
                                       AND r.reason = 'person'), false) AS sms_refused
                 FROM (SELECT r.*, r.outcome = u.outcome AND (
                              r.state IN ('sending', 'sent', 'unknown')
                              OR (r.state = 'rejected' AND r.reason = 'person')) AS counts
                         FROM verifier.reminders r
                        WHERE r.user_id = u.id AND r.user_version = u.version
                          AND NOT EXISTS (SELECT FROM verifier.verifications v
                                           WHERE v.user_id = u.id AND v.outcome = 'MATCHED'
                                             AND v.settled_at > r.planned_at)) AS r) AS h
             WHERE u.status = 'failed' AND u.id > :after
             ORDER BY u.id LIMIT :size
        """),  # noqa: S608 - a constant of ours
        {"after": after, "size": size, "day_ends": day_ends},
    ).all()


@dataclass(frozen=True, slots=True)
class NewReminder:
    """A message to plan. Detail, person, recipient and locale are taken from the user's row."""

    user_id: int
    user_version: int
    step: int
    channel: str
    outcome: str
    template: str
    due_at: datetime


def plan(connection: Connection, day: date, reminders: Sequence[NewReminder]) -> int:
    """Plan messages for ``day``; returns how many. One a user, person and number: others give way.

    A user whose standing changed since it was read is left out.
    """
    if not reminders:
        return 0
    return connection.execute(
        text("""
            INSERT INTO verifier.reminders (user_id, user_version, day, step, channel, outcome,
                                            detail, template, locale, person, recipient, due_at)
            SELECT u.id, u.version, :day, p.step, p.channel, u.outcome, u.detail, p.template,
                   u.locale, u.id_number_index, u.phone_index, p.due_at
              FROM unnest(CAST(:users AS bigint[]), CAST(:versions AS int[]),
                          CAST(:steps AS smallint[]), CAST(:channels AS text[]),
                          CAST(:outcomes AS text[]), CAST(:templates AS text[]),
                          CAST(:due AS timestamptz[]))
                   AS p (user_id, version, step, channel, outcome, template, due_at)
              JOIN verifier.users u ON u.id = p.user_id AND u.version = p.version
                                   AND u.status = 'failed' AND u.outcome = p.outcome
             ORDER BY u.id
            ON CONFLICT DO NOTHING
        """),
        {
            "day": day,
            "users": [r.user_id for r in reminders],
            "versions": [r.user_version for r in reminders],
            "steps": [r.step for r in reminders],
            "channels": [r.channel for r in reminders],
            "outcomes": [r.outcome for r in reminders],
            "templates": [r.template for r in reminders],
            "due": [r.due_at for r in reminders],
        },
    ).rowcount


def expire(connection: Connection, today: date) -> int:
    """Give up what was planned for earlier days and did not leave. Returns how many."""
    return connection.execute(
        text("""
            UPDATE verifier.reminders
               SET state = 'skipped', reason = 'day_over', ended_at = verifier.verifier_now(),
                   token = NULL, lease_until = NULL
             WHERE state = 'planned' AND day < :today
               AND (lease_until IS NULL OR lease_until < clock_timestamp())
        """),
        {"today": today},
    ).rowcount


def lease_due(
    connection: Connection, *, token: int, lease_seconds: float, limit: int, day_ends: datetime
) -> Sequence[Row[Any]]:
    """Lease up to ``limit`` due rows, each with what the user's row says now.

    ``current``: the reminder is still true; ``answering``: a verification will soon say more.
    """
    return connection.execute(
        text(f"""
            WITH due AS MATERIALIZED (
              SELECT id FROM verifier.reminders
               WHERE state = 'planned' AND due_at <= (SELECT verifier.verifier_now())
                 AND (lease_until IS NULL OR lease_until < clock_timestamp())
               ORDER BY due_at, id LIMIT :limit FOR UPDATE SKIP LOCKED
            ), leased AS (
              UPDATE verifier.reminders r
                 SET token = :token,
                     lease_until = clock_timestamp() + make_interval(secs => :lease)
                FROM due WHERE r.id = due.id RETURNING r.*
            )
            SELECT l.id, l.day, l.channel, l.outcome, l.template, l.locale, l.tries, l.due_at,
                   u.platform, u.reference, u.phone, u.push_token, u.time_zone,
                   u.status = 'failed' AND u.version = l.user_version AND u.outcome = l.outcome
                     AS current,
                   {_ANSWERING} AS answering, verifier.verifier_now() AS now
              FROM leased l JOIN verifier.users u ON u.id = l.user_id
             ORDER BY l.due_at, l.id
        """),  # noqa: S608 - a constant of ours
        {"token": token, "lease": lease_seconds, "limit": limit, "day_ends": day_ends},
    ).all()


def release(connection: Connection, ids: Sequence[int], token: int) -> int:
    """Give leased rows back unsent, as they were. Returns how many were still ours."""
    return connection.execute(
        text("""
            UPDATE verifier.reminders SET token = NULL, lease_until = NULL
             WHERE id = ANY(:ids) AND token = :token AND state = 'planned'
        """),
        {"ids": list(ids), "token": token},
    ).rowcount


def mark_sending(
    connection: Connection,
    reminder_id: int,
    *,
    token: int,
    gateway: str,
    client_reference: str,
    call_seconds: float,
    settle_seconds: float,
) -> bool:
    """Write down that the message is about to leave. False: it must not, for the lease is gone,
    the reminder is no longer true, or everything is stopped.

    ``call_seconds``: from now until the call has ended; ``settle_seconds``: until the vendor can be
    asked about it.
    """
    return (
        connection.execute(
            text("""
                UPDATE verifier.reminders r
                   SET state = 'sending', gateway = :gateway, client_reference = :client_reference,
                       sending_at = verifier.verifier_now(), reason = NULL, code = NULL,
                       due_at = verifier.verifier_now() + make_interval(secs => :settle),
                       lease_until = clock_timestamp() + make_interval(secs => :call)
                  FROM verifier.users u
                 WHERE r.id = :id AND r.state = 'planned' AND r.token = :token
                   AND r.lease_until > clock_timestamp()
                   AND u.id = r.user_id AND u.status = 'failed' AND u.version = r.user_version
                   AND u.outcome = r.outcome
                   AND NOT EXISTS (SELECT FROM verifier.control WHERE stopped_at IS NOT NULL)
            """),
            {
                "id": reminder_id,
                "token": token,
                "gateway": gateway,
                "client_reference": client_reference,
                "call": call_seconds,
                "settle": settle_seconds,
            },
        ).rowcount
        == 1
    )


def end(
    connection: Connection,
    reminder_id: int,
    *,
    token: int,
    state: str,
    reason: str | None,
    code: str | None = None,
    message_id: str | None = None,
) -> bool:
    """End a row that this sender leased or is sending. False when it is no longer ours."""
    return (
        connection.execute(
            text("""
                UPDATE verifier.reminders
                   SET state = :state, reason = :reason, code = coalesce(:code, code),
                       message_id = :message_id, ended_at = verifier.verifier_now(),
                       token = NULL, lease_until = NULL
                 WHERE id = :id AND token = :token AND state IN ('planned', 'sending')
            """),
            {
                "id": reminder_id,
                "token": token,
                "state": state,
                "reason": reason,
                "code": code,
                "message_id": message_id,
            },
        ).rowcount
        == 1
    )


def plan_again(
    connection: Connection,
    reminder_id: int,
    *,
    token: int,
    due_at: datetime | None = None,
    seconds: float = 0.0,
    reason: str | None = None,
    code: str | None = None,
    channel: str | None = None,
    tried: bool = False,
) -> bool:
    """Back to planned: the message certainly reached nobody. False when it is no longer ours.

    Due at ``due_at``, or in ``seconds``. ``tried`` counts a try; another ``channel`` starts anew.
    """
    return (
        connection.execute(
            text("""
                UPDATE verifier.reminders
                   SET state = 'planned', gateway = NULL, client_reference = NULL,
                       sending_at = NULL, token = NULL, lease_until = NULL,
                       due_at = coalesce(CAST(:due_at AS timestamptz),
                                   verifier.verifier_now() + make_interval(secs => :seconds)),
                       reason = :reason, code = :code,
                       tries = CASE WHEN CAST(:channel AS text) <> channel THEN 0
                                    WHEN :tried THEN tries + 1 ELSE tries END,
                       channel = coalesce(CAST(:channel AS text), channel)
                 WHERE id = :id AND token = :token AND state IN ('planned', 'sending')
            """),
            {
                "id": reminder_id,
                "token": token,
                "due_at": due_at,
                "seconds": seconds,
                "reason": reason,
                "code": code,
                "channel": channel,
                "tried": tried,
            },
        ).rowcount
        == 1
    )


def take_unsettled(
    connection: Connection, *, limit: int, pause_seconds: float
) -> Sequence[Row[Any]]:
    """Rows in ``sending`` whose call has ended unheard, and about which the vendor can be asked.

    Each is due again after ``pause_seconds``, longer every time, so that nobody else asks
    meanwhile. ``same_recipient``: the user's number is still the one that was written to.
    ``sent_before`` is the raw clock's instant by which the call had ended.
    """
    return connection.execute(
        text("""
            WITH due AS MATERIALIZED (
              SELECT id FROM verifier.reminders
               WHERE state = 'sending' AND due_at <= (SELECT verifier.verifier_now())
                 AND lease_until < clock_timestamp()
               ORDER BY sending_at LIMIT :limit FOR UPDATE SKIP LOCKED
            ), taken AS (
              UPDATE verifier.reminders r
                 SET reconciliations = reconciliations + 1,
                     due_at = verifier.verifier_now()
                              + make_interval(secs => :pause * (reconciliations + 1))
                FROM due WHERE r.id = due.id RETURNING r.*
            )
            SELECT t.id, t.channel, t.gateway, t.client_reference, t.reconciliations,
                   t.lease_until AS sent_before, t.recipient = u.phone_index AS same_recipient,
                   u.platform, u.reference, u.phone, u.push_token
              FROM taken t JOIN verifier.users u ON u.id = t.user_id ORDER BY t.id
        """),
        {"limit": limit, "pause": pause_seconds},
    ).all()


def settle(
    connection: Connection,
    reminder_id: int,
    *,
    reconciliation: int,
    state: str,
    reason: str,
    code: str | None = None,
    message_id: str | None = None,
) -> bool:
    """End a row in ``sending`` by what the vendor says, if nobody has asked again since."""
    return (
        connection.execute(
            text("""
                UPDATE verifier.reminders
                   SET state = :state, reason = :reason, code = :code,
                       message_id = coalesce(:message_id, message_id),
                       ended_at = verifier.verifier_now(), token = NULL, lease_until = NULL
                 WHERE id = :id AND state = 'sending' AND reconciliations = :reconciliation
            """),
            {
                "id": reminder_id,
                "reconciliation": reconciliation,
                "state": state,
                "reason": reason,
                "code": code,
                "message_id": message_id,
            },
        ).rowcount
        == 1
    )


def listing(
    connection: Connection, *, state: str | None = None, day: date | None = None, limit: int = 50
) -> Sequence[Row[Any]]:
    """The latest reminders, newest first, each with its user's platform and reference."""
    return connection.execute(
        text("""
            SELECT r.id, u.platform, u.reference, r.day, r.step, r.channel, r.outcome, r.detail,
                   r.template, r.locale, r.state, r.reason, r.due_at, r.gateway,
                   r.client_reference, r.message_id, r.code, r.tries, r.reconciliations,
                   r.planned_at, r.sending_at, r.ended_at
              FROM verifier.reminders r JOIN verifier.users u ON u.id = r.user_id
             WHERE (CAST(:state AS text) IS NULL OR r.state = :state)
               AND (CAST(:day AS date) IS NULL OR r.day = :day)
             ORDER BY r.id DESC LIMIT :limit
        """),
        {"state": state, "day": day, "limit": limit},
    ).all()


def counts(connection: Connection, day: date) -> Sequence[Row[Any]]:
    """How many reminders of ``day`` there are per channel, outcome, state and reason."""
    return connection.execute(
        text("""
            SELECT channel, outcome, state, reason, count(*) AS number FROM verifier.reminders
             WHERE day = :day GROUP BY channel, outcome, state, reason
             ORDER BY channel, outcome, state, reason
        """),
        {"day": day},
    ).all()
