"""``verifier user import`` at work, for that command and for ``verify submit --from``.

Only lines, fields and reasons of refused rows are shown or written, never their values.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

from verifier.cli import talk
from verifier.cli.progress import Progress
from verifier.config import config
from verifier.errors import UsageError
from verifier.identity.keyring import KeyRing
from verifier.identity.mask import redact
from verifier.intake import REQUIRED, Intake, Person, check
from verifier.intake.files import Format, RowFile, unknown_columns
from verifier.intake.importing import Imported, import_rows
from verifier.intake.lines import ByteStream
from verifier.intake.rejects import Rejects
from verifier.settings import settings

STDIN: Final = "-"


@dataclass(frozen=True, slots=True)
class FileOptions:
    """How a file is to be read, and where its refused rows are listed."""

    file: str
    format: str | None = None
    encoding: str = "utf-8"
    delimiter: str | None = None
    rejects: Path | None = None

    @property
    def rejects_path(self) -> Path | None:
        """Next to the file; nowhere for standard input unless a place is named."""
        if self.rejects is not None or self.file == STDIN:
            return self.rejects
        return Path(f"{self.file}.rejects.csv")


@contextmanager
def opened(options: FileOptions, *, may_be_list: bool = False) -> Iterator[tuple[RowFile, int]]:
    """The file and its size in bytes (0 when nobody knows)."""
    with _stream(options.file) as (stream, size):
        yield (
            RowFile(
                stream,
                name=options.file,
                format=Format(options.format) if options.format else None,
                encoding=options.encoding,
                delimiter=options.delimiter,
                may_be_list=may_be_list,
            ),
            size,
        )


@contextmanager
def _stream(name: str) -> Iterator[tuple[ByteStream, int]]:
    if name == STDIN:
        yield cast("ByteStream", sys.stdin.buffer), 0
        return
    try:
        with Path(name).open("rb") as file:
            yield file, os.fstat(file.fileno()).st_size
    except (PermissionError, IsADirectoryError, FileNotFoundError) as error:
        raise UsageError(
            f"The file {name} cannot be read ({error.strerror}).",
            fix="Name a file that this account may read, or - for standard input.",
        ) from None


def run_import(
    rows: RowFile,
    size: int,
    options: FileOptions,
    *,
    dry_run: bool = False,
    on_taken: Callable[[list[Person]], None] = lambda _people: None,
) -> tuple[Imported, Rejects]:
    """Import an opened file; says on standard error what it skips and how far it is."""
    rows.require(REQUIRED)
    _warn_of_unknown(rows)
    imported = Imported()
    if dry_run:
        intake, today = None, datetime.now(config().zone).date()
        checker = lambda values, line: check(values, line, today)  # noqa: E731
    else:
        intake = Intake(KeyRing.load(settings().keyring_path))
        checker = intake.check
    with (
        Rejects(options.rejects_path) as rejects,
        Progress("checking" if dry_run else "importing", size or None) as progress,
    ):

        def on_chunk(people: list[Person]) -> None:
            on_taken(people)
            detail = f"{imported.rows:,} rows, {rejects.number:,} rejected"
            progress.update(rows.bytes_read, detail)

        try:
            import_rows(rows, checker, intake, rejects, imported, on_chunk)
        except BaseException:
            if imported.result.taken:
                talk.say(
                    f"stopped; the first {imported.stored:,} rows are done. "
                    "Repeat the command to go on: nothing is taken twice."
                )
            raise
    return imported, rejects


def _warn_of_unknown(rows: RowFile) -> None:
    unknown = unknown_columns(rows.columns)
    if unknown:
        named = ", ".join(talk.printable(redact(name[:40])) for name in unknown[:5])
        rest = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        talk.warn(f"columns that are not known are ignored: {named}{rest}")


def tell_rejects(rejects: Rejects) -> None:
    """Where the refused rows are listed, and the first of them."""
    if not rejects.number:
        return
    for reject in rejects.first[:5]:
        talk.say(f"line {reject.line}: {reject.field} {reject.reason}")
    more = rejects.number - 5
    if more > 0:
        talk.say(f"… and {more:,} more")
    if rejects.path is not None:
        talk.say(f"rejected rows are listed in {rejects.path}")


def summary(imported: Imported, rejects: Rejects, *, dry_run: bool) -> dict[str, Any]:
    """The counts as one object: the shape of ``user import --json``."""
    result = imported.result
    return {
        "rows": imported.rows,
        "inserted": result.inserted,
        "changed": result.changed,
        "contact_changed": result.contact_changed,
        "unchanged": result.unchanged,
        "rejected": rejects.number,
        "rejects_file": str(rejects.path) if rejects.path and rejects.number else None,
        "rejects": [
            {"line": r.line, "field": r.field, "code": r.code, "reason": r.reason}
            for r in rejects.first
        ],
        "dry_run": dry_run,
    }
