"""What calls cost: from the attempts, each with the price it had when it was made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, text

# What may have been billed: sent without an answer, under way, or its worker died.
_SUMS: Final = """
    count(*) FILTER (WHERE a.state <> 'released') AS calls,
    count(*) FILTER (WHERE a.state = 'completed' AND a.billed = 'yes') AS billed,
    count(*) FILTER (WHERE a.state = 'completed' AND a.billed = 'no') AS free,
    count(*) FILTER (WHERE a.state IN ('started', 'lost')
                        OR (a.state = 'completed' AND a.billed = 'maybe')) AS maybe,
    coalesce(sum(a.price) FILTER (WHERE a.state = 'completed' AND a.billed = 'yes'), 0) AS cost,
    coalesce(sum(a.price) FILTER (WHERE a.state IN ('started', 'lost')
                        OR (a.state = 'completed' AND a.billed = 'maybe')), 0) AS maybe_cost
"""


def by_provider(
    connection: Connection, since: datetime, until: datetime | None
) -> Sequence[Row[Any]]:
    """(provider, purpose, currency, calls, billed, free, maybe, cost, maybe_cost) of the attempts
    begun in [since, until)."""
    return connection.execute(
        text(f"""
            SELECT a.provider, a.purpose, max(a.currency) AS currency, {_SUMS}
              FROM verifier.attempts a
             WHERE a.started_at >= :since
               AND (CAST(:until AS timestamptz) IS NULL OR a.started_at < :until)
             GROUP BY a.provider, a.purpose, coalesce(a.currency, '')
             ORDER BY a.provider, a.purpose, currency
        """),  # noqa: S608 - a constant of ours
        {"since": since, "until": until},
    ).all()


def of_batch(connection: Connection, batch_id: int) -> Sequence[Row[Any]]:
    """(currency, calls, billed, free, maybe, cost, maybe_cost) of the verifications that answer
    the batch: also those that another batch waits for too."""
    return connection.execute(
        text(f"""
            SELECT max(a.currency) AS currency, {_SUMS}
              FROM verifier.batch_items i
              JOIN verifier.attempts a ON a.verification_id = i.verification_id
             WHERE i.batch_id = :batch
             GROUP BY coalesce(a.currency, '') ORDER BY currency NULLS LAST
        """),  # noqa: S608 - a constant of ours
        {"batch": batch_id},
    ).all()
