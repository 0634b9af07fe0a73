"""Mainland mobile numbers: any usual spelling in, 11 digits and a lane out.

Promises: every refusal has a code that says what the number is instead (landline, foreign).
The gate is ``^1[3-9]`` and our own segment table (``data/segments.toml``), never
``phonenumbers.is_valid_number``, which refuses live segments (141, 146, 148, 149, 1741-1749).
``phonenumbers`` only untangles odd spellings and is imported when the first one arrives.
Does not say who carries a number now: portability makes a lane a guess.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from typing import Final, NoReturn

from verifier.identity.errors import InvalidField
from verifier.identity.text import fold, has_control, is_scientific
from verifier.outcomes import Lane


@dataclass(slots=True)  # not frozen: one a row, and a frozen one takes four times to make
class Phone:
    """A number in national form (11 digits) and the lane its segment suggests."""

    national: str = field(repr=False)
    lane: Lane


def parse_phone(text: str) -> Phone:
    """The number that ``text`` spells. Raises :class:`InvalidField` with a telling code."""
    # Nearly every row of an import is 11 plain digits: one slice and one look-up.
    if isinstance(text, str) and len(text) == 11 and text.isascii() and text.isdigit():
        lane = _LANES.get(text[:4])
        if lane is not None:
            return Phone(text, lane)
    return _parse_odd(text)


def lane_of(national: str) -> Lane:
    """The lane of an 11-digit national number. Raises :class:`InvalidField` if it has none."""
    lane = _LANES.get(national[:4])
    if lane is None or _MOBILE.fullmatch(national) is None:
        _refuse("unassigned_segment" if _MOBILE.fullmatch(national) else "malformed")
    return lane


def _read_segments() -> dict[str, Lane]:
    """Every four-digit prefix → lane, so that a look-up needs no loop over prefix lengths."""
    text = resources.files("verifier").joinpath("data/segments.toml").read_text("utf-8")
    rows = tomllib.loads(text)
    segments = {segment: lane for lane in Lane for segment in rows[lane.value]}
    table: dict[str, Lane] = {}
    for segment in sorted(
        segments, key=len
    ):  # the longer, more special segment comes last and wins
        for digit in "0123456789" if len(segment) == 3 else ("",):
            table[segment + digit] = segments[segment]
    return table


_LANES: Final = _read_segments()
_MOBILE: Final = re.compile(r"1[3-9][0-9]{9}")
_SPELLING: Final = re.compile(r"(?:tel:)?[0-9 +().-]+")
_EXTENSION: Final = re.compile(
    r"(?:[ ,;.-]*(?:ext(?:n|ension)?|x|转|轉|分机|分機|内线|#|~|[,;])[ .:=]*)[0-9]{1,6}[ ]*",
    re.IGNORECASE,
)
_SEVERAL: Final = re.compile(r"[0-9][0-9 ()+.-]{5,}[/|,;、，；\n ]+[(+]?[0-9][0-9 ()+.-]{5,}[0-9]")
_IOT: Final = re.compile(r"(?:1064[6-9]|14[0-4][0-9]{2})[0-9]{8}")
# Beijing's 010 and eight digits look like a 10-digit service number: the landline is far likelier.
_SHORT: Final = re.compile(
    r"[0-9]{3,6}|9[56][0-9]{3,6}|[48]00[0-9]{7}|10[016](?![0-9]{7}$)[0-9]{2,17}"
)
_LANDLINE: Final = re.compile(r"10[0-9]{8}|2[0-9]{9}|[3-9][0-9]{9,10}|[2-9][0-9]{6,7}")
# Area codes 852 and 853 left the mainland's plan in 2014, so a bare 852… is Hong Kong.
_BARE_NEIGHBOUR: Final = {
    re.compile(r"852[0-9]{8}"): "hong_kong_number",
    re.compile(r"853[0-9]{8}"): "macao_number",
    re.compile(r"8869[0-9]{8}"): "taiwan_number",
}
_NEIGHBOURS: Final = {852: "hong_kong_number", 853: "macao_number", 886: "taiwan_number"}
_LONGEST: Final = 64


def _parse_odd(text: str) -> Phone:
    if not isinstance(text, str):
        _refuse("not_text")
    if len(text) > _LONGEST:
        _refuse("too_long")
    folded = fold(text).strip().lower()
    if not folded:
        _refuse("empty")
    if has_control(folded):
        _refuse("control_character")
    _check_spelling(folded)
    national = _national(folded)
    if _MOBILE.fullmatch(national) is None:
        _refuse(_what_it_is(national))
    lane = _LANES.get(national[:4])
    if lane is None:
        _refuse("unassigned_segment")
    return Phone(national, lane)


def _check_spelling(folded: str) -> None:
    if is_scientific(folded):
        _refuse("scientific_notation")
    # phonenumbers would drop an extension, and take the first of two numbers, without a word.
    if _SEVERAL.fullmatch(folded) and len(re.sub(r"[^0-9]", "", folded)) >= 18:
        _refuse("several_numbers")
    if _SPELLING.fullmatch(folded) is None:
        number = _EXTENSION.search(folded)
        looks_extended = number is not None and number.end() == len(folded) and number.start() > 0
        _refuse("extension" if looks_extended else "malformed")


def _national(folded: str) -> str:
    """The national number. phonenumbers knows 0086, a leading 0, brackets and foreign codes."""
    import phonenumbers

    try:
        number = phonenumbers.parse(folded, "CN")
    except phonenumbers.NumberParseException as error:
        too_long = error.error_type == phonenumbers.NumberParseException.TOO_LONG
        _refuse("wrong_length" if too_long else "malformed")
    if number.extension:
        _refuse("extension")
    if number.country_code != 86:
        _refuse(_NEIGHBOURS.get(number.country_code or 0, "foreign_number"))
    return str(number.national_number)


def _what_it_is(national: str) -> str:
    """The code for a number that is no mobile number."""
    for pattern, code in _BARE_NEIGHBOUR.items():
        if pattern.fullmatch(national):
            return code
    if _IOT.fullmatch(national):
        return "iot_number"
    if _SHORT.fullmatch(national):
        return "short_number"
    if _LANDLINE.fullmatch(national):
        return "landline"
    if national.startswith("1") and len(national) != 11:
        return "wrong_length"
    return "malformed"


def _refuse(code: str) -> NoReturn:
    # `from None`: the errors of phonenumbers quote the number.
    raise InvalidField("phone", code) from None
