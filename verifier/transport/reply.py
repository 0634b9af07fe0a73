"""A complete answer, and the wary reading of one: everything in it was chosen by a stranger."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_GBK = re.compile(r"charset\s*=\s*\"?gb(k|2312|18030)\b", re.IGNORECASE)
_NOT_AN_IDENTIFIER = re.compile(r"[^\x21-\x7e]")
_LONGEST_WAIT = 86_400.0

# UUIDs, and hexadecimal too long for a person's number: whatever digits stand in them are chance.
_OPAQUE = re.compile(
    r"""(?<![0-9a-z])(?:
          [0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}
        | (?=[0-9]{0,64}[a-f])[0-9a-f]{24,128}
    )(?![0-9a-z])""",
    re.IGNORECASE | re.VERBOSE,
)
# A mainland mobile number, or an identity number with a birth date in its place; also in groups.
_PERSONAL = re.compile(
    r"""(?<![0-9])(?:
          (?:(?:00)?86[^0-9a-z]{0,2}|0)?1[3-9][0-9][^0-9a-z]{0,2}[0-9]{4}[^0-9a-z]{0,2}[0-9]{4}
        | [1-9][0-9]{5}[^0-9a-z]{0,2}
          (?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[^0-9a-z]{0,2}[0-9]{3}[0-9x]
    )(?![0-9])""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, headers (names in lower case) and the decoded body, all of it."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def json_object(self) -> dict[str, Any] | None:
        """The body as a JSON object, or None when it is anything else.

        The media type is not consulted: vendors send JSON as ``text/plain`` and with parameters
        (a Tencent SDK misses errors for that reason). JSON is UTF-8; a body that is not may be in
        GBK if it says so, because the answer may have been paid for.
        """
        try:
            value = json.loads(self._text())
        except (ValueError, RecursionError):  # RecursionError: "[[[[…", which fits any size limit
            return None
        return value if isinstance(value, dict) else None

    def _text(self) -> str:
        try:
            return self.body.decode().removeprefix("\ufeff")
        except UnicodeDecodeError:
            if _GBK.search(self.headers.get("content-type", "")) is None:
                raise
        return self.body.decode("gb18030")

    def retry_after(self) -> float | None:
        """Seconds the server asks us to stay away, at most a day; None if it does not say."""
        text = self.headers.get("retry-after", "").strip()
        if re.fullmatch(r"[0-9]{1,9}", text):
            return min(float(text), _LONGEST_WAIT)
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
        return min(max(seconds, 0.0), _LONGEST_WAIT)


def code_of(value: object) -> str | None:
    """A vendor's code if it looks like one. Free text (which may quote our input) is refused, and
    so is what looks like a phone or an identity number."""
    if not isinstance(value, str) or _CODE.fullmatch(value) is None or _is_personal(value):
        return None
    return value


def identifier_of(value: object) -> str | None:
    """A vendor's request or message id, made safe to store: printable ASCII, 128 characters.

    None for what looks like a phone or an identity number: it may be our own question, sent back.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < 10**30 else None
    if not isinstance(value, str):
        return None
    kept = _NOT_AN_IDENTIFIER.sub("", value)[:128]
    return None if not kept or _is_personal(kept) else kept


def _is_personal(text: str) -> bool:
    return _PERSONAL.search(_OPAQUE.sub("u", text)) is not None
