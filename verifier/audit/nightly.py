"""The nightly audit: scan, queue again what is due, plan the day's reminders. Once a night.

Three stages, each safe to repeat: the scan is kept with the night's row, the batch has the night as
its key, and reminders are unique per day. So an audit that was killed is taken over when its lease
has ended and goes on from the stage it had reached, whichever beat or worker comes first.
The audit verifies; it reminds only about what is known already. It waits for nothing it queues.
"""

from __future__ import annotations

import secrets
from datetime import date, datetime, time
from typing import Any, Final

import structlog

from verifier.audit import findings, policy
from verifier.clock import at_local, business_date
from verifier.config import Config, config
from verifier.errors import AlreadyRunningError
from verifier.reminders import plan
from verifier.store import clock, jobs
from verifier.store.engine import transaction
from verifier.verification.submit import Request, submit

_log = structlog.get_logger(__name__)

JOB: Final = "audit"
CALLER: Final = "audit"

#: A stage that takes longer may be taken over; it is then done twice at once, to the same effect.
LEASE_SECONDS: Final = 300.0


def due(now: datetime, at: time | None = None) -> bool:
    """Whether tonight's audit has not been finished although its time has passed.

    The time is the configuration's, else ``at`` (the timetable's), else 02:00.
    """
    current = config()
    night = business_date(now, current.zone)
    time_of_day = current.timetable.audit or at or policy.DEFAULT_TIME
    if now < at_local(night, time_of_day, current.zone):
        return False
    with transaction() as connection:
        row = jobs.get(connection, JOB, night.isoformat())
    return row is None or row.state != "done"


def tick(at: time | None = None) -> dict[str, Any]:
    """What the periodic task calls: run if it is due and nobody else does."""
    with transaction() as connection:
        now = clock.now(connection)
    if not due(now, at):
        return {"skipped": "not due"}
    try:
        return dict(run())
    except AlreadyRunningError:
        return {"skipped": "running elsewhere"}


def run(*, force: bool = False) -> dict[str, int | str]:
    """Audit tonight. Returns counts; for a night that is done, its counts and ``skipped``.

    ``force``: audit again although the night is done, as a run of its own. Raises
    AlreadyRunningError while another process is at it.
    """
    current = config()
    with transaction() as connection:
        night = business_date(clock.now(connection), current.zone)
    token = secrets.randbits(63)
    period, done = _begin(night, token, force=force)
    if done is not None:
        return {**findings.summary(period, done), "skipped": "done already"}
    audit = _Audit(current, night, period, token)
    found = audit.scan()
    audit.requeue(found)
    audit.remind(found)
    audit.finish(found)
    result = findings.summary(period, found)
    _log.info("audit finished", **result)
    return result


def _begin(night: date, token: int, *, force: bool) -> tuple[str, dict[str, Any] | None]:
    """The period to work on, and its findings if it is done. Raises AlreadyRunningError."""
    number = 1
    while True:
        period = night.isoformat() if number == 1 else f"{night.isoformat()} run {number}"
        with transaction() as connection:
            if jobs.begin(connection, JOB, period, token=token, lease_seconds=LEASE_SECONDS):
                return period, None
            row = jobs.get(connection, JOB, period)
        if row is None or row.state != "done":
            raise _running(period)
        if not force:
            return period, row.counts
        number += 1


def _running(period: str) -> AlreadyRunningError:
    return AlreadyRunningError(
        f"The audit of {period} is running in another process.",
        fix="Wait for it (`verifier audit show`). If its process was killed, it is taken over "
        f"after {LEASE_SECONDS:.0f} seconds.",
    )


class _Audit:
    """The stages of one run. ``found`` gathers what is kept with the night."""

    def __init__(self, current: Config, night: date, period: str, token: int) -> None:
        self._night = night
        self._period = period
        self._token = token
        self._limits = policy.limits(night, _time(current), current.zone, current.audit)

    def scan(self) -> dict[str, Any]:
        """What is the case before anything is queued; of a resumed run, what was the case then."""
        with transaction() as connection:
            row = jobs.get(connection, JOB, self._period)
            if row is not None and row.counts:
                return dict(row.counts)
            found = findings.scan(connection, self._limits)
        self._advance(found)
        return found

    def requeue(self, found: dict[str, Any]) -> None:
        """Submit under the night's key: a repeat resumes the same batch. No batch for nobody."""
        if "batch" in found or not any(found["requeue"].values()):
            return
        request = Request(
            selection="audit",
            parameters=findings.limits_of(found),
            priority="low",
            label=f"audit {self._period}",
        )
        submitted = submit(CALLER, f"audit-{self._period}", request)
        found["batch"], found["requeued"] = submitted.batch, submitted.total
        self._advance(found)

    def remind(self, found: dict[str, Any]) -> None:
        """Plan the day's messages, unless that has been done."""
        if "reminders" in found:
            return
        planned = plan.plan_once(self._night)
        found["reminders"] = planned.get("planned", 0)
        if "skipped" in planned:
            found["reminders_skipped"] = planned["skipped"]

    def finish(self, found: dict[str, Any]) -> None:
        with transaction() as connection:
            if not jobs.finish(connection, JOB, self._period, token=self._token, counts=found):
                raise _running(self._period)

    def _advance(self, found: dict[str, Any]) -> None:
        with transaction() as connection:
            ours = jobs.advance(
                connection,
                JOB,
                self._period,
                token=self._token,
                lease_seconds=LEASE_SECONDS,
                counts=found,
            )
        if not ours:
            raise _running(self._period)


def _time(current: Config) -> time:
    return current.timetable.audit or policy.DEFAULT_TIME
