"""The sweep: puts right whatever a crash, a lost message or a wiped broker left behind.

Every few seconds, from anywhere, as often as anybody likes: it looks only at state.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import structlog
from sqlalchemy.exc import DataError

from verifier.config import config
from verifier.store import batches, claims, holding, loading
from verifier.store.engine import transaction
from verifier.upkeep import overdue
from verifier.verification import ring, submit
from verifier.verification.batches import end_cancelled, pause_exhausted

_log = structlog.get_logger(__name__)

#: Rows a sweep handles at once, and how many rounds it makes; the next sweep does the rest.
_CHUNK = 1000
_ROUNDS = 20


@dataclass(slots=True)
class Swept:
    """``released``: leases that had run out; ``loaded``: half-loaded batches taken further;
    ``cancelled``: items of cancelled batches; ``finished``: batches now done; ``folded``: tally
    rows; ``escalated``: verifications past their deadline; ``exhausted``: batches paused for want
    of money; ``rung``: doorbells rung."""

    released: int = 0
    loaded: int = 0
    cancelled: int = 0
    finished: int = 0
    folded: int = 0
    escalated: int = 0
    exhausted: int = 0
    rung: int = 0


def sweep() -> dict[str, int]:
    """Run once."""
    swept = Swept()
    for _ in range(_ROUNDS):
        with transaction() as connection:
            released = claims.release_expired(connection, config().business_time_zone, _CHUNK)
        swept.released += released
        if released < _CHUNK:
            break
    swept.rung = ring.ring_lanes()  # before what may take long
    with transaction() as connection:
        unloaded = loading.unfinished_loads(connection)
        cancelled = holding.cancelled_unfinished(connection)
    for batch in unloaded:
        try:
            submit.load(batch, most=_ROUNDS, wait=False)
        except DataError as error:  # the others go on
            _log.error("a batch cannot be loaded", batch=batch, kind=type(error).__name__)
            continue
        swept.loaded += 1
    for batch in cancelled:
        swept.cancelled += end_cancelled(batch, most=_ROUNDS, wait=False)
    with transaction() as connection:
        swept.folded = batches.fold_tallies(connection)
    with transaction() as connection:
        swept.finished = batches.finish_completed(connection)
    swept.escalated = overdue.look()
    swept.exhausted = pause_exhausted()
    swept.rung += ring.ring_lanes()
    return asdict(swept)
