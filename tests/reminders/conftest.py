"""The product on real servers, with the sandbox as its vendors. One clean world a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.reminders.world import World
from verifier import doorbell
from verifier.identity.keyring import KeyRing
from verifier.reminders import runtime as runtime_module
from verifier.sandbox.server import SandboxServer
from verifier.store import clock
from verifier.store.engine import transaction


@pytest.fixture
def world(product: Path, keyring: KeyRing) -> Iterator[World]:
    with transaction() as connection:
        connection.execute(
            text("""
                TRUNCATE verifier.users, verifier.reminders, verifier.job_runs, verifier.batches,
                         verifier.verifications, verifier.attempts, verifier.open_verifications,
                         verifier.pacing, verifier.providers CASCADE
            """)
        )
        connection.execute(text("UPDATE verifier.control SET stopped_at = NULL"))
        clock.reset(connection)
    runtime_module.reset()
    doorbell.reset()
    with SandboxServer(product / "sandbox") as sandbox:
        yield World(product, keyring, sandbox)
    if runtime_module.runtime.cache_info().currsize:
        for gateway in runtime_module.runtime().gateways.values():
            gateway.close()
    runtime_module.reset()
    doorbell.reset()
