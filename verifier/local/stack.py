"""A whole local stack: servers, schema, key ring, configuration, sandbox, workers, metronome.

``verifier dev up`` calls :func:`up`; the demo and tests use :class:`LocalStack`. With
``VERIFIER_DATABASE_URL`` and ``VERIFIER_BROKER_URL`` set nothing embedded is started or needed,
and only the processes are looked after.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Self, TextIO

from verifier.errors import ConfigError
from verifier.local import processes
from verifier.local.children import ServerChild
from verifier.local.logstream import LogStream
from verifier.local.sandbox_config import (
    sandbox_port,
    sandbox_state,
    sandbox_url,
    write_local_config,
)
from verifier.local.servers import (
    EmbeddedServers,
    publish_sandbox,
)
from verifier.local.state import make_directory
from verifier.local.supervisor import Managed, Supervisor
from verifier.settings import Endpoints, Settings, normalise_database_url

READY_SECONDS = 60.0


class LocalStack:
    """Everything a developer needs on one machine, between :meth:`start` and :meth:`stop`.

    ``logs_to_files``: each process's output goes to ``$VERIFIER_HOME/log/NAME.log`` (0600) instead
    of ``stream``. The settings are read afresh at the start, not from this process's cache.
    """

    def __init__(
        self,
        home: Path,
        *,
        with_sandbox: bool = True,
        logs_to_files: bool = False,
        stream: TextIO | None = None,
    ) -> None:
        self.home = home.absolute()
        self.with_sandbox = with_sandbox
        self._logs = self.home / "log" if logs_to_files else None
        self._stream = None if logs_to_files else (stream or sys.stdout)
        self._servers: EmbeddedServers | None = None
        self._supervisor: Supervisor | None = None
        self._endpoints: Endpoints | None = None

    @property
    def endpoints(self) -> Endpoints:
        """The addresses, passwords included. Only while it runs."""
        if self._endpoints is None:
            raise ConfigError("The local stack is not running.")
        return self._endpoints

    @property
    def supervisor(self) -> Supervisor:
        if self._supervisor is None:
            raise ConfigError("The local stack is not running.")
        return self._supervisor

    def start(self) -> Self:
        """Start everything, in order. Raises AlreadyRunningError when the home is in use, and
        ConfigError, before anything is started, when the configuration or the key ring is wrong."""
        settings = Settings(home=self.home)
        _check_files(settings)
        try:
            self._start_servers(settings)
            self._start_processes(settings)
        except BaseException:
            self.stop()
            raise
        return self

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait until every process can work. Raises VerifierError naming those that cannot."""
        self.supervisor.wait_ready(seconds)

    def stop(self) -> None:
        """Stop workers, then the metronome, the sandbox, Valkey, and PostgreSQL last of all."""
        try:
            if self._supervisor is not None:
                self._supervisor.stop()
        finally:
            self._supervisor = None
            self._endpoints = None
            if self._servers is not None:
                self._servers.stop()
                self._servers = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start_servers(self, settings: Settings) -> None:
        if settings.database_url and settings.broker_url:
            make_directory(self.home)
            database = normalise_database_url(settings.database_url)
            self._endpoints = Endpoints(database, settings.broker_url)
        elif settings.database_url or settings.broker_url:
            raise ConfigError(
                "Only one of VERIFIER_DATABASE_URL and VERIFIER_BROKER_URL is set.",
                fix="Set both to use your own servers, or neither to use the embedded ones.",
            )
        else:
            self._servers = EmbeddedServers(self.home).start()
            self._endpoints = self._servers.endpoints
        make_directory(self.home / "run")
        # Imported here: the schema's tools are slow to load and only needed for a start.
        from verifier.store.schema import upgrade

        upgrade(normalise_database_url(self.endpoints.database_url))

    def _start_processes(self, settings: Settings) -> None:
        _ensure_keyring(settings.keyring_path)
        port = self._configure_sandbox(settings) if self.with_sandbox else None
        env = processes.environment(
            self.home,
            {
                "VERIFIER_DATABASE_URL": self.endpoints.database_url,
                "VERIFIER_BROKER_URL": self.endpoints.broker_url,
                **self._log_format(settings),
            },
            {"VERIFIER_KEYRING": settings.keyring_path, **_config_of(settings)},
        )
        children: list[Managed] = []
        if self._servers is not None:
            children.append(ServerChild(self._servers.postgres, processes.STAGE_POSTGRES))
            children.append(ServerChild(self._servers.valkey, processes.STAGE_VALKEY))
        if port is not None:
            state = sandbox_state(self.home)
            children.append(processes.sandbox_child(self.home, state, port, env, self._logs))
        children += processes.celery_children(self.home, env, self._logs)
        self._supervisor = Supervisor(children, LogStream(self._stream))
        self._supervisor.start()

    def _configure_sandbox(self, settings: Settings) -> int:
        port = sandbox_port(self.home)
        if settings.config is None:
            write_local_config(settings.config_path, self.home, port)
        if self._servers is not None:
            self._endpoints = publish_sandbox(self.home, self.endpoints, sandbox_url(port))
        return port

    def _log_format(self, settings: Settings) -> dict[str, str]:
        """Children write to a pipe; when we pass that on to a terminal, they write for people."""
        on_terminal = self._stream is not None and self._stream.isatty()
        return {"VERIFIER_LOG_FORMAT": "text"} if on_terminal and not settings.log_format else {}


def _check_files(settings: Settings) -> None:
    """What exists or was asked for must be in order; what does not exist yet will be written."""
    from verifier import config
    from verifier.identity.keyring import KeyRing

    for path in _config_of(settings).values():
        config.load(path)
    if settings.keyring_path.exists():
        KeyRing.load(settings.keyring_path)


def _ensure_keyring(path: Path) -> None:
    from verifier.identity.keyring import KeyRing

    if not path.exists():
        make_directory(path.parent)
        KeyRing.create(path)


def _config_of(settings: Settings) -> dict[str, Path]:
    """A configuration file that exists or was asked for; without one the defaults hold."""
    path = settings.config_path
    return {"VERIFIER_CONFIG": path} if settings.config or path.exists() else {}


def up(home: Path, *, with_sandbox: bool = True, stream: TextIO | None = None) -> None:
    """Run a stack in the foreground until SIGINT, SIGTERM or SIGHUP; a second one hastens.

    Call it from the main thread. Returns after an orderly stop; raises what a start raises.
    """
    talk = stream or sys.stdout
    with _stop_signals() as asked:
        stack = LocalStack(home, with_sandbox=with_sandbox, stream=talk).start()
        said_ready = False
        try:
            # A signal handler may not touch a lock that this thread could hold: it only adds to a
            # list, and we look at it.
            while not asked and not stack.supervisor.wait_stopped(0.1):
                if not said_ready and stack.supervisor.is_ready():
                    said_ready = True
                    _say(
                        talk,
                        f"ready; state in {stack.home}. Try `verifier status` in another terminal; "
                        "Ctrl-C stops everything.",
                    )
            _say(talk, "stopping; press Ctrl-C again not to wait for work in hand.")
            stack.supervisor.ask_to_stop()
            while not stack.supervisor.wait_stopped(0.1):
                if len(asked) > 1:
                    stack.supervisor.hasten()
        finally:
            stack.stop()
            _say(talk, "stopped; the state stays.")


def _say(stream: TextIO, text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal was closed
        print(text, file=stream, flush=True)


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """A list that every stop signal is added to, for the length of the context."""
    asked: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    before = {number: signal.signal(number, note) for number in processes.STOP_SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
