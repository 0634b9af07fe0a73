"""A beat that is told to stop does, whatever it was doing at that moment."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

import pytest
from celery import Celery
from celery.beat import Scheduler, Service

from workers.shutdown import stop_at_signals


class _TicksOnce(Scheduler):
    """Is told to stop in the middle of a tick, and survives what is raised then."""

    ticks = 0

    def setup_schedule(self) -> None:
        pass

    def tick(self, *_: object, **__: object) -> float:
        type(self).ticks += 1
        assert self.ticks < 3, "it went on after it was told to stop"
        with contextlib.suppress(BaseException):  # as redis-py's cleaning up does, by chance
            os.kill(os.getpid(), signal.SIGTERM)
        return 0.0


class _Sleeps(Scheduler):
    def setup_schedule(self) -> None:
        pass

    def tick(self, *_: object, **__: object) -> float:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return 3600.0


@pytest.fixture
def signals() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def _beat(scheduler: type[Scheduler]) -> Service:
    app = Celery("nobody", broker="memory://", set_as_current=False)
    beat = Service(app, scheduler_cls=scheduler)
    stop_at_signals(beat)
    return beat


def test_a_signal_in_the_middle_of_a_tick_is_not_lost(signals: None) -> None:
    _beat(_TicksOnce).start()
    assert _TicksOnce.ticks == 1


def test_a_sleeping_beat_stops_at_once(signals: None) -> None:
    _beat(_Sleeps).start()  # for an hour, says the scheduler
