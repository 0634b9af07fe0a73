"""One request about one user, ahead of every batch: what ``verify_one`` means, for everybody."""

from __future__ import annotations

from verifier.config import config
from verifier.errors import NotFoundError
from verifier.store import opening, users
from verifier.store.engine import transaction
from verifier.verification.submit import PRIORITIES, Request, submit


def request_one(platform: str, reference: str, key: str | None = None) -> int | None:
    """Create, join or promote the user's open verification; returns its id.

    With a ``key`` (idempotent like any batch's, and kept as a batch of one) a message that comes
    twice asks once: it then only joins what is still open, and None says that nothing is. Raises
    NotFoundError.
    """
    if key is not None:
        submit("celery", key, Request(keys=[(platform, reference)], priority="high"))
    with transaction() as connection:
        user = users.id_of(connection, platform, reference)
        if user is None:
            raise NotFoundError(
                f"There is no user {reference!r} on platform {platform!r}.",
                fix="Put the user first (`verifier user import`, client.put_users).",
            )
        urgent = PRIORITIES["interactive"]
        if key is not None:
            # A drain may have settled it by now: promote what is there, never open another.
            return opening.promote(connection, user, priority=urgent)
        return opening.open_one(
            connection,
            user,
            priority=urgent,
            deadline_hours=config().engine.deadline_hours,
        )
