"""The drain flag: a byte shared by a worker's parent and its children.

The parent sets it when it is told to stop; drains look at it between calls and give back what they
have not started. It is made before the fork, so that all see the same byte.
"""

from __future__ import annotations

import mmap


class DrainFlag:
    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 1)

    def set(self) -> None:
        self._shared[0] = 1

    def __call__(self) -> bool:
        return self._shared[0] != 0


drain_flag = DrainFlag()
