"""What the two embedded servers have in common: hold the state, start, wait, restart, stop.

A start takes the lock, ends what a killed parent left behind, launches the program and waits until
it answers with our password. A program that exits while we wait is started again when the cause
passes by itself (its port was taken meanwhile; the children of a killed predecessor are still
leaving), and otherwise reported with the end of its log.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import BinaryIO, Self

from verifier.errors import VerifierError
from verifier.local import process
from verifier.local.accounts import EXTERNAL_SERVERS, server_account
from verifier.local.logfile import open_log, tail
from verifier.local.state import ServerState

START_SECONDS = 60.0
RESTART_SECONDS = 15.0
_POLL_SECONDS = 0.01


class EmbeddedServer(ABC):
    """A server of our own on 127.0.0.1, alive between :meth:`start` and :meth:`stop`."""

    name: str
    gentle: signal.Signals
    death_signal: signal.Signals
    last: signal.Signals  # ends it at once, leaving what its next start can recover from
    #: Parts of log lines after which another try, perhaps on another port, can succeed.
    passing_causes: tuple[str, ...]

    def __init__(self, home: Path, *, durable: bool = True) -> None:
        self.home = home.absolute()
        self.durable = durable
        self.account = server_account()
        self.state = ServerState(self.home / self.name, self.account)
        self.log = self.home / "log" / f"{self.name}.log"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._held = contextlib.ExitStack()
        self._log_start = 0

    @property
    @abstractmethod
    def url(self) -> str:
        """The address with the password: for clients and the environment, never for a log."""

    @abstractmethod
    def _prepare(self) -> None:
        """Create the data if there is none and end what a killed parent left, under the lock."""

    @abstractmethod
    def _command(self) -> list[str | Path]:
        """The program and its arguments, which hold no secret."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the server accepts our password and can work."""

    def start(self) -> Self:
        """Start and wait until ready. Raises AlreadyRunningError when the state is in use.

        Call it from a thread that lives as long as the server should (see :mod:`.process`).
        """
        with contextlib.ExitStack() as held:
            held.enter_context(self.state.locked(self.name))
            self._launch(START_SECONDS, keep_port=False)
            self._held = held.pop_all()
        return self

    def restart(self) -> None:
        """Start a server that died again, under the lock we hold and on the same port."""
        self._launch(RESTART_SECONDS, keep_port=True)

    def poll(self) -> int | None:
        """The exit status of a server that ended by itself, None while it runs."""
        return self.process.poll() if self.process is not None else None

    def ask_to_stop(self) -> None:
        """Begin to stop, without waiting; :meth:`stop` must follow to give the state free."""
        self._signal(self.gentle)

    def kill(self) -> None:
        """End it at once. Nothing that was committed is lost."""
        self._signal(self.last)

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def stop(self) -> None:
        """Stop and give the state free. Does nothing when it does not run."""
        try:
            if self.process is not None:
                process.stop(self.process, self.gentle, 30.0)
                self.process = None
        finally:
            self._held.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _launch(self, seconds: float, *, keep_port: bool) -> None:
        deadline = time.monotonic() + seconds
        try:
            while True:
                self._prepare()
                if not keep_port:
                    self.port = self.state.port()
                status = self._run_until_ready(deadline)
                if status is None:
                    return
                words = self._words()
                passes = any(cause in words for cause in self.passing_causes)
                if not passes or time.monotonic() > deadline:
                    raise self._failed(process.describe_status(status))
                time.sleep(0.2)
        except BaseException:
            if self.process is not None:
                process.stop(self.process, self.gentle, 10.0)
            raise

    def _run_until_ready(self, deadline: float) -> int | None:
        """None when it answers, else the status it exited with."""
        with self._open_log() as output:
            self.process = process.spawn(
                self._command(),
                death_signal=self.death_signal,
                output=output,
                account=self.account,
                env={"LC_ALL": "C", "PATH": "/usr/local/bin:/usr/bin:/bin"},
                cwd=self.state.data,
            )
        while not self._answers():
            status = self.process.poll()
            if status is not None:
                return status
            if time.monotonic() > deadline:
                raise self._failed("did not answer in time")
            time.sleep(_POLL_SECONDS)
        return None

    def _open_log(self) -> BinaryIO:
        output = open_log(self.log)
        self._log_start = output.tell()
        return output

    def _words(self) -> str:
        """What the program has said since its last start."""
        return tail(self.log, 15, since=self._log_start)

    def _failed(self, what: str) -> VerifierError:
        return VerifierError(
            f"The embedded {self.name} {what}. The end of {self.log}:\n{self._words()}",
            fix=EXTERNAL_SERVERS,
        )
