"""A PgBouncer in transaction mode before the test's PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest

from tests.servers import scratch_directory
from verifier.local import process as local_process
from verifier.local.accounts import server_account

_NOT_HERE = (
    "pgbouncer is not installed and there is no wheel of it; on Debian and Ubuntu: "
    "apt-get install pgbouncer"
)

_CONFIG = """
[databases]
* = host={host} port={port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = plain
auth_file = {directory}/users.txt
stats_users = {user}
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 200
"""


@dataclass(frozen=True, slots=True)
class PgBouncer:
    """``url``: the test's ``database`` through it."""

    url: str
    database: str

    def pool(self) -> dict[str, Any]:
        """The row of ``SHOW POOLS`` for the test's database."""
        address = urlsplit(self.url.replace("+psycopg2", ""))
        console = psycopg2.connect(
            host=address.hostname, port=address.port, user=address.username,
            password=address.password, dbname="pgbouncer",
        )  # fmt: skip
        try:
            console.autocommit = True
            with console.cursor() as cursor:
                cursor.execute("SHOW POOLS")
                assert cursor.description is not None
                names = [column.name for column in cursor.description]
                pools = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        finally:
            console.close()
        [found] = [pool for pool in pools if pool["database"] == self.database]
        return found


def program() -> Path:
    """The installed PgBouncer; skips the test where there is none."""
    found = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(_NOT_HERE)
    return Path(found)


@contextlib.contextmanager
def running(database_url: str, *, pool_size: int) -> Iterator[PgBouncer]:
    """One that keeps ``pool_size`` connections to the database's server."""
    executable, account = program(), server_account()
    address = urlsplit(database_url.replace("+psycopg2", ""))
    directory = scratch_directory() / f"pgbouncer-{os.getpid()}-{time.monotonic_ns()}"
    directory.mkdir(mode=0o700)
    port = _free_port()
    (directory / "users.txt").write_text(f'"{address.username}" "{address.password}"\n', "utf-8")
    (directory / "pgbouncer.ini").write_text(
        _CONFIG.format(
            host=address.hostname, port=address.port, own_port=port, directory=directory,
            user=address.username, pool_size=pool_size,
        ),
        "utf-8",
    )  # fmt: skip
    for path in (directory, *directory.iterdir()):
        if account is not None:
            os.chown(path, account.uid, account.gid)
    with (directory / "log").open("wb") as log:
        bouncer = local_process.spawn(
            [executable, "--quiet", directory / "pgbouncer.ini"],
            death_signal=signal.SIGKILL, output=log, account=account, cwd=directory,
        )  # fmt: skip
    try:
        end = time.monotonic() + 15
        while not _answers(port):
            said = (directory / "log").read_text("utf-8")
            assert bouncer.poll() is None, said
            assert time.monotonic() < end, said
            time.sleep(0.02)
        netloc = f"{address.username}:{address.password}@127.0.0.1:{port}"
        yield PgBouncer(f"postgresql+psycopg2://{netloc}{address.path}", address.path[1:])
    finally:
        local_process.kill_group(bouncer)
        bouncer.wait(30)
        shutil.rmtree(directory)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
