"""Housekeeping: partitions made ahead of time, old job rows and slots removed. Hourly is plenty."""

from __future__ import annotations

from verifier.store import jobs, operations
from verifier.store.engine import transaction

#: Days that finished job rows are kept.
_KEEP_DAYS = 400


def keep_house() -> dict[str, int]:
    """Run once."""
    with transaction() as connection:
        made = operations.ensure_partitions(connection)
    with transaction() as connection:
        forgotten = jobs.forget_before(connection, _KEEP_DAYS)
    return {"partitions": made, "forgotten": forgotten}
