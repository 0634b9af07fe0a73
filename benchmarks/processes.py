"""What processes have used: memory, and CPU time with all descendants, ended ones included."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_TICK: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """User and system time of ``pid``, of its live descendants, and of those that ended."""
    try:
        # The name, in brackets, may hold spaces: fields are counted behind it.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0  # ended since it was listed: its parent's account has it
    own = sum(map(int, fields[11:15])) / _TICK  # utime stime cutime cstime
    return own + sum(map(cpu_seconds, children_of(pid)))


def children_of(pid: int) -> list[int]:
    """The live children of all threads of ``pid``."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError):  # ended since it was listed
            found += map(int, task.read_text("utf-8").split())
    return found


def resident_mib(pid: int) -> float:
    """Memory that ``pid`` holds now, shared pages included, in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("utf-8").split()[1])
    return pages * _PAGE / 2**20
