"""Waiting for what a test expects, with a deadline; looking at processes and sockets."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg2

from verifier.local import process

ROOT = Path(__file__).parent.parent.parent


def eventually(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Return as soon as ``condition`` holds; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    return bool(process.command_line(pid))


def processes_mentioning(text: str) -> list[int]:
    """Every live process with ``text`` in its arguments."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if any(text in part for part in process.command_line(pid))]


def listening_addresses(port: int) -> set[str]:
    """The local addresses (as the kernel writes them) that listen on ``port``."""
    found = set()
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net") / table
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            local, state = line.split()[1], line.split()[3]
            address, _, number = local.rpartition(":")
            if state == "0A" and int(number, 16) == port:
                found.add(address)
    return found


def sql(url: str, statement: str) -> list[tuple[object, ...]]:
    """Run one statement on its own connection; its rows if it has any."""
    connection = psycopg2.connect(url.replace("+psycopg2", ""))
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()


@contextmanager
def script(
    text: str,
    *arguments: str | Path | int,
    env: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Run ``text`` as a Python program; it is killed at the end if it still runs."""
    command = [sys.executable, "-c", text, *map(str, arguments)]
    program = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with program:
        try:
            yield program
        finally:
            if program.poll() is None:
                program.kill()
