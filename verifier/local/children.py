"""What the supervisor looks after: ordinary processes, and the embedded servers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from verifier.local import process
from verifier.local.logfile import open_log
from verifier.local.server import EmbeddedServer

#: Workers may take a drain (ten seconds) and a call to finish what they have in hand.
WORKER_PATIENCE_SECONDS = 25.0


@dataclass(slots=True)
class ChildProcess:
    """A process with its own arguments and environment.

    ``log``: the file its output goes to; None: a pipe for the common stream. ``is_ready`` says
    whether it can work; None: as soon as it runs. ``stale`` files are removed before each start.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    stage: int
    cwd: Path
    log: Path | None = None
    is_ready: Callable[[], bool] | None = None
    stale: tuple[Path, ...] = ()
    patience: float = WORKER_PATIENCE_SECONDS
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _output: int | None = field(default=None, init=False)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def launch(self) -> None:
        for path in self.stale:
            path.unlink(missing_ok=True)
        if self.log is not None:
            with open_log(self.log) as output:
                self._start(output.fileno())
            return
        self._output, writing = os.pipe()
        try:
            self._start(writing)
        finally:
            os.close(writing)

    def _start(self, output: int) -> None:
        # SIGKILL, for "nothing is left running" must not depend on a child that still answers;
        # leases make a killed worker harmless, and its own children die with it.
        self._process = process.spawn(
            self.argv, death_signal=signal.SIGKILL, output=output, env=self.env, cwd=self.cwd
        )

    def output(self) -> int | None:
        return self._output

    def poll(self) -> int | None:
        return self._process.poll() if self._process is not None else None

    def ready(self) -> bool:
        running = self._process is not None and self._process.poll() is None
        return running and (self.is_ready is None or self.is_ready())

    def ask_to_stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        if self._process is not None:
            process.kill_group(self._process)


@dataclass(slots=True)
class ServerChild:
    """An embedded server under supervision: restarted on its old port when it crashes."""

    server: EmbeddedServer
    stage: int
    patience: float = 30.0

    @property
    def name(self) -> str:
        return self.server.name

    def launch(self) -> None:
        """Take over a server that was started; start it again once it has died."""
        if self.server.poll() is not None:
            self.server.restart()

    def output(self) -> int | None:
        return None

    def poll(self) -> int | None:
        return self.server.poll()

    def ready(self) -> bool:
        return self.server.poll() is None

    def ask_to_stop(self) -> None:
        self.server.ask_to_stop()

    def kill(self) -> None:
        self.server.kill()


def listens(port: int) -> Callable[[], bool]:
    """Ready when something accepts connections on 127.0.0.1:``port``."""

    def accepts() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
        except OSError:
            return False
        return True

    return accepts
