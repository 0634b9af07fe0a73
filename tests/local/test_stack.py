"""The whole local stack: what ``verifier dev up`` starts and how it ends."""

from __future__ import annotations

import os
import select
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from tests.local.watching import ROOT, alive, eventually, processes_mentioning, script, sql
from verifier.config import load
from verifier.errors import ConfigError
from verifier.local import processes
from verifier.local.sandbox_config import sandbox_port, write_local_config
from verifier.local.servers import EmbeddedServers
from verifier.local.stack import LocalStack
from verifier.outcomes import Lane
from verifier.sandbox.credentials import NAMES
from verifier.settings import running_endpoints

UP = """
import sys
from pathlib import Path
from verifier.local.stack import up
up(Path(sys.argv[1]))
"""


def test_the_procfile_and_the_local_stack_run_the_same_processes() -> None:
    lines = [line.partition(": ") for line in (ROOT / "Procfile").read_text().splitlines()]
    ours = {name: processes.worker_arguments(name) for name in processes.WORKERS}
    ours["beat"] = processes.beat_arguments()
    assert {name: command.split()[1:] for name, _, command in lines} == ours


def test_the_written_configuration_is_valid_private_and_follows_its_port(tmp_path: Path) -> None:
    path = tmp_path / "verifier.toml"
    assert write_local_config(path, tmp_path, 20_001)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    written = load(path)
    assert set(written.providers) == {"tencent", "aliyun", "aliyun_virtual", "reseller"}
    for lane in Lane:  # two independent ways
        assert len({written.providers[n].vendor for n in written.providers_of(lane)}) >= 2, lane
    path.write_text(path.read_text() + "\n[engine]\nthreads = 3\n")
    assert not write_local_config(path, tmp_path, 20_002)
    changed = load(path)
    assert changed.engine.threads == 3  # what was changed by hand stays
    assert changed.providers["tencent"].endpoint == "http://127.0.0.1:20002"


def test_no_secret_stands_in_the_written_configuration(tmp_path: Path) -> None:
    path = tmp_path / "verifier.toml"
    write_local_config(path, tmp_path, sandbox_port(tmp_path))
    secrets = [(tmp_path / "sandbox" / name).read_text().strip() for name in NAMES]
    assert len(secrets) == len(NAMES)
    assert not any(secret in path.read_text() for secret in secrets)


def test_a_wrong_file_is_refused_before_anything_is_started(state: Path) -> None:
    (state / "verifier.toml").write_text("[engine]\nthreds = 3\n")
    with pytest.raises(ConfigError, match="did you mean 'threads'"):
        LocalStack(state).start()
    (state / "verifier.toml").unlink()
    (state / "keyring.json").write_text("{}")
    (state / "keyring.json").chmod(0o600)
    with pytest.raises(ConfigError, match="key"):
        LocalStack(state).start()
    assert [path.name for path in state.iterdir()] == ["keyring.json"]


@pytest.mark.slow
def test_a_stack_starts_stops_in_order_and_leaves_nothing(state: Path) -> None:
    with script(UP, state) as stack:
        said = wait_until_ready(stack)
        found = running_endpoints(state)
        assert found is not None
        assert found.sandbox_url is not None
        assert sql(found.database_url, "SELECT 1") == [(1,)]
        stack.send_signal(signal.SIGINT)
        words, _ = stack.communicate(timeout=60)
        assert stack.returncode == 0, words
        assert "SecurityWarning" not in said + words
    assert processes_mentioning(str(state)) == []
    assert running_endpoints(state) is None


@pytest.mark.slow
def test_a_killed_stack_leaves_nothing_running(state: Path) -> None:
    with script(UP, state) as stack:
        wait_until_ready(stack)
        children = _descendants(stack.pid)
        assert len(children) >= 10  # servers, sandbox, beat, three workers and their processes
        stack.kill()
        eventually(lambda: not any(alive(pid) for pid in children))


@pytest.mark.slow
def test_with_servers_of_its_own_choice_a_stack_starts_none(
    state: Path, database_url: str, broker_url: str
) -> None:
    urls = {"VERIFIER_DATABASE_URL": database_url, "VERIFIER_BROKER_URL": broker_url}
    with script(UP, state, env=urls) as stack:
        wait_until_ready(stack)
        assert not (state / "postgres").exists()
        assert not (state / "run" / "endpoints.json").exists()  # it would hold their passwords
        stack.send_signal(signal.SIGTERM)
        stack.communicate(timeout=60)
        assert stack.returncode == 0


@pytest.mark.slow
def test_a_second_stack_on_the_same_home_is_refused(state: Path) -> None:
    with EmbeddedServers(state, durable=False), script(UP, state) as second:
        words, _ = second.communicate(timeout=60)
    assert "AlreadyRunningError" in words
    assert second.returncode == 1


def wait_until_ready(stack: subprocess.Popen[str], seconds: float = 40.0) -> str:
    """Read what it says until it is ready, and return that; fail when a child crashes."""
    assert stack.stdout is not None
    descriptor = stack.stdout.fileno()
    heard = b""

    def is_ready() -> bool:
        nonlocal heard
        if select.select([descriptor], [], [], 0)[0]:
            part = os.read(descriptor, 65_536)
            assert part, heard.decode()  # it ended
            heard += part
        assert b"starting again" not in heard, heard.decode()
        return b"\nready;" in heard

    eventually(is_ready, seconds)
    return heard.decode()


def _descendants(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (entry / "stat").exists():
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        below = parents.get(todo.pop(), [])
        found += below
        todo += below
    return found
