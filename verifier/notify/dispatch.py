"""Dispatch: cut what settled into deliveries, send what is due, write down what came of it.

One delivery an endpoint at a time; endpoints that failed last time have half of the threads at
most. The calling thread alone talks to the database, and holds no connection during a call. What a
killed process was sending is sent again when its lease ends.
"""

from __future__ import annotations

import random
import secrets
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from sqlalchemy import Connection, Row

from verifier.events import CELERY
from verifier.notify import content, policy
from verifier.notify.policy import Answer
from verifier.notify.runtime import Runtime, runtime
from verifier.notify.webhook import body_of
from verifier.store import deliveries, outbox
from verifier.store.engine import transaction
from verifier.transport import Deadline

_log = structlog.get_logger(__name__)

#: Endpoints called at once by a process, and those of them that failed last time.
THREADS: Final = 8
THREADS_FAILING: Final = THREADS // 2
#: A run ends after so long, so that a worker is told to stop in time.
SLICE_SECONDS: Final = 20.0
#: Beyond a call's deadline: until it has certainly ended.
MARGIN_SECONDS: Final = 5.0
#: Pieces of the feed that wait for one endpoint; what is beyond them stays in the feed.
MOST_WAITING: Final = 20

_LOOK_SECONDS: Final = 0.2


def dispatch(stopping: Callable[[], bool]) -> dict[str, int]:
    """Tell what is due for a while. Returns counts: delivered, again, dead, empty, lost, …"""
    counts: Counter[str] = Counter()
    ends_at = time.monotonic() + SLICE_SECONDS
    with ThreadPoolExecutor(THREADS, thread_name_prefix="notify") as pool:
        run = _Run(runtime(), stopping, pool, counts)
        while True:
            resting = stopping() or time.monotonic() >= ends_at
            begun = 0 if resting else run.cut() + run.start()
            if not begun and not run.running:
                break
            run.collect(_LOOK_SECONDS)
    found = {name: number for name, number in counts.items() if number}
    if found:
        _log.info("notified", **found)
    return found


_Call = Callable[[Deadline], Answer]


def _call(call: _Call, row: Row[Any], deadline: Deadline) -> Answer:
    try:
        return call(deadline)
    except Exception as error:
        return _unexpected(row, error)


def _unexpected(row: Row[Any], error: Exception) -> Answer:
    """A defect of ours is the trouble of one delivery. What the error says may be personal."""
    _log.error(
        "delivery cannot be told",
        endpoint=row.endpoint,
        delivery=row.id,
        delivery_event=row.event,
        type=type(error).__name__,
    )
    return Answer(error="content")


@dataclass(slots=True)
class _Run:
    runtime: Runtime
    stopping: Callable[[], bool]
    pool: ThreadPoolExecutor
    counts: Counter[str]
    token: int = field(default_factory=lambda: secrets.randbits(63))
    running: dict[Future[Answer], Row[Any]] = field(default_factory=dict)
    may_cut: bool = True

    def cut(self) -> int:
        """Move the endpoints' cursors on, until there is nothing to cut or no room for it; then
        again only when a delivery has ended. Returns how many pieces were cut."""
        if not self.may_cut:
            return 0
        with transaction() as connection:
            cut = outbox.cut_settled(connection, MOST_WAITING)
        self.may_cut = cut > 0
        self.counts["cut"] += cut
        return cut

    def start(self) -> int:
        """Lease what is due and let it go. Returns how many deliveries were leased."""
        free = THREADS - len(self.running)
        failing = sum(row.failures > 0 for row in self.running.values())
        if free <= 0:
            return 0
        # Before the commit: a process that stands still meanwhile cannot send after the lease.
        seconds = self.runtime.call_seconds()
        deadlines = {name: Deadline.after(call) for name, call in seconds.items()}
        with transaction() as connection:
            leased = deliveries.lease(
                connection,
                token=self.token,
                lease_seconds={name: call + MARGIN_SECONDS for name, call in seconds.items()},
                limit=free,
                limit_failing=max(0, THREADS_FAILING - failing),
            )
        for row in leased:
            self._start(row, deadlines[row.endpoint])
        return len(leased)

    def _start(self, row: Row[Any], deadline: Deadline) -> None:
        """Prepare it in a transaction of its own, without a lock, and let it go."""
        try:
            with transaction() as connection:
                call = self._prepare(connection, row)
        except Exception as error:
            self._record(row, _unexpected(row, error))
            return
        if call is None:
            with transaction() as connection:
                deliveries.delivered(connection, row.id, token=self.token)
            self.counts["empty"] += 1
            self.may_cut = True
        else:
            self.running[self.pool.submit(_call, call, row, deadline)] = row

    def _prepare(self, connection: Connection, row: Row[Any]) -> _Call | None:
        """The call that tells it; None when there is nothing to tell."""
        if row.endpoint == CELERY:
            task = content.callback(connection, row)
            return None if task is None else lambda _: self._hand_over(row, task)
        webhook = self.runtime.webhooks[row.endpoint]
        data = content.data_of(connection, row, webhook.config.platforms)
        if data is None:
            return None
        body = body_of(row.event, content.instant(row.created_at) or "", data)
        return lambda deadline: webhook.send(
            f"msg_{row.message_id.hex}", body, deadline, self._may_leave
        )

    def _may_leave(self) -> bool:
        return not self.stopping()

    def _hand_over(self, row: Row[Any], callback: content.Callback) -> Answer:
        bell = self.runtime.bell
        taken = bell is not None and bell.hand_over(
            callback.task, callback.arguments, callback.queue, str(row.message_id)
        )
        return Answer() if taken else Answer(error="broker")

    def collect(self, seconds: float) -> None:
        """Write down what was answered, waiting for the first answer up to ``seconds``."""
        done, _ = wait(self.running, timeout=seconds, return_when=FIRST_COMPLETED)
        for future in done:
            self._record(self.running.pop(future), future.result())

    def _record(self, row: Row[Any], answer: Answer) -> None:
        self.may_cut = True
        chance = random.random()  # noqa: S311 - jitter
        found = policy.judge(answer, tries=row.tries, failures=row.failures, chance=chance)
        match found:
            case policy.Taken():
                with transaction() as connection:
                    ours = deliveries.delivered(
                        connection, row.id, token=self.token, status=answer.status
                    )
                self.counts["delivered" if ours else "lost"] += 1
            case policy.HeldBack():
                with transaction() as connection:
                    deliveries.release(connection, row.id, token=self.token)
                self.counts["held_back"] += 1
            case policy.Again():
                self._again(row, answer, found)

    def _again(self, row: Row[Any], answer: Answer, again: policy.Again) -> None:
        with transaction() as connection:
            state = deliveries.failed(
                connection,
                row.id,
                token=self.token,
                error=again.error,
                status=answer.status,
                again_seconds=again.delivery_seconds,
                endpoint_seconds=again.endpoint_seconds,
                give_up_hours=self.runtime.give_up_hours(row.endpoint),
                pause_reason=again.pause_reason,
            )
        self.counts[{"waiting": "again", "dead": "dead"}.get(state or "", "lost")] += 1
        _log.warning(
            "not delivered",
            endpoint=row.endpoint,
            delivery=row.id,
            error=again.error,
            tries=row.tries,
            is_dead=state == "dead",
            paused=again.pause_reason is not None,
        )
