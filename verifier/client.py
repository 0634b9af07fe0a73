"""What a backend service imports: put users, submit them, get results.

Everything here writes to PostgreSQL first and rings afterwards, so it works, and loses nothing,
while the broker or the workers are down::

    from verifier import client

    client.put_users([{"reference": "u-1", "phone": "13800000000", "name": "…", "id_number": "…"}])
    batch = client.submit(["u-1"], key="signup-2026-11-21", caller="shop")
    client.wait(batch.batch, timeout=60)
    print(client.get("u-1").status)

Errors are :mod:`verifier.errors`. No personal data is ever returned.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from itertools import count
from typing import Any, Final

from sqlalchemy import Connection, Row

from verifier import guidance, intake
from verifier.answerbell import answer_bell
from verifier.clock import zone_of
from verifier.config import config
from verifier.errors import NotFoundError, UsageError, WaitTimeoutError
from verifier.identity.keyring import KeyRing
from verifier.identity.reference import DEFAULT_PLATFORM
from verifier.intake import PutResult
from verifier.outcomes import UNRESOLVED
from verifier.settings import settings
from verifier.store import batches, opening, users
from verifier.store import changes as feed
from verifier.store import waiting as waits
from verifier.store.engine import AWAY, looking, transaction, unavailable
from verifier.verification import batches as whole
from verifier.verification import submit as submission
from verifier.verification.opening import request_one
from verifier.verification.ring import ring_one
from verifier.verification.submit import Priority, Submitted

__all__ = [
    "BatchState",
    "Change",
    "ChangePage",
    "PutResult",
    "Submitted",
    "UserState",
    "changes",
    "get",
    "get_batch",
    "put_users",
    "submit",
    "verify_one",
    "wait",
]

#: Looking at PostgreSQL while waiting, seconds: quick at first, then calmer.
_POLL_FIRST: Final = 0.02
_POLL_LAST: Final = 0.2
#: How often a waiting caller looks at more than the row: at pauses, stops, providers.
_LOOK_SECONDS: Final = 0.3
#: Transaction and verification; more digits do not fit PostgreSQL's types.
_CURSOR: Final = re.compile(r"([0-9]{1,19})\.([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class UserState:
    """How a user stands. ``state`` is ``settled`` or ``waiting``; while waiting, ``reason`` and
    ``until`` say why and until when. ``guidance`` is what the person may be told now, in their
    language; ``who_acts`` is person, operator, system or nobody."""

    platform: str
    reference: str
    status: str
    outcome: str | None
    detail: str | None
    checked_at: datetime | None
    state: str
    reason: str | None
    until: datetime | None
    verification: int | None
    guidance: str | None
    who_acts: str | None


@dataclass(frozen=True, slots=True)
class BatchState:
    """How a batch stands: ``state`` is loading, open or done; ``outcomes`` counts settled items;
    ``waiting`` counts the others by reason."""

    batch: int
    state: str
    total: int
    settled: int
    unknown: int
    outcomes: dict[str, int]
    waiting: dict[str, int]
    paused: bool
    cancelled: bool

    @property
    def done(self) -> bool:
        return self.state == "done"

    @property
    def failures(self) -> int:
        """Settled items that did not end MATCHED."""
        return self.settled - self.outcomes.get("MATCHED", 0)


@dataclass(frozen=True, slots=True)
class Change:
    """One settled verification. ``outcome`` may also be UNRESOLVED or CANCELLED."""

    platform: str
    reference: str
    outcome: str
    detail: str | None
    settled_at: datetime
    verification: int
    guidance: str | None


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Changes in feed order, and the cursor to ask with next. Keep the cursor with your data."""

    changes: tuple[Change, ...]
    cursor: str


@cache
def _keyring() -> KeyRing:
    return KeyRing.load(settings().keyring_path)


def put_users(rows: Iterable[Mapping[str, Any]]) -> PutResult:
    """Add or update users, straight to the database; idempotent.

    Each row: ``reference, phone, name, id_number`` and optionally ``platform, email, push_token,
    locale, time_zone, bound_at, consent_at``. Rows that cannot be taken are counted and listed in
    the result; the others go in. Changed phone, name or ID number: the user is unverified again.
    """
    if not isinstance(rows, Iterable) or isinstance(rows, Mapping | str | bytes):
        raise UsageError(
            "rows must be a list of mappings, one a user.", fix="Pass a list, also of one user."
        )
    return intake.put_users(_keyring(), map(_as_row, rows, count(1)))


