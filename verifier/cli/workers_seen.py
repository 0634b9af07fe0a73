"""Whether anybody will do the work: the canaries that workers leave in PostgreSQL."""

from __future__ import annotations

from sqlalchemy import Connection

from verifier.cli import talk
from verifier.store import operations

#: A canary is sent through every queue every 20 seconds (beat_schedule.py): six were missed.
FRESH_SECONDS = 120.0


def fresh_queues(connection: Connection) -> dict[str, float]:
    """Queue → seconds since a worker of it did anything, for those heard of lately."""
    seen: dict[str, float] = {}
    for row in operations.canaries(connection):
        if row.seconds <= FRESH_SECONDS:
            seen[row.queue] = min(row.seconds, seen.get(row.queue, row.seconds))
    return seen


def warn_if_none(connection: Connection) -> None:
    """Say on standard error that nothing will happen until a worker runs."""
    if not fresh_queues(connection):
        talk.warn(
            "no worker has been seen lately: nothing will happen until one runs",
            "`verifier dev up`, or `celery -A workers.app worker`",
        )
