"""Send: what is due, in small batches, within the persons' hours; each message at most once.

Before a message can leave, the state ``sending`` with the vendor's reference is committed, fenced
by lease and token. A process that dies afterwards leaves it to :mod:`verifier.reminders.reconcile`;
nothing here ever takes up a row in ``sending``. Stops between messages when told to.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import Row
from sqlalchemy.exc import OperationalError

from verifier.clock import at_local, business_date
from verifier.gateways.base import Delivery, Receipt
from verifier.reminders import standing, templates, verdict
from verifier.reminders.outgoing import Later, Outgoing, Skip, examine
from verifier.reminders.runtime import THREADS, Runtime, runtime
from verifier.store import clock, gateways, operations, providers, reminders
from verifier.store.engine import transaction
from verifier.transport import Deadline

_log = structlog.get_logger(__name__)

#: A run ends after so long, so that a worker is told to stop or given other work in time.
SLICE_SECONDS: Final = 20.0
#: Messages leased at once, and for how long: long enough to prepare and pace them all.
MINI_BATCH: Final = THREADS
LEASE_SECONDS: Final = 60.0
#: Beyond a call's deadline: until it has certainly ended, whatever the process was doing.
MARGIN_SECONDS: Final = 30.0

_RECORD_TRIES: Final = 4


def send_due(stopping: Callable[[], bool]) -> dict[str, Any]:
    """Send due messages for a while. Returns counts: sent, rejected, unknown, again, skipped, …

    ``more`` is there when the time was over before the work: come again at once.

    Raises ConfigError when the configured link is not one of ours; nothing is sent then.
    """
    current = runtime()
    templates.official_link(current.config.reminders)
    if not current.config.reminders.enabled:
        return {"skipped": "reminders are disabled"}
    counts: Counter[str] = Counter()
    with transaction() as connection:
        today = business_date(clock.now(connection), current.config.zone)
        counts["expired"] = reminders.expire(connection, today)
    day_ends = _midnight_after(current, today)
    ends_at = time.monotonic() + SLICE_SECONDS
    with ThreadPoolExecutor(THREADS, thread_name_prefix="remind") as pool:
        while not stopping() and time.monotonic() < ends_at:
            batch = _MiniBatch(current, stopping, pool, counts)
            if not batch.lease(day_ends):
                break
            batch.send()
        else:
            counts["more"] = int(not stopping())
    found = {name: number for name, number in counts.items() if number}
    if found:
        _log.info("reminders sent", **found)
    return dict(found)


def _midnight_after(current: Runtime, day: Any) -> datetime:
    midnight = datetime.min.time()
    return at_local(day + timedelta(days=1), midnight, current.config.zone)


@dataclass(slots=True)
class _MiniBatch:
    """A few rows under one token. The calling thread alone talks to the database."""

    runtime: Runtime
    stopping: Callable[[], bool]
    pool: ThreadPoolExecutor
    counts: Counter[str]
    token: int = field(default_factory=lambda: secrets.randbits(63))
    rows: Sequence[Row[Any]] = ()
    standing: standing.Standing = field(
        default_factory=lambda: standing.Standing(frozenset(), frozenset())
    )
    running: dict[Future[Receipt], Outgoing] = field(default_factory=dict)
    receipts: dict[str, list[Receipt]] = field(default_factory=dict)

    def lease(self, day_ends: datetime) -> bool:
        """Lease what is due; False when nothing is, or everything is stopped."""
        with transaction() as connection:
            if operations.control(connection).stopped_at is not None:
                return False
            self.standing = standing.read(connection)
            self.rows = reminders.lease_due(
                connection,
                token=self.token,
                lease_seconds=LEASE_SECONDS,
                limit=MINI_BATCH,
                day_ends=day_ends,
            )
        return bool(self.rows)

    def send(self) -> None:
        """Send what may leave now; every other row says why not."""
        mute: set[str] = set()
        try:
            for message, call_at in self._paced(self._examined()):
                self._collect(max(0.0, call_at - time.monotonic()))
                if self.stopping():
                    self._release([message.id])
                elif message.gateway.name in mute or not self._start(message):
                    mute.add(message.gateway.name)
                    self._record_verdict(
                        message, verdict.not_sent(message.tries, message.gateways), None
                    )
        finally:  # an error with one message leaves the answers about the others
            while self.running:
                self._collect(None)
        self._note_standing()

    def _examined(self) -> list[Outgoing]:
        leaving = []
        for row in self.rows:
            found = examine(self.runtime, self.standing, row)
            if isinstance(found, Outgoing):
                leaving.append(found)
                continue
            with transaction() as connection:
                if isinstance(found, Skip):
                    ours = reminders.end(
                        connection, row.id, token=self.token, state="skipped", reason=found.reason
                    )
                else:
                    ours = self._postpone(connection, row.id, found)
            self.counts["skipped" if isinstance(found, Skip) else "postponed"] += ours
        return leaving

    def _postpone(self, connection: Any, reminder_id: int, later: Later) -> bool:
        return reminders.plan_again(
            connection,
            reminder_id,
            token=self.token,
            due_at=later.due_at,
            reason=later.reason,
            channel=later.channel,
        )

    def _paced(self, leaving: Sequence[Outgoing]) -> list[tuple[Outgoing, float]]:
        """The messages that the gateways' rates grant, with the instant of each; the others are
        given back, and leased again by whoever comes next."""
        if not leaving:
            return []
        rows = self.runtime.config.gateways
        granted: dict[str, providers.Reservation] = {}
        asked = time.monotonic()
        with transaction() as connection:
            for name, wanted in sorted(Counter(m.gateway.name for m in leaving).items()):
                rate = rows[name].qps
                granted[name] = providers.reserve(
                    connection,
                    gateways.row_name(name),
                    "send",
                    want=wanted,
                    rate=rate,
                    burst=max(1, int(rate / 10)),
                )
        used: Counter[str] = Counter()
        paced: list[tuple[Outgoing, float]] = []
        spare: list[int] = []
        for message in leaving:
            name = message.gateway.name
            if used[name] < granted[name].count:
                paced.append((message, asked + granted[name].at(used[name])))
                used[name] += 1
            else:
                spare.append(message.id)
        if spare:
            self._release(spare)
        if not paced:
            time.sleep(min(1.0, min(r.interval for r in granted.values())))
        return sorted(paced, key=lambda pair: pair[1])

    def _release(self, ids: Sequence[int]) -> None:
        with transaction() as connection:
            reminders.release(connection, ids, self.token)

    def _start(self, message: Outgoing) -> bool:
        """Write down that the message leaves, and let it. False: the vendor is not to be had."""
        timeout = self.runtime.config.gateways[message.gateway.name].timeout
        reference = f"{message.id}-{secrets.token_hex(8)}"
        client_reference = message.gateway.prepare(reference, Deadline.after(timeout))
        if client_reference is None:
            return False
        # Before the commit: a process that stands still meanwhile cannot send after the lease.
        deadline = Deadline.after(timeout)
        with transaction() as connection:
            ours = reminders.mark_sending(
                connection,
                message.id,
                token=self.token,
                gateway=message.gateway.name,
                client_reference=client_reference,
                call_seconds=timeout,
                settle_seconds=timeout + MARGIN_SECONDS + message.gateway.settle_after,
            )
        if ours:
            outgoing = message.message(client_reference)
            future = self.pool.submit(message.gateway.send, outgoing, deadline, self._may_leave)
            self.running[future] = message
        else:
            self.counts["lost"] += 1
        return True

    def _may_leave(self) -> bool:
        return not self.stopping()

    def _collect(self, seconds: float | None) -> None:
        """Record what was answered, waiting up to ``seconds`` (None: for the next answer)."""
        ends_at = None if seconds is None else time.monotonic() + seconds
        while self.running:
            left = None if ends_at is None else max(0.0, ends_at - time.monotonic())
            done, _ = wait(self.running, timeout=left, return_when=FIRST_COMPLETED)
            for future in done:
                self._record(self.running.pop(future), future.result())
            if ends_at is None or not done:
                return
        if ends_at is not None:
            time.sleep(max(0.0, ends_at - time.monotonic()))

    def _record(self, message: Outgoing, receipt: Receipt) -> None:
        self.receipts.setdefault(message.gateway.name, []).append(receipt)
        if receipt.delivery is Delivery.NOT_SENT and self.stopping():
            self._record_verdict(message, verdict.HELD_BACK, receipt)
            return
        found = verdict.judge(
            receipt,
            message.channel,
            tries=message.tries,
            gateways=message.gateways,
            sms_instead=message.sms_instead,
        )
        self._record_verdict(message, found, receipt)

    def _record_verdict(
        self, message: Outgoing, found: verdict.Verdict, receipt: Receipt | None
    ) -> None:
        """Write the verdict; again when the database stumbles. If it stays away, the row stays in
        ``sending`` and is reconciled."""
        for attempt in range(1, _RECORD_TRIES + 1):
            try:
                self._write(message, found, receipt)
            except OperationalError:
                if attempt == _RECORD_TRIES:
                    raise
                time.sleep(0.1 * attempt)
            else:
                return

    def _write(self, message: Outgoing, found: verdict.Verdict, receipt: Receipt | None) -> None:
        code = receipt.code if receipt else None
        match found:
            case verdict.Ended(state, reason):
                with transaction() as connection:
                    ours = reminders.end(
                        connection,
                        message.id,
                        token=self.token,
                        state=state,
                        reason=reason,
                        code=code,
                        message_id=receipt.message_id if receipt else None,
                    )
                self.counts[state if ours else "lost"] += 1
            case verdict.Again(seconds, reason, channel):
                with transaction() as connection:
                    ours = reminders.plan_again(
                        connection,
                        message.id,
                        token=self.token,
                        seconds=seconds,
                        reason=reason,
                        code=code,
                        channel=channel,
                        tried=found is not verdict.HELD_BACK,
                    )
                self.counts["again" if ours else "lost"] += 1
            case verdict.Unsettled():
                self.counts["unknown"] += 1

    def _note_standing(self) -> None:
        for name, receipts in sorted(self.receipts.items()):
            with transaction() as connection:
                standing.note(connection, name, receipts, self.standing)
