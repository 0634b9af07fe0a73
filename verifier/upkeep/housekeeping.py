"""Housekeeping: partitions made ahead of time, old job rows and slots removed. Hourly is plenty."""

from __future__ import annotations

from verifier.store import deliveries, jobs, operations
from verifier.store.engine import transaction

#: Days that finished job rows are kept, and deliveries that ended.
_KEEP_DAYS = 400
_KEEP_DELIVERIES_DAYS = 30
#: Deliveries removed in one transaction.
_CHUNK = 10_000


def keep_house() -> dict[str, int]:
    """Run once."""
    with transaction() as connection:
        made = operations.ensure_partitions(connection)
    with transaction() as connection:
        forgotten = jobs.forget_before(connection, _KEEP_DAYS)
    with transaction() as connection:
        forgotten += deliveries.forget_before(connection, _KEEP_DELIVERIES_DAYS, _CHUNK)
    return {"partitions": made, "forgotten": forgotten}
