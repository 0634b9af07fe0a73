"""The doorbell: "there is work", said over Celery by task name. It carries no state and no data.

Ringing is best effort, bounded in time and silent: whether a ring arrives changes when work is
done, never whether. This is the only room of ``verifier`` that knows Celery.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from verifier.errors import ConfigError, UsageError
from verifier.outcomes import Lane
from verifier.settings import broker_url

#: Where each kind of work is queued. ``workers.app`` declares the same names.
INTERACTIVE_QUEUE: Final = "interactive"
CONTROL_QUEUE: Final = "control"
REMIND_QUEUE: Final = "remind"
NOTIFY_QUEUE: Final = "notify"

#: Where a task that a caller named goes when they name no queue: Celery's own default.
DEFAULT_FOREIGN_QUEUE: Final = "celery"

#: Every key of ours in the broker begins so.
KEY_PREFIX: Final = "vp:"

#: Our keys that are no queues. Callers cannot name a queue so: theirs begin with a letter.
OWN_KEYS: Final = f"{KEY_PREFIX}_"

#: A hash: how many messages workers refused, a field a queue. Forgotten after a quiet week.
REFUSED_KEY: Final = f"{OWN_KEYS}refused"
REFUSED_SECONDS: Final = 7 * 86_400

#: Shared by all who speak to the broker: another prefix or timeout would be another queue.
BROKER_OPTIONS: Final[dict[str, Any]] = {
    "visibility_timeout": 900,
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    "socket_timeout": 10,
    "socket_connect_timeout": 3,
    "socket_keepalive": True,
    "health_check_interval": 10,
    "global_keyprefix": KEY_PREFIX,
}

_SENDER_OPTIONS: Final = {**BROKER_OPTIONS, "socket_timeout": 1, "socket_connect_timeout": 1}

#: After a failed ring nobody rings for so long.
_SILENCE_SECONDS: Final = 5.0


def lane_queue(lane: Lane) -> str:
    """The queue of a lane's drains."""
    return f"verify.{lane}"


#: Every queue of ours.
QUEUES: Final = (
    *map(lane_queue, Lane), INTERACTIVE_QUEUE, CONTROL_QUEUE, REMIND_QUEUE, NOTIFY_QUEUE,
)  # fmt: skip

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,199}")
#: What the broker's client keeps for itself under names that look like queues.
_RESERVED: Final = re.compile(r"unacked|celeryev|celery\.pidbox|.*\.pidbox")


_QUEUE_FIX: Final = f"Give the queue your workers serve; left out, it is {DEFAULT_FOREIGN_QUEUE}."


def check_foreign_task(task: object, queue: object) -> None:
    """Raises UsageError unless this may name a task of another application, on its own queue.

    Nobody can make us ring ourselves: names and queues of ours are refused.
    """
    if not isinstance(task, str) or not _NAME.fullmatch(task):
        raise UsageError(
            "notify must name a task: a letter, then letters, digits, dots, dashes; at most 200.",
            fix="Give the name under which your application registers it.",
        )
    if task.startswith(("verifier.", "workers.", "celery.")):
        raise UsageError(
            "notify may not name a task of the verifier or of Celery itself.",
            fix="Give a task of your own application.",
        )
    if not isinstance(queue, str) or not _NAME.fullmatch(queue) or _RESERVED.match(queue):
        raise UsageError(
            "notify_queue must name a queue of yours: letters, digits, dots, dashes.",
            fix=_QUEUE_FIX,
        )
    if queue in QUEUES or queue.startswith(("verify.", "verifier", KEY_PREFIX)):
        raise UsageError(
            f"notify_queue: {queue} is a queue of the verifier; name one of yours.", fix=_QUEUE_FIX
        )


def broker_faults() -> tuple[type[Exception], ...]:
    """What sending to the broker raises when it is away, full, or read-only."""
    from kombu.exceptions import OperationalError
    from redis.exceptions import RedisError

    return (OperationalError, RedisError, OSError)


class Silence:
    """Kept for a while after a fault: a broker that is down must not slow the caller."""

    def __init__(self) -> None:
        self._until = 0.0

    def begin(self) -> None:
        """There was a fault just now."""
        self._until = time.monotonic() + _SILENCE_SECONDS

    def reigns(self) -> bool:
        """Whether the broker is to be left alone."""
        return time.monotonic() < self._until


class Doorbell:
    """Sends task messages to one broker. Thread-safe; made after fork."""

    def __init__(self, url: str, key_prefix: str = KEY_PREFIX) -> None:
        # Imported here: Celery takes half a second, which no reading command should pay.
        from celery import Celery

        self._faults = broker_faults()
        self._app = Celery("verifier-doorbell", broker=url, set_as_current=False)
        self._app.conf.update(
            broker_transport_options={**_SENDER_OPTIONS, "global_keyprefix": key_prefix},
            broker_connection_timeout=1,
            broker_pool_acquire_timeout=1,
            task_ignore_result=True,
            task_serializer="json",
            task_create_missing_queues=True,
        )
        self._silence = Silence()
        #: Whether the broker did not take what was sent last.
        self.away = False

    def ring(self, task: str, arguments: Mapping[str, Any], queue: str, times: int = 1) -> int:
        """Send ``times`` messages; returns how many were taken. Never raises."""
        if self._silence.reigns():
            return 0
        for sent in range(times):
            try:
                self._app.send_task(
                    task, kwargs=dict(arguments), queue=queue, retry=False, ignore_result=True
                )
            except self._faults:
                self._silence.begin()
                self.away = True
                return sent
            self.away = False
        return times

    def hand_over(
        self, task: str, arguments: Mapping[str, Any], queue: str, message_id: str
    ) -> bool:
        """Send one message under an id of our choice; whether the broker took it. Never raises."""
        try:
            self._app.send_task(
                task,
                kwargs=dict(arguments),
                queue=queue,
                task_id=message_id,
                retry=False,
                ignore_result=True,
            )
        except self._faults:
            return False
        return True


class _NoDoorbell(Doorbell):
    """Used where no broker is configured: the sweeper finds the work."""

    def __init__(self) -> None:
        self.away = False

    def ring(self, task: str, arguments: Mapping[str, Any], queue: str, times: int = 1) -> int:  # noqa: ARG002
        return 0

    def hand_over(
        self,
        task: str,  # noqa: ARG002
        arguments: Mapping[str, Any],  # noqa: ARG002
        queue: str,  # noqa: ARG002
        message_id: str,  # noqa: ARG002
    ) -> bool:
        return False


@cache
def doorbell() -> Doorbell:
    """The doorbell of this process. :func:`reset` after a fork."""
    try:
        return Doorbell(broker_url())
    except ConfigError:
        return _NoDoorbell()


def is_away() -> bool:
    """Whether this process rang last in vain. Costs nothing where nobody has rung."""
    return doorbell.cache_info().currsize > 0 and doorbell().away


def reset() -> None:
    """Forget the connection: it belongs to the parent process."""
    doorbell.cache_clear()
