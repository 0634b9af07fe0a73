"""Which batch pays for an open verification that several want.

Of the batches that run (neither paused nor cancelled) and want it: while one has no budget, nobody
is charged; otherwise the one that paid before, or the oldest. With nobody running it stays as it
was. Whoever opens or joins a verification says so in :mod:`verifier.store.loading`; it is settled
anew whenever a batch begins or stops to run. Who asked interactively pays for what he promoted.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, text

_MINE: Final = """
    SELECT o.user_id, o.id, o.payer FROM verifier.open_verifications o
     WHERE o.id IN (SELECT verification_id FROM verifier.batch_items
                     WHERE batch_id = :batch AND user_id > :from AND user_id <= :to)
       AND o.priority > 0
"""
_LOCK: Final = text(f"{_MINE} ORDER BY o.user_id FOR UPDATE OF o")
_SETTLE: Final = text(f"""
    WITH mine AS MATERIALIZED ({_MINE}), wanted AS (
      SELECT m.user_id, m.payer,
             bool_or(b.paused_at IS NULL AND b.budget IS NULL) AS for_nothing,
             bool_or(b.paused_at IS NULL AND b.id = m.payer) AS goes_on,
             min(b.id) FILTER (WHERE b.paused_at IS NULL) AS oldest,
             bool_or(b.id = m.payer) AS stays,
             min(b.id) FILTER (WHERE b.budget IS NOT NULL) AS later
        FROM mine m JOIN verifier.batch_items x ON x.verification_id = m.id
        JOIN verifier.batches b ON b.id = x.batch_id
             AND b.cancelled_at IS NULL AND b.state <> 'done'
       GROUP BY m.user_id, m.payer
    ), settled AS (
      SELECT user_id, CASE WHEN for_nothing THEN NULL WHEN goes_on THEN payer
                           WHEN oldest IS NOT NULL THEN oldest
                           WHEN stays THEN payer ELSE later END AS payer FROM wanted)
    UPDATE verifier.open_verifications o SET payer = s.payer
      FROM settled s WHERE o.user_id = s.user_id AND o.payer IS DISTINCT FROM s.payer
""")  # noqa: S608 - constants only
_LAST: Final = 2**63 - 1


def settle(connection: Connection, batch_id: int, *, after: int = 0, to: int = _LAST) -> None:
    """For the open verifications that this batch wants (of users ``after`` … ``to``)."""
    asked = {"batch": batch_id, "from": after, "to": to}
    # Lock first, look afterwards: whoever was joining a row has then committed, and is seen.
    connection.execute(_LOCK, asked)
    connection.execute(_SETTLE, asked)


#: Calls of a batch's verifications that cost or may cost something, and that nobody pays for.
_UNPAID: Final = """
    verifier.batch_items i
      JOIN verifier.attempts a ON a.verification_id = i.verification_id
     WHERE i.batch_id = :batch AND a.payer IS NULL AND a.price IS NOT NULL
       AND (a.state IN ('started', 'lost') OR (a.state = 'completed' AND a.billed <> 'no'))
"""
_LOCK_UNPAID: Final = text(f"SELECT FROM {_UNPAID} ORDER BY a.id FOR NO KEY UPDATE OF a")
_PAY: Final = text(f"""
    WITH unpaid AS MATERIALIZED (SELECT a.id, a.started_at FROM {_UNPAID}), paid AS (
      UPDATE verifier.attempts a SET payer = :batch
        FROM unpaid u WHERE a.id = u.id AND a.started_at = u.started_at RETURNING a.price)
    INSERT INTO verifier.spending (scope, amount)
    SELECT 'batch:' || CAST(:batch AS bigint), coalesce(sum(price), 0) FROM paid
    ON CONFLICT (scope) DO UPDATE SET amount = spending.amount + excluded.amount
""")  # noqa: S608 - constants only


def begin_to_pay(connection: Connection, batch_id: int) -> None:
    """A batch that had no budget has one: what nobody paid of its verifications until now is its
    own, and what is under way gives back when it turns out to be free."""
    # Before the rows of the verifications, as whoever records an answer locks them.
    connection.execute(_LOCK_UNPAID, {"batch": batch_id})
    settle(connection, batch_id)
    connection.execute(_PAY, {"batch": batch_id})
