"""``verifier batch rerun`` and the end of ``verifier batch cancel``."""

from __future__ import annotations

from verifier.cli import talk
from verifier.cli.batchview import existing
from verifier.cli.submitting import finish, send
from verifier.store import holding, queue
from verifier.store.engine import transaction
from verifier.verification import ring
from verifier.verification import submit as submission
from verifier.verification.submit import Priority, Request

_CHUNK = 1000


def rerun(
    batch: int,
    only: str | None,
    priority: Priority,
    key: str | None,
    label: str | None,
    *,
    wait: bool,
    timeout: float | None,
    as_json: bool,
) -> int:
    """Submit the batch's users again; returns the exit code."""
    existing(batch)
    selection = f"rerun-{only}" if only else "rerun"
    request = Request(
        selection=selection,
        rerun_of=batch,
        priority=priority,
        label=label,
    )
    submitted = send("cli", key, request)
    if only == "waiting":
        with transaction() as connection:
            brought = queue.bring_forward(connection, submitted.batch)
        ring.ring_lanes()
        talk.say(f"{brought:,} users are due now")
    return finish(submitted, 0, wait=wait, timeout=timeout, as_json=as_json)


def cancel(batch: int) -> int:
    """End what the batch waits for, a chunk a transaction. Returns how many users."""
    existing(batch)
    with transaction() as connection:
        holding.mark_cancelled(connection, batch)
    ended = 0
    while True:
        with transaction() as connection:
            chunk = holding.cancel_chunk(connection, batch, _CHUNK)
        ended += chunk
        if not chunk:
            break
    submission.load(batch)  # one still loading is opened, and ends as nothing is left of it
    return ended
