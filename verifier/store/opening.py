"""The one open verification of a user: opened, joined or promoted, and looked at by who waits."""

from __future__ import annotations

from sqlalchemy import Connection, text


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
               SET priority = least(o.priority, :priority), held = false, payer = NULL,
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
