"""Queue ``control``: requests, sweeps, canaries and housekeeping. Never shared with drains.

=========================  ============================================  ========================
task                       what it does                                  retry policy
=========================  ============================================  ========================
``verifier.submit``        makes a batch (idempotent by caller and key)  none: the sender repeats
``verifier.sweep``         gives back, finishes, rings                   none: the next tick
``verifier.housekeeping``  makes partitions, forgets what is old         none: the next tick
``verifier.canaries``      sends a canary through every queue            none: the next tick
``verifier.canary``        writes down that its queue is served          none: the next tick
=========================  ============================================  ========================

Celery retries nothing here. Unknown arguments of a newer sender are ignored.
"""

from __future__ import annotations

import socket
from typing import Any

from verifier.errors import UsageError
from verifier.store import operations
from verifier.store.engine import transaction
from verifier.upkeep.housekeeping import keep_house
from verifier.upkeep.sweep import sweep as run_sweep
from verifier.verification import submit as submission
from workers.app import QUEUES, app


@app.task(name="verifier.submit")
def submit(
    *,
    key: str,
    caller: str = "celery",
    references: list[str] | None = None,
    selection: str | None = None,
    platform: str | None = None,
    priority: submission.Priority = "normal",
    label: str | None = None,
    deadline_hours: int | None = None,
    notify: str | None = None,
    notify_queue: str | None = None,
    budget: str | float | None = None,
    **_newer: Any,
) -> dict[str, Any]:
    """Make or resume the batch of (caller, key). Repeat it until the batch is visible."""
    if references is not None and not isinstance(references, list):
        raise UsageError("references must be a list of texts")
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
    done = submission.submit(caller, key, request)
    return {
        "batch": done.batch,
        "new": done.new,
        "total": done.total,
        "unknown": done.unknown_count,
    }


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
