"""The second metronome: what a broker can answer does not end it."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import OutOfMemoryError, ReadOnlyError


class _Refusing(Celery):
    """An application whose broker takes nothing."""

    def __init__(self, error: Exception) -> None:
        super().__init__("refusing", set_as_current=False)
        self.error = error
        self.asked = 0

    def send_task(self, *_arguments: Any, **_options: Any) -> Any:
        self.asked += 1
        raise self.error


@pytest.mark.parametrize("error", [OutOfMemoryError, ReadOnlyError, OperationalError, OSError])
def test_a_broker_that_takes_nothing_gets_the_next_tick(error: type[Exception]) -> None:
    from workers.metronome import tick

    app = _Refusing(error("OOM command not allowed"))
    for ticks in (1, 2):
        tick(app)
        assert app.asked == ticks
