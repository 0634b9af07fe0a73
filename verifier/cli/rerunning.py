"""``verifier batch rerun``: under a key that is told, and waited for like any submission."""

from __future__ import annotations

from verifier.cli import talk
from verifier.cli.submitting import finish, is_known, key_or_new, nobody, tell
from verifier.verification import batches
from verifier.verification.batches import Only
from verifier.verification.submit import Priority, is_empty


def rerun(
    batch: int,
    only: Only | None,
    priority: Priority,
    key: str | None,
    label: str | None,
    *,
    wait: bool,
    timeout: float | None,
    as_json: bool,
) -> int:
    """Submit the batch's users again; returns the exit code."""
    batches.existing(batch)  # before a key is told that would be of no use
    request = batches.rerun_request(batch, only, priority, label)
    if not is_known("cli", key) and is_empty(request):
        return nobody(request, 0, as_json=as_json)
    done = batches.rerun(
        batch, only=only, caller="cli", key=key_or_new(key), priority=priority, label=label
    )
    tell(done.submitted)
    if done.due_now is not None:
        talk.say(f"{done.due_now:,} users are due now")
    return finish(done.submitted, 0, wait=wait, timeout=timeout, as_json=as_json)
