"""How processes stop: the drain flag of workers, and what a signal does to the beat.

The drain flag is a byte shared by a worker's parent and its children. The parent sets it when it is
told to stop; drains look at it between calls and give back what they have not started. It is made
before the fork, so that all see the same byte.
"""

from __future__ import annotations

import mmap
import signal
from types import FrameType

from celery.beat import Service


class DrainFlag:
    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 1)

    def set(self) -> None:
        self._shared[0] = 1

    def __call__(self) -> bool:
        return self._shared[0] != 0


drain_flag = DrainFlag()


def stop_at_signals(beat: Service) -> None:
    """SIGTERM and SIGINT end the beat: at once while it sleeps, else after the tick under way.

    Celery's own handler raises SystemExit wherever the beat is. In the middle of a tick that may be
    inside somebody's ``except Exception`` or cleaning up, which makes another error of it; the tick
    is logged as failed, and the beat goes on for ever.
    """

    def stop(_number: int, frame: FrameType | None) -> None:
        beat.stop()
        if frame is not None and frame.f_code is Service.start.__code__:
            raise SystemExit

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
