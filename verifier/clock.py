"""Business calendar arithmetic. Instants are aware UTC; calendars use the business time zone.

Nothing here reads a clock: the business time is ``verifier_now()`` in the database (whose offset
tests and the demo can move), leases use the database's raw clock, deadlines of calls use
``time.monotonic()``.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def zone_of(name: str, default: ZoneInfo) -> ZoneInfo:
    """The time zone of this name; ``default`` when there is none, or it cannot be a name."""
    try:
        return ZoneInfo(name)
    # OSError: the name of a directory of zones ("Asia"), or one too long for a file.
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return default


def business_date(now: datetime, zone: ZoneInfo) -> date:
    """The calendar day of the instant ``now`` in the business time zone."""
    return now.astimezone(zone).date()


def at_local(day: date, at: time, zone: ZoneInfo) -> datetime:
    """The instant (UTC) at which the wall clocks of ``zone`` show ``at`` on ``day``."""
    return datetime.combine(day, at, tzinfo=zone).astimezone(UTC)


def next_business_day(now: datetime, zone: ZoneInfo, at: time = time(0, 10)) -> datetime:
    """``at`` on the following calendar day. 00:10 leaves vendors' daily counters time to reset."""
    return at_local(business_date(now, zone) + timedelta(days=1), at, zone)


def add_working_days(now: datetime, days: int) -> datetime:
    """``now`` moved on by ``days`` Mondays to Fridays (public holidays are not known here)."""
    moved = now
    while days > 0:
        moved += timedelta(days=1)
        if moved.weekday() < 5:
            days -= 1
    return moved


def parse_time(text: str) -> time:
    """``"02:00"`` as a time of day. Raises ValueError for anything else."""
    hour, minute = text.split(":")
    return time(int(hour), int(minute))


def within(now: datetime, start: time, end: time, zone: ZoneInfo) -> bool:
    """Whether the wall clock of ``zone`` stands in [start, end); the range may pass midnight."""
    local = now.astimezone(zone).time().replace(tzinfo=None)
    if start <= end:
        return start <= local < end
    return local >= start or local < end
