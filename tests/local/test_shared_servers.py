"""The fixtures that every other test stands on."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import redis

from tests.local.watching import eventually, script, sql
from verifier import settings
from verifier.store import schema

BORROW = """
import sys
from tests.servers import shared_servers
with shared_servers(sys.argv[1]) as servers:
    print(servers.directory, servers.database_url, flush=True)
    sys.stdin.readline()
"""


def test_a_module_gets_a_migrated_database_of_its_own(database_url: str) -> None:
    assert schema.current(database_url) == schema.head()
    assert sql(database_url, "SELECT current_database()") == [(database_url.rpartition("/")[2],)]


def test_a_test_gets_an_empty_broker(broker_url: str) -> None:
    with redis.Redis.from_url(broker_url) as client:
        assert client.dbsize() == 0


def test_the_process_is_configured_for_the_tests_own_servers(
    product: Path, database_url: str, broker_url: str
) -> None:
    assert settings.database_url() == database_url
    assert settings.broker_url() == broker_url
    assert settings.settings().home == product
    assert stat.S_IMODE((product / "keyring.json").stat().st_mode) == 0o600


def test_two_processes_of_a_run_share_servers_that_outlive_neither() -> None:
    run = f"shared-{os.getpid()}"
    with script(BORROW, run) as first, script(BORROW, run) as second:
        assert first.stdout is not None
        assert second.stdout is not None
        line = first.stdout.readline()
        assert second.stdout.readline() == line
        directory, url = line.split()
        first.kill()  # whoever started them may be killed
        first.wait()
        assert sql(url, "SELECT 1") == [(1,)]
        second.kill()
        eventually(lambda: not Path(directory).exists())
