"""What the tests of the embedded servers need: a home of their own, and eyes on processes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local.watching import eventually, processes_mentioning
from tests.servers import scratch_directory
from verifier.settings import settings


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A VERIFIER_HOME that the servers' account can reach (pytest's own is closed under root)."""
    for name in list(os.environ):
        if name.startswith("VERIFIER_"):
            monkeypatch.delenv(name)
    path = Path(tempfile.mkdtemp(prefix="verifier-state-", dir=scratch_directory()))
    path.chmod(0o711)
    monkeypatch.setenv("VERIFIER_HOME", str(path))
    settings.cache_clear()
    yield path
    settings.cache_clear()
    # A test may kill the servers' parent last of all: they need a moment to leave.
    eventually(lambda: not processes_mentioning(str(path)))
    shutil.rmtree(path)
