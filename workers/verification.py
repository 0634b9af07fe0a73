"""Queues ``verify.<lane>``: drain a lane.

``verifier.drain`` claims, calls and records what is due; the retry policy is the table of
``verifier.resilience.retry``. Celery retries nothing here. Unknown arguments of a newer sender are
ignored.
"""

from __future__ import annotations

from typing import Any

from verifier.errors import UsageError
from verifier.outcomes import Lane
from verifier.verification import drain as draining
from verifier.verification.runtime import runtime
from workers.app import app
from workers.shutdown import drain_flag


@app.task(name="verifier.drain")
def drain(lane: str, **_newer: Any) -> dict[str, Any]:
    """Drain ``lane`` for a few seconds; retries by the table in ``verifier.resilience.retry``."""
    if lane not in list(Lane):
        raise UsageError("drain: there is no such lane")  # a hostile value is not quoted
    return draining.drain(runtime(), Lane(lane), drain_flag)
