"""Which batch pays for an open verification that several want, when one stops or gets money.

One without a budget pays first: then nobody is charged. Whoever opens or joins a verification says
so in :mod:`verifier.store.loading`.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, text

#: Calls of a batch's verifications that nobody pays for, and whose answer may still come.
_UNDER_WAY: Final = """
    verifier.batch_items i
      JOIN verifier.attempts a ON a.verification_id = i.verification_id
     WHERE i.batch_id = :batch AND a.state IN ('started', 'lost') AND a.payer IS NULL
"""


def begin_to_pay(connection: Connection, batch_id: int) -> None:
    """A batch that gets a budget now pays for what nobody pays for, unless a batch without a budget
    wants it too; what its verifications have cost until now counts, and what is under way gives
    back when it turns out to be free."""
    asked = {"batch": batch_id}
    # Before the rows of the verifications, as whoever records an answer locks them.
    connection.execute(
        text(f"SELECT FROM {_UNDER_WAY} ORDER BY a.id FOR NO KEY UPDATE OF a"),
        asked,
    )
    taken = connection.execute(
        text("""
            WITH mine AS MATERIALIZED (
              SELECT o.user_id FROM verifier.open_verifications o
                JOIN verifier.batch_items i ON i.verification_id = o.id
               WHERE i.batch_id = :batch AND o.payer IS NULL AND o.priority > 0 AND NOT EXISTS (
                     SELECT FROM verifier.batch_items x JOIN verifier.batches b ON b.id = x.batch_id
                      WHERE x.verification_id = o.id AND b.id <> :batch AND b.budget IS NULL
                        AND b.cancelled_at IS NULL AND b.state <> 'done')
               ORDER BY o.user_id FOR UPDATE OF o)
            UPDATE verifier.open_verifications o SET payer = :batch
              FROM mine WHERE o.user_id = mine.user_id
        """),
        asked,
    ).rowcount
    if taken:
        connection.execute(
            text(f"""
                WITH under_way AS MATERIALIZED (
                  SELECT a.id, a.started_at FROM {_UNDER_WAY} ORDER BY a.id)
                UPDATE verifier.attempts a SET payer = :batch
                  FROM under_way u WHERE a.id = u.id AND a.started_at = u.started_at
                   AND EXISTS (SELECT FROM verifier.open_verifications o
                                WHERE o.id = a.verification_id AND o.payer = :batch)
            """),  # noqa: S608
            asked,
        )
        connection.execute(
            text("""
                INSERT INTO verifier.spending (scope, amount)
                SELECT 'batch:' || CAST(:batch AS text), coalesce(sum(a.price), 0)
                  FROM verifier.batch_items i
                  JOIN verifier.attempts a ON a.verification_id = i.verification_id
                 WHERE i.batch_id = CAST(:batch AS bigint) AND (a.state IN ('started', 'lost')
                       OR (a.state = 'completed' AND a.billed <> 'no'))
                ON CONFLICT (scope) DO NOTHING
            """),
            {"batch": str(batch_id)},
        )


def hand_over(connection: Connection, batch_id: int) -> None:
    """What this batch paid for and another running one wants is paid by that one from now on."""
    connection.execute(
        text("""
            WITH mine AS MATERIALIZED (
              SELECT o.user_id, o.id FROM verifier.open_verifications o
               WHERE o.payer = :batch ORDER BY o.user_id FOR UPDATE OF o
            ), next AS (
              SELECT m.user_id,
                     (array_agg(CASE WHEN b.budget IS NOT NULL THEN b.id END
                                ORDER BY b.budget IS NOT NULL, b.id))[1] AS payer
                FROM mine m JOIN verifier.batch_items x ON x.verification_id = m.id
                JOIN verifier.batches b ON b.id = x.batch_id AND b.id <> :batch
                     AND b.paused_at IS NULL AND b.cancelled_at IS NULL AND b.state <> 'done'
               GROUP BY m.user_id)
            UPDATE verifier.open_verifications o SET payer = n.payer
              FROM next n WHERE o.user_id = n.user_id
        """),
        {"batch": batch_id},
    )
