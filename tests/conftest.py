"""Real servers for every test that asks for one, and a process configured like a product's.

One PostgreSQL and one Valkey serve a whole run, shared by the workers of pytest-xdist and started
by the first test that needs them (:mod:`tests.servers`). A test module gets a database of its own,
cloned from a migrated template; a worker process gets a logical Valkey database of its own.

* ``servers``: the addresses of the two.
* ``database_url``: a fresh, migrated database (per test module).
* ``broker_url``: an empty Valkey database (per test).
* ``home``: a temporary ``VERIFIER_HOME`` and no other ``VERIFIER_*`` setting (per test).
* ``keyring``: a key ring in ``home``.
* ``product``: all of the above, as this process's settings, with fresh caches (per test).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
import redis

from tests.servers import TestServers, cloned_database, shared_servers
from verifier import config as config_module
from verifier import settings as settings_module

if TYPE_CHECKING:
    from verifier.identity.keyring import KeyRing


def pytest_configure() -> None:
    """A shell that runs the tests in the background lets them ignore Ctrl-C, and so would every
    process that they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Iterator[TestServers]:
    """The addresses of this run's PostgreSQL and Valkey."""
    with shared_servers(_run_id(request.config)) as running:
        yield running


def _run_id(config: pytest.Config) -> str:
    """The same for every worker of one run, and no other run's."""
    worker_input: dict[str, str] | None = getattr(config, "workerinput", None)
    return worker_input["testrunuid"] if worker_input else f"process-{os.getpid()}"


@pytest.fixture(scope="module")
def database_url(servers: TestServers) -> Iterator[str]:
    """A migrated database of this module's own, dropped at its end."""
    with cloned_database(servers) as url:
        yield url


@pytest.fixture
def broker_url(servers: TestServers, request: pytest.FixtureRequest) -> str:
    """An empty Valkey database that no other worker process uses."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw-1").removeprefix("gw")
    url = f"{servers.broker_url.rpartition('/')[0]}/{int(worker) + 2}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary ``VERIFIER_HOME``; no other setting of the developer's shell reaches the test."""
    for name in list(os.environ):
        if name.startswith("VERIFIER_"):
            monkeypatch.delenv(name)
    path = tmp_path / "home"
    path.mkdir(mode=0o700)
    monkeypatch.setenv("VERIFIER_HOME", str(path))
    _forget_caches()
    yield path
    monkeypatch.undo()
    _forget_caches()


@pytest.fixture
def keyring(home: Path) -> KeyRing:
    """A key ring of this test's own, where the settings expect it."""
    from verifier.identity.keyring import KeyRing

    KeyRing.create(home / "keyring.json")
    return KeyRing.load(home / "keyring.json")


@pytest.fixture
def product(
    home: Path,
    database_url: str,
    broker_url: str,
    keyring: KeyRing,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Path]:
    """This process configured for the test's own database, broker and key ring. Yields the home."""
    from verifier.store.engine import engine

    monkeypatch.setenv("VERIFIER_DATABASE_URL", database_url)
    monkeypatch.setenv("VERIFIER_BROKER_URL", broker_url)
    monkeypatch.setenv("VERIFIER_KEYRING", str(home / "keyring.json"))
    _forget_caches()
    engine.cache_clear()
    yield home
    engine().dispose()
    engine.cache_clear()


def _forget_caches() -> None:
    settings_module.settings.cache_clear()
    config_module.config.cache_clear()


# No deadlines: the box is shared, and slowness is not what properties look for.
hypothesis.settings.register_profile("thorough", deadline=None)
hypothesis.settings.register_profile("fast", deadline=None, max_examples=20)
hypothesis.settings.register_profile("long", deadline=None, max_examples=2000)
hypothesis.settings.load_profile("thorough")

#: Folders whose tests start servers, sandboxes or processes of their own.
_WITH_SERVERS = frozenset({"cli", "contract", "local", "sandbox"})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs servers: ``make test-fast`` leaves it out."""
    for item in items:
        needs_database = "servers" in getattr(item, "fixturenames", ())
        if needs_database or item.path.parent.name in _WITH_SERVERS:
            item.add_marker(pytest.mark.servers)
