"""What other services can be told about: the names of the events, stable for ever."""

from __future__ import annotations

import enum


class Event(enum.StrEnum):
    """The ``type`` of a webhook, and what an endpoint's ``events`` may list."""

    SETTLED = "verification.settled"
    OVERDUE = "verification.overdue"
    BATCH_DONE = "batch.done"


#: What ``verifier webhook test`` sends. Nobody subscribes to it, and it is in no outbox.
TEST_EVENT = "webhook.test"

#: The endpoint under which tasks named by callers are delivered; no webhook may be called so.
CELERY = "celery"
