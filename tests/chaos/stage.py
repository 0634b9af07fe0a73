"""Where faults are struck: servers, sandbox and processes that belong to nobody else.

This process is configured for them while the stage stands, so that the client library works here.
It looks at the database over a connection of its own, which may break like everybody else's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any, Final, Self

import psycopg2
import psycopg2.extras

from tests.chaos.proxy import CommitCutter
from tests.engine.conftest import forget
from tests.processes import Processes, children_of
from tests.servers import scratch_directory
from verifier.clock import at_local, business_date
from verifier.config import config
from verifier.identity.keyring import KeyRing
from verifier.local.server import EmbeddedServer
from verifier.local.servers import EmbeddedServers
from verifier.sandbox.server import SandboxServer
from verifier.store import clock, demo
from verifier.store import engine as store_engine
from verifier.store.engine import transaction
from verifier.store.schema import upgrade

#: Child processes of the worker that drains the lanes.
WORKER_PROCESSES: Final = 2

#: Short leases, so that a recovery takes seconds. Otherwise like the configuration we ship: one
#: provider for all carriers and one for each.
_CONFIG: Final = """
[engine]
threads = 8
chunk = 200
lease_seconds = 5
drain_seconds = 3
flush_seconds = 0.2
ring_seconds = 3

{providers}
"""
_PROVIDER: Final = """
[providers.{name}]
kind = "tencent"
action = "{action}"
endpoint = "{url}"
secret_id = "file:{state}/tencent_secret_id"
secret_key = "file:{state}/tencent_secret_key"
lanes = [{lanes}]
preference = {preference}
qps = 1000
timeout = 3
"""
_PROVIDERS: Final = (
    ("neutral", "PhoneVerification", '"cmcc", "cucc", "ctcc"', 1),
    ("only_cmcc", "PhoneVerificationCMCC", '"cmcc"', 2),
    ("only_cucc", "PhoneVerificationCUCC", '"cucc"', 2),
    ("only_ctcc", "PhoneVerificationCTCC", '"ctcc"', 2),
)
#: A carrier's own time at least, so that calls are in flight whenever a fault strikes.
_LEAST_LATENCY_MS: Final = 25.0

#: The business time of a run: at night, before the audit, so that nothing else happens.
_NIGHT: Final = time(0, 30)


class Stage:
    """Everything one run needs, between ``__enter__`` and ``__exit__``. ``logs``: a directory."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self._home = Path(tempfile.mkdtemp(prefix="verifier-chaos-", dir=scratch_directory()))
        self._home.chmod(0o711)  # the servers' account must pass
        self._undo = contextlib.ExitStack()
        self._processes = Processes(logs)
        self._proxied = False
        self._connection: Any = None
        self._worker: subprocess.Popen[bytes] | None = None
        self._control: subprocess.Popen[bytes] | None = None
        self._beat: subprocess.Popen[bytes] | None = None
        self._relief: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, self._home, ignore_errors=True)
            self.servers = stack.enter_context(EmbeddedServers(self._home, publish=False))
            state = self._home / "sandbox"
            self.sandbox = stack.enter_context(SandboxServer(state))
            self.cutter = stack.enter_context(CommitCutter(lambda: self.servers.postgres.port))
            stack.enter_context(self._configured())
            upgrade(self.database_url())
            stack.callback(self._disconnect)
            stack.callback(self._processes.stop)
            self._undo = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    @contextlib.contextmanager
    def _configured(self) -> Iterator[None]:
        """This process's settings; no other ``VERIFIER_*`` setting reaches the processes."""
        before = {name: os.environ.pop(name) for name in list(os.environ) if _is_ours(name)}
        KeyRing.create(self._home / "keyring.json")
        path = self._home / "verifier.toml"
        providers = "".join(
            _PROVIDER.format(
                name=name,
                action=action,
                url=self.sandbox.url,
                state=self.sandbox.state,
                lanes=lanes,
                preference=preference,
            )
            for name, action, lanes, preference in _PROVIDERS
        )
        path.write_text(_CONFIG.format(providers=providers), "utf-8")
        os.environ |= {
            "VERIFIER_HOME": str(self._home),
            "VERIFIER_KEYRING": str(self._home / "keyring.json"),
            "VERIFIER_CONFIG": str(path),
            "VERIFIER_DATABASE_URL": self.database_url(),
            "VERIFIER_BROKER_URL": self.servers.valkey.url,
        }
        _forget()
        try:
            yield
        finally:
            store_engine.engine().dispose()
            for name in [name for name in os.environ if _is_ours(name)]:
                del os.environ[name]
            os.environ |= before
            _forget()

    def database_url(self, port: int | None = None) -> str:
        """Of PostgreSQL itself, or through another port."""
        url = self.servers.postgres.url.replace("postgresql://", "postgresql+psycopg2://")
        return url if port is None else url.replace(f":{self.servers.postgres.port}/", f":{port}/")

    @property
    def worker(self) -> subprocess.Popen[bytes]:
        assert self._worker is not None
        return self._worker

    @property
    def control(self) -> subprocess.Popen[bytes]:
        assert self._control is not None
        return self._control

    @property
    def beat(self) -> subprocess.Popen[bytes]:
        assert self._beat is not None
        return self._beat

    def begin(self, *, proxied: bool, users_a_second: float) -> None:
        """Make ready for a batch: nobody known, the night before the audit, all processes up.

        ``proxied``: the processes reach PostgreSQL through the proxy that cuts at COMMITs.
        ``users_a_second``: as many as the carriers' time allows, so that the batch lasts.
        """
        self.cutter.calm()
        self.sandbox.client.reset(truth=True, faults=True, settings=True, register=True)
        calls_at_once = WORKER_PROCESSES * config().engine.threads
        latency = max(_LEAST_LATENCY_MS, 1000 * calls_at_once / users_a_second)
        self.sandbox.client.settings(latency_ms=latency * 0.75, jitter_ms=latency * 0.5)
        zone = config().zone
        with transaction() as connection:
            tomorrow = business_date(clock.now(connection), zone) + timedelta(days=1)
            clock.move_to(connection, at_local(tomorrow, _NIGHT, zone))
        if proxied != self._proxied or self._worker is None:
            self._stop_processes()
        self._proxied = proxied
        if proxied:
            port = self.cutter.port
            self._processes.environment["VERIFIER_DATABASE_URL"] = self.database_url(port)
        else:
            self._processes.environment.pop("VERIFIER_DATABASE_URL", None)
        self.ensure_running()

    def wipe(self) -> None:
        """After a broken promise: nothing of this batch reaches the next."""
        self._stop_processes()
        with transaction() as connection:
            demo.wipe(connection)

    def ensure_running(self) -> None:
        """Start the processes that do not run, as a supervisor would."""
        if not _runs(self._worker):
            self.start_worker()
        if not _runs(self._control):
            self.start_control()
        if not _runs(self._beat):
            self._beat = self._processes.beat()

    def start_worker(self) -> None:
        self._worker = self._processes.worker(processes=WORKER_PROCESSES)

    def start_control(self) -> None:
        self._control = self._processes.control()

    def start_relief(self) -> None:
        """A second worker on the same queues, as on another host, until the batch has ended."""
        self._relief = self._processes.worker("relief", processes=WORKER_PROCESSES)

    def dismiss_relief(self) -> None:
        if self._relief is not None:
            self._relief.terminate()
            self._relief.wait(30)
            self._relief = None

    def _stop_processes(self) -> None:
        self._processes.stop()
        self._worker = self._control = self._beat = self._relief = None

    def rows(self, sql: str, *parameters: object) -> Sequence[Any]:
        """Read from the database directly. Raises psycopg2.OperationalError when it is away."""
        try:
            return self._read(sql, parameters)
        except psycopg2.OperationalError:  # our connection may be of before a restart
            self._disconnect()
            return self._read(sql, parameters)

    def _read(self, sql: str, parameters: Sequence[object]) -> Sequence[Any]:
        if self._connection is None:
            self._connection = psycopg2.connect(
                self.servers.postgres.url,
                connect_timeout=5,
                cursor_factory=psycopg2.extras.NamedTupleCursor,
            )
            self._connection.autocommit = True
        with self._connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall()  # type: ignore[no-any-return]

    def one(self, sql: str, *parameters: object) -> Any:
        (row,) = self.rows(sql, *parameters)
        return row

    def business_now(self) -> datetime:
        now: datetime = self.one("SELECT verifier.verifier_now() AS now").now
        return now

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def freeze(server: EmbeddedServer) -> list[int]:
    """Stop the server and its children where they stand; returns their process ids."""
    assert server.process is not None
    frozen = [server.process.pid]
    os.kill(server.process.pid, signal.SIGSTOP)  # first: it makes no more children
    for child in children_of(server.process.pid):
        with contextlib.suppress(ProcessLookupError):  # one that was just about to end
            os.kill(child, signal.SIGSTOP)
            frozen.append(child)
    return frozen


def thaw(frozen: list[int]) -> None:
    """Let what :func:`freeze` stopped go on, the server last."""
    for pid in reversed(frozen):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _runs(process: subprocess.Popen[bytes] | None) -> bool:
    return process is not None and process.poll() is None


def _is_ours(name: str) -> bool:
    return name.startswith("VERIFIER_")


def _forget() -> None:
    forget()
    store_engine.engine.cache_clear()
