"""Personal names as carriers keep them: one canonical spelling for the many ways to type it.

Promises: :func:`canonical_name` is idempotent, never lengthens what is stored beyond 50 code
points, and never turns one ideograph into another *except* where Unicode itself declares them
canonically equal (NFC maps the compatibility ideograph U+F929 to U+6717). Since a carrier may hold
exactly that compatibility ideograph, :func:`parse_name` also keeps the raw text and offers
``alternative``: the spelling to try once when the canonical one does not match.
Does not judge whether a name is real, and does not transliterate or change case.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from functools import cache
from typing import Final, NoReturn

from verifier.identity.errors import InvalidField

_SHORTEST: Final = 2
_LONGEST: Final = 50
_LONGEST_RAW: Final = 200

# The common case, canonical as it stands: URO ideographs only (all of them stable under NFC).
_PLAIN: Final = re.compile(r"[\u4E00-\u9FFC]{2,50}")

# NFKC does not merge these with U+00B7, the dot of minority names on resident cards.
_DOTS: Final = frozenset("\u2022\u30fb\uff65\u2027\u22c5\uff0e.")
_DOT: Final = "\N{MIDDLE DOT}"
_HAN: Final = (
    "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # with extensions
)
_HAS_HAN: Final = re.compile(f"[{_HAN}]")
_NEEDLESS_SPACE: Final = re.compile(f"(?<=[{_HAN}]) (?=[{_HAN}])| ?{_DOT} ?")
_VARIATION_SELECTOR: Final = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_COMPATIBILITY_IDEOGRAPH: Final = re.compile("([\uf900-\ufaff\U0002f800-\U0002fa1f])")
_BAD_PUNCTUATION: Final = re.compile(f"[{_DOT}'-][{_DOT}'.-]|^[{_DOT}'.-]|[{_DOT}'-]$")
_PUNCTUATION: Final = frozenset(f"{_DOT} '.-\N{TIBETAN MARK INTERSYLLABIC TSHEG}")


@dataclass(slots=True)  # not frozen: one a row, and a frozen one takes four times to make
class Name:
    """A name as typed (``raw``), as compared and sent (``canonical``), and the other spelling
    worth one more try after a mismatch (``alternative``, None when there is none)."""

    raw: str = field(repr=False)
    canonical: str = field(repr=False)
    alternative: str | None = field(repr=False, default=None)


def canonical_name(text: str) -> str:
    """The spelling to store, index and send. Raises :class:`InvalidField`."""
    if isinstance(text, str) and _PLAIN.fullmatch(text):
        return text
    return unicodedata.normalize("NFC", _spelling(text))


def parse_name(text: str) -> Name:
    """Raw, canonical and alternative spelling. Raises :class:`InvalidField`."""
    if isinstance(text, str) and _PLAIN.fullmatch(text):
        return Name(text, text)
    spelling = _spelling(text)
    canonical = unicodedata.normalize("NFC", spelling)
    return Name(text, canonical, spelling if spelling != canonical else None)


def _spelling(text: str) -> str:
    """Cleaned and checked, in NFC but for compatibility ideographs, which stay as typed."""
    if not isinstance(text, str):
        _refuse("not_text")
    if len(text) > _LONGEST_RAW:
        _refuse("too_long")
    cleaned = "".join(map(_repair, text.strip()))
    if not cleaned:
        _refuse("empty")
    cleaned = _VARIATION_SELECTOR.sub("", cleaned)  # they choose a glyph, not a character
    cleaned = re.sub(" +", " ", cleaned).strip()
    cleaned = _dots(cleaned)
    cleaned = _nfc_around_compatibility_ideographs(cleaned)
    _check(cleaned)
    return cleaned


def _repair(character: str) -> str:
    """NFKC where it is safe: forms of the same letter, never another character.

    Left alone: compatibility ideographs (see above), and symbols such as ② or ㈱, which NFKC would
    turn into digits or words.
    """
    code = ord(character)
    if code < 0x80:
        return character
    if (
        (0xFF01 <= code <= 0xFF9F and character not in _DOTS)  # full-width Latin, half-width kana
        or 0x2F00 <= code <= 0x2FD5  # Kangxi radicals, a frequent result of OCR
        or 0xFB00 <= code <= 0xFB06  # Latin ligatures, from PDF files
    ):
        return unicodedata.normalize("NFKC", character)
    if 0xE000 <= code <= 0xF8FF:
        return _private_use_table().get(character, character)
    if character in "\u2018\u2019\u02bc":
        return "'"
    category = unicodedata.category(character)
    if category == "Zs":
        return " "
    return "-" if category == "Pd" else character


@cache
def _private_use_table() -> dict[str, str]:
    """Private-use characters that GBK and GB 18030 gave to 80 ideographs → their real code points.

    Two-byte codes FE50…FEA0 were U+E815…U+E864 before Unicode had the characters. Python's codec
    knows the assignments up to GB 18030-2005; the 14 that it still decodes to private use are from
    GB 18030-2022 (FE59 → U+9FB4) and its four-byte twins in Extension B.
    """
    trail = [byte for byte in range(0x50, 0xA1) if byte != 0x7F]
    table = {
        chr(0xE815 + place): bytes((0xFE, byte)).decode("gb18030")
        for place, byte in enumerate(trail)
    }
    table |= {
        "\ue816": "\U00020087",
        "\ue817": "\U00020089",
        "\ue818": "\U000200cc",
        "\ue81e": "\u9fb4",
        "\ue826": "\u9fb5",
        "\ue82b": "\u9fb6",
        "\ue82c": "\u9fb7",
        "\ue831": "\U000215d7",
        "\ue832": "\u9fb8",
        "\ue83b": "\U0002298f",
        "\ue843": "\u9fb9",
        "\ue854": "\u9fba",
        "\ue855": "\U000241fe",
        "\ue864": "\u9fbb",
    }
    return table


def _dots(text: str) -> str:
    """In names with ideographs every dot is U+00B7 and spaces between ideographs go; in others
    only the full-width full stop changes, into the full stop of an initial."""
    if _HAS_HAN.search(text) is None:
        text = text.replace("\uff0e", ".")
        dots = _DOTS - {"."}
    else:
        dots = _DOTS
    text = "".join(_DOT if character in dots else character for character in text)
    return _NEEDLESS_SPACE.sub(lambda found: _DOT if _DOT in found.group() else "", text)


def _nfc_around_compatibility_ideographs(text: str) -> str:
    # The separator group makes every second piece a compatibility ideograph.
    pieces = _COMPATIBILITY_IDEOGRAPH.split(text)
    return "".join(
        piece if place % 2 else unicodedata.normalize("NFC", piece)
        for place, piece in enumerate(pieces)
    )


def _check(name: str) -> None:
    for character in name:
        category = unicodedata.category(character)
        if category[0] == "L" or category in {"Mn", "Mc"} or character in _PUNCTUATION:
            continue
        if character == "\u3007":  # 〇 is a number to Unicode and an ideograph to people
            continue
        if category == "Cn" and "\U00020000" <= character <= "\U0003fffd":
            continue  # ideographs younger than this Python's Unicode tables
        _refuse(_CATEGORY_CODES.get(category, "unexpected_character"))
    if _BAD_PUNCTUATION.search(name):
        _refuse("misplaced_punctuation")
    length = len(unicodedata.normalize("NFC", name))
    if length < _SHORTEST:
        _refuse("too_short")
    if length > _LONGEST:
        _refuse("too_long")


_CATEGORY_CODES: Final = {
    **dict.fromkeys(("Nd", "Nl", "No"), "digit"),
    **dict.fromkeys(("Cc", "Cf", "Cs", "Zl", "Zp"), "control_character"),
    "Co": "private_use",
}


def _refuse(code: str) -> NoReturn:
    raise InvalidField("name", code)
