"""What the carriers' records say: a pure decision over the register and the three elements.

One judge for every vendor, so that two of them agree about a person; each puts the ruling into
codes of its own. Format comes first (phone, ID number, name), then the segment, then the record, in
the order documented for Tencent Cloud FaceID ``PhoneVerification``.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
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


class Found(enum.Enum):
    """What the carriers' records say of three elements, before any vendor puts it into codes."""

    MATCH = "match"
    NAME_DIFFERS = "name"
    ID_DIFFERS = "id"
    BOTH_DIFFER = "both"
    NO_RECORD = "no record"
    BAD_PHONE = "phone refused"
    BAD_ID_NUMBER = "ID number refused"
    BAD_NAME = "name refused"
    SEGMENT = "segment not covered"


@dataclass(frozen=True, slots=True)
class Ruling:
    """``carrier``: who serves the number, where the records say so."""

    found: Found
    carrier: Lane | None = None


def _as_it_is(value: str) -> str:
    return value


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
    today: date,
    settle_days: int,
    only: Lane | None = None,
    covers: frozenset[Lane] = COVERED,
    mask: Callable[[str], str] | None = None,
) -> Ruling:
    """A vendor's answer about one person.

    ``only``: the carrier of a carrier-specific endpoint, which has no record of another carrier's
    customers. ``covers``: the carriers that the vendor reaches. ``settle_days``: how long a new
    number takes to appear in the vendor's copy. ``mask``: name and ID number were sent as this
    digest, so that only equality can be judged; ``phone`` is in clear (the entry's, if it was sent
    as a digest too).
    """
    refuses = entry.refuses if entry else None
    if not _PHONE.fullmatch(phone) or refuses == "phone":
        return Ruling(Found.BAD_PHONE)
    if mask is None:
        id_number = id_number.upper()
        if not is_id_number(id_number, today) or refuses == "id_number":
            return Ruling(Found.BAD_ID_NUMBER)
        if not is_name(name) or refuses == "name":
            return Ruling(Found.BAD_NAME)
    if carrier_of_prefix(phone) not in covers:
        return Ruling(Found.SEGMENT)
    if entry is None or entry.status in {"cancelled", "empty"}:
        return Ruling(Found.NO_RECORD)
    if _too_new(entry, today, settle_days):
        return Ruling(Found.NO_RECORD)
    if only is not None and entry.carrier is not only:
        return Ruling(Found.NO_RECORD)
    if entry.carrier not in covers:
        return Ruling(Found.SEGMENT)  # ported to a carrier that the vendor does not reach
    seen = mask or _as_it_is
    same_name, same_id = seen(entry.name) == name, seen(entry.id_number) == id_number
    if same_name and same_id:
        return Ruling(Found.MATCH, entry.carrier)
    if same_name:
        return Ruling(Found.ID_DIFFERS, entry.carrier)
    return Ruling(Found.NAME_DIFFERS if same_id else Found.BOTH_DIFFER, entry.carrier)


def _too_new(entry: RegisterEntry, today: date, settle_days: int) -> bool:
    return bool(entry.since) and (today - date.fromisoformat(entry.since)).days < settle_days
