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


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, headers (looked up in any case) and the decoded body, all of it."""

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
            return self.body.decode("utf-8-sig")
        except UnicodeDecodeError:
            if _GBK.search(self.headers.get("Content-Type", "")) is None:
                raise
        return self.body.decode("gb18030")

    def retry_after(self) -> float | None:
        """Seconds the server asks us to stay away, at most a day; None if it does not say."""
        text = self.headers.get("Retry-After", "").strip()
        if re.fullmatch(r"[0-9]{1,9}", text):
            return min(float(text), _LONGEST_WAIT)
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
        return min(max(seconds, 0.0), _LONGEST_WAIT)


def code_of(value: object) -> str | None:
    """A vendor's code if it looks like one. Free text (which may quote our input) is refused."""
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None


def identifier_of(value: object) -> str | None:
    """A vendor's request or message id, made safe to store: printable ASCII, 128 characters."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < 10**30 else None
    if not isinstance(value, str):
        return None
    return _NOT_AN_IDENTIFIER.sub("", value)[:128] or None
