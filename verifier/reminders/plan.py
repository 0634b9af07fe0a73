"""Plan: write down which messages a business day will see. Nothing is sent here.

The nightly audit plans its day; :func:`plan_due` is the tick that does it when the audit did not.
Planning twice, or twice at once, adds nothing: a user, a person and a number have one row a day.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import Row

from verifier.clock import at_local, business_date
from verifier.config import Config, config
from verifier.gateways.base import Channel
from verifier.reminders import policy
from verifier.reminders.zones import person_zone
from verifier.store import clock, jobs, reminders
from verifier.store.engine import transaction

_log = structlog.get_logger(__name__)

JOB: Final = "reminders.plan"
DEFAULT_TIME: Final = time(8, 30)

#: Users looked at per transaction.
CHUNK: Final = 5000

#: A plan that takes longer may be made twice at once, which adds nothing.
_LEASE_SECONDS: Final = 300.0
_CHANNEL_OF_KIND: Final = {"jpush": Channel.PUSH, "aliyun_sms": Channel.SMS}


def channels_of(current: Config) -> frozenset[Channel]:
    """The channels for which a gateway is configured."""
    return frozenset(_CHANNEL_OF_KIND[row.kind] for row in current.gateways.values())


def plan_for(day: date) -> dict[str, Any]:
    """Plan the messages of ``day`` about what is known now. Returns counts.

    A day that has passed, or has no hour left at which somebody may be reached, plans nothing.
    """
    current = config()
    if not current.reminders.enabled:
        return {"skipped": "reminders are disabled"}
    planning = _Planning(current, day)
    while planning.chunk():
        pass
    _log.info("reminders planned", day=day.isoformat(), **planning.counts)
    return dict(planning.counts)


class _Planning:
    """One pass over the failed users, a transaction a chunk."""

    def __init__(self, current: Config, day: date) -> None:
        self._config = current
        self._day = day
        self._channels = channels_of(current)
        self._day_ends = at_local(day + timedelta(days=1), time(0), current.zone)
        self._after = 0
        with transaction() as connection:
            now = clock.now(connection)
            zones = reminders.time_zones(connection)
        self._due: dict[str, datetime | None] = {
            name: policy.due_at(
                day, now, person_zone(name, current.zone), current.zone, current.reminders
            )
            for name in zones
        }
        self.counts = {"looked_at": 0, "planned": 0}

    def chunk(self) -> bool:
        """Plan for the next users; whether there may be more."""
        with transaction() as connection:
            rows = reminders.candidates(
                connection, after=self._after, size=CHUNK, day_ends=self._day_ends
            )
            self.counts["planned"] += reminders.plan(connection, self._day, self._choose(rows))
        self.counts["looked_at"] += len(rows)
        if rows:
            self._after = rows[-1].id
        return len(rows) == CHUNK

    def _choose(self, rows: Sequence[Row[Any]]) -> list[reminders.NewReminder]:
        chosen = []
        for row in rows:
            due = self._due.get(row.time_zone)
            facts = policy.Facts(
                outcome=row.outcome,
                detail=row.detail,
                has_token=row.has_token,
                steps=row.steps,
                last_day=row.last_day,
                answering=row.answering,
                sms_refused=row.sms_refused,
            )
            step = policy.next_step(facts, self._day, self._config.reminders, self._channels)
            if step is not None and due is not None:
                chosen.append(
                    reminders.NewReminder(
                        user_id=row.id,
                        user_version=row.version,
                        step=step.number,
                        channel=step.channel,
                        outcome=row.outcome,
                        template=policy.template_of(row.outcome),
                        due_at=due,
                    )
                )
        return chosen


def plan_once(day: date) -> dict[str, Any]:
    """As :func:`plan_for`, once per business day whoever asks.

    The others get ``skipped``, with the counts of the run that did it if that is done. A run that
    was killed is taken over when its lease has ended.
    """
    token = secrets.randbits(63)
    period = day.isoformat()
    with transaction() as connection:
        mine = jobs.begin(connection, JOB, period, token=token, lease_seconds=_LEASE_SECONDS)
        run = jobs.get(connection, JOB, period)
    if not mine:
        done = run is not None and run.state == "done"
        earlier = run.counts if run is not None and done else {}
        return {"skipped": "planned already" if done else "being planned", **earlier}
    counts = plan_for(day)
    with transaction() as connection:
        jobs.finish(connection, JOB, period, token=token, counts=counts)
    return counts


def plan_due(at: time | None = None) -> dict[str, Any]:
    """The tick: plan today's messages if it is time and nobody has."""
    current = config()
    with transaction() as connection:
        now = clock.now(connection)
    today = business_date(now, current.zone)
    time_of_day = current.timetable.reminders_plan or at or DEFAULT_TIME
    if now < at_local(today, time_of_day, current.zone):
        return {"skipped": "not due"}
    return plan_once(today)
