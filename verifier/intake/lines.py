"""Physical lines of a file: numbered, decoded and bounded, whatever the file holds.

Promises: never raises for what stands in a line, never holds more than :data:`LONGEST` characters
of one, and numbers lines as an editor does. A line that is too long or is not text in the file's
encoding comes with a fault instead of an exception, so that the rows around it can be taken.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from verifier.errors import UsageError

LONGEST: Final = 256 * 1024

# A lone surrogate, which no encoding produces: where bytes could not be decoded.
_MARK: Final = "\udcff"
_ERRORS: Final = "verifier.mark"


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return _MARK, error.end


codecs.register_error(_ERRORS, _mark)


class ByteStream(Protocol):
    """A file opened for bytes, or a pipe."""

    def read1(self, size: int, /) -> bytes: ...


@dataclass(slots=True)  # one a line, and a frozen one takes twice the time to make
class Line:
    """One line with its ending. ``fault`` is a code of the field ``row``; None when it is fine."""

    number: int
    text: str = field(repr=False)
    fault: str | None = None


class _Counted(io.RawIOBase):
    """Passes bytes on and counts them, also of a pipe that cannot tell its position."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self.bytes_read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._stream.read1(len(buffer))
        buffer[: len(data)] = data
        self.bytes_read += len(data)
        return len(data)


class Lines:
    """The lines of a binary stream. Iterate once."""

    def __init__(self, stream: ByteStream, encoding: str) -> None:
        self._counted = _Counted(stream)
        self._bytes = io.BufferedReader(self._counted, 64 * 1024)
        self._encoding = _with_byte_order_mark(encoding)

    @property
    def bytes_read(self) -> int:
        return self._counted.bytes_read

    def head(self) -> bytes:
        """The first bytes, left in place; empty for an empty file."""
        return self._bytes.peek(16)

    def __iter__(self) -> Iterator[Line]:
        text = io.TextIOWrapper(self._bytes, self._encoding, errors=_ERRORS, newline="")
        number = 0
        while piece := self._read(text):
            number += 1
            if _ended(piece) or len(piece) < LONGEST:
                yield Line(number, piece, "encoding" if _MARK in piece else None)
                continue
            while (rest := self._read(text)) and not _ended(rest):
                pass
            yield Line(number, "\n", "too_long")

    def _read(self, text: io.TextIOWrapper) -> str:
        try:
            return text.readline(LONGEST)
        except UnicodeError:  # no byte order mark where the encoding wants one
            raise UsageError(
                f"The file is not {self._encoding} text.",
                fix="Name its encoding, such as --encoding utf-16-le.",
            ) from None


def _ended(piece: str) -> bool:
    # A carriage return in the last place may have its line feed behind it.
    return piece.endswith("\n") or (piece.endswith("\r") and len(piece) < LONGEST)


def _with_byte_order_mark(encoding: str) -> str:
    """The codec to use: UTF-8 also with its mark, which spreadsheets write."""
    try:
        name = codecs.lookup(encoding).name
        "".encode(name)
        io.TextIOWrapper(io.BytesIO(), name)
    except (LookupError, UnicodeError, TypeError):
        raise UsageError(
            f"There is no text encoding {encoding[:40]!r}.",
            fix="Usual ones are utf-8, gb18030 and utf-16.",
        ) from None
    return "utf-8-sig" if name == "utf-8" else name
