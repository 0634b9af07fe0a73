"""Which users have already come in this input, and on which line: for millions, in little memory.

A temporary database on the disk, gone with the process. It holds digests under a key of this
process, so that nothing can be read out of it.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

#: Rows in one statement: SQLite takes 999 parameters everywhere, and a row has two.
_AT_ONCE: Final = 450


class SeenKeys:
    """A context manager; use from one thread."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(16)
        # The empty name: SQLite keeps what fits in its cache and puts the rest into a file that
        # has no name any more.
        self._database = sqlite3.connect("", isolation_level=None)
        for statement in (
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            "PRAGMA cache_size = -16000",
            "CREATE TABLE seen (key BLOB PRIMARY KEY, line INTEGER) WITHOUT ROWID",
            "BEGIN",
        ):
            self._database.execute(statement)

    def first_lines(self, rows: Sequence[tuple[tuple[str, str], int]]) -> list[int | None]:
        """For each (key, line), in order: the earlier line of this key, or None when it is new.

        Many at a time: each statement gives the interpreter lock away, and whoever stores the
        chunk before takes it.
        """
        digests = [self._digest(*key) for key, _ in rows]
        known = self._lines_of(digests)
        new: dict[bytes, int] = {}
        found: list[int | None] = []
        for digest, (_, line) in zip(digests, rows, strict=True):
            earlier = known.get(digest, new.get(digest))
            if earlier is None:
                new[digest] = line
            found.append(earlier)
        self._add(list(new.items()))
        return found

    def _digest(self, platform: str, reference: str) -> bytes:
        text = f"{len(platform)}:{platform}{reference}"
        return hashlib.blake2b(text.encode(), digest_size=16, key=self._secret).digest()

    def _lines_of(self, digests: Sequence[bytes]) -> dict[bytes, int]:
        found: dict[bytes, int] = {}
        for start in range(0, len(digests), _AT_ONCE):
            some = digests[start : start + _AT_ONCE]
            places = ", ".join("?" * len(some))
            found.update(
                self._database.execute(
                    f"SELECT key, line FROM seen WHERE key IN ({places})",  # noqa: S608 - marks only
                    some,
                )
            )
        return found

    def _add(self, lines: Sequence[tuple[bytes, int]]) -> None:
        for start in range(0, len(lines), _AT_ONCE):
            some = lines[start : start + _AT_ONCE]
            places = ", ".join(["(?, ?)"] * len(some))
            self._database.execute(
                f"INSERT INTO seen VALUES {places}",  # noqa: S608 - marks only
                [value for pair in some for value in pair],
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._database.close()
