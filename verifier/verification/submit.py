"""Submit: one request to verify many users, durable once its batch is a row.

Idempotency: a key belongs to a caller and to a digest of the request. The same key with the same
request resumes or returns the batch, also one half loaded; with another request it is a conflict.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal, get_args

from sqlalchemy import Connection, Row
from sqlalchemy.exc import OperationalError

from verifier.config import MOST_MONEY, config
from verifier.doorbell import DEFAULT_FOREIGN_QUEUE, check_foreign_task
from verifier.errors import ConflictError, StoreUnavailableError, UsageError
from verifier.identity.errors import InvalidField
from verifier.identity.reference import (
    DEFAULT_PLATFORM,
    carries_personal_data,
    check_platform,
    check_reference,
)
from verifier.outcomes import Lane
from verifier.store import batches, holding, loading
from verifier.store.engine import LOCK_NOT_AVAILABLE, transaction
from verifier.verification import ring

Priority = Literal["high", "normal", "low"]
PRIORITIES: Final[dict[str, int]] = {"interactive": 0, "high": 1, "normal": 2, "low": 3}
#: What a caller may ask for; the other selections are for re-runs and the audit.
SELECTIONS: Final = ("all", "unverified", "failed")

#: Items opened per transaction while a batch loads.
LOAD_CHUNK: Final = 20_000

#: So many references that name no user are told; the others are counted.
UNKNOWN_TOLD: Final = 20
_LOAD_TRIES: Final = 4

#: Seconds to wait for another transaction that submits under the same key.
_KEY_SECONDS: Final = 20

#: The longest deadline a request may ask for: a year.
_MOST_HOURS: Final = 8760
_KEY_FIX: Final = "Platforms and references have 1 to 128 printable characters, no personal data."
_HOURS_FIX: Final = f"Pass deadline_hours=1 to {_MOST_HOURS}, or leave it out: then as configured."


@dataclass(frozen=True, slots=True)
class Request:
    """Whom to verify: a named selection, or a list of (platform, reference).

    ``parameters`` are the selection's; instants among them keep the snapshot the same on a repeat.
    ``notify`` names a Celery task of the caller's, sent to ``notify_queue`` when the batch is done.
    ``budget``: what its calls may cost at most, in the configured currency.
    """

    selection: str | None = None
    keys: Sequence[tuple[str, str]] | None = None
    parameters: Mapping[str, Any] | None = None
    priority: Priority = "normal"
    label: str | None = None
    rerun_of: int | None = None
    deadline_hours: int | None = None
    notify: str | None = None
    notify_queue: str | None = None
    budget: Decimal | None = None

    @property
    def callback(self) -> tuple[str, str] | None:
        """The caller's task and its queue, if one was named."""
        if self.notify is None:
            return None
        queue = DEFAULT_FOREIGN_QUEUE if self.notify_queue is None else self.notify_queue
        return self.notify, queue

    def describe(self) -> dict[str, Any]:
        """What is stored and compared: the selection, or how many were listed."""
        parameters = {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in sorted((self.parameters or {}).items())
        }
        chosen = (
            {"selection": self.selection, **parameters}
            if self.keys is None
            else {"listed": len(set(self.keys))}
        )
        rest: dict[str, Any] = {"priority": self.priority, "rerun_of": self.rerun_of}
        if self.deadline_hours is not None:
            rest["deadline_hours"] = self.deadline_hours
        if self.callback is not None:
            rest["notify"], rest["notify_queue"] = self.callback
        if self.budget is not None:
            rest["budget"] = f"{self.budget:f}"
        return {**chosen, **rest}

    def digest(self) -> bytes:
        """The same for the same request, whatever the order of its list.

        ``verifier.request_digest`` computes it in SQL: a repeat may come either way.
        """
        described = ((name, value) for name, value in self.describe().items() if value is not None)
        # Not a set: it would shuffle what mostly comes in order, and is sorted in no time then.
        listed = sorted(dict.fromkeys(self.keys or ()))
        pairs = [*sorted((name, str(value)) for name, value in described), *listed]
        return hashlib.sha256("".join(map(_spelt, pairs)).encode()).digest()


