"""Import a file of users: read, check, refuse or put, a chunk a transaction, in bounded memory.

Idempotent: what was taken is unchanged the next time, so an import that was interrupted is simply
repeated. Within one file the first row of a user counts; later ones are refused with its line.

While one chunk is being put, which is mostly waiting for PostgreSQL, the next one is read and
checked.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
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
    # Closed here: the keys seen are a database that only this thread may close.
    with closing(_chunks(rows, check, rejects, imported)) as chunks:
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


def _chunks(
    rows: Iterable[FileRow | Unreadable], check: Check, rejects: Rejects, imported: Imported
) -> Generator[_Chunk, None, None]:
    """Chunks of rows, not of people, so that progress is steady."""
    source = iter(rows)
    with SeenKeys() as seen:
        while chunk := list(islice(source, CHUNK)):
            imported.rows += len(chunk)
            imported.line = chunk[-1].line
            yield _Chunk(_taken(chunk, check, rejects, seen), len(chunk))


def _taken(
    chunk: Sequence[FileRow | Unreadable], check: Check, rejects: Rejects, seen: SeenKeys
) -> list[Person]:
    """The people of a chunk who are taken; the other rows are refused, in their order."""
    judged = [_judged(row, check) for row in chunk]
    people = [person for person in judged if isinstance(person, Person)]
    first_lines = iter(seen.first_lines([(person.key, person.row) for person in people]))
    taken = []
    for row, person in zip(chunk, judged, strict=True):
        if isinstance(person, InvalidField):
            rejects.add(row.line, person)
        elif (first_line := next(first_lines)) is not None:
            rejects.add(row.line, InvalidField("reference", "duplicate"), first_line)
        else:
            taken.append(person)
    return taken


def _judged(row: FileRow | Unreadable, check: Check) -> Person | InvalidField:
    if isinstance(row, Unreadable):
        return row.fault
    try:
        return check(row.values, row.line)
    except InvalidField as fault:
        return fault.with_traceback(None)  # its frames hold the row
