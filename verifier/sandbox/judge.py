"""What a carrier's verification says: a pure decision over the register and the three elements.

The order is the vendor's: format first (phone, ID number, name), then the segment, then the record.
Documented for Tencent Cloud FaceID ``PhoneVerification``; billing: match and mismatch only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from verifier.outcomes import Lane
from verifier.sandbox.register import RegisterEntry
from verifier.sandbox.segments import COVERED, carrier_of_prefix

_PHONE = re.compile(r"1[3-9][0-9]{9}")
_ID_NUMBER = re.compile(r"[0-9]{17}[0-9X]")
_NAME = re.compile(r"[^\W\d_]+(?:[·.' -]?[^\W\d_]+)*")
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECKS = "10X98765432"


@dataclass(frozen=True, slots=True)
class Ruling:
    """``result`` and ``detail`` as the vendor spells them; ``carrier`` if it named one."""

    result: str
    detail: str = ""
    carrier: Lane | None = None

    @property
    def billed(self) -> bool:
        return self.result in {"0", "-4"}


def check_digit(first_17: str) -> str:
    """The 18th character of an ID number (GB 11643-1999, MOD 11-2)."""
    return _CHECKS[sum(int(d) * w for d, w in zip(first_17, _WEIGHTS, strict=True)) % 11]


def is_id_number(value: str, today: date) -> bool:
    """Whether the vendor takes it for the number of a resident ID card or residence permit.

    Foreigners' permanent residence cards (first digit 9) are refused, as the vendors document.
    """
    if not _ID_NUMBER.fullmatch(value) or value[0] in "09":
        return False
    try:
        born = date(int(value[6:10]), int(value[10:12]), int(value[12:14]))
    except ValueError:
        return False
    return date(1900, 1, 1) <= born <= today and check_digit(value[:17]) == value[17]


def is_name(value: str) -> bool:
    return 2 <= len(value) <= 50 and _NAME.fullmatch(value) is not None


def rule(
    entry: RegisterEntry | None,
    *,
    phone: str,
    name: str,
    id_number: str,
    only: Lane | None,
    today: date,
    settle_days: int,
) -> Ruling:
    """The vendor's answer about one person.

    ``only``: the carrier of a carrier-specific endpoint, which has no record of another carrier's
    customers. ``settle_days``: how long a new number takes to appear in the vendor's copy.
    """
    id_number = id_number.upper()
    refuses = entry.refuses if entry else None
    if not _PHONE.fullmatch(phone) or refuses == "phone":
        return Ruling("-6")
    if not is_id_number(id_number, today) or refuses == "id_number":
        return Ruling("-7")
    if not is_name(name) or refuses == "name":
        return Ruling("-8")
    if carrier_of_prefix(phone) not in COVERED:
        return Ruling("-13")
    if entry is None or entry.status in {"cancelled", "empty"}:
        return Ruling("-9")
    if _too_new(entry, today, settle_days):
        return Ruling("-9")
    if only is not None and entry.carrier is not only:
        return Ruling("-9")
    if entry.carrier not in COVERED:
        return Ruling("-13")  # ported to a carrier that the vendor does not reach
    same_name, same_id = entry.name == name, entry.id_number == id_number
    if same_name and same_id:
        return Ruling("0", carrier=entry.carrier)
    if same_name:
        return Ruling("-4", "PhoneIdCardMismatch", entry.carrier)
    if same_id:
        return Ruling("-4", "PhoneNameMismatch", entry.carrier)
    return Ruling("-4", "PhoneNameIdCardMismatch", entry.carrier)


def _too_new(entry: RegisterEntry, today: date, settle_days: int) -> bool:
    return bool(entry.since) and (today - date.fromisoformat(entry.since)).days < settle_days
