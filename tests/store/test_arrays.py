"""Array literals: what goes in comes out of the database, whatever it holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from verifier.store import arrays
from verifier.store.engine import transaction


def _through(literal: str, of: str) -> list[Any]:
    with transaction() as connection:
        found: list[Any] = connection.execute(
            text(f"SELECT CAST(:literal AS {of}[])"), {"literal": literal}
        ).scalar_one()
    return found


@pytest.mark.parametrize(
    "texts",
    [
        [],
        ["", " ", "a,b", "{x}", '"', "\\", '\\"', "\\x41", "NULL", "null", None, "None"],
        ["移动", "𠮷", "a\nb\tc", "'; DROP TABLE x; --", ":name", "%(name)s", "%", "same", "same"],
    ],
)
def test_texts(product: Path, texts: list[str | None]) -> None:
    assert _through(arrays.of_texts(texts), "text") == texts


def test_numbers(product: Path) -> None:
    numbers = [0, -1, None, 2**63 - 1, -(2**63)]
    assert _through(arrays.of_numbers(numbers), "bigint") == numbers
    assert _through(arrays.of_numbers([]), "int") == []


def test_bytes(product: Path) -> None:
    values = [b"", bytes(range(256)), b"\\x", b'"']
    assert [bytes(v) for v in _through(arrays.of_bytes(values), "bytea")] == values


def test_instants(product: Path) -> None:
    noon = datetime(2026, 2, 3, 12, 0, 0, 123456, UTC)
    values = [noon, noon.astimezone(timezone(timedelta(hours=8))), noon.replace(microsecond=0)]
    assert _through(arrays.of_instants(values), "timestamptz") == values
