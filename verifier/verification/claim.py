"""Claim: one transaction that locks due rows, routes them, and writes lease, token and attempts.

After its commit every row it returns is ours until the lease ends, and every call that is about to
be made is written down. Nothing is called here. What becomes of each row is :mod:`.sorting`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row

from verifier.guidance import WaitingReason
from verifier.outcomes import Lane
from verifier.store import claims, lanes, planning, spending
from verifier.store.engine import transaction
from verifier.verification import standing
from verifier.verification.gates import LOOK_AGAIN_SECONDS
from verifier.verification.route import NoneAvailable
from verifier.verification.runtime import Runtime
from verifier.verification.sorting import Claimed, Sorting

#: Locks candidate rows: ``lock_due``, ``lock_suspect`` or ``lock_one`` with their arguments bound.
Source = Callable[[Connection, int], Sequence[Row[Any]]]


def claim(
    connection: Connection,
    runtime: Runtime,
    lane: Lane,
    want: int,
    token: int,
    source: Source,
    share: str = "batch",
) -> Claimed:
    """Claim up to ``want`` rows of ``lane`` from ``source`` under ``token``."""
    if not lanes.is_open(connection, lane):
        return Claimed(closed=True)
    now_standing = standing.read(connection, runtime, lane)
    claimed = Claimed(standing=now_standing)
    only_probe = bool(now_standing.choices) and not now_standing.available
    if only_probe and not now_standing.probes:
        claimed.blocked = _blocked(now_standing)
        return claimed
    if want > 1:
        planning.by_key(connection)
    rows = source(connection, 1 if only_probe else want)
    if not rows:
        return claimed
    claimed.found = len(rows)
    Sorting(connection, runtime, lane, token, share, now_standing, claimed).sort(rows)
    if only_probe and not claimed.jobs and not claimed.uncalled:
        claimed.blocked = _blocked(now_standing)
    return claimed


def _blocked(now_standing: standing.Standing) -> NoneAvailable:
    reasons = (choice.reason for choice in now_standing.choices if choice.reason)
    return NoneAvailable(now_standing.back_at(), next(reasons, "provider_down"))


def give_back_unknown(runtime: Runtime, token: int) -> int:
    """After a claim whose commit was not answered: it may stand all the same.

    What it claimed was never called, so it is given back at once instead of being taken for lost
    when its lease ends. Returns how many rows.
    """
    with transaction() as connection:
        rows = claims.uncalled_of(connection, token)
        zone = runtime.config.business_time_zone
        released = claims.release(
            connection,
            token,
            [row.id for row in rows],
            [row.attempt_id for row in rows],
            zone=zone,
        )
        spending.give_back(connection, released.unasked, zone)
        return released.rows


def close_lane(
    connection: Connection, runtime: Runtime, lane: Lane, blocked: NoneAvailable
) -> None:
    """Write down that nothing of the lane is worth a claim for now: until a provider may be back,
    or because there is no money left (``blocked`` says which).

    Looks again first: an operator may have resumed the provider since the claim.
    """
    now_standing = standing.read(connection, runtime, lane)
    if blocked.reason == WaitingReason.BUDGET:
        lanes.set_not_before(
            connection,
            lane,
            now_standing.now + timedelta(seconds=LOOK_AGAIN_SECONDS),
            blocked.reason,
        )
        return
    if now_standing.choices and not now_standing.available and not now_standing.probes:
        blocked = _blocked(now_standing)
        until = blocked.until or now_standing.now + timedelta(seconds=LOOK_AGAIN_SECONDS)
        lanes.set_not_before(connection, lane, until, blocked.reason)
