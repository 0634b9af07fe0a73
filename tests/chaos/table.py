"""The table at the end of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from tests.chaos.trial import Recovery, Trial

_COLUMNS = ("fault", "users", "lost", "wrong", "called twice", "in flight", "next", "recovered")
_LEGEND = """\
called twice: people called more often than without the fault; in flight: at most so many may be.
next: seconds from the fault (or the end of the outage) until a verdict was recorded by somebody;
recovered: until everything that was claimed when it struck had been answered."""


def show(console: Console, trials: Iterable[Trial]) -> None:
    """Print a row a batch; below one that several faults struck, a row a fault."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column == "fault" else "right")
    for trial in trials:
        for row in _rows(trial):
            table.add_row(*row)
    console.print(table)
    console.print(_LEGEND)
    for trial in trials:
        if trial.waited:
            waits = ", ".join(f"{number} {reason}" for reason, number in trial.waited.items())
            console.print(f"{trial.title}: waited by policy (the clock was moved on): {waits}")
        for recovery in trial.recoveries:
            if recovery.noted:
                console.print(f"{recovery.fault}: {recovery.noted}")
        if trial.judgement.overbilled:
            console.print(f"{trial.title}: {trial.judgement.overbilled} billed above policy")
        for why in trial.broken:
            console.print(f"BROKEN {trial.title}: {why}", style="red", soft_wrap=True)


def _rows(trial: Trial) -> Sequence[Sequence[str]]:
    found = trial.judgement
    head = [
        f"{trial.users:,}",
        *map(str, (found.lost, found.wrong, found.called_twice, f"≤ {found.called_twice_bound}")),
    ]
    if len(trial.recoveries) == 1:
        return [[trial.title, *head, *_seconds(trial.recoveries[0])]]
    parts = [
        [f"  {recovery.fault}", *[""] * len(head), *_seconds(recovery)]
        for recovery in trial.recoveries
    ]
    return [[trial.title, *head, "", ""], *parts]


def _seconds(recovery: Recovery) -> tuple[str, str]:
    return _one(recovery.first), _one(recovery.whole)


def _one(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.1f} s"
