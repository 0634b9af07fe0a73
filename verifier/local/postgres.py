"""The embedded PostgreSQL: a real server, started from the programs of a wheel.

Promises: it listens on 127.0.0.1 only and asks for a password; a commit is on the disk when it
returns (unless ``durable=False``, for tests); it ends with its parent; killed at any moment, its
next start recovers. It does not upgrade data of another major version.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg2
from psycopg2 import errors, sql

from verifier.errors import VerifierError
from verifier.local import process
from verifier.local.accounts import EXTERNAL_SERVERS
from verifier.local.binaries import postgres_programs
from verifier.local.server import EmbeddedServer

USER = "verifier"
DATABASE = "verifier"

_TUNING = {
    "shared_buffers": "128MB",
    "max_connections": "100",
    "synchronous_commit": "on",  # durability is a promise
    "wal_compression": "on",  # less to write, at little cost
    "max_wal_size": "1GB",
    "random_page_cost": "1.1",  # solid-state disks
    "jit": "off",  # every statement here is short
    # Parallel workers share /dev/shm, which containers keep small.
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Statements and the DETAIL of a violated constraint carry values of rows: never logged.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class EmbeddedPostgres(EmbeddedServer):
    name = "postgres"
    gentle = signal.SIGINT  # "fast" shutdown: roll back, disconnect, checkpoint
    death_signal = signal.SIGINT
    last = signal.SIGQUIT
    passing_causes = ("could not bind", "pre-existing shared memory block", "is still in use")

    #: Whether this start made the database: it has no tables yet.
    created = False

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{self.state.password()}@127.0.0.1:{self.port}/{DATABASE}"

    def _prepare(self) -> None:
        self._end_orphan()
        if not self.state.data.exists():
            self._initialise()

    def _end_orphan(self) -> None:
        """Under the lock a live server on this data has lost its parent; a dead one leaves a file
        that can keep the next from starting (a zombie's or a recycled process id)."""
        record = self.state.data / "postmaster.pid"
        try:
            first = record.read_text("utf-8").partition("\n")[0]
        except FileNotFoundError:
            return
        if first.isdigit():
            process.stop_orphan(int(first), str(self.state.data), signal.SIGINT, signal.SIGQUIT)
        record.unlink(missing_ok=True)

    def _initialise(self) -> None:
        """``initdb`` beside the final place, moved there when complete: a killed one is redone."""
        partial = self.state.directory / "data.partial"
        if partial.exists():
            shutil.rmtree(partial)
        self.state.own_data(partial)
        secret = self.state.directory / "initial-password"
        self.state.private_file(secret, self.state.password() + "\n")
        try:
            with self._open_log() as output:
                status = process.spawn(
                    self._initdb(partial, secret),
                    death_signal=signal.SIGKILL,
                    output=output,
                    account=self.account,
                    env={"LC_ALL": "C", "PATH": "/usr/local/bin:/usr/bin:/bin"},
                    cwd=partial,
                ).wait()
        finally:
            secret.unlink(missing_ok=True)
        if status != 0:
            raise self._failed(
                f"could not be initialised (initdb {process.describe_status(status)})"
            )
        partial.rename(self.state.data)

    def _initdb(self, data: Path, secret: Path) -> list[str | Path]:
        programs = self._programs()
        command: list[str | Path] = [programs / "initdb", "-D", data, "-U", USER]
        command += [f"--pwfile={secret}", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C"]
        command += ["--no-instructions"]
        if _major_version(programs / "postgres") >= 17:
            command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if not self.durable:
            command += ["--no-sync"]
        return command

    def _programs(self) -> Path:
        return postgres_programs(self.home / "programs", self.account)

    def _command(self) -> list[str | Path]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            **_TUNING,
            **({} if self.durable else _NOT_DURABLE),
        }
        command: list[str | Path] = [self._programs() / "postgres", "-D", self.state.data]
        for key, value in settings.items():
            command += ["-c", f"{key}={value}"]
        return command

    def _answers(self) -> bool:
        try:
            self._connect(DATABASE).close()
        except psycopg2.OperationalError as error:
            if f'database "{DATABASE}" does not exist' in str(error):
                self._create_database()
                self.created = True
                return True
            if "authentication failed" in str(error):
                raise VerifierError(
                    f"The embedded postgres refuses the password in {self.state.directory}.",
                    fix=f"Restore that file together with its data, or: {EXTERNAL_SERVERS}",
                ) from None
            return False  # not listening yet, or still recovering
        return True

    def _create_database(self) -> None:
        connection = self._connect("postgres")
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        except errors.DuplicateDatabase:
            pass
        finally:
            connection.close()

    def _connect(self, database: str) -> psycopg2.extensions.connection:
        return psycopg2.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=self.state.password(),
            dbname=database,
            connect_timeout=5,
            application_name="verifier start",
        )


def _major_version(program: Path) -> int:
    shown = subprocess.run(  # noqa: S603 - the wheel's or the operator's own program
        [program, "--version"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"(\d+)", shown)
    return int(found.group(1)) if found else 0
