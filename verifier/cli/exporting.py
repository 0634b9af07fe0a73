"""The results of a batch as a file: no personal data, nothing a spreadsheet would execute.

A file appears whole or not at all; standard output gets the rows as they come.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import secrets
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TextIO

from sqlalchemy import Row

from verifier.cli import talk
from verifier.errors import UsageError
from verifier.store import batches
from verifier.store.engine import transaction
from verifier.verification.batches import existing

COLUMNS: Final = (
    "platform", "reference", "outcome", "detail", "provider", "attempts", "settled_at", "state",
    "reason", "until",
)  # fmt: skip
#: How a cell begins that a spreadsheet takes for a formula (OWASP, "CSV Injection"). Full-width
#: signs are taken for one where people type them.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def export(batch: int, file: str, format_: str) -> int:
    """Write the batch's results to ``file`` (``-``: standard output). Returns how many rows."""
    existing(batch)
    with transaction(patient=True) as connection, _target(file) as target:
        rows = map(_result, batches.results(connection, batch))
        return _write_csv(target, rows) if format_ == "csv" else _write_jsonl(target, rows)


def _result(row: Row[Any]) -> dict[str, Any]:
    waits = row.outcome is None
    return {
        "platform": row.platform,
        "reference": row.reference,
        "outcome": row.outcome,
        "detail": row.detail,
        "provider": row.provider,
        "attempts": row.attempts,
        "settled_at": talk.at(row.settled_at, separator="T"),
        "state": (row.open_state or "waiting") if waits else "settled",
        "reason": row.cause if waits else None,
        "until": talk.at(row.until, separator="T") if waits else None,
    }


def _write_csv(target: TextIO, rows: Iterable[dict[str, Any]]) -> int:
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(COLUMNS)
    number = 0
    for row in rows:
        number += 1
        writer.writerow([harmless(row[name]) for name in COLUMNS])
    return number


def _write_jsonl(target: TextIO, rows: Iterable[dict[str, Any]]) -> int:
    number = 0
    for row in rows:
        number += 1
        target.write(json.dumps(row, ensure_ascii=False) + "\n")
    return number


def harmless(value: Any) -> Any:
    """A cell that no spreadsheet executes: an apostrophe before what looks like a formula."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


@contextlib.contextmanager
def _target(file: str) -> Iterator[TextIO]:
    if file == "-":
        yield sys.stdout
        return
    path = Path(file)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise UsageError(
            f"The file {file} cannot be written ({error.strerror}).",
            fix="Name a file in a directory of your own, or - for standard output.",
        ) from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as target:
            yield target
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
