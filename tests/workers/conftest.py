"""Real worker processes on real servers: what can be killed, frozen and told to stop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.conftest import CONFIG, World, forget
from tests.processes import Processes, children_of, until
from verifier import client
from verifier.errors import WaitTimeoutError
from verifier.sandbox.server import SandboxServer
from verifier.store import demo
from verifier.store.engine import transaction

__all__ = ["Fleet", "children_of", "until"]


class Fleet(World, Processes):
    """A world whose work is done by processes. Each is ended when the test ends."""

    def __init__(self, sandbox: SandboxServer, home: Path, directory: Path) -> None:
        World.__init__(self, sandbox, home)
        Processes.__init__(self, directory)

    def finish(self, batch: int, seconds: float = 90) -> client.BatchState:
        """Wait for a batch, and return how it ended. Whatever waits to be tried again (on a loaded
        machine the sandbox may answer too late) finds its time come."""
        end = time.monotonic() + seconds
        settled = -1
        while True:
            try:
                return client.wait(batch, timeout=5)
            except WaitTimeoutError:
                state = client.get_batch(batch)
            assert time.monotonic() < end, state
            if state.settled == settled:
                self.later(hours=7)  # also past the end of a business day
            settled = state.settled


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    with SandboxServer(tmp_path_factory.mktemp("sandbox")) as server:
        yield server


@pytest.fixture
def fleet(
    product: Path, sandbox: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Fleet]:
    path = tmp_path / "verifier.toml"
    text = CONFIG.format(url=sandbox.url, state=sandbox.state)
    text = text.replace("lease_seconds = 12", "lease_seconds = 5.5\nring_seconds = 3")
    path.write_text(text.replace("timeout = 2", "timeout = 1.5"), "utf-8")
    monkeypatch.setenv("VERIFIER_CONFIG", str(path))
    monkeypatch.setenv("VERIFIER_LOG_LEVEL", "DEBUG")
    forget()
    sandbox.client.reset(truth=True, faults=True, settings=True, register=True)
    with transaction() as connection:
        demo.wipe(connection)
    logs = tmp_path / "processes"
    logs.mkdir()
    running = Fleet(sandbox, product, logs)
    yield running
    running.stop()
    forget()
