"""Showing something again and again until it is done or somebody presses Ctrl-C."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import click

SECONDS = 2.0


def watch(show: Callable[[], bool]) -> None:
    """Call ``show`` every two seconds until it returns True. A terminal is cleared in between."""
    while True:
        if sys.stdout.isatty():
            click.clear()
        done = show()
        sys.stdout.flush()
        if done:
            return
        time.sleep(SECONDS)
