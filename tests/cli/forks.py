"""Runs the program as a process of its own without loading its libraries each time.

A server process loads what commands need, and forks for each command: the child has its own
environment, files and exit code, as if it had been started from a shell. It is single-threaded, so
forking it is safe. ``tests/cli/test_manners.py`` starts the program from scratch.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LOADED = (
    "psycopg2",
    "verifier.audit.report",
    "verifier.cli.checks.installation",
    "verifier.cli.faults",
    "verifier.cli.rerunning",
    "verifier.cli.root",
    "verifier.cli.statusview",
    "verifier.cli.userview",
    "verifier.client",
    "verifier.reminders.send",
    "verifier.telemetry",
)


class ForkServer:
    """Asked through a pipe; one command at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.forks"],
            cwd=Path(__file__).parent.parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self, arguments: Sequence[str], stdin: bytes, env: Mapping[str, str]
    ) -> tuple[int, bytes, bytes]:
        """(exit code, standard output, standard error) of the program."""
        with tempfile.TemporaryDirectory() as directory:
            files = [Path(directory) / name for name in ("in", "out", "err")]
            files[0].write_bytes(stdin)
            request = {"arguments": [*arguments], "env": {**env}, "files": [*map(str, files)]}
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            return code, files[1].read_bytes(), files[2].read_bytes()

    def close(self) -> None:
        self._process.communicate()


def _serve() -> None:
    for name in LOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(request: Mapping[str, Any]) -> None:
    """Be the program: never returns."""
    from verifier.cli.faults import run
    from verifier.cli.root import cli

    modes = (os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT)
    for descriptor, (file, mode) in enumerate(zip(request["files"], modes, strict=True)):
        os.dup2(os.open(file, mode, 0o600), descriptor)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(request["env"])
    try:
        code = run(cli, request["arguments"])
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve()
