"""A world to verify in: the sandbox over real HTTP, a real database, an engine in this process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.chaos.proxy import CommitCutter
from verifier import client, doorbell
from verifier import config as config_module
from verifier import settings as settings_module
from verifier.identity.phone import lane_of
from verifier.outcomes import Lane
from verifier.sandbox.people import Fate, SandboxPerson, generate
from verifier.sandbox.server import SandboxServer
from verifier.store import clock, demo
from verifier.store import engine as store_engine
from verifier.store.engine import transaction
from verifier.verification import runtime as runtimes
from verifier.verification.drain import drain
from verifier.verification.runtime import Runtime, runtime

CONFIG = """
[engine]
threads = 4
chunk = 8
lease_seconds = 12
drain_seconds = 3
flush_seconds = 0.05

[providers.first]
kind = "tencent"
action = "PhoneVerification"
endpoint = "{url}"
secret_id = "file:{state}/tencent_secret_id"
secret_key = "file:{state}/tencent_secret_key"
lanes = ["cmcc", "cucc", "ctcc"]
preference = 1
qps = 500
timeout = 2

[providers.second]
kind = "tencent"
action = "PhoneVerificationCMCC"
endpoint = "{url}"
secret_id = "file:{state}/tencent_secret_id"
secret_key = "file:{state}/tencent_secret_key"
lanes = ["cmcc"]
preference = 2
qps = 500
timeout = 2
"""


class World:
    """People, the sandbox that knows about them, and an engine to run."""

    def __init__(self, sandbox: SandboxServer, home: Path) -> None:
        self.sandbox = sandbox
        self.home = home

    @property
    def runtime(self) -> Runtime:
        return runtime()

    def people(
        self, count: int, *, fate: Fate = Fate.MATCHED, lane: Lane = Lane.CMCC, seed: int = 1
    ) -> list[SandboxPerson]:
        """``count`` people of one lane and fate, known to the sandbox and put as users.

        Nobody's number is ported, so that every provider of the lane knows them.
        """
        found: list[SandboxPerson] = []
        for person in _everybody(seed):
            if _is(person, fate, lane):
                found.append(person)
                if len(found) == count:
                    break
        assert len(found) == count
        self.sandbox.client.put(*(p.entry for p in found if p.entry is not None))
        result = client.put_users(map(as_row, found))
        assert result.rejected_count == 0
        return found

    def drain(self, lane: Lane = Lane.CMCC, *, stopping: Callable[[], bool] | None = None) -> Any:
        return drain(self.runtime, lane, stopping or (lambda: False))

    def drain_until(self, done: Callable[[], bool], lane: Lane = Lane.CMCC) -> None:
        """Drain again and again until ``done``, as ringing does; at most for 20 seconds."""
        end = time.monotonic() + 20
        while not done():
            assert time.monotonic() < end, "the lane was not drained in time"
            self.drain(lane)

    def later(self, **delta: float) -> None:
        """Move the business clock on."""
        with transaction() as connection:
            clock.move_to(connection, clock.now(connection) + timedelta(**delta))

    def rows(self, sql: str, **parameters: Any) -> Sequence[Any]:
        with transaction() as connection:
            return connection.execute(text(sql), parameters).all()

    def one(self, sql: str, **parameters: Any) -> Any:
        rows = self.rows(sql, **parameters)
        assert len(rows) == 1
        return rows[0]

    def execute(self, sql: str, **parameters: Any) -> None:
        with transaction() as connection:
            connection.execute(text(sql), parameters)

    def calls_about(self, person: SandboxPerson) -> int:
        return int(self.sandbox.client.calls_about(person.phone)["calls"])


def as_row(person: SandboxPerson) -> dict[str, str]:
    return {
        "reference": person.reference,
        "phone": person.phone,
        "name": person.name,
        "id_number": person.id_number,
    }


@cache
def _everybody(seed: int) -> tuple[SandboxPerson, ...]:
    return tuple(generate(3000, seed))


def _is(person: SandboxPerson, fate: Fate, lane: Lane) -> bool:
    wanted = {
        Fate.MATCHED: ("MATCHED", None),
        Fate.WRONG_NAME: ("MISMATCHED", "NAME"),
        Fate.UNKNOWN: ("NO_RECORD", None),
        Fate.REFUSED_NAME: ("INVALID_INPUT", "NAME"),
    }.get(fate)
    if lane_of(person.phone) != lane:
        return False
    if person.entry is not None and person.entry.carrier != lane:
        return False
    if lane in (Lane.CBN, Lane.MVNO):
        return True
    meaning = person.expected_detailed
    return wanted is not None and (str(meaning.outcome), meaning.detail) == wanted


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    with SandboxServer(tmp_path_factory.mktemp("sandbox")) as server:
        yield server


@pytest.fixture
def world(
    product: Path,
    sandbox: SandboxServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    """An empty world; ``world.people`` fills it."""
    path = tmp_path / "verifier.toml"
    path.write_text(CONFIG.format(url=sandbox.url, state=sandbox.state), "utf-8")
    monkeypatch.setenv("VERIFIER_CONFIG", str(path))
    forget()
    sandbox.client.reset(truth=True, faults=True, settings=True, register=True)
    with transaction() as connection:
        demo.wipe(connection)
    yield World(sandbox, product)
    forget()


def forget() -> None:
    """Nothing of an earlier test's process state."""
    config_module.config.cache_clear()
    settings_module.settings.cache_clear()
    runtimes.reset()
    doorbell.reset()
    client._keyring.cache_clear()


@contextmanager
def behind_proxy(
    monkeypatch: pytest.MonkeyPatch, upstream: Callable[[int], int] = lambda port: port
) -> Iterator[CommitCutter]:
    """The engine of this process reaches PostgreSQL through a proxy that can cut connections.

    ``upstream`` is asked for the port behind each connection, and told PostgreSQL's.
    """
    url = os.environ["VERIFIER_DATABASE_URL"]
    port = url.rpartition(":")[2].partition("/")[0]
    with CommitCutter(lambda: upstream(int(port))) as ready:
        monkeypatch.setenv("VERIFIER_DATABASE_URL", url.replace(f":{port}/", f":{ready.port}/"))
        _connect_anew()
        yield ready
        monkeypatch.setenv("VERIFIER_DATABASE_URL", url)
        _connect_anew()


def _connect_anew() -> None:
    store_engine.engine().dispose()
    store_engine.engine.cache_clear()
    forget()


def in_background(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
