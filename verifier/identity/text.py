"""What typed digits have in common, whatever the input method: forms, spaces, invisible marks.

For numbers (phone, ID), never for names: a name's characters mean something, see :mod:`.names`.
"""

from __future__ import annotations

import re
import unicodedata

# 1.38E+10: what a spreadsheet leaves of a long number.
_SCIENTIFIC = re.compile(r"\d[.,]?\d*[eE]\+?\d{1,2}")


def fold(text: str) -> str:
    """``text`` with decimal digits, full-width forms, spaces and dashes as ASCII, and without
    invisible format characters (zero-width, direction marks). Anything else stays as it is."""
    folded = []
    for character in text:
        code = ord(character)
        if code < 0x7F:
            folded.append(character)
        elif 0xFF01 <= code <= 0xFF5E:  # full-width ASCII
            folded.append(chr(code - 0xFEE0))
        else:
            category = unicodedata.category(character)
            if category == "Nd":
                folded.append(str(unicodedata.decimal(character)))
            elif category == "Zs":
                folded.append(" ")
            elif category == "Pd" or character == "\N{MINUS SIGN}":
                folded.append("-")
            elif category != "Cf":
                folded.append(character)
    return "".join(folded)


def is_scientific(folded: str) -> bool:
    """Whether a spreadsheet turned the number into floating point; its digits are lost."""
    return _SCIENTIFIC.fullmatch(folded.strip()) is not None


def has_control(text: str) -> bool:
    """Whether ``text`` has characters that cannot be seen: control, format, surrogate."""
    return not text.isprintable() and any(
        unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in text
    )
