"""Queue ``control``: sweeps, canaries and housekeeping. Never shared with drains.

Nothing here has a retry policy: each is a tick that the next tick repeats.
"""

from __future__ import annotations

import socket
from typing import Any

from verifier.errors import UsageError
from verifier.store import operations
from verifier.store.engine import transaction
from verifier.upkeep.housekeeping import keep_house
from verifier.upkeep.sweep import sweep as run_sweep
from workers.app import QUEUES, app


@app.task(name="verifier.sweep")
def sweep(**_newer: Any) -> dict[str, int]:
    """Give back expired leases, finish batches, ring for what is due."""
    return run_sweep()


@app.task(name="verifier.housekeeping")
def housekeeping(**_newer: Any) -> dict[str, int]:
    """Make partitions ahead of time, forget what is old."""
    return keep_house()


@app.task(name="verifier.canaries")
def canaries(**_newer: Any) -> dict[str, int]:
    """Send a canary through every queue; each writes down that it was served."""
    for queue in QUEUES:
        app.send_task("verifier.canary", kwargs={"queue": queue}, queue=queue, expires=60)
    return {"sent": len(QUEUES)}


@app.task(name="verifier.canary")
def canary(queue: str, **_newer: Any) -> None:
    """A worker of ``queue`` is alive and reaches PostgreSQL."""
    if queue not in QUEUES:
        raise UsageError("canary: there is no such queue")  # a hostile value is not stored
    with transaction() as connection:
        operations.canary_seen(connection, queue, socket.gethostname())
