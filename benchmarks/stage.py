"""Where benchmarks play: embedded servers as in production (durable), a database for each run, and
worker processes with the arguments of the Procfile.

The product is used as its operators use it, through its command line; nothing of it runs in this
process. What is read from PostgreSQL is read over another database's connection, so that looking
does not count.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import psycopg2

from benchmarks.processes import cpu_seconds
from verifier.identity.keyring import KeyRing
from verifier.identity.phone import lane_of
from verifier.local import processes
from verifier.local.children import ChildProcess
from verifier.local.servers import EmbeddedServers
from verifier.sandbox.people import generate, write
from verifier.sandbox.segments import COVERED
from verifier.settings import normalise_database_url

ROOT: Final = Path(__file__).parent.parent
READY_SECONDS: Final = 60.0

#: People verified before measuring begins, so that no process is measured while it starts.
WARM: Final = 200

_CONFIG: Final = """
[providers.stub]
kind = "tencent"
endpoint = "{url}"
secret_id = "env:BENCH_SECRET_ID"
secret_key = "env:BENCH_SECRET_KEY"
lanes = ["cmcc", "cucc", "ctcc"]
qps = 100000

# The nightly audit would submit people of its own accord: not while anything is measured.
[timetable]
audit = 23:59:59
reminders_plan = 23:59:59
"""

#: Accepted by the stub, as everything is; both contestants sign with them.
SECRETS: Final = {"BENCH_SECRET_ID": "bench-id", "BENCH_SECRET_KEY": "bench-key"}


def say(text: str) -> None:
    """How it goes, for whoever waits."""
    print(text, file=sys.stderr, flush=True)


def until(condition: Callable[[], object], seconds: float, what: str, pause: float = 0.1) -> None:
    """Wait for a condition. Raises TimeoutError, naming it."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(pause)


class Stage:
    """The servers, and a directory for everything: logs, people, homes. Use as a context."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="verifier-bench-"))
        self.directory.chmod(0o711)  # the servers' account passes through
        self._servers = EmbeddedServers(self.directory / "servers", publish=False)
        self._runs = 0

    def __enter__(self) -> Stage:
        self._servers.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._servers.stop()
        if kind is None or not issubclass(kind, Exception):
            shutil.rmtree(self.directory)
        else:
            say(f"what happened is left to look at in {self.directory}")

    def postgres_cpu(self) -> float:
        """Seconds that PostgreSQL has used, all its processes together."""
        server = self._servers.postgres.process
        return cpu_seconds(server.pid) if server is not None else 0.0

    def ask(self, sql: str, *parameters: Any, database: str = "postgres") -> list[Any]:
        """The rows. A database's own statistics are not moved by looking from another one."""
        connection = psycopg2.connect(_with_path(self._servers.postgres.url, database))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql, parameters or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def people(self, count: int, seed: int = 1) -> Path:
        """A CSV file of so many generated people; made once."""
        folder = self.directory / f"people-{count}-{seed}"
        if not folder.exists():
            # Of the lanes that the stub's kind of provider reaches: everybody is called.
            reached = (p for p in generate(2 * count, seed) if lane_of(p.phone) in COVERED)
            write(folder, islice(reached, count))
        return folder / "users.csv"

    def new_run(self, stub_url: str) -> Run:
        """A database, a broker database and a home that nobody has used."""
        self._runs += 1
        name = f"bench_{self._runs}"
        self.ask(f'CREATE DATABASE "{name}"')
        home = self.directory / name
        for folder in (home, home / "log", home / "run"):
            folder.mkdir(mode=0o700)
        config = home / "verifier.toml"
        config.write_text(_CONFIG.format(url=stub_url), "utf-8")
        KeyRing.create(home / "keyring.json")
        env = {
            **{key: value for key, value in os.environ.items() if not key.startswith("VERIFIER_")},
            **SECRETS,
            "VERIFIER_HOME": str(home),
            "VERIFIER_DATABASE_URL": _with_path(self._servers.postgres.url, name),
            "VERIFIER_BROKER_URL": _with_path(self._servers.valkey.url, str(self._runs % 64)),
            "VERIFIER_CONFIG": str(config),
            "VERIFIER_KEYRING": str(home / "keyring.json"),
            "VERIFIER_LOG_FORMAT": "json",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": processes.ROOT_IS_FINE,
        }
        return Run(self, name, home, env)


