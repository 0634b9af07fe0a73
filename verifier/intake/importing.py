"""Import a file of users: read, check, refuse or put, a chunk a transaction, in bounded memory.

Idempotent: what was taken is unchanged the next time, so an import that was interrupted is simply
repeated. Within one file the first row of a user counts; later ones are refused with its line.

While one chunk is being put, which is mostly waiting for PostgreSQL, the next one is read and
checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from verifier.identity.errors import InvalidField
from verifier.intake import CHUNK, Intake, Person, PutResult
from verifier.intake.files import FileRow, Unreadable
from verifier.intake.rejects import Rejects
from verifier.intake.seen import SeenKeys

#: How a row is checked: (values, line) → person, raising InvalidField.
Check = Callable[[Mapping[str, Any], int], Person]


@dataclass(slots=True)
class Imported:
    """What an import did so far. ``rows`` counts every row, ``stored`` those whose chunk is
    committed; ``line`` is the last one read."""

    rows: int = 0
    stored: int = 0
    line: int = 0
    result: PutResult = field(default_factory=PutResult)


def import_rows(
    rows: Iterable[FileRow | Unreadable],
    check: Check,
    intake: Intake | None,
    rejects: Rejects,
    imported: Imported,
    on_chunk: Callable[[list[Person]], None],
) -> None:
    """Put ``rows``, counting in ``imported``; without ``intake`` they are only checked.

    ``on_chunk`` is called after each chunk is stored, with its people: keep only their keys.
    """
    chunks = _chunks(_checked(rows, check, rejects, imported))
    if intake is None:
        for chunk in chunks:
            on_chunk(chunk.people)
    else:
        _put(chunks, intake, imported, on_chunk)
    imported.result.rejected_count = rejects.number


@dataclass(frozen=True, slots=True)
class _Chunk:
    """The people of so many ``rows``, the refused ones left out."""

    people: list[Person]
    rows: int


def _put(
    chunks: Iterable[_Chunk],
    intake: Intake,
    imported: Imported,
    on_chunk: Callable[[list[Person]], None],
) -> None:
    """Put one chunk after the other, each in its order, one ahead of the reading."""
    waiting: tuple[_Chunk, Future[None]] | None = None

    def finish() -> None:
        if waiting is not None:
            chunk, put = waiting
            put.result()
            imported.stored += chunk.rows
            on_chunk(chunk.people)

    with ThreadPoolExecutor(1, "intake") as thread:
        for chunk in chunks:
            finish()
            waiting = chunk, thread.submit(intake.put, chunk.people, imported.result)
        finish()


def _checked(
    rows: Iterable[FileRow | Unreadable], check: Check, rejects: Rejects, imported: Imported
) -> Iterator[Person | None]:
    """The person of each row, None for a refused one: chunks are of rows, so progress is steady."""
    with SeenKeys() as seen:
        for row in rows:
            imported.rows += 1
            imported.line = row.line
            if isinstance(row, Unreadable):
                rejects.add(row.line, row.fault)
                yield None
                continue
            try:
                person = check(row.values, row.line)
            except InvalidField as fault:
                rejects.add(row.line, fault)
                yield None
                continue
            first_line = seen.first(person.key, row.line)
            if first_line is None:
                yield person
            else:
                rejects.add(row.line, InvalidField("reference", "duplicate"), first_line)
                yield None


def _chunks(people: Iterable[Person | None]) -> Iterator[_Chunk]:
    chunk: list[Person] = []
    rows = 0
    for person in people:
        rows += 1
        if person is not None:
            chunk.append(person)
        if rows == CHUNK:
            yield _Chunk(chunk, rows)
            chunk, rows = [], 0
    if rows:
        yield _Chunk(chunk, rows)
