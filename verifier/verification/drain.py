"""Drain a lane: a pipeline of a few seconds that claims, calls and records until told to stop.

One drain runs in a process at a time. Its main thread owns the database connection and decides;
the call threads call. It refills when the backlog is shorter than the threads, records twice a
second, and at the end gives back what was not started. Losing the process at any point costs the
lease time, never a result.
"""

from __future__ import annotations

import queue
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Final

import structlog
from sqlalchemy import Connection, Row
from sqlalchemy.exc import OperationalError

from verifier.carriers.base import Answer
from verifier.outcomes import Lane, Outcome
from verifier.resilience.breaker import FAILURES_TO_OPEN
from verifier.store import batches, claims, lanes
from verifier.store.engine import transaction
from verifier.verification import ring
from verifier.verification.calls import call
from verifier.verification.claim import Source, claim, close_lane, give_back_unknown
from verifier.verification.jobs import Called, Job, NotCalled, Uncalled
from verifier.verification.recording import Counts, flush
from verifier.verification.route import NoneAvailable
from verifier.verification.runtime import Runtime, new_token
from verifier.verification.sorting import Claimed
from verifier.verification.standing import Standing

_log = structlog.get_logger(__name__)

#: How long results are gathered while the threads are busy anyway.
_GATHER_SECONDS: Final = 0.02

_Results = queue.SimpleQueue[Called]


@dataclass(slots=True)
class _State:
    """What a running drain knows."""

    token: int
    ends_at: float
    results: _Results = field(default_factory=_Results)
    in_flight: int = 0
    done: list[Called | Uncalled] = field(default_factory=list)
    flushed_at: float = field(default_factory=time.monotonic)
    claim_again_at: float = 0.0
    out_of_work: bool = False
    blocked: NoneAvailable | None = None
    standing: Standing | None = None
    counts: Counts = field(default_factory=Counts)
    begun_at: float = field(default_factory=time.monotonic)
    collected: int = 0
    claim_unknown: bool = False
    #: Calls in a row that were not answered, since the last flush, by breaker.
    unanswered: Counter[str] = field(default_factory=Counter)
    #: Breakers whose calls claimed earlier are not made any more: a claim that chooses one of them
    #: again has seen it.
    closed: set[str] = field(default_factory=set)

    def speed(self, now: float) -> float:
        """Calls a second so far: what is claimed ahead is about a second's work, not more."""
        return self.collected / max(now - self.begun_at, 0.25)


