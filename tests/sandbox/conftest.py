"""A sandbox over real HTTP for every test, with one known customer of China Mobile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from verifier.outcomes import Lane
from verifier.sandbox.register import RegisterEntry
from verifier.sandbox.server import SandboxServer

PHONE, NAME, ID_NUMBER = "13800138000", "王小明", "11010519491231002X"
CUSTOMER = RegisterEntry(PHONE, NAME, ID_NUMBER, Lane.CMCC)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SandboxServer]:
    with SandboxServer(tmp_path / "sandbox") as running:
        running.client.put(CUSTOMER)
        yield running
