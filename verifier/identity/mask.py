"""Masks: what may be shown of personal data, and the filter for free text in logs.

Promises: a mask never raises, never shows the middle of a value, and never shows a whole value,
however short or odd. :func:`redact` masks numbers of 7 or more digits, e-mail addresses and
passwords in URLs; applying it twice changes nothing more.
Does not find names in free text: nothing can. Names must not be logged in the first place.
"""

from __future__ import annotations

import re
from typing import Final

_HIDDEN: Final = "***"


def mask_phone(phone: str) -> str:
    """``138****8000``."""
    return f"{phone[:3]}****{phone[-4:]}" if len(phone) == 11 else _HIDDEN


def mask_name(name: str) -> str:
    """``张*``, ``阿***``: the first character, and at most three stars for the rest."""
    return name[0] + "*" * min(len(name) - 1, 3) if len(name) >= 2 else "*"


def mask_id_number(id_number: str) -> str:
    """``11**************8X``. Birth date and sequence stay hidden."""
    if len(id_number) != 18:
        return _HIDDEN
    return f"{id_number[:2]}{'*' * 14}{id_number[-2:]}"


def mask_email(email: str) -> str:
    """``a***@example.com``."""
    local, at, domain = email.rpartition("@")
    if not at or not local or not domain:
        return _HIDDEN
    return f"{local[0] if len(local) > 1 else ''}{_HIDDEN}@{domain}"


def mask_token(token: str) -> str:
    """A push token, an API key: its first four characters, if that is a small part of it."""
    return f"{token[:4]}{_HIDDEN}" if len(token) >= 16 else _HIDDEN


# Between the groups of a number: how people, and programs, write one.
_GAP: Final = r"[^\S\n]?[._/()·\u2010-\u2015-]?[^\S\n]?"
_NUMBERS: Final = rf"""
      (?P<phone>  (?<!\d)(?:\+?86{_GAP})?(?P<national>1[3-9]\d{_GAP}\d{{4}}{_GAP}\d{{4}})(?!\d) )
    | (?P<id>     (?<!\d)\d{{6}}{_GAP}\d{{8}}{_GAP}\d{{3}}[\dX](?!\d) )
    | (?P<number> \d{{7,}}X? )
"""
_NUMBER: Final = re.compile(_NUMBERS, re.IGNORECASE | re.VERBOSE)

# Order matters: the first alternative that matches at a place wins. Every alternative starts at a
# boundary or consumes what it scans, so the time is linear in the length of the text.
_SENSITIVE: Final = re.compile(
    r"""
      (?P<keep>   \b[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b
                | \b(?=[0-9]{0,30}[a-f])[0-9a-f]{32,128}\b )          # UUIDs and digests
    | (?P<login>  (?<=://)[^\s/]{1,256}@ )                            # user:password@host
    | (?P<email>  (?<![\w.+%-])[\w.+%-]+@[\w-]+(?:\.[\w-]+)+ )
    | """
    + _NUMBERS,
    re.IGNORECASE | re.VERBOSE,
)


def redact(text: str) -> str:
    """``text`` with everything that may be personal data masked. UUIDs and hex digests stay."""
    return _SENSITIVE.sub(_mask_found, text)


def _mask_found(found: re.Match[str]) -> str:
    text = found.group()
    match found.lastgroup:
        case "keep":
            return text
        case "login":
            return f"{_HIDDEN}@"
        case "email":
            return _NUMBER.sub(_mask_found, mask_email(text))  # the domain, too, may be a number
        case "phone":
            return mask_phone(_digits(found.group("national")))
        case "id":
            return mask_id_number(_digits(text))
        case _:
            return f"{text[:2]}{_HIDDEN}"


def _digits(text: str) -> str:
    return "".join(filter(str.isalnum, text))
