"""Starting, recognising and stopping child processes.

Every child is the leader of its own session (a Ctrl-C at the terminal reaches only its parent, and
a whole group can be signalled) and, on Linux, receives a signal when the thread that started it
ends, so that ``kill -9`` of the parent leaves nothing running. Callers therefore start children
from a thread that lives as long as they should. Without that kernel feature (macOS) a left-over
server is found and stopped by the next start.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from verifier.local.accounts import Account

_PR_SET_PDEATHSIG = 1
#: Resolved before any fork: the child of a threaded process should do as little as it can.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def spawn(
    argv: Sequence[str | Path],
    *,
    death_signal: signal.Signals,
    output: int | IO[bytes],
    account: Account | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start ``argv`` as ``account`` (None: as ourselves), its two outputs going to ``output``."""
    parent = os.getpid()

    def tie_to_parent() -> None:
        # After setuid, which would clear the setting.
        if _prctl is not None:
            _prctl(_PR_SET_PDEATHSIG, int(death_signal))
            if os.getppid() != parent:  # the parent died before the line above
                os._exit(1)

    identity = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
    started: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603 - our own programs
        [os.fspath(part) for part in argv],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=dict(env) if env is not None else None,
        cwd=cwd,
        start_new_session=True,
        preexec_fn=tie_to_parent,
        **identity,  # type: ignore[call-overload]
    )
    return started


def command_line(pid: int) -> list[str]:
    """The arguments of a live process; empty when there is none (or only its zombie)."""
    if Path("/proc/self").exists():
        try:
            raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return []
        return [part.decode("utf-8", "surrogateescape") for part in raw.split(b"\0") if part]
    shown = subprocess.run(  # noqa: S603 - a number is the only variable part
        ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    return shown.stdout.split()


def wait_until_gone(pid: int, argument: str, seconds: float) -> bool:
    """Whether the process ``pid``, known by one of its arguments, ended within ``seconds``."""
    deadline = time.monotonic() + seconds
    while any(argument in part for part in command_line(pid)):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


def stop_orphan(pid: int, argument: str, gentle: signal.Signals, last: signal.Signals) -> None:
    """Stop a server left behind by a killed parent, if ``pid`` still is that server.

    The caller holds the lock of its state, so nobody else owns it. A recycled pid, whose command
    line lacks ``argument``, is left alone.
    """
    for number, seconds in ((gentle, 20.0), (last, 10.0), (signal.SIGKILL, 5.0)):
        if not any(argument in part for part in command_line(pid)):
            return
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        if wait_until_gone(pid, argument, seconds):
            return


def stop(process: subprocess.Popen[bytes], gentle: signal.Signals, seconds: float) -> int:
    """Signal ``process``, wait, and kill its whole group after ``seconds``. Returns its status."""
    if process.poll() is None:
        process.send_signal(gentle)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            kill_group(process)
    return process.wait()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to ``process`` and to everything it started in its session's group."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def describe_status(status: int) -> str:
    """``exited with 1`` or ``was killed by SIGKILL``."""
    if status >= 0:
        return f"exited with {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
