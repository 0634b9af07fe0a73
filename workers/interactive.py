"""Queue ``interactive``: one person waits for one answer. Its workers are never recycled.

``verifier.verify_one`` applies the retry policy of ``verifier.resilience.retry``, as drains do.
"""

from __future__ import annotations

from typing import Any

from celery import current_task

from verifier.errors import NotFoundError, UsageError
from verifier.verification.interactive import attend
from verifier.verification.opening import request_one
from verifier.verification.ring import VERIFY_ONE_TASK
from verifier.verification.runtime import runtime
from workers.app import app
from workers.shutdown import drain_flag


@app.task(name=VERIFY_ONE_TASK)
def verify_one(
    *,
    verification: int | None = None,
    reference: str | None = None,
    platform: str = "default",
    key: str | None = None,
    **_newer: Any,
) -> dict[str, Any]:
    """Attend to an open verification, or to a user named by ``reference``.

    A request by reference is idempotent by ``key`` (the message's own id if there is none): the
    same message twice never verifies twice.
    """
    if isinstance(verification, bool) or not (
        isinstance(verification, int | None) and isinstance(reference, str | None)
    ):
        raise UsageError("verify_one: verification is a number, reference a text")
    if verification is None:
        message = key or str(current_task.request.id)
        try:
            verification = request_one(platform, str(reference), message)
        except NotFoundError:
            # What a stranger took for a reference is not quoted: it may be anything.
            raise NotFoundError("verify_one: there is no such user") from None
    if verification is None:
        return {"verification": None, "called": 0, "settled": 0, "returned": 0}
    return attend(runtime(), verification, drain_flag)
