"""One PostgreSQL and one Valkey for a whole test run, shared by all its worker processes.

A process that needs them holds a *shared* lock on the run's ``users`` file for as long as it lives.
The servers belong to a keeper process (this file, run as a script), which waits for the *exclusive*
lock: the kernel grants it when the last user is gone, also one that was killed. Then the keeper
stops the servers and removes the run's directory. So nothing is left behind, whatever happens.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from psycopg2 import sql

from verifier.local.accounts import closed_ancestor, server_account
from verifier.local.servers import EmbeddedServers
from verifier.settings import running_endpoints

_TEMPLATE = "verifier_template"
_START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class TestServers:
    __test__ = False  # not a test class

    directory: Path
    database_url: str
    broker_url: str


def scratch_directory() -> Path:
    """A temporary directory's place that the servers' account can reach, also under root."""
    account = server_account()
    for candidate in (Path(tempfile.gettempdir()), Path("/var/tmp"), Path("/tmp")):  # noqa: S108
        if account is None or closed_ancestor(candidate / "x", account) is None:
            return candidate
    raise RuntimeError("no temporary directory is open to the account of the servers")


@contextlib.contextmanager
def shared_servers(run: str) -> Iterator[TestServers]:
    """The servers of this run, started by the first who asks."""
    directory = scratch_directory() / f"verifier-tests-{os.getuid()}-{run}"
    while True:
        directory.mkdir(mode=0o711, exist_ok=True)
        directory.chmod(0o711)
        try:
            users = os.open(directory / "users", os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            continue  # the keeper of earlier users has just removed it
        fcntl.flock(users, fcntl.LOCK_SH)
        if _is_still(directory / "users", users):
            break
        os.close(users)
    try:
        yield _start_or_join(directory)
    finally:
        os.close(users)


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether ``path`` is the file we have open, and not one of a directory that moved away."""
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _start_or_join(directory: Path) -> TestServers:
    with (directory / "starting").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        found = running_endpoints(directory)
        if found is None:
            _start_keeper(directory)
            found = running_endpoints(directory)
    if found is None:
        words = (directory / "keeper.log").read_text("utf-8")
        raise RuntimeError(f"the servers for the tests did not start:\n{words}")
    return TestServers(directory, found.database_url, found.broker_url)


def _start_keeper(directory: Path) -> None:
    with (directory / "keeper.log").open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.servers", str(directory)],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C at the terminal is not for it
        )
    deadline = time.monotonic() + _START_SECONDS
    while running_endpoints(directory) is None and time.monotonic() < deadline:
        if keeper.poll() is not None:
            return
        time.sleep(0.02)
    keeper.returncode = 0  # it outlives us on purpose: no warning about a forgotten child


def _keep(directory: Path) -> None:
    with EmbeddedServers(directory, durable=False):
        users = os.open(directory / "users", os.O_RDWR)
        fcntl.flock(users, fcntl.LOCK_EX)  # returns when the last user is gone
    # Aside first: whoever comes now must find either all of it or nothing.
    gone = directory.with_name(f"{directory.name}.gone-{os.getpid()}")
    directory.rename(gone)
    shutil.rmtree(gone)


@contextlib.contextmanager
def cloned_database(servers: TestServers) -> Iterator[str]:
    """A new database with the product's schema in it, dropped at the end."""
    _ensure_template(servers)
    with new_database(servers, _TEMPLATE) as url:
        yield url


@contextlib.contextmanager
def new_database(servers: TestServers, template: str = "template1") -> Iterator[str]:
    """A copy of ``template``, dropped at the end."""
    name = f"test_{uuid.uuid4().hex}"
    _administer(servers, "CREATE DATABASE {} TEMPLATE {}", name, template)
    try:
        yield _url_of(servers, name)
    finally:
        _administer(servers, "DROP DATABASE {} WITH (FORCE)", name)


def _ensure_template(servers: TestServers) -> None:
    done = servers.directory / "template-is-migrated"
    with (servers.directory / "template").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if done.exists():
            return
        from verifier.store.schema import upgrade

        _administer(servers, "DROP DATABASE IF EXISTS {}", _TEMPLATE)
        _administer(servers, "CREATE DATABASE {}", _TEMPLATE)
        upgrade(_url_of(servers, _TEMPLATE))
        done.touch()


def _url_of(servers: TestServers, database: str) -> str:
    base = servers.database_url.rpartition("/")[0].partition("://")[2]
    return f"postgresql+psycopg2://{base}/{database}"


def _administer(servers: TestServers, statement: str, *names: str) -> None:
    connection = psycopg2.connect(servers.database_url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
    finally:
        connection.close()


if __name__ == "__main__":
    _keep(Path(sys.argv[1]))
