"""One stream of what all children say, each line under its speaker's name.

Colours only on a terminal, and not with NO_COLOR. Never blocks on a silent child, and a terminal
that has gone away stops the talk, not the work.
"""

from __future__ import annotations

import os
import selectors
from typing import TextIO

_COLOURS = ("36", "33", "32", "35", "34", "96", "93", "92")
_LONGEST_LINE = 64 * 1024


class LogStream:
    """Reads the children's pipes and writes whole, prefixed lines to ``stream`` (None: nowhere)."""

    def __init__(self, stream: TextIO | None, *, width: int = 11) -> None:
        self._stream = stream
        self._width = width
        self._coloured = stream is not None and stream.isatty() and not os.environ.get("NO_COLOR")
        self._selector = selectors.DefaultSelector()
        self._partial: dict[int, bytes] = {}
        self._colour_of: dict[str, str] = {}

    def follow(self, name: str, descriptor: int) -> None:
        """Pass on what can be read from ``descriptor`` until its end; it is closed then."""
        os.set_blocking(descriptor, False)
        self._partial[descriptor] = b""
        self._selector.register(descriptor, selectors.EVENT_READ, name)

    def say(self, name: str, text: str) -> None:
        """A line of the supervisor's own about ``name``."""
        self._write(name, text)

    def pump(self) -> None:
        """Pass on everything that is there to be read now."""
        for key, _ in self._selector.select(timeout=0):
            self._read(int(key.fd), str(key.data))

    def close(self) -> None:
        """Pass on what is left and let go of every pipe."""
        self.pump()
        for key in list(self._selector.get_map().values()):
            self._forget(int(key.fd), str(key.data))
        self._selector.close()

    def _read(self, descriptor: int, name: str) -> None:
        try:
            part = os.read(descriptor, _LONGEST_LINE)
        except BlockingIOError:
            return
        if not part:
            self._forget(descriptor, name)
            return
        *lines, rest = (self._partial[descriptor] + part).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            lines, rest = [*lines, rest], b""
        self._partial[descriptor] = rest
        for line in lines:
            self._write(name, line.decode("utf-8", "replace").rstrip("\r"))

    def _forget(self, descriptor: int, name: str) -> None:
        self._selector.unregister(descriptor)
        rest = self._partial.pop(descriptor)
        os.close(descriptor)
        if rest:
            self._write(name, rest.decode("utf-8", "replace"))

    def _write(self, name: str, line: str) -> None:
        if self._stream is None:
            return
        prefix = f"{name:<{self._width}}|"
        if self._coloured:
            colour = self._colour_of.setdefault(
                name, _COLOURS[len(self._colour_of) % len(_COLOURS)]
            )
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        try:
            self._stream.write(f"{prefix} {line}\n")
            self._stream.flush()
        except OSError:  # the terminal was closed
            self._stream = None
