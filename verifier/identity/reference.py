"""The caller's own names for a user: ``(platform, reference)``, which stand in clear everywhere.

References go into logs, reports and associated data, so one that is itself personal data is
refused. The rule is a sieve for honest mistakes, not a proof: a reference that hides a phone
number on purpose passes.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from verifier.identity.errors import InvalidField
from verifier.identity.id_number import check_digit
from verifier.identity.text import fold, has_control

#: Of references whose caller names none.
DEFAULT_PLATFORM: Final = "default"

LONGEST: Final = 128

# What nearly every reference is: nothing to trim, and too few digits for a phone or ID number.
_HARMLESS: Final = re.compile(r"[!-~]{1,128}")
_ELEVEN_DIGITS: Final = re.compile(r"(?:[^0-9]*[0-9]){11}")

# Between delimiters only: eleven digits inside a hexadecimal id are no phone number.
_PHONE: Final = re.compile(r"(?<![0-9a-z])(?:\+?86|0086|0)?1[3-9][0-9]{9}(?![0-9a-z])", re.I | re.A)
_ID_NUMBER: Final = re.compile(
    r"(?<![0-9a-z])[0-9]{6}(?:18|19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
    r"[0-9]{3}[0-9x](?![0-9a-z])",
    re.I | re.A,
)
_SEPARATORS: Final = re.compile(r"[ ().\-_/]")


_EMAIL: Final = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")


def carries_personal_data(text: str) -> bool:
    """Whether a free text (a key, a label) has a phone number, ID number or e-mail address in it.

    A person's name cannot be recognised.
    """
    folded = text if text.isascii() else fold(text)
    return _EMAIL.search(folded) is not None or _number_in(folded) is not None


def check_reference(text: str) -> str:
    """The reference to store: trimmed, NFC, at most 128 characters. Raises InvalidField."""
    return _check("reference", text)


def check_platform(text: str) -> str:
    """The platform to store, under the rules of a reference. Raises InvalidField."""
    return _check("platform", text)


def _check(field: str, text: str) -> str:
    if not isinstance(text, str):
        raise InvalidField(field, "not_text")
    if _HARMLESS.fullmatch(text) and _ELEVEN_DIGITS.match(text) is None:
        return text
    value = text.strip()
    if not value:
        raise InvalidField(field, "empty")
    if len(value) > LONGEST:
        raise InvalidField(field, "too_long")
    if has_control(value):
        raise InvalidField(field, "control_character")
    value = unicodedata.normalize("NFC", value)
    folded = value if value.isascii() else fold(value)
    if (fault := _number_in(folded)) is not None:
        raise InvalidField(field, fault)
    return value


def _number_in(folded: str) -> str | None:
    """What stands in the text, in one piece or in groups; None if nothing does."""
    for spelling in (folded, _SEPARATORS.sub("", folded)):
        if _PHONE.search(spelling):
            return "looks_like_phone"
        if any(_is_id_number(found.group()) for found in _ID_NUMBER.finditer(spelling)):
            return "looks_like_id_number"
    return None


def _is_id_number(digits: str) -> bool:
    """With the check digit: of random 18-digit ids (snowflakes) one in 20,000 is refused; by the
    date alone it would be one in 2,000."""
    return check_digit(digits[:17]) == digits[17].upper()
