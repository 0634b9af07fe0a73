"""``MobileStatus`` and ``MobileNetworkTimeVerification``: what the register says of a number alone.

The same phone is malformed, uncovered or too new for every action of the vendor; what each of them
calls that differs.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from verifier.sandbox.judge import Found, rule
from verifier.sandbox.register import RegisterEntry

STATUS = "MobileStatus"
NETWORK_TIME = "MobileNetworkTimeVerification"
STATUS_CODES = {"normal": 0, "suspended": 1, "cancelled": 2, "empty": 4}
_LIMITS = (0, 3, 6, 12, 24)


def mobile_status(
    entry: RegisterEntry | None, phone: str, today: date
) -> tuple[str, dict[str, Any]]:
    """``Result`` and the fields beside it."""
    match _refused(entry, phone, today):
        case Found.BAD_PHONE:
            return "-2", {}
        case Found.SEGMENT:
            return "-13", {}
    if entry is None:
        return "-1", {}
    return "0", {"StatusCode": STATUS_CODES[entry.status]}


def network_time(
    entry: RegisterEntry | None, phone: str, today: date, settle_days: int
) -> tuple[str, dict[str, Any]]:
    """``Result`` and the fields beside it. "-2" is billed: the number does not exist."""
    match _refused(entry, phone, today):
        case Found.BAD_PHONE:
            return "-1", {}
        case Found.SEGMENT:
            return "-13", {}
    if entry is None or entry.status in {"cancelled", "empty"}:
        return "-2", {}
    if not entry.since:
        return "0", {"Range": "[24,+)"}
    since = date.fromisoformat(entry.since)
    if (today - since).days < settle_days:
        return "-3", {}
    return "0", {"Range": _range(full_months(since, today))}


def full_months(since: date, today: date) -> int:
    months = (today.year - since.year) * 12 + today.month - since.month
    return months - (today.day < since.day)


def _range(months: int) -> str:
    at_least = max(limit for limit in _LIMITS if limit <= max(0, months))
    above = [limit for limit in _LIMITS if limit > at_least]
    return f"[{at_least},{above[0] if above else '+'})"


def _refused(entry: RegisterEntry | None, phone: str, today: date) -> Found | None:
    """By the judge of the three elements, asked about the number's own holder."""
    ruling = rule(
        entry,
        phone=phone,
        name=entry.name if entry else "",
        id_number=entry.id_number if entry else "",
        today=today,
        settle_days=0,
        mask=str,
    )
    return ruling.found if ruling.found in {Found.BAD_PHONE, Found.SEGMENT} else None
