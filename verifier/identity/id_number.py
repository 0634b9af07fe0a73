"""ID numbers of 18 characters: resident cards, HMT residence permits, permanent residence cards.

Promises: the check digit (ISO 7064 MOD 11-2, GB 11643), a real birth date and an age of 0 to 120
hold for every number that is accepted. The area code is only ever a hint: codes come and go with
every reform, so an unknown one gives ``province=None`` and refuses nobody. (``stdnum.cn.ric``
demands that a county existed in the year of birth, and so rejects most people born before 1980.)
Does not know whether the number was ever issued.

Layout of the permanent residence card of 2023: ``9``, two digits of area, three of nationality,
birth date, sequence, check digit (National Immigration Administration, machine-readable rules).
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from datetime import date
from operator import mul
from typing import Final, NoReturn

from verifier.identity.errors import InvalidField
from verifier.identity.text import fold, has_control, is_scientific


class IdKind(enum.StrEnum):
    """Which document a number belongs to."""

    RESIDENT = "resident_id"
    HMT_PERMIT = "hmt_residence_permit"  # residents of Hong Kong, Macao and Taiwan
    FOREIGN_PERMANENT = "foreign_permanent_residence"  # the card of 2023, first digit 9


@dataclass(slots=True)  # not frozen: one a row, and a frozen one takes four times to make
class IdNumber:
    """A checked number. ``province`` is the Chinese short name, None for an unknown area code
    (worth a warning, never a refusal); ``birth_decade`` is 1980 for the years 1980 to 1989."""

    value: str = field(repr=False)
    kind: IdKind
    province: str | None
    birth_date: date = field(repr=False)
    birth_decade: int


def parse_id_number(text: str, today: date) -> IdNumber:
    """The number that ``text`` spells, upper-case. ``today`` is the business date, for the age.

    Raises :class:`InvalidField` with a telling code.
    """
    value = text if isinstance(text, str) and _CLEAN.fullmatch(text) else _clean(text)
    if _check_place(value) != value[17]:
        _refuse("check_digit")
    birth_date = _birth_date(value, today)
    if value[0] == "9":
        kind, province = IdKind.FOREIGN_PERMANENT, PROVINCES.get(value[1:3])
    else:
        province = PROVINCES.get(value[:2])
        kind = IdKind.HMT_PERMIT if value[:2] in _HMT_AREAS else IdKind.RESIDENT
    year = birth_date.year
    return IdNumber(value, kind, province, birth_date, year - year % 10)


def check_digit(body: str) -> str:
    """The 18th character for 17 ASCII digits, ``0``-``9`` or ``X``."""
    if _BODY.fullmatch(body) is None:
        raise ValueError("the body of an ID number is 17 digits")
    return _check_place(body)


def _check_place(value: str) -> str:
    # Bytes are integers: ord("0") is taken off once, in the constant, instead of 17 times.
    # The 18th byte has no weight: map() stops with the shorter sequence.
    return _PLACES[(sum(map(mul, _WEIGHTS, value.encode())) - _ZEROS) % 11]


_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ZEROS: Final = ord("0") * sum(_WEIGHTS)
_PLACES: Final = "10X98765432"
_CLEAN: Final = re.compile(r"[0-9]{17}[0-9X]")
_BODY: Final = re.compile(r"[0-9]{17}")
_HMT_AREAS: Final = frozenset({"81", "82", "83"})
_OLDEST: Final = 120
_LONGEST: Final = 64

# Documents that people enter here and that no provider of the three elements takes: the permanent
# residence card before 2023 (3 letters, 12 digits), passports, travel permits.
_OTHER_DOCUMENT: Final = re.compile(r"[A-Z]{3}[0-9]{12}|[A-Z]{1,2}[0-9]{6,10}")

#: Province code (GB/T 2260, first two digits) → short name. 83 is the permit of Taiwan residents.
PROVINCES: Final[dict[str, str]] = {
    "11": "北京", "12": "天津", "13": "河北", "14": "山西", "15": "内蒙古",
    "21": "辽宁", "22": "吉林", "23": "黑龙江",
    "31": "上海", "32": "江苏", "33": "浙江", "34": "安徽", "35": "福建",
    "36": "江西", "37": "山东",
    "41": "河南", "42": "湖北", "43": "湖南", "44": "广东", "45": "广西", "46": "海南",
    "50": "重庆", "51": "四川", "52": "贵州", "53": "云南", "54": "西藏",
    "61": "陕西", "62": "甘肃", "63": "青海", "64": "宁夏", "65": "新疆",
    "71": "台湾", "81": "香港", "82": "澳门", "83": "台湾",
}  # fmt: skip


def _clean(text: str) -> str:
    if not isinstance(text, str):
        _refuse("not_text")
    if len(text) > _LONGEST:
        _refuse("too_long")
    folded = fold(text).strip()
    if has_control(folded):
        _refuse("control_character")
    if is_scientific(folded):
        _refuse("scientific_notation")
    value = re.sub("[ -]", "", folded).upper()
    if not value:
        _refuse("empty")
    if _CLEAN.fullmatch(value) is None:
        _refuse(_what_it_is(value))
    return value


def _what_it_is(value: str) -> str:
    """The code for what is no 18-character number."""
    if _OTHER_DOCUMENT.fullmatch(value):
        return "unsupported_document"
    if re.fullmatch("[0-9]{15}", value):
        return "fifteen_digits"
    return "malformed" if re.fullmatch("[0-9]+X?", value) is None else "wrong_length"


def _birth_date(value: str, today: date) -> date:
    try:
        born = date.fromisoformat(value[6:14])
    except ValueError:
        _refuse("birth_date")
    if born > today:
        _refuse("birth_date_future")
    years = today.year - born.year
    if years > _OLDEST and years - ((today.month, today.day) < (born.month, born.day)) > _OLDEST:
        _refuse("age")
    return born


def _refuse(code: str) -> NoReturn:
    raise InvalidField("id_number", code) from None
