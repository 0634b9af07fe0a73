"""Waiting for a batch at the terminal: progress while it goes on, its outcomes at the end."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection

from verifier import client
from verifier.cli import session, talk, workers_seen
from verifier.cli.progress import Progress
from verifier.errors import VerifierError, WaitTimeoutError
from verifier.store import batches
from verifier.store import waiting as waits
from verifier.store.engine import AWAY, transaction
from verifier.verification import batches as whole

_POLL_SECONDS = 0.5
#: After so long without anybody settling it is said why, and looked up again as often.
_STILL_SECONDS = 5.0


def wait(batch: int, timeout: float | None) -> client.BatchState:
    """Wait until the batch is done. Raises NotFoundError, WaitTimeoutError; the work goes on."""
    if session.own_servers() and not client.get_batch(batch).done:
        raise VerifierError(
            f"Batch {batch} would be waited for without end: the servers run for this command "
            "only, and no worker can reach them.",
            fix=f"Run `verifier dev up` in another terminal, then `verifier batch wait {batch}`.",
        )
    end = None if timeout is None else time.monotonic() + timeout
    standstill = Standstill(batch)
    with Progress(f"batch {batch}") as progress:
        try:
            while not _look(batch, progress, standstill):
                _stop_without_money(batch)
                if end is not None and time.monotonic() >= end:
                    raise WaitTimeoutError(
                        f"Batch {batch} is not done after {timeout:g} seconds; the work goes on.",
                        fix=f"`verifier batch wait {batch}` waits again, "
                        f"`verifier batch show {batch}` says what it waits for.",
                    )
                left = _POLL_SECONDS if end is None else end - time.monotonic()
                time.sleep(max(0.0, min(_POLL_SECONDS, left)))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"the work goes on: `verifier batch wait {batch}` waits again"
            ) from None
    state = client.wait(batch)
    talk.say(f"done: {state.settled:,} of {state.total:,} settled")
    return state


def _stop_without_money(batch: int) -> None:
    """A batch that the sweep has paused for want of money does not go on by itself."""
    try:
        row = whole.existing(batch)
    except AWAY:
        return
    if row.paused_at is not None and row.paused_by == "budget":
        raise WaitTimeoutError(
            f"Batch {batch} is paused: {row.pause_reason}.",
            fix=f"`verifier batch resume {batch} --budget AMOUNT` lets it go on.",
        )


class Standstill:
    """Notices that nobody settles any more, and says what the others wait for and until when."""

    def __init__(self, batch: int, patience: float = _STILL_SECONDS) -> None:
        self._batch = batch
        self._patience = patience
        self._settled = -1
        self._look_at = 0.0
        self._note = ""

    def note(self, connection: Connection, settled: int) -> str:
        """Why nothing moves; empty while something does. Asks PostgreSQL once in a while only."""
        now = time.monotonic()
        if settled != self._settled:
            self._settled, self._note = settled, ""
        elif now >= self._look_at:
            self._note = _waits_for(connection, self._batch)
        else:
            return self._note
        self._look_at = now + self._patience
        return self._note


def _waits_for(connection: Connection, batch: int) -> str:
    named = []
    for group in waits.of_batch(connection, batch):
        reason = group.cause if group.state == "waiting" else group.state
        until = f" until {talk.at(group.until)}" if group.until is not None else ""
        named.append(f"{group.number:,} {reason}{until}")
    if named and not workers_seen.fresh_queues(connection):
        named.append("no worker has been seen lately")
    return f"waits for: {'; '.join(named)}" if named else ""


def _look(batch: int, progress: Progress, standstill: Standstill) -> bool:
    """Show how far it is; whether it is done. A database that is away is asked again."""
    try:
        done = whole.is_done(batch)
        with transaction() as connection:
            total = whole.row_of(connection, batch).total
            outcomes = batches.tallies(connection, batch)
            settled = sum(outcomes.values())
            note = "" if done else standstill.note(connection, settled)
    except AWAY:
        return False
    named = ", ".join(f"{number:,} {outcome}" for outcome, number in outcomes.items())
    detail = f"{settled:,} of {total:,} settled {named}".rstrip()
    progress.update(settled, detail, total or None, note)
    return done


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
