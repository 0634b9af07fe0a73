"""Files of users or references, as rows with their line numbers: CSV, JSON Lines, plain lists.

Promises: bounded memory; every line of the file is in a row, in an :class:`Unreadable`, or blank;
line numbers are physical lines, also after quoted newlines; whatever the file holds, the only
exception is UsageError, for a file that cannot be meant (empty, a workbook, no header).
Does not judge values: that is :mod:`verifier.intake`.
"""

from __future__ import annotations

import codecs
import difflib
import enum
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from verifier.errors import UsageError
from verifier.identity.errors import InvalidField
from verifier.intake import OPTIONAL, REQUIRED
from verifier.intake.csvrows import Record, delimiter_of, records
from verifier.intake.lines import ByteStream, Line, Lines


class Format(enum.StrEnum):
    CSV = "csv"
    JSONL = "jsonl"
    LIST = "list"


@dataclass(slots=True)  # one a row, and a frozen one takes twice the time to make
class FileRow:
    """One row. ``line`` is where it begins; values may be personal data."""

    line: int
    values: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that could not be read, and why. Nothing of its content."""

    line: int
    fault: InvalidField


_FORMAT_OF_SUFFIX: Final = {
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
}
_WIDE: Final = ("utf-16", "utf-32")
_NOT_TEXT: Final = {
    b"PK\x03\x04": ("an Excel workbook or a ZIP archive", "Save the sheet as CSV (UTF-8)."),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", "Save the sheet as CSV (UTF-8)."),
    b"\x1f\x8b": ("compressed", "Pipe it in: zcat FILE | verifier user import -"),
    b"\xff\xfe": ("UTF-16", "Say so: --encoding utf-16"),
    b"\xfe\xff": ("UTF-16", "Say so: --encoding utf-16"),
}


class RowFile:
    """An opened file. ``columns`` are those of the header, or of the first JSON object."""

    def __init__(
        self,
        stream: ByteStream,
        *,
        name: str,
        format: Format | None = None,
        encoding: str = "utf-8",
        delimiter: str | None = None,
        may_be_list: bool = False,
    ) -> None:
        self._lines = Lines(stream, encoding)
        self._encoding = encoding
        head = self._lines.head()
        if not head:
            raise UsageError("The file is empty.", fix="Give a CSV file with a header, or JSONL.")
        self._refuse_binary(head)
        self.format = format or _format_of(name, head)
        self._numbered = iter(self._lines)
        self.columns: tuple[str, ...] = ()
        self._rows: Iterator[FileRow | Unreadable]
        if self.format is Format.JSONL:
            self._open_jsonl()
        elif self.format is Format.LIST:
            self._rows = map(_listed, self._numbered)
        else:
            self._open_csv(delimiter, may_be_list)

    @property
    def bytes_read(self) -> int:
        return self._lines.bytes_read

    def __iter__(self) -> Iterator[FileRow | Unreadable]:
        return (row for row in self._rows if not _is_blank(row))

    def require(self, required: Sequence[str]) -> None:
        """Raise UsageError unless every one of ``required`` is a column.

        Rows of JSONL may leave columns out: each is judged by itself.
        """
        missing = [name for name in required if name not in self.columns]
        if self.format is Format.JSONL or not missing:
            return
        if len(missing) == len(required) or self.format is Format.LIST:
            # Perhaps there is no header and this line is about a person: nothing of it is shown.
            raise UsageError(
                f"The first line is no header: none of the columns {', '.join(required)} is in it.",
                fix=f"Begin the file with a line such as: {','.join(required)}",
            )
        near = {name: _like(name, self.columns) for name in missing}
        hints = [
            f"{' or '.join(map(repr, found))} for {name}" for name, found in near.items() if found
        ]
        raise UsageError(
            f"The header has no column {', '.join(missing)}."
            + (f" Did you mean {'; '.join(hints)}?" if hints else ""),
            fix=f"Columns needed: {', '.join(required)}.",
        )

    def _refuse_binary(self, head: bytes) -> None:
        for magic, (kind, fix) in _NOT_TEXT.items():
            if head.startswith(magic) and not (
                kind == "UTF-16" and codecs.lookup(self._encoding).name.startswith(_WIDE)
            ):
                raise UsageError(f"The file is {kind}.", fix=fix)

    def _open_jsonl(self) -> None:
        first = next(self._numbered, None)
        if first is not None and first.text.lstrip().startswith("["):
            raise UsageError(
                "The file is a JSON array.", fix="Write one object a line: jq -c '.[]' FILE"
            )
        parsed = [_object(first)] if first is not None else []
        self.columns = tuple(
            key for row in parsed if isinstance(row, FileRow) for key in row.values
        )
        self._rows = itertools.chain(parsed, map(_object, self._numbered))

    def _open_csv(self, delimiter: str | None, may_be_list: bool) -> None:
        first = next((line for line in self._numbered if line.text.strip() or line.fault), None)
        if first is None:
            raise UsageError("The file has only blank lines.")
        self._refuse_header(first.fault)
        lines = itertools.chain([first], self._numbered)
        chosen = delimiter or delimiter_of(first.text)
        if may_be_list and "reference" not in map(_column, first.text.split(chosen)):
            self.format = Format.LIST
            self._rows = map(_listed, lines)
            return
        read = records(lines, chosen)
        header = next(read, None)
        self._refuse_header("malformed" if header is None else header.fault)
        assert header is not None  # noqa: S101 - for the type checker: refused above
        self.columns = tuple(map(_column, header.fields))
        twice = sorted(name for name in _KNOWN if self.columns.count(name) > 1)
        if twice:
            raise UsageError(f"The header has a column twice: {', '.join(twice)}.")
        self._rows = map(_RowOf(self.columns), read)

    def _refuse_header(self, fault: str | None) -> None:
        if fault == "encoding":
            raise UsageError(
                f"The header is not {self._encoding} text.",
                fix="Name the encoding of the file, such as --encoding gb18030.",
            )
        if fault is not None:
            raise UsageError("The header cannot be read as a line of CSV.")


def _format_of(name: str, head: bytes) -> Format:
    for suffix, format_ in _FORMAT_OF_SUFFIX.items():
        if name.lower().endswith(suffix):
            return format_
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return Format.JSONL if start.startswith((b"{", b"[")) else Format.CSV


def _column(text: str) -> str:
    """``ID Number`` and ``id_number`` are the same column."""
    return text.strip().strip('"').lower().replace(" ", "_").replace("-", "_")


def _like(name: str, columns: Sequence[str]) -> list[str]:
    """Columns that may have been meant: mistyped, or with more words."""
    near = difflib.get_close_matches(name, columns, n=2)
    return near or [column for column in columns if name in column][:2]


class _RowOf:
    """Makes a row of a record; keeps the places of the columns that are read."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._width = len(columns)
        self._places = [(place, name) for place, name in enumerate(columns) if name in _KNOWN]

    def __call__(self, record: Record) -> FileRow | Unreadable:
        fields = record.fields
        if record.fault is not None:
            return Unreadable(record.line, InvalidField("row", record.fault))
        if len(fields) > self._width and any(map(str.strip, fields[self._width :])):
            return Unreadable(record.line, InvalidField("row", "too_wide"))
        have = len(fields)
        return FileRow(
            record.line, {name: fields[place] for place, name in self._places if place < have}
        )


#: Every column that is read; others are skipped.
_KNOWN: Final = frozenset((*REQUIRED, *OPTIONAL))


def unknown_columns(columns: Sequence[str]) -> list[str]:
    """The columns that are not read."""
    return [name for name in columns if name and name not in _KNOWN]


def _object(line: Line) -> FileRow | Unreadable:
    if line.fault is not None:
        return Unreadable(line.number, InvalidField("row", line.fault))
    text = line.text.strip()
    if not text:
        return FileRow(line.number, {})
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return Unreadable(line.number, InvalidField("row", "malformed"))
    if not isinstance(value, dict):
        return Unreadable(line.number, InvalidField("row", "not_object"))
    return FileRow(line.number, value)


def _listed(line: Line) -> FileRow | Unreadable:
    if line.fault is not None:
        return Unreadable(line.number, InvalidField("row", line.fault))
    text = line.text.strip()
    return FileRow(line.number, {"reference": text} if text else {})


def _is_blank(row: FileRow | Unreadable) -> bool:
    return isinstance(row, FileRow) and not row.values