def request_of(
    *,
    references: Sequence[str | tuple[str, str]] | None,
    selection: str | None,
    platform: str | None,
    priority: Priority,
    label: str | None,
    deadline_hours: int | None,
    notify: str | None,
    notify_queue: str | None,
    budget: object = None,
) -> Request:
    """What a caller asks for, in the words of every door: ``platform`` is of the references
    ("default" if None) or of the selection (every one if None).

    Raises UsageError, which quotes nothing, for what is not of the right kind.
    """
    if selection not in (None, *SELECTIONS):
        raise UsageError(
            "The selection must be all, unverified or failed.",
            fix="Name one of them, or pass references.",
        )
    if references is not None:
        _check_list(references)
    whose = DEFAULT_PLATFORM if platform is None else platform
    return Request(
        selection=selection,
        keys=None
        if references is None
        else [named if isinstance(named, tuple) else (whose, named) for named in references],
        parameters={"platform": platform} if selection and platform is not None else None,
        priority=priority,
        label=label,
        deadline_hours=_whole(deadline_hours),
        notify=notify,
        notify_queue=notify_queue,
        budget=money(budget),
    )


def money(amount: object) -> Decimal | None:
    """An amount as a caller gives it: a number or its text. Raises UsageError."""
    if amount is None:
        return None
    try:
        # A float by its text: 0.1 is meant, not the binary number beside it.
        value = Decimal(str(amount)) if not isinstance(amount, bool) else Decimal("NaN")
    except ArithmeticError:
        value = Decimal("NaN")
    if not (value.is_finite() and 0 < value < MOST_MONEY) or value != round(value, 6):
        raise UsageError(
            "The budget must be an amount above 0, below 100,000,000, with at most six decimals.",
            fix="Pass for instance 500 or 499.50, or leave it out: then as configured.",
        )
    return value.normalize()


def _check_list(references: object) -> None:
    """A text would be taken letter by letter, and a list of nobody would burn the key."""
    if not isinstance(references, Sequence) or isinstance(references, str | bytes):
        raise UsageError(
            "references must be a list of texts.", fix="Pass a list, also of one reference."
        )
    if not references:
        raise UsageError(
            "The list of references is empty.",
            fix="Do not submit when there is nobody; a selection may meet nobody.",
        )
    only_texts = set(map(type, references)) == {str}  # quick for a million
    if not only_texts and any(isinstance(it, tuple) and len(it) != 2 for it in references):
        raise UsageError(
            "references: a tuple of the list is no pair.",
            fix="Pass each as a text, or as a tuple of platform and reference.",
        )


def _whole(hours: object) -> int | None:
    """A number that came as ``24.0`` is one too; half an hour is not taken for a whole one."""
    if hours is None or (isinstance(hours, int) and not isinstance(hours, bool)):
        return hours
    if isinstance(hours, float) and hours.is_integer():
        return int(hours)
    raise UsageError("The deadline must be a whole number of hours.", fix=_HOURS_FIX)


def _spelt(pair: tuple[str, str]) -> str:
    """Two texts as one, so that no other two are spelt the same."""
    first, second = pair
    return f"{len(first)}:{first}{len(second)}:{second}"


@dataclass(frozen=True, slots=True)
class Submitted:
    """``new`` is False when the key was known. ``unknown``: the first few that name no user."""

    batch: int
    new: bool
    total: int
    unknown_count: int
    unknown: tuple[tuple[str, str], ...] = ()


