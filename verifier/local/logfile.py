"""Log files of child processes: private, appended to, and bounded from start to start."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from verifier.local.state import make_directory

_LARGEST = 10 * 1024 * 1024


def open_log(path: Path) -> BinaryIO:
    """Open ``path`` (0600) for a child to append to. One larger than 10 MB is moved to ``.1``."""
    make_directory(path.parent)
    if path.exists() and path.stat().st_size > _LARGEST:
        path.replace(path.with_name(path.name + ".1"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return os.fdopen(descriptor, "ab", buffering=0)


def tail(path: Path, lines: int, since: int = 0) -> str:
    """The last lines a child wrote after byte ``since``, to say why it failed."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(since, size - 16_384))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