@dataclass(frozen=True, slots=True)
class Run:
    """A database of its own, and the environment that leads the product's processes to it."""

    stage: Stage
    database: str
    home: Path
    env: dict[str, str]

    def verifier(self, *arguments: str | Path) -> Command:
        """Run the product's command line. Raises RuntimeError when it fails."""
        return command([sys.executable, "-m", "verifier.cli", *arguments], self.env)

    @property
    def database_url(self) -> str:
        """For SQLAlchemy."""
        return normalise_database_url(self.env["VERIFIER_DATABASE_URL"])

    @property
    def logs(self) -> Path:
        return self.home / "log"

    def transactions(self) -> int:
        """Transactions ended in this database since it was made."""
        rows = self.stage.ask(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = %s",
            self.database,
        )
        return int(rows[0][0])

    def settle_down(self) -> None:
        """Let PostgreSQL finish what an import leaves behind, so that it is not counted later."""
        self.stage.ask("VACUUM (ANALYZE)", database=self.database)
        self.stage.ask("CHECKPOINT")

    def listed(self, prefix: str = "") -> Path:
        """A file of the references of all users, or of those that begin with ``prefix``."""
        path = self.home / "listed.csv"
        rows = self.ask_all(
            "SELECT reference, platform FROM verifier.users WHERE starts_with(reference, %s)",
            prefix,
        )
        lines = [f"{reference},{platform}\n" for reference, platform in rows]
        path.write_text("reference,platform\n" + "".join(lines), "utf-8")
        return path

    def ask(self, sql: str, *parameters: Any) -> Any:
        """The first row, or None. It is a transaction of this database: ask rarely."""
        return next(iter(self.ask_all(sql, *parameters)), None)

    def ask_all(self, sql: str, *parameters: Any) -> list[Any]:
        return self.stage.ask(sql, *parameters, database=self.database)

    @contextmanager
    def product(self, names: Sequence[str]) -> Iterator[dict[str, int]]:
        """Those of the Procfile's processes, ready; their process ids by name."""
        children = [
            child
            for child in processes.celery_children(self.home, self.env, self.logs)
            if child.name in names
        ]
        with started(children):
            yield {child.name: child.pid or 0 for child in children}


@dataclass(frozen=True, slots=True)
class Command:
    """What a command said and used: seconds of CPU, with its children, and of wall time."""

    output: str
    cpu: float
    wall: float

    def json(self) -> Any:
        return json.loads(self.output)


def command(arguments: Sequence[str | Path], env: dict[str, str]) -> Command:
    """Run it to its end. Raises RuntimeError when it fails."""
    began = time.monotonic()
    before = os.times()
    done = subprocess.run(  # noqa: S603 - our own programs
        [os.fspath(part) for part in arguments],
        env=env,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    after = os.times()
    if done.returncode:
        raise RuntimeError(f"{arguments[2:]} ended with {done.returncode}: {done.stderr[-2000:]}")
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    return Command(done.stdout, cpu, time.monotonic() - began)


@contextmanager
def started(children: Sequence[ChildProcess]) -> Iterator[None]:
    """The children, running and ready; stopped at the end."""
    with ExitStack() as ends:
        for child in children:
            child.launch()
            ends.callback(_end, child)
        for child in children:
            until(child.ready, READY_SECONDS, f"{child.name} to be ready")
        yield


def _end(child: ChildProcess) -> None:
    child.ask_to_stop()
    try:
        until(lambda: child.poll() is not None, child.patience, f"{child.name} to stop")
    finally:
        child.kill()


def unique(word: str) -> str:
    return f"{word}-{secrets.token_hex(4)}"


def _with_path(url: str, path: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{path}"))
