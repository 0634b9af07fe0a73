"""The supervisor, over small real processes."""

from __future__ import annotations

import io
import os
import stat
import sys
from pathlib import Path

import pytest

from tests.local.watching import alive, eventually, script
from verifier.errors import VerifierError
from verifier.local.children import ChildProcess
from verifier.local.logstream import LogStream
from verifier.local.supervisor import Supervisor

# Says that it is up, and, when asked to stop, writes its name to a common file first.
POLITE = """
import os, signal, sys, time
def leave(*_):
    with open("order", "a") as file:
        file.write(sys.argv[1] + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("up", os.getpid(), flush=True)
open(sys.argv[1] + ".ready", "w").close()
while True:
    signal.pause()
"""
STUBBORN = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
below = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open("pids", "w") as file:
    file.write(f"{os.getpid()} {below.pid}")
open("stubborn.ready", "w").close()
while True:
    signal.pause()
"""


def child(
    directory: Path, name: str, *, stage: int = 0, text: str = POLITE, log: Path | None = None
) -> ChildProcess:
    ready = directory / f"{name}.ready"
    return ChildProcess(
        name=name,
        argv=[sys.executable, "-c", text, name],
        env=os.environ,
        stage=stage,
        cwd=directory,
        log=log,
        is_ready=ready.exists,
        stale=(ready,),
    )


def test_children_stop_stage_by_stage_and_their_lines_carry_their_names(tmp_path: Path) -> None:
    heard = io.StringIO()
    names = {"server": 2, "metronome": 1, "worker": 0}
    children = [child(tmp_path, name, stage=stage) for name, stage in names.items()]
    supervisor = Supervisor(children, LogStream(heard))
    supervisor.start()
    supervisor.wait_ready(20)
    supervisor.stop()
    assert (tmp_path / "order").read_text().split() == ["worker", "metronome", "server"]
    lines = sorted(heard.getvalue().splitlines())
    assert lines == sorted(f"{c.name:<11}| up {c.pid}" for c in children)


def test_a_crashed_child_is_started_again(tmp_path: Path) -> None:
    heard = io.StringIO()
    worker = child(tmp_path, "worker")
    supervisor = Supervisor([worker], LogStream(heard))
    supervisor.start()
    try:
        supervisor.wait_ready(20)
        first = worker.pid
        assert first is not None
        worker.kill()
        eventually(lambda: worker.pid != first and worker.ready())
    finally:
        supervisor.stop()
    assert "was killed by SIGKILL; starting again in 0.5 s" in heard.getvalue()


def test_a_child_that_cannot_start_is_named(tmp_path: Path) -> None:
    broken = child(tmp_path, "broken", text="raise SystemExit('no')")
    heard = io.StringIO()
    supervisor = Supervisor([child(tmp_path, "worker"), broken], LogStream(heard))
    supervisor.start()
    try:
        with pytest.raises(VerifierError, match="Not ready: broken"):
            supervisor.wait_ready(30)
    finally:
        supervisor.stop()
    assert "in 1.0 s" in heard.getvalue()  # it waits longer each time


def test_a_program_that_does_not_exist_stops_what_was_started_and_is_reported(
    tmp_path: Path,
) -> None:
    worker = child(tmp_path, "worker")
    absent = child(tmp_path, "absent")
    absent.argv = [str(tmp_path / "absent")]
    with pytest.raises(FileNotFoundError):
        Supervisor([worker, absent], LogStream(None)).start()
    assert worker.pid is not None
    assert not alive(worker.pid)


def test_a_second_request_does_not_wait_for_a_stubborn_child_or_its_children(
    tmp_path: Path,
) -> None:
    supervisor = Supervisor([child(tmp_path, "stubborn", text=STUBBORN)], LogStream(None))
    supervisor.start()
    supervisor.wait_ready(20)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    supervisor.ask_to_stop()
    assert not supervisor.wait_stopped(0.3)
    supervisor.hasten()
    assert supervisor.wait_stopped(10)
    eventually(lambda: not any(alive(pid) for pid in pids))


def test_output_goes_to_a_private_file_when_asked(tmp_path: Path) -> None:
    log = tmp_path / "log" / "worker.log"
    worker = child(tmp_path, "worker", log=log)
    supervisor = Supervisor([worker], LogStream(None))
    supervisor.start()
    supervisor.wait_ready(20)
    supervisor.stop()
    assert log.read_text() == f"up {worker.pid}\n"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_killed_supervisor_leaves_no_child(tmp_path: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from tests.local.test_supervisor import child
from verifier.local.logstream import LogStream
from verifier.local.supervisor import Supervisor
worker = child(Path(sys.argv[1]), "worker")
supervisor = Supervisor([worker], LogStream(None))
supervisor.start()
supervisor.wait_ready(20)
print(worker.pid, flush=True)
sys.stdin.readline()
"""
    with script(program, tmp_path) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
        eventually(lambda: not alive(pid), seconds=5)


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for wanted in (True, False):
        terminal = Terminal()
        monkeypatch.delenv("NO_COLOR", raising=False)
        if not wanted:
            monkeypatch.setenv("NO_COLOR", "1")
        LogStream(terminal).say("worker", "hello")
        assert ("\x1b[" in terminal.getvalue()) is wanted