def drain(runtime: Runtime, lane: Lane, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Drain ``lane`` for at most ``drain_seconds``. Returns counts; ``skipped`` without a slot."""
    engine = runtime.config.engine
    token = new_token()
    held = engine.drain_seconds + runtime.longest_call() + 5.0
    try:
        with transaction() as connection:
            claims.release_expired(connection, runtime.config.business_time_zone)
            if lanes.take_slot(connection, lane, token, held) is None:
                return {"lane": str(lane), "skipped": "no free slot"}
    except OperationalError:
        # Unknown whether it was committed: a slot that nobody uses would hold the lane up.
        with transaction() as connection:
            lanes.free_slot(connection, lane, token)
        raise
    runtime.pool.ensure_running()
    runtime.pool.give_back(False)
    state = _State(token, time.monotonic() + engine.drain_seconds)
    try:
        _work_on_suspect(runtime, lane, state, stopping)
        _pipeline(runtime, lane, state, stopping)
    finally:
        _give_back_rest(runtime, state)
        _free_slot(runtime, lane, state)
    progress = state.counts.settled + state.counts.returned > 0
    if progress and state.blocked is None and not stopping():
        ring.ring_lanes()
    report = {"lane": str(lane), **asdict(state.counts)}
    _log.info("drained", **report)
    return report


def _work_on_suspect(
    runtime: Runtime, lane: Lane, state: _State, stopping: Callable[[], bool]
) -> None:
    """A row present at two crashes is worked on with nothing else in flight."""
    if stopping():
        return
    claimed = _claim(runtime, lane, state, 1, partial(_suspect, lane))
    if claimed.found:
        _dispatch(runtime, state, claimed)
        while state.in_flight:
            _collect(runtime, state, 0.5)
        _flush(runtime, state)
    state.out_of_work = False


def _due(lane: Lane, connection: Connection, limit: int) -> Sequence[Row[Any]]:
    return claims.lock_due(connection, lane, limit)


def _suspect(lane: Lane, connection: Connection, _limit: int) -> Sequence[Row[Any]]:
    return claims.lock_suspect(connection, lane)


def _pipeline(runtime: Runtime, lane: Lane, state: _State, stopping: Callable[[], bool]) -> None:
    engine = runtime.config.engine
    source = partial(_due, lane)
    while True:
        now = time.monotonic()
        wants_more = not (state.out_of_work or now >= state.ends_at or stopping())
        if not wants_more:
            # Calls in flight finish; what is only queued comes back at once and is released.
            runtime.pool.give_back(now >= state.ends_at or stopping())
            if not state.in_flight:
                break
        elif now >= state.claim_again_at:
            depth = min(engine.chunk, max(2 * runtime.pool.threads, int(state.speed(now))))
            if state.in_flight <= depth // 2:
                want = depth - state.in_flight
                _dispatch(runtime, state, _claim(runtime, lane, state, want, source))
        _collect(runtime, state, _patience(state, engine.flush_seconds))
        if state.done and time.monotonic() - state.flushed_at >= engine.flush_seconds:
            _flush(runtime, state)
    _flush(runtime, state)


def _patience(state: _State, flush_seconds: float) -> float:
    """How long to wait for the next result before looking up."""
    now = time.monotonic()
    until = state.flushed_at + flush_seconds if state.done else now + 0.1
    if state.claim_again_at > now:
        until = min(until, state.claim_again_at)
    return min(max(until - now, 0.001), 0.1)


def _claim(runtime: Runtime, lane: Lane, state: _State, want: int, source: Source) -> Claimed:
    try:
        with transaction() as connection:
            claimed = claim(connection, runtime, lane, want, state.token, source)
    except OperationalError:
        state.claim_unknown = True
        raise
    state.standing = claimed.standing or state.standing
    state.blocked = claimed.blocked
    state.claim_again_at = time.monotonic() + claimed.wait if claimed.wait else 0.0
    state.out_of_work = claimed.found == 0
    return claimed


def _dispatch(runtime: Runtime, state: _State, claimed: Claimed) -> None:
    state.done.extend(claimed.uncalled)
    state.closed.difference_update(job.breaker for job in claimed.jobs)
    for job in claimed.jobs:
        timeout = runtime.config.providers[job.provider].timeout
        state.in_flight += 1
        runtime.pool.submit(
            job,
            partial(_make_call, runtime, timeout, state.closed),
            state.results,
        )


def _make_call(runtime: Runtime, timeout: float, closed: set[str], job: Job) -> Answer | NotCalled:
    if job.breaker in closed:
        return NotCalled.GIVEN_BACK
    return call(job, runtime.keyring, runtime.providers, timeout)


def _collect(runtime: Runtime, state: _State, patience: float) -> None:
    """Wait up to ``patience`` seconds for a result, then take what else is there.

    While the threads have a backlog, results are gathered for a moment: waking up for every
    single one would take the interpreter lock away from the calls.
    """
    if not state.in_flight:
        if not state.done:
            time.sleep(patience)
        return
    try:
        _take(state, state.results.get(timeout=patience))
        if state.in_flight > runtime.pool.threads:
            time.sleep(_GATHER_SECONDS)
        while state.in_flight:
            _take(state, state.results.get_nowait())
    except queue.Empty:
        return


def _take(state: _State, result: Called) -> None:
    state.done.append(result)
    state.in_flight -= 1
    state.collected += 1
    _watch(state, result)


def _watch(state: _State, result: Called) -> None:
    """Send nothing more to a provider that has stopped answering: what was claimed for it goes back
    and is routed anew, instead of hearing hundreds of times that it is closed."""
    name, answer = result.job.breaker, result.answer
    if isinstance(answer, NotCalled):
        return
    slowed = answer.outcome is Outcome.RATE_LIMITED
    if answer.works or slowed:
        state.unanswered[name] = 0
        return
    state.unanswered[name] += 1
    if state.unanswered[name] >= FAILURES_TO_OPEN and name not in state.closed:
        state.closed.add(name)
        state.flushed_at = 0.0  # now: the breaker is moved by the flush


def _flush(runtime: Runtime, state: _State) -> None:
    """Record what is done."""
    if not state.done:
        return
    state.counts = flush(runtime, state.token, state.done, state.standing, state.counts)
    state.done.clear()
    state.unanswered.clear()
    state.flushed_at = time.monotonic()


def _give_back_rest(runtime: Runtime, state: _State) -> None:
    """After an error: let the threads go on to nothing, and keep what was answered meanwhile."""
    if state.in_flight or state.done:
        runtime.pool.give_back(True)
        patience = time.monotonic() + runtime.longest_call() + 1.0
        while state.in_flight and time.monotonic() < patience:
            _collect(runtime, state, 0.2)
        _flush(runtime, state)
    if state.claim_unknown and not state.in_flight:
        state.counts.released += give_back_unknown(runtime, state.token)


def _free_slot(runtime: Runtime, lane: Lane, state: _State) -> None:
    with transaction() as connection:
        if state.blocked is not None:
            close_lane(connection, runtime, lane, state.blocked)
        lanes.free_slot(connection, lane, state.token)
        if state.counts.settled:
            batches.finish_completed(connection)
