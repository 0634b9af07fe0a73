"""The bar of a long command on a terminal: how much on one line, in words on the next ones.

The words have lines of their own so that the bar keeps its width, however many outcomes there are.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

_WIDTH = 40


class Bar:
    """One bar on standard error, gone when it stops. ``console`` is for tests."""

    def __init__(self, label: str, total: int | None, console: Console | None = None) -> None:
        self._rich = _WithWords(
            TextColumn("{task.description}"),
            BarColumn(bar_width=_WIDTH),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=console or Console(stderr=True),
            transient=True,
        )
        self._task = self._rich.add_task(label, total=total)

    def start(self) -> None:
        self._rich.start()

    def stop(self) -> None:
        self._rich.stop()

    def update(self, done: int, words: Iterable[str], total: int | None) -> None:
        self._rich.words = tuple(words)
        self._rich.update(self._task, completed=done, total=total)


class _WithWords(Progress):
    words: tuple[str, ...] = ()

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        for line in self.words:
            yield Text(f"  {line}", no_wrap=True, overflow="ellipsis")
