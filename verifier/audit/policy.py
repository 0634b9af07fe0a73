"""Policy of the audit: what is queued again and why, as instants derived from the night. Pure.

Queued again is who has no open work and

* is unverified: never checked, unresolved so far, or the data changed since (this covers a
  MISMATCHED whose data was corrected; unchanged data would only fail again);
* had NO_RECORD and ten working days have passed: new numbers take so long to be registered;
* had NUMBER_INACTIVE and a week has passed: service may have been restored;
* is verified, but so long ago that the number may have another holder by now.

INVALID_INPUT and CONSENT_MISSING wait for the person, UNSUPPORTED_NUMBER for an operator.
Instants come from the night and not from the clock, so an audit that is resumed asks for the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from verifier.clock import add_working_days, at_local
from verifier.config import AuditConfig
from verifier.guidance import Actor, WaitingReason, for_outcome, for_waiting
from verifier.outcomes import Outcome
from verifier.reminders.policy import concerns_person

DEFAULT_TIME: Final = time(2, 0)


@dataclass(frozen=True, slots=True)
class Limits:
    """Checks older than these instants are repeated."""

    verified_before: datetime
    no_record_before: datetime
    inactive_before: datetime

    def parameters(self) -> dict[str, datetime]:
        """As the selection ``audit`` of :mod:`verifier.store.loading` takes them."""
        return {
            "verified_before": self.verified_before,
            "no_record_before": self.no_record_before,
            "inactive_before": self.inactive_before,
        }


def limits(night: date, at: time, zone: ZoneInfo, rules: AuditConfig) -> Limits:
    """The instants for the audit of ``night``, which begins when ``zone`` shows ``at``."""
    begins = at_local(night, at, zone)
    return Limits(
        verified_before=begins - timedelta(days=rules.recheck_verified_days),
        no_record_before=_working_days_before(begins, rules.recheck_no_record_working_days, zone),
        inactive_before=begins - timedelta(days=rules.recheck_inactive_days),
    )


def _working_days_before(instant: datetime, days: int, zone: ZoneInfo) -> datetime:
    """The latest instant, whole days back, since which ``days`` working days have come; the
    working day that begins at ``instant`` counts."""
    local = instant.astimezone(zone).replace(tzinfo=None)  # weekdays are those of our calendar
    back = timedelta(days=days)
    while add_working_days(local - back, days) > local:
        back += timedelta(days=1)
    return instant - back


def who_acts_on_outcome(outcome: str | None, detail: str | None) -> Actor:
    """Who must act for a user of this outcome (None: not checked yet)."""
    if outcome is None:
        return Actor.SYSTEM
    if outcome == Outcome.MATCHED:
        return Actor.NOBODY
    if not concerns_person(outcome, detail):
        return Actor.OPERATOR
    return for_outcome(outcome, detail).who_acts


def who_acts_on_waiting(cause: str) -> Actor:
    """Who must act for work that waits for ``cause``. What no catalogue knows is an operator's."""
    if cause not in WaitingReason.__members__.values():
        return Actor.OPERATOR
    return for_waiting(cause).who_acts
