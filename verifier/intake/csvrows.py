"""Records of a CSV file, with the line each begins on; a broken record costs one line, not a file.

A stray quotation mark makes everything behind it one field. So a record that does not end within
:data:`MOST_LINES` lines, or breaks the rules of quoting, is refused by its first line alone, and
the lines after that are read again.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from verifier.intake.lines import Line

MOST_LINES: Final = 32
DELIMITERS: Final = (",", "\t", ";", "|")


@dataclass(slots=True)  # one a record, and a frozen one takes twice the time to make
class Record:
    """The fields of one record and the line it begins on. ``fault`` is a code of ``row``."""

    line: int
    fields: list[str] = field(repr=False)
    fault: str | None = None


class _TooManyLines(Exception):
    """The record does not end."""


class _Feed:
    """Gives lines to the parser, remembering those of the current record."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._again: deque[Line] = deque()
        self.record: list[Line] = []

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        if len(self.record) >= MOST_LINES:
            raise _TooManyLines
        line = self._again.popleft() if self._again else next(self._lines)
        self.record.append(line)
        return line.text

    def keep_first_only(self) -> None:
        """The rest of the record's lines are read again."""
        self._again.extendleft(reversed(self.record[1:]))
        del self.record[1:]


def records(lines: Iterator[Line], delimiter: str) -> Iterator[Record]:
    """The records of ``lines``; blank ones are left out."""
    feed = _Feed(lines)
    reader = csv.reader(feed, delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        feed.record.clear()
        fields: list[str] = []
        broken = False
        try:
            fields = next(reader)
        except StopIteration:
            return
        except (csv.Error, _TooManyLines):
            broken = True
            feed.keep_first_only()
        first = feed.record[0]
        fault = first.fault
        if fault is None and len(feed.record) > 1:
            fault = next((line.fault for line in feed.record if line.fault), None)
        if fault is None and broken:
            fault = "malformed"
        if fault is not None or any(map(str.strip, fields)):
            yield Record(first.number, fields, fault)


def delimiter_of(header: str) -> str:
    """The delimiter that splits a header line into the most columns."""
    return max(DELIMITERS, key=header.count)
