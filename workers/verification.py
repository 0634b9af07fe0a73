"""Queues ``verify.<lane>``: drain a lane, take a request.

====================  ============================================  =============================
task                  what it does                                  retry policy
====================  ============================================  =============================
``verifier.drain``    claims, calls and records what is due         ``verifier.resilience.retry``
``verifier.submit``   makes a batch (idempotent by caller and key)  none: the sender repeats
====================  ============================================  =============================

Celery retries nothing here. Unknown arguments of a newer sender are ignored.
"""

from __future__ import annotations

from typing import Any

from verifier.errors import UsageError
from verifier.outcomes import Lane
from verifier.verification import drain as draining
from verifier.verification.runtime import runtime
from verifier.verification.submit import Request
from verifier.verification.submit import submit as make_batch
from workers.app import app
from workers.shutdown import drain_flag


@app.task(name="verifier.drain")
def drain(lane: str, **_newer: Any) -> dict[str, Any]:
    """Drain ``lane`` for a few seconds; retries by the table in ``verifier.resilience.retry``."""
    if lane not in list(Lane):
        raise UsageError("drain: there is no such lane")  # a hostile value is not quoted
    return draining.drain(runtime(), Lane(lane), drain_flag)


@app.task(name="verifier.submit")
def submit(
    *,
    key: str,
    caller: str = "celery",
    references: list[str] | None = None,
    selection: str | None = None,
    platform: str = "default",
    priority: str = "normal",
    label: str | None = None,
    deadline_hours: float | None = None,
    **_newer: Any,
) -> dict[str, Any]:
    """Make or resume the batch of (caller, key). Repeat it until the batch is visible."""
    if selection not in (None, "all", "unverified", "failed"):
        raise UsageError("selection must be all, unverified or failed")
    if priority not in ("high", "normal", "low"):
        raise UsageError("priority must be high, normal or low")
    keys = None if references is None else [(platform, reference) for reference in references]
    done = make_batch(
        caller,
        key,
        Request(
            selection=selection,
            keys=keys,
            priority=priority,  # type: ignore[arg-type]
            label=label,
            deadline_hours=deadline_hours,
        ),
    )
    return {
        "batch": done.batch,
        "new": done.new,
        "total": done.total,
        "unknown": done.unknown_count,
    }
