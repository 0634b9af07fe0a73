"""Housekeeping: partitions made ahead of time, old job rows and slots removed. Hourly is plenty."""

from __future__ import annotations

import structlog
from sqlalchemy.exc import OperationalError

from verifier.store import check_caps, deliveries, jobs, operations, spending
from verifier.store.engine import LOCK_NOT_AVAILABLE, transaction

_log = structlog.get_logger(__name__)

#: Days that finished job rows are kept, and deliveries that were taken; dead ones stay.
_KEEP_DAYS = 400
_KEEP_DELIVERIES_DAYS = 30
#: Deliveries removed in one transaction.
_CHUNK = 10_000


def keep_house() -> dict[str, int]:
    """Run once."""
    made = _make_partitions()
    with transaction() as connection:
        forgotten = jobs.forget_before(connection, _KEEP_DAYS)
        forgotten += check_caps.forget_old(connection)
        forgotten += spending.forget_done(connection, _KEEP_DAYS)
    with transaction() as connection:
        forgotten += deliveries.forget_before(connection, _KEEP_DELIVERIES_DAYS, _CHUNK)
    return {"partitions": made, "forgotten": forgotten}


def _make_partitions() -> int:
    """Months ahead, so that somebody who reads for long only puts it off."""
    try:
        with transaction() as connection:
            return operations.ensure_partitions(connection)
    except OperationalError as error:
        if getattr(error.orig, "pgcode", None) != LOCK_NOT_AVAILABLE:
            raise
        _log.warning("partitions not made: the history is being read; the next run tries again")
        return 0
