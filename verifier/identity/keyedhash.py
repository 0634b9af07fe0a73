"""HMAC-SHA256 made fast for many short values, and the unambiguous encoding of what goes into it.

Used by :mod:`.keyring` only. Knows nothing of key files, key ids' meaning or domains.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from typing import Final

#: A length as four bytes.
length: Final = struct.Struct(">I").pack
_tagged: Final = struct.Struct(">BI").pack


class KeyedHash:
    """HMAC-SHA256 (RFC 2104) with both key blocks hashed beforehand: a third of the cost of
    ``hmac.digest()``, which hashes them again for every value. The key has at most 64 bytes."""

    __slots__ = ("_head", "_inner", "_outer")

    def __init__(self, key_id: int, key: bytes) -> None:
        block = key.ljust(64, b"\x00")
        self._head = key_id.to_bytes(2)
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def value(self, data: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(data)
        outer.update(inner.digest())
        return self._head + outer.digest()


def join(parts: Iterable[str | bytes | None]) -> bytes:
    """The parts with tags and lengths, so that no two lists of parts look the same."""
    joined: list[bytes] = []
    add = joined.append
    try:
        for part in parts:
            if part is None:
                add(b"\x00")
            elif isinstance(part, str):
                data = part.encode()
                add(_tagged(1, len(data)))
                add(data)
            else:
                add(_tagged(2, len(part)))
                add(part)
    except UnicodeEncodeError:
        raise _lone_surrogate() from None
    return b"".join(joined)


def encode(text: str) -> bytes:
    """UTF-8. Raises ValueError, without the text, for a lone surrogate."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise _lone_surrogate() from None


def _lone_surrogate() -> ValueError:
    # In place of the codec's error, which quotes the text.
    return ValueError("the text has a lone surrogate and cannot be stored")
