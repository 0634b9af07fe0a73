"""Real worker processes on real servers: what can be killed, frozen and told to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engine.conftest import CONFIG, World, forget
from verifier.sandbox.server import SandboxServer
from verifier.store import demo
from verifier.store.engine import transaction

LANE_QUEUES = "verify.cmcc,verify.cucc,verify.ctcc,verify.cbn,verify.mvno"


class Fleet(World):
    """A world whose work is done by processes. Each is ended when the test ends."""

    def __init__(self, sandbox: SandboxServer, home: Path, directory: Path) -> None:
        super().__init__(sandbox, home)
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []

    def celery(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start ``celery -A workers.app …`` in a group of its own and wait until it is ready."""
        ready = self._directory / f"{name}-{len(self._processes)}.ready"
        log = (self._directory / f"{name}.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "--quiet", "-A", "workers.app", *arguments],
            env={**os.environ, "VERIFIER_READY_FILE": str(ready)},
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        log.close()
        self._processes.append(process)
        until(lambda: ready.exists() or process.poll() is not None, 30, f"{name} to be ready")
        assert process.poll() is None, self.log(name)
        return process

    def worker(
        self, name: str = "worker", queues: str = LANE_QUEUES, processes: int = 2
    ) -> subprocess.Popen[bytes]:
        return self.celery(
            name,
            *("worker", "-n", f"{name}@%h", "-Q", queues, "-c", str(processes)),
            *("--without-gossip", "--without-mingle"),
        )

    def control(self) -> subprocess.Popen[bytes]:
        return self.worker("control", "control,remind", 1)

    def beat(self) -> subprocess.Popen[bytes]:
        return self.celery("beat", "beat", "--pidfile=")

    def log(self, name: str) -> str:
        return (self._directory / f"{name}.log").read_text("utf-8")

    def everything_logged(self) -> str:
        return "".join(path.read_text("utf-8") for path in self._directory.glob("*.log"))

    def stop(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def children_of(pid: int) -> list[int]:
    """The pool processes of a worker."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8")
    return [int(child) for child in found.split()]


def until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait for a condition. Fails, naming it, when the time is up."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
        time.sleep(0.02)


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
