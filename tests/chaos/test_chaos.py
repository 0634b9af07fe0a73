"""Every fault of ``make chaos``, at batches of 2,000, with one seed.

Faults that belong together strike the same batch in turn, so that the suite pays for few of them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from tests.chaos import faults, table
from tests.chaos.stage import Stage
from tests.chaos.trial import run
from tests.processes import kill_group, until
from tests.servers import scratch_directory
from verifier.local import process as local_process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

_USERS = 2000
_GROUPS = {
    "worker killed": ("kill-child", "kill-worker", "freeze-worker"),
    "worker told to stop": ("term-worker", "term-group", "kill-sweeper", "kill-beat"),
    "broker": ("wipe-valkey", "restart-valkey", "freeze-valkey"),
    "database": ("restart-postgres", "crash-postgres", "freeze-postgres", "cut-commits"),
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("chaos")) as ready:
        yield ready


@pytest.mark.parametrize("group", _GROUPS)
def test_a_batch_under_fire_loses_nobody(stage: Stage, group: str) -> None:
    struck = [faults.by_name(name) for name in _GROUPS[group]]
    trial = run(stage, group, struck, _USERS, f"tests {group}")
    table.show(Console(width=110, highlight=False), [trial])
    assert trial.broken == []


def test_a_run_told_to_end_leaves_nothing(tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="verifier-ended-", dir=scratch_directory()))
    folder.chmod(0o711)  # the servers' account must pass
    said = tmp_path / "said"
    with said.open("wb") as file:
        process: subprocess.Popen[bytes] = local_process.spawn(
            [sys.executable, "-m", "tests.chaos", "--users", "50", "--only", "kill-worker"],
            death_signal=signal.SIGKILL,
            output=file,
            env={**os.environ, "TMPDIR": str(folder)},
            cwd=Path(__file__).parents[2],
        )
    try:
        until(lambda: list(folder.glob("verifier-chaos-*/keyring.json")), 60, "the key ring")
        process.terminate()
        assert process.wait(60) == 143, said.read_text("utf-8")
        assert list(folder.glob("verifier-chaos-*")) == []
    finally:
        kill_group(process)
        shutil.rmtree(folder)


def test_every_fault_is_tried() -> None:
    tried = [name for names in _GROUPS.values() for name in names]
    assert sorted(tried) == sorted(fault.name for fault in faults.FAULTS)
