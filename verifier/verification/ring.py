"""Ringing: for a lane as many drains as its due work and free slots allow; for one verification."""

from __future__ import annotations

from math import ceil

from verifier.config import config
from verifier.doorbell import INTERACTIVE_QUEUE, doorbell, lane_queue
from verifier.outcomes import Lane
from verifier.store import lanes, operations, turns
from verifier.store.engine import transaction

#: The task that drains a lane; ``workers.verification`` serves it.
DRAIN_TASK = "verifier.drain"

#: The task that attends to one verification; ``workers.interactive`` serves it.
VERIFY_ONE_TASK = "verifier.verify_one"


def ring_one(verification_id: int) -> None:
    """Ring for one verification, ahead of every lane."""
    doorbell().ring(VERIFY_ONE_TASK, {"verification": verification_id}, INTERACTIVE_QUEUE)


def ring_lanes() -> int:
    """Ring for every lane that has due work and may be drained. Returns how many rings were sent.

    Rung slots are written down first, so that two ringers do not ring twice for the same work; a
    message that gets lost frees its slot when the ring expires.
    """
    engine = config().engine
    wanted: dict[Lane, int] = {}
    with transaction() as connection:
        if operations.control(connection).stopped_at is not None:
            return 0
        lanes.ensure_slots(connection, engine.slots_per_lane)
        # A drain takes several chunks; one ring for every few keeps the rest for other lanes.
        enough = engine.chunk * engine.slots_per_lane
        for lane, due in sorted(turns.due_per_lane(connection, enough).items()):
            if lanes.is_open(connection, lane):
                rings = min(ceil(due / engine.chunk), engine.slots_per_lane)
                busy = lanes.busy(connection, lane)
                rung = lanes.ring(connection, lane, rings - busy, engine.ring_seconds)
                if rung:
                    wanted[lane] = rung
    sent = 0
    for lane, rings in wanted.items():
        taken = doorbell().ring(DRAIN_TASK, {"lane": str(lane)}, lane_queue(lane), rings)
        sent += taken
        if taken < rings:
            with transaction() as connection:
                lanes.unring(connection, lane, rings - taken)
    return sent
