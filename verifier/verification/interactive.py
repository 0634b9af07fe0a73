"""The interactive path: one verification, claimed by id, called and recorded at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy.exc import OperationalError

from verifier.answerbell import answer_bell
from verifier.guidance import WaitingReason
from verifier.store import claims, turns
from verifier.store.engine import transaction
from verifier.verification.calls import call
from verifier.verification.claim import claim, close_lane, give_back_unknown
from verifier.verification.jobs import Called, Job, Uncalled
from verifier.verification.recording import Counts, flush
from verifier.verification.runtime import Runtime, new_token
from verifier.verification.sorting import Claimed

#: One verification asks at most a few providers in one go; more is a fault of routing.
_MOST_CALLS = 4


def attend(runtime: Runtime, verification_id: int, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Work on this verification until it settles or has to wait. Nothing if it is not waiting."""
    counts = Counts()
    token = new_token()
    for _ in range(_MOST_CALLS):
        if stopping():
            break
        claimed = _claim(runtime, verification_id, token)
        if claimed is None:
            break
        done: list[Called | Uncalled] = list(claimed.uncalled)
        done += [_call(runtime, job) for job in claimed.jobs]
        if not done:
            break
        counts = flush(runtime, token, done, claimed.standing, counts)
        if counts.settled:
            break
    answer_bell().ring(verification_id)
    return {
        "verification": verification_id,
        "called": counts.called,
        "settled": counts.settled,
        "returned": counts.returned,
    }


def _claim(runtime: Runtime, verification_id: int, token: int) -> Claimed | None:
    """Claim the verification; None when it is not waiting."""
    try:
        with transaction() as connection:
            lane = turns.lane_of(connection, verification_id)
            if lane is None:
                return None
            claimed = claim(
                connection,
                runtime,
                lane,
                1,
                token,
                lambda connection, _limit: claims.lock_one(connection, verification_id),
                share="interactive",
            )
            # Money: an urgent call is dearer, and others of the lane may still be paid.
            blocked = claimed.blocked
            if blocked is not None and blocked.reason != WaitingReason.BUDGET:
                close_lane(connection, runtime, lane, blocked)
    except OperationalError:
        give_back_unknown(runtime, token)
        raise
    return claimed


def _call(runtime: Runtime, job: Job) -> Called:
    begun = time.monotonic()
    pause = job.call_at - begun
    if pause > 0:
        time.sleep(pause)
    timeout = runtime.config.providers[job.provider].timeout
    answer = call(job, runtime.keyring, runtime.providers, timeout)
    return Called(job, answer, int((time.monotonic() - begun) * 1000))
