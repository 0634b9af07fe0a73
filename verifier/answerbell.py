"""The answer bell: "look now", rung for whoever waits for one verification.

The answer itself is in PostgreSQL, and whoever waits asks there; the bell only says when asking is
worth while, so that an interactive caller neither waits for its next look nor asks all the time.
It is best effort like the doorbell: without it (the broker away, or one that is found through
Sentinel) a caller looks a little later.
"""

from __future__ import annotations

import time
from functools import cache
from typing import Any, Final

from verifier.doorbell import OWN_KEYS, Silence
from verifier.errors import ConfigError
from verifier.settings import broker_url

#: How long a rung bell can be heard.
_HEARD_SECONDS: Final = 30

#: One wait at the broker: well within the time-out of its socket, and short where it falls silent.
LONGEST_WAIT: Final = 0.5


class AnswerBell:
    """Rings and listens at one Redis. Thread-safe; made after fork."""

    def __init__(self, url: str) -> None:
        # Imported here: commands that wait for nothing should not pay for it.
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError
        from redis.retry import Retry

        self._faults = (RedisError, OSError)
        self._redis = Redis.from_url(
            url,
            socket_connect_timeout=0.5,
            socket_timeout=1.0,
            retry=Retry(NoBackoff(), 0),
        )
        self._silence = Silence()

    def ring(self, verification: int) -> None:
        """Whoever waits for this verification should look. Never raises."""
        if self._silence.reigns():
            return
        key = key_of(verification)
        try:
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.lpush(key, 1)
                pipe.expire(key, _HEARD_SECONDS)
                pipe.execute()
        except self._faults:
            self._silence.begin()

    def wait(self, verification: int, seconds: float) -> bool:
        """Wait until the bell rings, at most ``seconds`` and :data:`LONGEST_WAIT`; whether it did.

        All who wait hear it, and whoever comes later: the list is turned, not emptied.
        """
        seconds = min(seconds, LONGEST_WAIT)
        end = time.monotonic() + seconds
        if not self._silence.reigns():
            key = key_of(verification)
            try:
                # A fraction of a second is fine with Redis since version 6.
                timeout: Any = max(seconds, 0.001)
                return self._redis.blmove(key, key, timeout, "LEFT", "LEFT") is not None
            except self._faults:
                self._silence.begin()
        time.sleep(max(0.0, end - time.monotonic()))
        return False


class _NoBell(AnswerBell):
    """Where there is no Redis to listen at."""

    def __init__(self) -> None:
        pass

    def ring(self, verification: int) -> None:
        pass

    def wait(self, verification: int, seconds: float) -> bool:  # noqa: ARG002
        time.sleep(max(0.0, min(seconds, LONGEST_WAIT)))
        return False


@cache
def answer_bell() -> AnswerBell:
    """The answer bell of this process. :func:`reset` after a fork."""
    try:
        url = broker_url()
    except ConfigError:
        return _NoBell()
    plain = url.startswith(("redis://", "rediss://")) and ";" not in url
    return AnswerBell(url) if plain else _NoBell()


def reset() -> None:
    """Forget the connection: it belongs to the parent process."""
    answer_bell.cache_clear()


def key_of(verification: int) -> str:
    """The key of the list that is this verification's bell."""
    return f"{OWN_KEYS}answered:{verification}"
