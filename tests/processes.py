"""Celery processes of the product, started, found and ended by tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from verifier.local import process as local_process

LANE_QUEUES = "verify.cmcc,verify.cucc,verify.ctcc,verify.cbn,verify.mvno"


class Processes:
    """``celery -A workers.app …`` processes, each leading a group of its own.

    They log to ``directory`` and die with the thread that started them. ``environment`` is added to
    ours when a process starts.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.environment = dict(environment or {})
        self._started: list[subprocess.Popen[bytes]] = []

    def celery(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start one and wait until it is ready."""
        ready = self.directory / f"{name}-{len(self._started)}.ready"
        with (self.directory / f"{name}.log").open("ab") as log:
            process = local_process.spawn(
                [sys.executable, "-m", "celery", "--quiet", "-A", "workers.app", *arguments],
                death_signal=signal.SIGKILL,
                output=log,
                env={**os.environ, **self.environment, "VERIFIER_READY_FILE": str(ready)},
                cwd=self.directory,
            )
        self._started.append(process)
        until(lambda: ready.exists() or process.poll() is not None, 60, f"{name} to be ready")
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
        return (self.directory / f"{name}.log").read_text("utf-8")

    def everything_logged(self) -> str:
        return "".join(path.read_text("utf-8") for path in self.directory.glob("*.log"))

    def stop(self) -> None:
        """Kill what still runs."""
        for process in self._started:
            kill_group(process)
        self._started.clear()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the process and its children, which may also be frozen; wait for its end."""
    local_process.kill_group(process)
    process.wait(30)


def children_of(pid: int) -> list[int]:
    """The children of a process, as the kernel has them now."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8")
    return [int(child) for child in found.split()]


def until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait for a condition. Fails, naming it, when the time is up."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
        time.sleep(0.02)
