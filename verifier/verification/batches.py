"""What is done to a batch as a whole: cancel, pause, resume, run again.

For every caller: the command line, and the sweep that finishes what one of them began. Each step is
a transaction; after a crash between two of them the same call, or the next sweep, does the rest.
Submitting is :mod:`verifier.verification.submit`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row

from verifier.config import config
from verifier.errors import NotFoundError, UsageError
from verifier.store import batches, holding, spending, turns
from verifier.store.engine import transaction
from verifier.verification import ring, submit
from verifier.verification.submit import Priority, Request, Submitted

#: Items ended per transaction while a batch is cancelled.
CANCEL_CHUNK: Final = 1000

Only = Literal["failed", "waiting"]


def existing(batch: int) -> Row[Any]:
    """The batch's row. Raises NotFoundError."""
    with transaction() as connection:
        return row_of(connection, batch)


def row_of(connection: Connection, batch: int) -> Row[Any]:
    """As :func:`existing`, within a transaction."""
    row = batches.get(connection, batch)
    if row is None:
        raise NotFoundError(
            f"There is no batch {batch}.", fix="`verifier batch list` shows the latest ones."
        )
    return row


def is_done(batch: int) -> bool:
    """Whether everybody of the batch has settled. Raises NotFoundError."""
    with transaction() as connection:
        row = row_of(connection, batch)
        if row.state == "open":
            batches.finish_completed(connection, batch)
            row = row_of(connection, batch)
    return bool(row.state == "done")


def cancel(batch: int) -> int:
    """End what the batch waits for; what is being called finishes. Returns how many users.

    Raises NotFoundError.
    """
    if is_done(batch):
        return 0
    with transaction() as connection:
        holding.mark_cancelled(connection, batch)
    ended = end_cancelled(batch)
    submit.load(batch)  # one still loading is opened, and ends as nothing is left of it
    return ended


def end_cancelled(batch: int, most: int | None = None, *, wait: bool = True) -> int:
    """End what a cancelled batch has waiting, at most ``most`` chunks. Returns how many users.

    Without ``wait`` a batch that somebody else has in hand is left to them.
    """
    ended = chunks = 0
    while most is None or chunks < most:
        with transaction() as connection:
            chunk = holding.cancel_chunk(connection, batch, CANCEL_CHUNK, wait=wait)
        if not chunk:
            break
        ended += chunk
        chunks += 1
    return ended


def pause(batch: int, *, by: str, reason: str | None) -> int:
    """Hold what the batch waits for, unless another running batch wants it too.

    Returns how many users are held by this call. Raises NotFoundError.
    """
    if is_done(batch):
        return 0
    with transaction() as connection:
        return holding.pause(connection, batch, by=by, reason=reason)


def pause_exhausted() -> int:
    """Pause the batches whose budget is used up. Returns how many.

    Only when none of their calls is under way: one that is not billed gives its money back.
    """
    currency, fault = config().budget.currency, submit.currency_fault()
    with transaction() as connection:
        found = spending.exhausted_batches(connection)
        for row in found:
            reason = fault or f"its budget of {row.budget.normalize():f} {currency} is used up"
            holding.pause(connection, row.id, by="budget", reason=reason)
    with transaction() as connection:  # a late answer gave some back
        for solvent in spending.solvent_batches(connection):
            holding.resume(connection, solvent)
    return len(found)


def resume(batch: int, budget: Decimal | None = None) -> int:
    """Let the batch go on, with another ``budget`` if given, and ring.

    Returns how many users were released. Raises NotFoundError, and UsageError when all of the
    budget is spent (nobody could be called), or it cannot be counted in one currency.
    """
    row = existing(batch)
    limit = row.budget if budget is None else budget
    if limit is not None:
        submit.check_currency()
    with transaction() as connection:
        spent = spending.spent(connection, [spending.batch_scope(batch)])
        used = spent.get(spending.batch_scope(batch))
        if used is not None and limit is not None and used >= limit:
            raise UsageError(
                f"Batch {batch} has spent {used.normalize():f} {config().budget.currency}, and its "
                f"budget would be {limit.normalize():f}: it would stop at once.",
                fix=f"`verifier batch resume {batch} --budget AMOUNT` with more than that.",
            )
        released = holding.resume(connection, batch, budget)
    ring.ring_lanes()
    return released


@dataclass(frozen=True, slots=True)
class Rerun:
    """The new batch. ``due_now``: how many users were brought forward, for ``only="waiting"``."""

    submitted: Submitted
    due_now: int | None


def rerun_request(
    of: int, only: Only | None, priority: Priority, label: str | None, budget: Decimal | None = None
) -> Request:
    """What :func:`rerun` submits: with a ``budget`` of its own, as large as that of its model."""
    return Request(
        selection=f"rerun-{only}" if only else "rerun",
        rerun_of=of,
        priority=priority,
        label=label,
        budget=budget,
    )


def rerun(
    of: int,
    *,
    only: Only | None = None,
    caller: str,
    key: str,
    priority: Priority = "normal",
    label: str | None = None,
) -> Rerun:
    """Submit the users of batch ``of`` again, as a new batch; ``waiting`` ones are due at once.

    Raises NotFoundError, and what submitting raises.
    """
    request = rerun_request(of, only, priority, label, _budget_of_rerun(of, caller, key))
    submitted = submit.submit(caller, key, request)
    if only != "waiting":
        return Rerun(submitted, None)
    with transaction() as connection:
        brought = turns.bring_forward(connection, submitted.batch)
    ring.ring_lanes()
    return Rerun(submitted, brought)


def _budget_of_rerun(of: int, caller: str, key: str) -> Decimal | None:
    """As large as its model's; of a repeat, as it was when it was asked for."""
    with transaction() as connection:
        asked = batches.request_of(connection, caller, key)
    if asked is None or asked.get("rerun_of") != of:
        model: Decimal | None = existing(of).budget
        return model
    budget = asked.get("budget")
    return Decimal(budget) if budget is not None else None
