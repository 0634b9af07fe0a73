"""The one timetable: every periodic job by name.

Beat is only a metronome. Each entry is a *tick*, sent every few seconds; the daily jobs look at the
business clock and at a unique row per (job, period), so a second beat, a late beat or a lost tick
does no harm. The worker of the control queue ticks too, every 15 seconds (``workers.metronome``),
so no beat at all only costs time. ``at`` can be overridden in the configuration file
(``[timetable]``), ``every`` is in seconds.

When                     What                             Task                          Queue
-----------------------  -------------------------------  ----------------------------  --------
every night from 02:00   the audit                        verifier.audit.run            control
every day from 08:30     plan the reminders (if the       verifier.reminders.plan       control
                         audit did not)
9:00 to 20:00 local      send what is due                 verifier.reminders.send       remind
all the time             reconcile unknown messages       verifier.reminders.reconcile  remind
all the time             sweep: leases, batches, rings    verifier.sweep                control
all the time             webhooks, callers' tasks         verifier.notify.dispatch      notify
all the time             canaries through every queue     verifier.canaries             control
hourly                   partitions, old rows             verifier.housekeeping         control
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """A periodic job: ``task`` ticks ``every`` so many seconds on ``queue``; ``at`` is the business
    time from which a daily job is due."""

    name: str
    task: str
    every: float
    queue: str
    at: time | None = None


TIMETABLE: tuple[Entry, ...] = (
    Entry("nightly audit", "verifier.audit.run", 5, "control", at=time(2, 0)),
    Entry("plan reminders", "verifier.reminders.plan", 30, "control", at=time(8, 30)),
    Entry("send reminders", "verifier.reminders.send", 5, "remind"),
    Entry("reconcile reminders", "verifier.reminders.reconcile", 15, "remind"),
    Entry("sweep", "verifier.sweep", 5, "control"),
    Entry("notify", "verifier.notify.dispatch", 2, "notify"),
    Entry("canaries", "verifier.canaries", 20, "control"),
    Entry("housekeeping", "verifier.housekeeping", 3600, "control"),
)


def as_celery() -> dict[str, dict[str, Any]]:
    """The timetable as Celery's ``beat_schedule``. A tick that nobody served in time expires."""
    return {
        entry.name: {
            "task": entry.task,
            "kwargs": {"at": f"{entry.at:%H:%M}"} if entry.at else {},
            "schedule": entry.every,
            "options": {"queue": entry.queue, "expires": max(entry.every * 2, 10)},
        }
        for entry in TIMETABLE
    }
