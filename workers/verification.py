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
from verifier.intake import DEFAULT_PLATFORM
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
    platform: str | None = None,
    priority: str = "normal",
    label: str | None = None,
    deadline_hours: float | None = None,
    notify: str | None = None,
    notify_queue: str | None = None,
    **_newer: Any,
) -> dict[str, Any]:
    """Make or resume the batch of (caller, key). Repeat it until the batch is visible."""
    if selection not in (None, "all", "unverified", "failed"):
        raise UsageError("selection must be all, unverified or failed")
    if priority not in ("high", "normal", "low"):
        raise UsageError("priority must be high, normal or low")
    if references is not None and not isinstance(references, list):
        raise UsageError("references must be a list of texts")
    if not isinstance(deadline_hours, int | float | None):
        raise UsageError("deadline_hours must be a number")
    whose = DEFAULT_PLATFORM if platform is None else platform
    keys = None if references is None else [(whose, reference) for reference in references]
    done = make_batch(
        caller,
        key,
        Request(
            selection=selection,
            keys=keys,
            parameters={"platform": platform} if selection and platform is not None else None,
            priority=priority,  # type: ignore[arg-type]
            label=label,
            deadline_hours=deadline_hours,
            notify=notify,
            notify_queue=notify_queue,
        ),
    )
    return {
        "batch": done.batch,
        "new": done.new,
        "total": done.total,
        "unknown": done.unknown_count,
    }
