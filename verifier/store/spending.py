"""Budgets: what is spent, or may still be, of a month's and of a batch's.

A call is charged before it is made and given back when it was certainly not billed; what may have
been billed stays charged. So a budget is never passed, whatever answers come late or never. The
rows are locked last in a transaction, in order of their scope.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, text

from verifier.store import arrays


def month_scope(instant: datetime, zone: ZoneInfo) -> str:
    """The scope of a business month."""
    return f"month:{instant.astimezone(zone):%Y-%m}"


def batch_scope(batch_id: int) -> str:
    return f"batch:{batch_id}"


class Charge(NamedTuple):
    """A call about to be made: what a billed answer costs, and whose budgets it is charged to."""

    price: Decimal
    scopes: tuple[str, ...]


def batch_budgets(connection: Connection, batches: Iterable[int]) -> dict[str, Decimal]:
    """Scope → budget, of those batches that have one."""
    rows = connection.execute(
        text("""
            SELECT id, budget FROM verifier.batches
             WHERE id = ANY(CAST(:ids AS bigint[])) AND budget IS NOT NULL
        """),
        {"ids": arrays.of_numbers(sorted(set(batches)))},
    )
    return {batch_scope(row.id): row.budget for row in rows}


def charge(
    connection: Connection, calls: Sequence[Charge], budgets: Mapping[str, Decimal]
) -> list[bool]:
    """Charge the calls in their order, those that fit; which of them did.

    ``budgets``: scope → the most that may be spent; a scope without one is not counted. A scope
    that had no room is marked exhausted.
    """
    scopes = sorted({scope for call in calls for scope in call.scopes if scope in budgets})
    if not scopes:
        return [True] * len(calls)
    spent = _lock(connection, scopes)
    before = dict(spent)
    refused: set[str] = set()
    granted = []
    for call in calls:
        counted = [scope for scope in call.scopes if scope in budgets] if call.price else []
        full = [scope for scope in counted if spent[scope] + call.price > budgets[scope]]
        granted.append(not full)
        refused.update(full)
        if not full:
            for scope in counted:
                spent[scope] += call.price
    changed = [scope for scope in scopes if spent[scope] != before[scope] or scope in refused]
    if changed:
        connection.execute(
            text("""
                UPDATE verifier.spending s
                   SET amount = c.amount,
                       exhausted_at = CASE WHEN c.scope = ANY(CAST(:refused AS text[]))
                                           THEN coalesce(s.exhausted_at, verifier.verifier_now())
                                           ELSE s.exhausted_at END
                  FROM unnest(CAST(:scopes AS text[]), CAST(:amounts AS numeric[]))
                       AS c (scope, amount)
                 WHERE s.scope = c.scope
            """),
            {
                "scopes": arrays.of_texts(changed),
                "amounts": arrays.of_numbers(spent[scope] for scope in changed),
                "refused": arrays.of_texts(sorted(refused)),
            },
        )
    return granted


def _lock(connection: Connection, scopes: Sequence[str]) -> dict[str, Decimal]:
    """Scope → amount, locked until commit; made where missing."""
    asked = {"scopes": arrays.of_texts(scopes)}
    select = text("""
        SELECT scope, amount FROM verifier.spending
         WHERE scope = ANY(CAST(:scopes AS text[])) ORDER BY scope FOR NO KEY UPDATE
    """)
    rows = connection.execute(select, asked).all()
    if len(rows) < len(scopes):
        connection.execute(
            text("""
                INSERT INTO verifier.spending (scope)
                SELECT * FROM unnest(CAST(:scopes AS text[])) ORDER BY 1 ON CONFLICT DO NOTHING
            """),
            asked,
        )
        rows = connection.execute(select, asked).all()
    return {row.scope: row.amount for row in rows}


def give_back(connection: Connection, calls: Iterable[Row[Any]], zone: str) -> None:
    """Calls (price, payer, charged, started_at) that were certainly not billed. ``zone``: of the
    months."""
    found: dict[str, Decimal] = {}
    months = ZoneInfo(zone)
    for call in calls:
        if call.price:
            scopes = [month_scope(call.started_at, months)] if call.charged else []
            if call.payer is not None:
                scopes.append(batch_scope(call.payer))
            for scope in scopes:
                found[scope] = found.get(scope, Decimal(0)) + call.price
    if not found:
        return
    ordered = sorted(found)
    connection.execute(
        text("""
            WITH locked AS MATERIALIZED (
              SELECT s.scope, c.amount FROM verifier.spending s
                JOIN unnest(CAST(:scopes AS text[]), CAST(:amounts AS numeric[]))
                     AS c (scope, amount) USING (scope)
               ORDER BY s.scope FOR NO KEY UPDATE OF s)
            UPDATE verifier.spending s SET amount = s.amount - l.amount, exhausted_at = NULL
              FROM locked l WHERE s.scope = l.scope
        """),
        {
            "scopes": arrays.of_texts(ordered),
            "amounts": arrays.of_numbers(found[scope] for scope in ordered),
        },
    )


def count_month(connection: Connection, zone: ZoneInfo) -> None:
    """Begin to count this month, if nobody does yet: with what its attempts say was spent before.

    Reads a month of attempts once, when a budget is set in the middle of it.
    """
    now: datetime = connection.execute(text("SELECT verifier.verifier_now()")).scalar_one()
    begun = now.astimezone(zone).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    scope = month_scope(now, zone)
    asked = {"scope": scope, "begun": begun}
    counted = text("SELECT FROM verifier.spending WHERE scope = :scope AND counted")
    if connection.execute(counted, asked).first() is not None:
        return
    # Calls under way are counted, so that they give back too. Before the month's row is locked, as
    # everywhere; what is begun meanwhile without a budget is not counted.
    connection.execute(
        text("""
            WITH under_way AS MATERIALIZED (
              SELECT id, started_at FROM verifier.attempts
               WHERE started_at >= :begun AND state IN ('started', 'lost') AND NOT charged
               ORDER BY id FOR NO KEY UPDATE)
            UPDATE verifier.attempts a SET charged = true
              FROM under_way u WHERE a.id = u.id AND a.started_at = u.started_at
        """),
        asked,
    )
    connection.execute(
        text("""
            INSERT INTO verifier.spending (scope, counted) VALUES (:scope, false)
            ON CONFLICT DO NOTHING
        """),
        asked,
    )
    _lock(connection, [scope])
    # A statement of its own, so that it sees what was charged and answered until the lock was had.
    connection.execute(
        text("""
            UPDATE verifier.spending SET counted = true, amount = coalesce((
                   SELECT sum(price) FROM verifier.attempts
                    WHERE started_at >= :begun AND (state IN ('started', 'lost') AND charged
                          OR (state = 'completed' AND billed <> 'no'))), 0)
             WHERE scope = :scope AND NOT counted
        """),
        asked,
    )


def stop_counting_months(connection: Connection) -> None:
    """Without a budget nothing is charged to a month: one that is set later counts anew."""
    connection.execute(
        text("UPDATE verifier.spending SET counted = false WHERE scope LIKE 'month:%' AND counted")
    )


def spent(connection: Connection, scopes: Sequence[str]) -> dict[str, Decimal]:
    """Scope → what is spent or may still be, of those that are counted."""
    rows = connection.execute(
        text("SELECT scope, amount FROM verifier.spending WHERE scope = ANY(:scopes)"),
        {"scopes": list(scopes)},
    )
    return {row.scope: row.amount for row in rows}


def exhausted_batches(connection: Connection) -> Sequence[Row[Any]]:
    """Batches whose budget is used up and who have no call under way that could give some back:
    (id, budget, amount). Paused ones are left out."""
    return connection.execute(
        text("""
            SELECT b.id, b.budget, s.amount
              FROM verifier.spending s
              JOIN verifier.batches b ON s.scope = 'batch:' || b.id
             WHERE s.exhausted_at IS NOT NULL AND b.state <> 'done' AND b.paused_at IS NULL
               AND b.cancelled_at IS NULL AND b.budget IS NOT NULL
               AND NOT EXISTS (SELECT FROM verifier.open_verifications o
                                WHERE o.payer = b.id AND o.state = 'claimed')
             ORDER BY b.id
        """)
    ).all()


def solvent_batches(connection: Connection) -> list[int]:
    """Batches that were paused for want of money and got some back since."""
    return list(
        connection.scalars(
            text("""
                SELECT b.id FROM verifier.batches b
                  JOIN verifier.spending s ON s.scope = 'batch:' || b.id
                 WHERE b.paused_at IS NOT NULL AND b.paused_by = 'budget' AND b.state <> 'done'
                   AND s.exhausted_at IS NULL ORDER BY b.id
            """)
        )
    )


def paused_batches(connection: Connection) -> list[int]:
    """Batches that stopped at their budget."""
    return list(
        connection.scalars(
            text("""
                SELECT id FROM verifier.batches
                 WHERE paused_at IS NOT NULL AND paused_by = 'budget' AND state <> 'done'
                 ORDER BY id
            """)
        )
    )


def forget_done(connection: Connection, days: int) -> int:
    """Remove what batches that are done for two days have spent, and months older than ``days``:
    the attempts keep what they cost. Returns how many rows."""
    return connection.execute(
        text("""
            DELETE FROM verifier.spending s
             WHERE s.scope IN (
                   SELECT 'batch:' || b.id FROM verifier.batches b WHERE b.budget IS NOT NULL
                      AND b.finished_at < (SELECT verifier.verifier_now()) - interval '2 days')
                OR (s.scope LIKE 'month:%' AND s.scope < 'month:' || to_char(
                    (SELECT verifier.verifier_now()) - make_interval(days => :days), 'YYYY-MM'))
        """),
        {"days": days},
    ).rowcount