def submit(caller: str, key: str, request: Request) -> Submitted:
    """Make the batch, load it and ring. Repeat with the same key after any failure.

    Raises ConflictError when the key was used for another request, UsageError for a request that
    cannot be meant, StoreUnavailableError when nothing durable could be done.
    """
    _check(caller, key, request)
    if request.budget is not None:
        check_currency()
    try:
        row, new = _make(caller, key, request)
    except OperationalError as error:
        if getattr(error.orig, "pgcode", None) != LOCK_NOT_AVAILABLE:
            raise
        raise StoreUnavailableError(
            "Another transaction submits under the same key and has not ended.",
            fix="Repeat with the same key.",
        ) from None
    load(row.id)
    ring.ring_lanes()
    with transaction() as connection:
        batch = batches.get(connection, row.id)
        unknown = (
            loading.unknown_keys(connection, list(dict.fromkeys(request.keys)), UNKNOWN_TOLD)
            if batch is not None and batch.unknown and request.keys is not None
            else []
        )
    total, missing = (batch.total, batch.unknown) if batch is not None else (0, 0)
    return Submitted(row.id, new, total, missing, tuple(unknown))


def check_currency() -> None:
    """A budget is in one currency, and sums of several mean nothing. Raises UsageError."""
    if fault := currency_fault():
        raise UsageError(fault, fix="Set [budget] currency, or submit without a budget.")


def currency_fault() -> str | None:
    """Why no budget can be counted now, or None."""
    current = config()
    others = {row.currency for row in current.providers.values()} - {current.budget.currency}
    if not others:
        return None
    paid = ", ".join(sorted(others))
    return f"A budget is in {current.budget.currency}, and providers are paid in {paid} too."


def _make(caller: str, key: str, request: Request) -> tuple[Row[Any], bool]:
    """The batch with its snapshot, and whether it is new."""
    digest = request.digest()
    with transaction(locks=_KEY_SECONDS) as connection:
        row, new = batches.create(
            connection,
            caller=caller,
            key=key,
            digest=digest,
            selection=json.dumps(request.describe()),
            priority=PRIORITIES[request.priority],
            deadline_hours=request.deadline_hours,
            label=request.label,
            budget=request.budget,
            rerun_of=request.rerun_of,
            notify=request.callback,
        )
        if bytes(row.request_digest) != digest:
            raise ConflictError(
                f"The key {key!r} was already used by {caller!r} for another request "
                f"(batch {row.id}).",
                fix="Use a new key for a new request, or repeat the old request unchanged.",
            )
        if not row.snapshot_taken:
            _take_snapshot(connection, row.id, request)
    return row, new


def _refuse_personal_data(name: str, value: str) -> None:
    if carries_personal_data(value):
        raise UsageError(
            f"The {name} has a phone number, an ID number or an e-mail address in it.",
            fix="It is stored and shown in clear: use a name of your own.",
        )


def _check(caller: str, key: str, request: Request) -> None:
    if (request.selection is None) == (request.keys is None):
        raise UsageError(
            "Submit either a selection or a list of references.",
            fix="Name the people, or one of the selections all, unverified, failed.",
        )
    if request.selection is not None and request.selection not in loading.SELECTIONS:
        raise UsageError("There is no selection of this name.")
    if request.priority not in get_args(Priority):
        raise UsageError(
            "The priority must be high, normal or low.", fix="Leave it out for normal."
        )
    for name, value in (("caller", caller), ("key", key), ("label", request.label or "-")):
        if not isinstance(value, str) or not 0 < len(value) <= 200 or not value.isprintable():
            raise UsageError(
                f"The {name} must be 1 to 200 printable characters.",
                fix="Choose a short name of your own, without line breaks.",
            )
        _refuse_personal_data(name, value)
    if request.notify is None and request.notify_queue is not None:
        raise UsageError(
            "notify_queue without notify: name the task that is to be sent there.",
            fix="Pass notify too, or leave notify_queue out.",
        )
    if request.callback is not None:
        check_foreign_task(*request.callback)
        for name, value in zip(("notify", "notify_queue"), request.callback, strict=True):
            _refuse_personal_data(name, value)
    if request.deadline_hours is not None and not 1 <= request.deadline_hours <= _MOST_HOURS:
        raise UsageError(f"The deadline must be 1 to {_MOST_HOURS} hours.", fix=_HOURS_FIX)
    if request.parameters and (whose := request.parameters.get("platform")) is not None:
        try:
            check_platform(whose)
        except InvalidField as error:
            raise UsageError(f"The {error}.", fix=_KEY_FIX) from None
    platforms: set[str] = set()  # those that were checked: a million references have a few
    for place, (platform, reference) in enumerate(request.keys or (), start=1):
        try:
            if not isinstance(platform, str) or platform not in platforms:
                check_platform(platform)
                platforms.add(platform)
            check_reference(reference)
        except InvalidField as error:
            raise UsageError(f"Reference {place} of the list: the {error}.", fix=_KEY_FIX) from None


