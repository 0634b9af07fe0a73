"""The list of rows that were not taken: line, field, code, reason. Never a value of the row.

The file is made with the first rejection, mode 0600. A list of an earlier run is replaced, or
removed when this run rejects nothing; a file that is not such a list is left alone.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TextIO

from verifier.errors import UsageError
from verifier.identity.errors import InvalidField

COLUMNS: Final = ("line", "field", "code", "reason")
_HEADER: Final = ",".join(COLUMNS)
KEPT: Final = 20


@dataclass(frozen=True, slots=True)
class Reject:
    """One row that was not taken."""

    line: int
    field: str
    code: str
    reason: str


class Rejects:
    """A context manager. ``first`` holds the first :data:`KEPT`; ``path`` None writes no file."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.number = 0
        self.first: list[Reject] = []
        self._file: TextIO | None = None
        self._writer: Any = None

    def add(self, line: int, fault: InvalidField, first_line: int | None = None) -> None:
        """Note a rejection. ``first_line``: where a duplicate came first."""
        reason = fault.reason + (f" (line {first_line})" if first_line is not None else "")
        reject = Reject(line, fault.field, fault.code, reason)
        self.number += 1
        if len(self.first) < KEPT:
            self.first.append(reject)
        if self.path is not None:
            if self._writer is None:
                self._open(self.path)
            self._writer.writerow((reject.line, reject.field, reject.code, reject.reason))

    def _open(self, path: Path) -> None:
        _refuse_foreign(path)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise _unwritable(path, error) from None
        os.fchmod(descriptor, 0o600)
        self._file = os.fdopen(descriptor, "w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(COLUMNS)

    def __enter__(self) -> Self:
        if self.path is not None:
            _refuse_foreign(self.path)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
        elif self.path is not None and error is None:
            self.path.unlink(missing_ok=True)  # one of ours, of an earlier run


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"The list of rejected rows {path} cannot be written ({error.strerror}).",
        fix="Name another place with --rejects PATH.",
    )


def _refuse_foreign(path: Path) -> None:
    try:
        with path.open("r", encoding="utf-8", errors="replace") as file:
            ours = file.readline(100).strip() == _HEADER
    except FileNotFoundError:
        return
    except IsADirectoryError:
        ours = False
    except OSError as error:
        raise _unwritable(path, error) from None
    if not ours:
        raise UsageError(
            f"{path} exists and is not a list of rejected rows.",
            fix="Name another place with --rejects PATH.",
        )
