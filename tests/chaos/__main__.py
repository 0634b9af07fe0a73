"""``python -m tests.chaos``: every fault at a batch of its own, then a storm of them in one batch.

Repeatable: the people, the instants and the storm follow from the seed. Prints a table; exits with
1 when a promise was broken, and then keeps the logs of the processes.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from rich.console import Console

from tests.chaos import faults as catalogue
from tests.chaos import table
from tests.chaos.faults import Fault
from tests.chaos.stage import Stage
from tests.chaos.trial import Trial, run

STORM = "storm"


@click.command()
@click.option(
    "--users",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="People in each batch.",
)
@click.option("--seed", default=1, show_default=True, help="Any number; the same gives the same.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice([*(fault.name for fault in catalogue.FAULTS), STORM]),
    help="This fault alone; repeat it for several.",
)
def main(users: int, seed: int, only: Sequence[str]) -> None:
    """Strike faults at batches in flight and check every promise."""
    console = Console(highlight=False, width=max(100, Console().width))
    trials: list[Trial] = []
    begun = time.monotonic()
    with _logs() as logs, Stage(logs) as stage:
        for title, struck in _programme(seed, only):
            trial = run(stage, title, struck, users, f"{seed} {title}")
            trials.append(trial)
            kept = "BROKEN" if trial.broken else "held"
            console.print(f"{title}: {kept}, {trial.seconds:.0f} s")
            if trial.broken:
                stage.wipe()
    console.print()
    table.show(console, trials)
    console.print(f"seed {seed}, {time.monotonic() - begun:.0f} s in all")
    if any(trial.broken for trial in trials):
        console.print(f"The logs of the processes: {logs}")
        sys.exit(1)
    shutil.rmtree(logs)


@contextlib.contextmanager
def _logs() -> Iterator[Path]:
    """A directory that stays only to be looked at: not when the run was told to end."""
    signal.signal(signal.SIGTERM, _end)
    logs = Path(tempfile.mkdtemp(prefix="verifier-chaos-logs-"))
    try:
        yield logs
    except (KeyboardInterrupt, SystemExit):
        shutil.rmtree(logs)
        raise


def _end(*_: object) -> None:
    """SIGTERM, as Ctrl-C: everything is taken down, once."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def _programme(seed: int, only: Sequence[str]) -> list[tuple[str, Sequence[Fault]]]:
    programme: list[tuple[str, Sequence[Fault]]] = [
        (fault.title, [fault]) for fault in catalogue.FAULTS if not only or fault.name in only
    ]
    if not only or STORM in only:
        programme.append((STORM, catalogue.storm(random.Random(f"{STORM} {seed}"))))
    return programme


if __name__ == "__main__":
    main()
