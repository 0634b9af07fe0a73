"""Waiting for a batch at the terminal: progress while it goes on, its outcomes at the end."""

from __future__ import annotations

import time
from typing import Any

from verifier import client
from verifier.cli import session, talk
from verifier.cli.progress import Progress
from verifier.errors import (
    NotFoundError,
    StoreUnavailableError,
    VerifierError,
    WaitTimeoutError,
)
from verifier.store import batches
from verifier.store.engine import transaction

_POLL_SECONDS = 0.5


def wait(batch: int, timeout: float | None) -> client.BatchState:
    """Wait until the batch is done. Raises NotFoundError, WaitTimeoutError; the work goes on."""
    if session.own_servers() and not client.get_batch(batch).done:
        raise VerifierError(
            f"Batch {batch} would be waited for without end: the servers run for this command "
            "only, and no worker can reach them.",
            fix=f"Run `verifier dev up` in another terminal, then `verifier batch wait {batch}`.",
        )
    end = None if timeout is None else time.monotonic() + timeout
    with Progress(f"batch {batch}") as progress:
        try:
            while not _look(batch, progress):
                if end is not None and time.monotonic() >= end:
                    raise WaitTimeoutError(
                        f"Batch {batch} is not done after {timeout:g} seconds; the work goes on.",
                        fix=f"`verifier batch wait {batch}` waits again, "
                        f"`verifier batch show {batch}` says what it waits for.",
                    )
                left = _POLL_SECONDS if end is None else end - time.monotonic()
                time.sleep(max(0.0, min(_POLL_SECONDS, left)))
        except KeyboardInterrupt:
            talk.say(f"the work goes on; `verifier batch wait {batch}` waits again")
            raise
    return client.get_batch(batch)


def _look(batch: int, progress: Progress) -> bool:
    """Show how far it is; whether it is done. A database that is away is asked again."""
    try:
        with transaction() as connection:
            row = batches.get(connection, batch)
            if row is None:
                raise NotFoundError(f"There is no batch {batch}.")
            if row.state == "open":
                batches.finish_completed(connection, batch)
                row = batches.get(connection, batch)
            outcomes = batches.tallies(connection, batch)
    except StoreUnavailableError:
        return False
    settled = sum(outcomes.values())
    total = row.total if row is not None else 0
    named = ", ".join(f"{number:,} {outcome}" for outcome, number in outcomes.items())
    progress.update(settled, f"{settled:,} of {total:,} settled {named}".rstrip(), total or None)
    return row is None or row.state == "done"


def as_object(state: client.BatchState) -> dict[str, Any]:
    """A batch's state as ``--json`` shows it."""
    return {
        "batch": state.batch,
        "state": state.state,
        "total": state.total,
        "settled": state.settled,
        "unknown": state.unknown,
        "outcomes": state.outcomes,
        "waiting": state.waiting,
        "paused": state.paused,
        "cancelled": state.cancelled,
    }


def all_matched(state: client.BatchState) -> bool:
    """Whether everybody asked for was found and settled MATCHED."""
    return state.done and state.failures == 0 and state.unknown == 0


def print_outcomes(state: client.BatchState) -> None:
    rows = [(outcome, number, number / max(1, state.total)) for outcome, number in
            state.outcomes.items()]  # fmt: skip
    talk.table(("outcome", "number", "share"), ((o, n, f"{share:.1%}") for o, n, share in rows))
