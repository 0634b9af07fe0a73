"""Pooled connections: tested when they were idle or hung up on, not before every use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tests.processes import until
from verifier.store import engine as engines


@pytest.fixture
def pooled(product: Path, database_url: str) -> Iterator[Engine]:
    made = engines.make_engine(database_url, pool_size=1)
    yield made
    made.dispose()


@pytest.fixture
def pings(pooled: Engine, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    seen: list[object] = []
    ping = pooled.dialect.do_ping

    def counted(connection: Any) -> bool:
        seen.append(connection)
        return ping(connection)

    monkeypatch.setattr(pooled.dialect, "do_ping", counted)
    return seen


def _backend(engine: Engine) -> int:
    with engine.connect() as connection:
        found: int = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    return found


def test_a_connection_just_used_is_not_pinged(pooled: Engine, pings: list[object]) -> None:
    assert len({_backend(pooled) for _ in range(5)}) == 1
    assert not pings


def test_an_idle_connection_is_pinged(
    pooled: Engine, pings: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _backend(pooled)
    monkeypatch.setattr(engines, "_FRESH_SECONDS", 0.0)
    assert _backend(pooled) == first
    assert len(pings) == 1


def test_a_connection_the_server_ended_is_replaced(pooled: Engine) -> None:
    with pooled.connect() as connection:
        raw = connection.connection.dbapi_connection
    first = _backend(pooled)
    with engines.transaction() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": first})
    until(lambda: engines._has_news(raw), 10, "the server's goodbye")
    assert _backend(pooled) != first
