"""Reading bytes as a file of rows, in a line."""

from __future__ import annotations

import io

from verifier.intake.files import FileRow, Format, RowFile, Unreadable

HEADER = "reference,phone,name,id_number\n"


def opened(
    content: bytes | str,
    name: str = "users.csv",
    *,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    format: Format | None = None,
    may_be_list: bool = False,
) -> RowFile:
    data = content.encode(encoding) if isinstance(content, str) else content
    return RowFile(
        io.BytesIO(data),
        name=name,
        format=format,
        encoding=encoding,
        delimiter=delimiter,
        may_be_list=may_be_list,
    )


def references(file: RowFile) -> list[tuple[int, str]]:
    """(line, reference) of the rows that could be read."""
    return [(row.line, row.values["reference"]) for row in file if isinstance(row, FileRow)]


def faults(file: RowFile) -> list[tuple[int, str]]:
    """(line, code) of the rows that could not."""
    return [(row.line, row.fault.code) for row in file if isinstance(row, Unreadable)]


def both(file: RowFile) -> list[tuple[int, str]]:
    """(line, reference or code) of every row, in the file's order."""
    return [
        (row.line, row.values["reference"] if isinstance(row, FileRow) else row.fault.code)
        for row in file
    ]
