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

from verifier.doorbell import KEY_PREFIX
from verifier.errors import ConfigError
from verifier.settings import broker_url

#: How long a rung bell can be heard.
_HEARD_SECONDS: Final = 30

#: After a fault the broker is left alone for so long.
_SILENCE_SECONDS: Final = 5.0


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
        self._silent_until = 0.0

    def ring(self, verification: int) -> None:
        """Whoever waits for this verification should look. Never raises."""
        if time.monotonic() < self._silent_until:
            return
        key = _key(verification)
        try:
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.lpush(key, 1)
                pipe.expire(key, _HEARD_SECONDS)
                pipe.execute()
        except self._faults:
            self._silent_until = time.monotonic() + _SILENCE_SECONDS

    def wait(self, verification: int, seconds: float) -> bool:
        """Wait until the bell rings, at most ``seconds`` (less than 0.5); whether it did.

        All who wait hear it, and whoever comes later: the list is turned, not emptied.
        """
        end = time.monotonic() + seconds
        if time.monotonic() >= self._silent_until:
            key = _key(verification)
            try:
                # A fraction of a second is fine with Redis since version 6.
                timeout: Any = max(seconds, 0.001)
                return self._redis.blmove(key, key, timeout, "LEFT", "LEFT") is not None
            except self._faults:
                self._silent_until = time.monotonic() + _SILENCE_SECONDS
        time.sleep(max(0.0, end - time.monotonic()))
        return False


class _NoBell(AnswerBell):
    """Where there is no Redis to listen at."""

    def __init__(self) -> None:
        pass

    def ring(self, verification: int) -> None:
        pass

    def wait(self, verification: int, seconds: float) -> bool:  # noqa: ARG002
        time.sleep(max(0.0, seconds))
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


def _key(verification: int) -> str:
    return f"{KEY_PREFIX}answered:{verification}"
