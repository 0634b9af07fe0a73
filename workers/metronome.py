"""A second metronome, in the worker that serves the control queue: without a beat nothing stops.

It sends the timetable's ticks like the beat does, only more rarely. That both run does no harm: a
tick looks at state, and daily jobs at a unique row.
"""

from __future__ import annotations

from typing import Any, Final

from celery import Celery, bootsteps

import beat_schedule
from verifier.doorbell import CONTROL_QUEUE, broker_faults

#: A beat ticks every few seconds; this only has to keep things going without one.
EVERY_SECONDS: Final = 15.0


class Metronome(bootsteps.StartStopStep):
    """Ticks on the worker's own timer while its consumer runs."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **options: Any) -> None:
        self._entry: Any = None
        super().__init__(parent, **options)

    def include_if(self, parent: Any) -> bool:
        return CONTROL_QUEUE in parent.app.amqp.queues.consume_from

    def start(self, parent: Any) -> None:
        self._entry = parent.timer.call_repeatedly(EVERY_SECONDS, tick, (parent.app,))

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - the bootstep's signature
        if self._entry is not None:
            self._entry.cancel()


def tick(app: Celery) -> None:
    """Send every entry of the timetable once. A broker that cannot take it gets the next tick."""
    for entry in beat_schedule.as_celery().values():
        try:
            app.send_task(entry["task"], kwargs=entry["kwargs"], retry=False, **entry["options"])
        except broker_faults():
            return
