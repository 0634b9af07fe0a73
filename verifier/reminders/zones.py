"""Zones: the time zone a person lives in, or the business one where the stored name is none.

One bad name must not silence everybody else's reminders. It is logged once per process; what does
not look like a zone's name is not repeated there, because it could be anything.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import structlog

from verifier.clock import zone_of

_log = structlog.get_logger(__name__)

_SHAPE: Final = re.compile(r"[A-Z][A-Za-z]{1,13}(/[A-Za-z0-9_+-]{1,14}){1,2}")


@lru_cache(maxsize=1024)
def person_zone(name: str, business_zone: ZoneInfo) -> ZoneInfo:
    """The person's zone, for quiet hours; the business zone when there is no zone of that name."""
    found = zone_of(name, business_zone)
    if found.key != name:
        shown = name if _SHAPE.fullmatch(name) else "malformed"
        _log.warning("unknown time zone: the business zone is used", time_zone=shown)
    return found
