"""Settles open verifications as a worker's flush would, without any worker."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import text

from verifier.store import claims, operations, records
from verifier.store.engine import transaction


def settle_all(outcome_of: Callable[[str], str]) -> int:
    """Settle every waiting verification with ``outcome_of(reference)``; returns how many."""
    with transaction() as connection:
        rows = connection.execute(
            text("""
                SELECT o.id, o.user_id, u.version, u.reference FROM verifier.open_verifications o
                  JOIN verifier.users u ON u.id = o.user_id WHERE o.state = 'waiting' ORDER BY 2
            """)
        ).all()
        claims.claim_uncalled(connection, [row.id for row in rows], token=7, lease_seconds=60)
        flush = records.Flush(token=7)
        flush.settled += [
            records.Settled(
                verification_id=row.id,
                user_id=row.user_id,
                data_version=row.version,
                outcome=outcome_of(row.reference),
                detail=None,
                provider="tencent",
                attempts=1,
            )
            for row in rows
        ]
        records.record(connection, flush, "Asia/Shanghai")
    return len(rows)


def workers_seen(*queues: str) -> None:
    """As if a worker of each queue had just answered a canary."""
    with transaction() as connection:
        for name in queues:
            operations.canary_seen(connection, name, "test-host")
