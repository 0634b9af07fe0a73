"""Both embedded servers together, and how other processes find them.

While a stack runs, ``$VERIFIER_HOME/run/endpoints.json`` (0600) holds its addresses, passwords
included; it is removed at the stop, and one left by a killed stack is recognised by its process id.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Self

from verifier.errors import AlreadyRunningError
from verifier.local.postgres import EmbeddedPostgres
from verifier.local.state import make_directory, write_private
from verifier.local.valkey import EmbeddedValkey
from verifier.settings import Endpoints, normalise_database_url, running_endpoints, settings


class EmbeddedServers:
    """PostgreSQL and Valkey of one home: a context manager, or :meth:`start` and :meth:`stop`.

    ``publish=False`` keeps the addresses to this process. ``durable=False`` is for tests.
    """

    def __init__(self, home: Path, *, durable: bool = True, publish: bool = True) -> None:
        self.home = home.absolute()
        self.postgres = EmbeddedPostgres(self.home, durable=durable)
        self.valkey = EmbeddedValkey(self.home, durable=durable)
        self._publish = publish

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints(self.postgres.url, self.valkey.url, pid=os.getpid())

    def start(self) -> Self:
        """Start both, PostgreSQL first. Raises AlreadyRunningError when the home is in use."""
        # A foreign directory's mode is not ours to change, but one we make must be passable.
        make_directory(self.home, self.postgres.account)
        with contextlib.ExitStack() as undo:
            undo.enter_context(self.postgres)
            undo.enter_context(self.valkey)
            if self._publish:
                publish_endpoints(self.home, self.endpoints)
            undo.pop_all()
        return self

    def stop(self) -> None:
        """Stop Valkey, then PostgreSQL, last of all."""
        if self._publish:
            withdraw_endpoints(self.home)
        try:
            self.valkey.stop()
        finally:
            self.postgres.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def publish_endpoints(home: Path, endpoints: Endpoints) -> None:
    """Let other processes of this account find the servers."""
    path = home / "run" / "endpoints.json"
    make_directory(path.parent)
    write_private(path, json.dumps(asdict(endpoints)) + "\n")


def publish_sandbox(home: Path, endpoints: Endpoints, sandbox_url: str | None) -> Endpoints:
    """Add the sandbox's address to what is published."""
    complete = replace(endpoints, sandbox_url=sandbox_url)
    publish_endpoints(home, complete)
    return complete


def withdraw_endpoints(home: Path) -> None:
    """Take our own publication back; another process's is left alone."""
    path = home / "run" / "endpoints.json"
    found = running_endpoints(home)
    if found is not None and found.pid == os.getpid():
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def servers_for_command(home: Path, *, wait_seconds: float = 30.0) -> Iterator[None]:
    """For the length of one command, make ``verifier.settings`` find a database and a broker.

    In this order: the configured URLs; the stack that runs; else the embedded servers, started here
    (their database migrated if it is new) and stopped at the end. Two commands at once take turns,
    for at most ``wait_seconds``; then AlreadyRunningError.
    """
    current = settings()
    if current.database_url and current.broker_url:
        yield
        return
    deadline = time.monotonic() + wait_seconds
    servers = EmbeddedServers(home, publish=False)
    while running_endpoints(home) is None:
        try:
            servers.start()
        except AlreadyRunningError:
            # Another command's servers, or a stack that is about to publish its addresses.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
            continue
        try:
            if servers.postgres.created:
                _migrate(servers.endpoints)
            with configured_urls(servers.endpoints):
                yield
        finally:
            servers.stop()
        return
    yield


def _migrate(endpoints: Endpoints) -> None:
    from verifier.store.schema import upgrade  # slow to load, and needed once in a home's life

    upgrade(normalise_database_url(endpoints.database_url))


@contextlib.contextmanager
def configured_urls(endpoints: Endpoints) -> Iterator[None]:
    """Point this process's settings at ``endpoints`` where the environment names no server."""
    names = {
        "VERIFIER_DATABASE_URL": endpoints.database_url,
        "VERIFIER_BROKER_URL": endpoints.broker_url,
    }
    added = {name: value for name, value in names.items() if not os.environ.get(name)}
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    settings.cache_clear()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
        settings.cache_clear()
