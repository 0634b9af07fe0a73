"""The broker: whether it answers, and what workers refused to take from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from verifier.cli.checks.check import Check, fail, ok, warn
from verifier.doorbell import QUEUES, REFUSED_KEY
from verifier.errors import ConfigError
from verifier.settings import broker_url

if TYPE_CHECKING:
    from redis import Redis


def broker_checks() -> Iterator[Check]:
    from redis import Redis
    from redis.exceptions import RedisError

    try:
        url = broker_url()
    except ConfigError:
        return  # said above
    try:
        with Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3) as client:
            client.ping()
            refused = _refused_messages(client)
    except (RedisError, OSError, ValueError) as error:
        # The error's own text may hold the URL.
        yield fail(
            "broker",
            f"cannot be reached ({type(error).__name__})",
            "Check VERIFIER_BROKER_URL and that the server runs. Nothing is lost meanwhile: the "
            "work waits in PostgreSQL.",
        )
        return
    yield ok("broker", "answers")
    if refused:
        told = ", ".join(f"{number} in {queue}" for queue, number in refused.items())
        yield warn(
            "messages",
            f"workers refused what was no message of ours: {told}",
            'Somebody writes wrong messages into the broker: the log says why ("message refused"), '
            "docs/contract.md how they look. This notice ends after a week without them.",
        )


def _refused_messages(client: Redis) -> dict[str, int]:
    from redis.exceptions import ResponseError

    try:
        numbers = client.hmget(REFUSED_KEY, QUEUES)
        return {queue: int(number) for queue, number in zip(QUEUES, numbers, strict=True) if number}
    except (ResponseError, ValueError):
        return {}  # whoever can write rubbish can also write it there
