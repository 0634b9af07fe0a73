"""Queue ``interactive``: one person waits for one answer. Its workers are never recycled.

``verifier.verify_one`` applies the retry policy of ``verifier.resilience.retry``, as drains do.
"""

from __future__ import annotations

from typing import Any

from celery import current_task

from verifier.store import users
from verifier.store.engine import transaction
from verifier.verification.interactive import attend
from verifier.verification.ring import VERIFY_ONE_TASK
from verifier.verification.runtime import runtime
from verifier.verification.submit import Request, submit
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
    if verification is None:
        verification = _open(platform, str(reference), key or str(current_task.request.id))
    if verification is None:
        return {"verification": None, "called": 0, "settled": 0, "returned": 0}
    return attend(runtime(), verification, drain_flag)


def _open(platform: str, reference: str, key: str) -> int | None:
    """The user's open verification, made by a batch of one if this key is new."""
    submit("celery", key, Request(keys=[(platform, reference)], priority="high"))
    with transaction() as connection:
        user = users.find(connection, platform, reference)
    return None if user is None else user.verification_id
