"""A clock that is wrong on our side only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import time_machine

from verifier.transport import Reply, Transport


@contextmanager
def a_clock_off_by(seconds: float, transport: Transport) -> Iterator[None]:
    """The first request through ``transport`` is signed by a wrong clock, and received by a right
    one: the sandbox, which judges it, runs in this very process."""
    wrong = time_machine.travel(time.time() + seconds, tick=True)
    started = [wrong]
    wrong.start()

    def put_right() -> bool:
        while started:
            started.pop().stop()
        return True

    send: Callable[..., Reply] = transport.request

    def request(*exchange: Any) -> Reply:
        return send(*exchange[:5], put_right)

    try:
        with mock.patch.object(transport, "request", request):
            yield
    finally:
        put_right()
