"""Which users have already come in this input, and on which line: for millions, in little memory.

A temporary database on the disk, gone with the process. It holds digests under a key of this
process, so that nothing can be read out of it.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from types import TracebackType
from typing import Self


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

    def first(self, key: tuple[str, str], line: int) -> int | None:
        """The earlier line of this key; None, and ``line`` is remembered, when it is new."""
        platform, reference = key
        text = f"{len(platform)}:{platform}{reference}"
        digest = hashlib.blake2b(text.encode(), digest_size=16, key=self._secret).digest()
        added = self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (digest, line))
        if added.rowcount == 1:
            return None
        row = self._database.execute("SELECT line FROM seen WHERE key = ?", (digest,)).fetchone()
        return int(row[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._database.close()
