"""Progress of long commands: a bar on a terminal, a line every ten seconds anywhere else."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from verifier.cli import talk

if TYPE_CHECKING:
    from verifier.cli.bar import Bar

_LINE_SECONDS = 10.0


class Progress:
    """``label: detail`` and how much of ``total`` is done (None: nobody knows the total).

    All of it goes to standard error.
    """

    def __init__(self, label: str, total: int | None = None) -> None:
        self._label = label
        self._total = total
        self._next_line = time.monotonic() + _LINE_SECONDS
        self._bar: Bar | None = None
        if sys.stderr.isatty():
            # Imported here: most commands never show a bar, and rich is slow to load.
            from verifier.cli.bar import Bar

            self._bar = Bar(label, total)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, detail: str, total: int | None = None, note: str = "") -> None:
        """``done`` of the total is done; ``detail`` says it in the field's words; ``note``, if
        any, why it does not move."""
        self._total = total or self._total
        if self._bar is not None:
            self._bar.update(done, [detail, note] if note else [detail], self._total)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LINE_SECONDS
            share = f" ({done / self._total:.0%})" if self._total else ""
            talk.say(f"{self._label}: {detail}{share}" + (f"; {note}" if note else ""))