def _as_row(row: object, number: int) -> Mapping[str, Any]:
    if not isinstance(row, Mapping):
        raise UsageError(
            f"rows must be a list of mappings: number {number} is none.",
            fix='Pass each as {"reference": …, "phone": …, "name": …, "id_number": …}.',
        )
    return row


def submit(
    references: Sequence[str | tuple[str, str]] | None = None,
    *,
    key: str,
    caller: str,
    selection: str | None = None,
    platform: str | None = None,
    priority: Priority = "normal",
    label: str | None = None,
    deadline_hours: int | None = None,
    notify: str | None = None,
    notify_queue: str | None = None,
    budget: Decimal | float | str | None = None,
) -> Submitted:
    """Ask for the verification of one user or a million, once per (``caller``, ``key``).

    ``references``: of ``platform`` ("default" if None), or (platform, reference) pairs; or
    ``selection``: ``all``, ``unverified`` or ``failed`` (of every platform if None). Repeat with
    the same key after any failure: it goes on where it stopped. A user who is already being
    verified joins that verification. References that name no user are counted and the first few
    listed; the others are verified.

    ``notify``: the name of a Celery task of yours, sent to ``notify_queue`` ("celery" by default)
    when the batch is done, at least once; its id is the same each time.

    ``budget``: what the batch's calls may cost at most, in the configured currency ("[budget]
    per_batch" if None). When it is used up the batch is paused, and nobody of it is called.
    """
    request = submission.request_of(
        references=references,
        selection=selection,
        platform=platform,
        priority=priority,
        label=label,
        deadline_hours=deadline_hours,
        notify=notify,
        notify_queue=notify_queue,
        budget=budget,
    )
    return submission.submit(caller, key, request)


def verify_one(
    reference: str, *, platform: str = DEFAULT_PLATFORM, timeout: float = 10.0
) -> UserState:
    """Verify one user now, ahead of all batches, and wait up to ``timeout`` seconds.

    Creates, joins or promotes the user's open verification. When the time is up the state returned
    is ``waiting``, with the reason: the work goes on. Raises NotFoundError, and
    StoreUnavailableError when the database is away at the beginning or at the end; in between it
    is waited for.
    """
    opened = request_one(platform, reference)
    if opened is None:
        return get(reference, platform=platform)
    ring_one(opened)
    return _wait_for_user(platform, reference, opened, timeout)


def _wait_for_user(platform: str, reference: str, verification: int, timeout: float) -> UserState:
    begun = time.monotonic()
    end, pause, look_at = begun + timeout, _POLL_FIRST, begun + _LOOK_SECONDS
    wait: Callable[[int, float], bool] = answer_bell().wait
    while True:
        now = time.monotonic()
        try:
            # Most times one row of the hot table says that the carrier is still being asked.
            if now >= min(look_at, end) or not _in_progress(verification):
                look_at = now + _LOOK_SECONDS
                with transaction() as connection:
                    user = _find(connection, platform, reference)
                    if user.verification_id != verification or now >= end or _must_wait(user):
                        return _user_state(connection, user)
        except AWAY as error:
            if now >= end:
                raise unavailable(error) from error
        if wait(verification, min(pause, max(0.0, end - time.monotonic()))):
            look_at, wait = 0.0, _just_wait  # it has rung and goes on ringing
        pause = min(pause * 1.5, _POLL_LAST)


