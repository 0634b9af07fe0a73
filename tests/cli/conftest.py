"""The real program, as a process of its own, on the test's own database (:mod:`.forks`)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
from sqlalchemy import text

from tests.cli.forks import ForkServer
from tests.intake.people import csv_of, rows
from verifier.store.engine import transaction

PROGRAM = [sys.executable, "-W", "error::ResourceWarning", "-m", "verifier.cli"]


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def ok(self) -> Ran:
        assert self.code == 0, self
        return self


class Cli(Protocol):
    def __call__(self, *arguments: str | Path, stdin: str | bytes = "", **env: str) -> Ran: ...


@pytest.fixture(scope="session")
def forks() -> Iterator[ForkServer]:
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture
def program(forks: ForkServer) -> Cli:
    def run(*arguments: str | Path, stdin: str | bytes = "", **env: str) -> Ran:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        code, out, err = forks.run([*map(str, arguments)], data, {**os.environ, **env})
        ran = Ran(code, out.decode(), err.decode())
        assert "Traceback" not in ran.err, ran.err
        return ran

    return run


@pytest.fixture
def anywhere(home: Path, program: Cli) -> Cli:
    """The program with an empty home and no servers configured."""
    return program


@pytest.fixture
def cli(product: Path, program: Cli) -> Iterator[Cli]:
    """The program on the test's own database, which is emptied afterwards."""
    yield program
    with transaction() as connection:
        connection.execute(
            text("""
                TRUNCATE verifier.users, verifier.open_verifications, verifier.batches,
                         verifier.batch_items, verifier.batch_tallies, verifier.verifications,
                         verifier.attempts, verifier.providers, verifier.canaries,
                         verifier.job_runs, verifier.reminders, verifier.spending,
                         verifier.check_uses RESTART IDENTITY CASCADE
            """)
        )
        connection.execute(
            text("UPDATE verifier.lanes SET paused_at = NULL, not_before = NULL, paused_by = NULL")
        )
        connection.execute(text("UPDATE verifier.control SET stopped_at = NULL, stopped_by = NULL"))


@pytest.fixture
def users_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a CSV of so many fictional people, all of platform "default"."""

    def write(number: int, seed: int = 1, name: str = "users.csv") -> Path:
        path = tmp_path / name
        people = [{**row, "platform": "default"} for row in rows(number, seed)]
        path.write_text(csv_of(people), "utf-8")
        return path

    return write


PROVIDERS = """
[providers.tencent]
kind = "tencent"
secret_id = "env:TEST_SECRET_ID"
secret_key = "env:TEST_SECRET_KEY"
lanes = ["cmcc", "cucc", "ctcc"]

[providers.spare]
kind = "tencent"
action = "PhoneVerificationCMCC"
secret_id = "env:TEST_SECRET_ID"
secret_key = "env:TEST_SECRET_KEY"
lanes = ["cmcc"]
preference = 2
"""


@pytest.fixture
def providers(cli: Cli, product: Path) -> Path:
    """A configuration with two providers; their secrets are in no environment."""
    path = product / "verifier.toml"
    path.write_text(PROVIDERS, "utf-8")
    return path