def _take_snapshot(connection: Connection, batch_id: int, request: Request) -> None:
    if request.keys is not None:
        loading.take_listed_snapshot(connection, batch_id, request.keys)
    elif request.selection is not None:
        loading.take_snapshot(
            connection, batch_id, request.selection, _selection_parameters(request)
        )


def _selection_parameters(request: Request) -> dict[str, Any]:
    parameters: dict[str, Any] = dict(request.parameters or {})
    if request.rerun_of is not None:
        parameters["of"] = request.rerun_of
    return parameters


def _load_chunk(batch_id: int, wait: bool) -> bool:
    """One chunk; repeated after a deadlock or a lost connection, since progress is committed."""
    for attempt in range(1, _LOAD_TRIES + 1):
        try:
            with transaction() as connection:
                current = config()
                return loading.load_chunk(
                    connection,
                    batch_id,
                    LOAD_CHUNK,
                    deadline_hours=current.engine.deadline_hours,
                    budget=current.budget.per_batch,
                    wait=wait,
                )
        except OperationalError:
            if attempt == _LOAD_TRIES:
                raise
    return False


def load(batch_id: int, most: int | None = None, *, wait: bool = True) -> None:
    """Load what is left of a batch, a transaction a chunk, at most ``most`` chunks.

    Anybody may, as often as they like. Without ``wait`` a batch that somebody else is loading is
    left to them.
    """
    _hold_what_no_budget_fits(batch_id)
    chunks = 0
    more = True
    while more and (most is None or chunks < most):
        more = _load_chunk(batch_id, wait)
        chunks += 1
    with transaction() as connection:
        batches.finish_completed(connection)


def _hold_what_no_budget_fits(batch_id: int) -> None:
    """SQL took the request, and does not know what providers are paid in."""
    if (fault := currency_fault()) is None:
        return
    with transaction() as connection:
        batch = batches.get(connection, batch_id)
        if batch is not None and batch.budget is not None and batch.state == "loading":
            holding.pause(connection, batch_id, by="budget", reason=fault)


def is_empty(request: Request) -> bool:
    """Whether the request is about nobody now. Writes nothing, and stops at the first user."""
    _check("empty", "empty", request)
    with transaction() as connection:
        if request.keys is not None:
            return not loading.any_listed(connection, request.keys)
        return not loading.any_selected(
            connection, str(request.selection), _selection_parameters(request)
        )


def unknown_of(request: Request) -> tuple[int, tuple[tuple[str, str], ...]]:
    """How many listed references name no user, and the first few. Writes nothing."""
    if request.keys is None:
        return 0, ()
    keys = list(dict.fromkeys(request.keys))
    with transaction() as connection:
        known = sum(loading.count_listed(connection, keys).values())
        first = loading.unknown_keys(connection, keys, UNKNOWN_TOLD) if known < len(keys) else []
    return len(keys) - known, tuple(first)


def count_selection(request: Request) -> dict[Lane, int]:
    """How many users the request would be about, per lane. Writes nothing (``--dry-run``)."""
    _check("dry-run", "dry-run", request)
    with transaction() as connection:
        found = (
            loading.count_listed(connection, request.keys)
            if request.keys is not None
            else loading.count_selected(
                connection, str(request.selection), _selection_parameters(request)
            )
        )
    return {Lane(lane): count for lane, count in found.items()}