def _just_wait(_verification: int, seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _in_progress(verification: int) -> bool:
    with looking() as connection:
        return opening.in_progress(connection, verification)


def _must_wait(user: Row[Any]) -> bool:
    """Whether nothing will happen soon, so that the caller should rather be told why."""
    if user.cause in ("quarantined", "paused"):
        return True
    if user.until is None:
        return False
    own_time = user.until == user.due_at  # otherwise the whole lane waits
    return not own_time or (user.until - user.now).total_seconds() > 30


def get(reference: str, *, platform: str = DEFAULT_PLATFORM) -> UserState:
    """How a user stands now. Raises NotFoundError."""
    with transaction() as connection:
        return _user_state(connection, _find(connection, platform, reference))


def get_batch(batch: int) -> BatchState:
    """How a batch stands now. Raises NotFoundError."""
    with transaction() as connection:
        row = whole.row_of(connection, batch)
        outcomes = batches.tallies(connection, batch)
        settled = sum(outcomes.values())
        waiting: dict[str, int] = {}
        if row.state != "done":
            for group in waits.of_batch(connection, batch):
                waiting[group.cause] = waiting.get(group.cause, 0) + group.number
    return BatchState(
        batch=batch,
        state=row.state,
        total=row.total,
        settled=settled,
        unknown=row.unknown,
        outcomes=outcomes,
        waiting=waiting,
        paused=row.paused_at is not None,
        cancelled=row.cancelled_at is not None,
    )


def wait(batch: int, *, timeout: float | None = None) -> BatchState:
    """Wait until every item of the batch has settled.

    Raises NotFoundError, and WaitTimeoutError after ``timeout`` seconds; the work goes on. A
    database that is away is waited for as well: without a ``timeout``, until it is back.
    """
    end = None if timeout is None else time.monotonic() + timeout
    pause = _POLL_FIRST
    while True:
        try:
            if whole.is_done(batch):
                return get_batch(batch)
        except AWAY:
            pause = _POLL_LAST
        if end is not None and time.monotonic() >= end:
            raise WaitTimeoutError(
                f"Batch {batch} is not done after {timeout:g} seconds; the work goes on.",
                fix=f"`verifier batch wait {batch}` waits again, `verifier batch show {batch}` "
                "says what it waits for.",
            )
        time.sleep(pause)
        pause = min(pause * 1.5, _POLL_LAST)


def changes(cursor: str | None = None, *, limit: int = 1000) -> ChangePage:
    """Settled verifications after ``cursor``, oldest first; never skips one, whatever commits late.

    Begin with None. An empty page means "nothing new yet": ask again with the same cursor. A
    change may appear up to as late as the longest transaction running in the database cluster.
    ``limit``: at least 1; more than 10,000 are not read at once. Raises UsageError.
    """
    if not isinstance(limit, int) or limit < 1:
        raise UsageError("The limit must be a whole number, at least 1.", fix="Pass 1 to 10000.")
    after = _place_of(cursor)
    with transaction() as connection:
        rows = feed.after(connection, *after, min(limit, 10_000))
    found = tuple(
        Change(
            platform=row.platform,
            reference=row.reference,
            outcome=row.outcome,
            detail=row.detail,
            settled_at=row.settled_at,
            verification=row.id,
            guidance=None
            if row.outcome == "CANCELLED"
            else guidance.for_outcome(row.outcome, row.detail, row.locale).message,
        )
        for row in rows
    )
    last_row = rows[-1] if rows else None
    return ChangePage(found, f"{last_row.xid}.{last_row.id}" if last_row else cursor or "0.0")


def _place_of(cursor: str | None) -> tuple[int, int]:
    if cursor is None or cursor == "":
        return 0, 0
    found = _CURSOR.fullmatch(cursor) if isinstance(cursor, str) else None
    if found is None:
        raise UsageError(
            f"{cursor!r} is not a cursor of this feed.",
            fix="Pass the cursor of the page before, or None to begin.",
        )
    return int(found[1]), int(found[2])


def _find(connection: Connection, platform: str, reference: str) -> Row[Any]:
    user = users.find(connection, platform, reference)
    if user is None:
        raise NotFoundError(
            f"There is no user {reference!r} on platform {platform!r}.",
            fix="Put the user first (`verifier user import`, client.put_users).",
        )
    return user


def _user_state(connection: Connection, user: Row[Any]) -> UserState:
    reason, until = user.cause, user.until
    told = None
    if reason is not None:
        zone = zone_of(user.time_zone, config().zone)
        told = guidance.for_waiting(reason, until, user.locale, zone)
    elif user.outcome is not None:
        told = guidance.for_outcome(user.outcome, user.detail, user.locale)
    elif (last := _last_unresolved(connection, user)) is not None:
        told = guidance.for_outcome(UNRESOLVED, last, user.locale)
    return UserState(
        platform=user.platform,
        reference=user.reference,
        status=user.status,
        outcome=user.outcome,
        detail=user.detail,
        checked_at=user.checked_at,
        state="settled" if reason is None else "waiting",
        reason=reason,
        until=until,
        verification=user.verification_id,
        guidance=told.message if told else None,
        who_acts=str(told.who_acts) if told else None,
    )


def _last_unresolved(connection: Connection, user: Row[Any]) -> str | None:
    settled = users.settled_of(connection, user.id, limit=1)
    return settled[0].detail if settled and settled[0].outcome == UNRESOLVED else None
