"""All parts in one go, compared in turns, and a table of promises and what was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks import intake, interactive, machine, product, tutorial
from benchmarks.measured import Measured
from benchmarks.stage import Stage

#: Turns of product and tutorial; what is compared is the median.
TURNS: Final = 3
DELAY: Final = 0.05


@dataclass(frozen=True, slots=True)
class Promise:
    """``limit`` is the most, or with ``at_least`` the least, that ``found`` may be.

    ``scales``: what a machine twice as slow finds twice as large (or half as large).
    """

    what: str
    unit: str
    limit: float
    found: float
    at_least: bool = False
    scales: bool = False

    def at_speed(self, slowness: float) -> float:
        """What would have been found on a machine so many times faster."""
        if not self.scales:
            return self.found
        return self.found * slowness if self.at_least else self.found / slowness

    def is_kept_at_speed(self, slowness: float) -> bool:
        """Whether it is kept, or would be on a machine so many times faster."""
        return self.is_kept(self.at_speed(slowness))

    def is_kept(self, found: float) -> bool:
        return found >= self.limit if self.at_least else found <= self.limit


class _Turns:
    """Product and tutorial with the same carrier, one after the other, several times."""

    def __init__(self, stage: Stage, turns: int, users: int, fewer: int, delay: float) -> None:
        self.product: list[Measured] = []
        self.tutorial: list[Measured] = []
        for _ in range(turns):
            self.product.append(product.measure(stage, users, delay))
            self.tutorial.append(tutorial.measure(stage, fewer, delay))

    def of_product(self, figure: Callable[[Measured], float]) -> float:
        return median(map(figure, self.product))

    def of_tutorial(self, figure: Callable[[Measured], float]) -> float:
        return median(map(figure, self.tutorial))

    def as_dict(self) -> dict[str, Any]:
        return {
            "product": [one.as_dict() for one in self.product],
            "tutorial": [one.as_dict() for one in self.tutorial],
        }


def measure(stage: Stage, scale: float) -> dict[str, Any]:
    """Measure everything, print the table, return all figures."""

    def sized(number: int) -> int:
        return max(100, round(number * scale))

    speeds = [machine.yardstick()]
    imported = intake.measure_import(stage, sized(200_000))
    selected, listed = intake.measure_submit(stage, sized(1_000_000))
    at_once = _Turns(stage, TURNS, sized(10_000), sized(1_500), 0.0)
    delayed = _Turns(stage, TURNS, sized(10_000), sized(400), DELAY)
    # However small the scale, the batch must last longer than the questions.
    asked = interactive.measure(stage, max(20_000, sized(100_000)), sized(200), DELAY)
    speeds.append(machine.yardstick())
    long = product.measure(stage, sized(200_000), 0.0)
    speeds.append(machine.yardstick())
    slowness = median(speeds) / machine.REFERENCE

    def worker_ms(one: Measured) -> float:
        return one.worker_ms

    def rate(one: Measured) -> float:
        return one.rate

    cpu, tutorial_cpu = at_once.of_product(worker_ms), at_once.of_tutorial(worker_ms)
    speed, tutorial_speed = delayed.of_product(rate), delayed.of_tutorial(rate)
    promises = [
        Promise("worker CPU per user", "ms", 0.7, cpu, scales=True),
        Promise("… less than the tutorial's, times", "", 5, tutorial_cpu / cpu, at_least=True),
        Promise("throughput of the tutorial's at 50 ms, times", "", 8, speed / tutorial_speed,
                at_least=True),
        Promise("transactions per user", "", 0.01, long.transactions),
        Promise("PostgreSQL CPU per user", "ms", 0.1, long.postgres_ms, scales=True),
        Promise(f"memory growth, {_grown(long.memory)[0]:,} to {long.users:,} users", "MiB", 10,
                _grown(long.memory)[1]),
        Promise("import, encrypted", "rows/s", 20_000, imported.rate, at_least=True,
                scales=True),
        Promise("import, per second of its CPU", "rows", 20_000, imported.cpu_rate, at_least=True,
                scales=True),
        Promise(f"submit of {selected.number:,}, by selection", "s", 20 * scale, selected.wall,
                scales=True),
        Promise(f"submit of {listed.number:,}, by list", "s", 20 * scale, listed.wall,
                scales=True),
        Promise("verify_one during a batch, over the carrier, p50", "ms", 25,
                asked.percentile(50), scales=True),
        Promise("verify_one during a batch, over the carrier, p99", "ms", 200,
                asked.percentile(99), scales=True),
    ]  # fmt: skip
    _print(promises, slowness, at_once, delayed, long)
    return {
        "promises": [
            {
                "what": p.what,
                "limit": p.limit,
                "found": p.found,
                "kept": p.is_kept(p.found),
                "at_reference_speed": p.at_speed(slowness),
                "kept_at_reference_speed": p.is_kept_at_speed(slowness),
            }
            for p in promises
        ],
        "microseconds_of_a_post": speeds,
        "import": imported.as_dict(),
        "submit": {"by_selection": selected.as_dict(), "by_list": listed.as_dict()},
        "carrier answers at once": at_once.as_dict(),
        "carrier answers after 50 ms": delayed.as_dict(),
        "interactive": asked.as_dict(),
        "long batch": long.as_dict(),
    }


def _grown(memory: Sequence[tuple[int, float]]) -> tuple[int, float]:
    """From how many users on, and by how many MiB at most memory grew after that."""
    if not memory:
        return 0, 0.0
    last = memory[-1][0]
    start = next(place for place, (users, _) in enumerate(memory) if users >= last / 20)
    first_users, first = memory[start]
    return first_users, max(mib for _, mib in memory[start:]) - first


def _print(
    promises: Sequence[Promise],
    slowness: float,
    at_once: _Turns,
    delayed: _Turns,
    long: Measured,
) -> None:
    console = Console(highlight=False)
    console.width = max(console.width, 120)
    runs = Table(title="Runs: medians of the turns", title_justify="left")
    for column in ("", "users", "users/s", "worker ms", "control ms", "PostgreSQL ms", "commits"):
        runs.add_column(column, justify="left" if not column else "right")
    for name, measured in (
        ("product, carrier 0 ms", at_once.product),
        ("tutorial, carrier 0 ms", at_once.tutorial),
        ("product, carrier 50 ms", delayed.product),
        ("tutorial, carrier 50 ms", delayed.tutorial),
        ("product, long batch", [long]),
    ):
        runs.add_row(
            name,
            f"{measured[0].users:,}",
            f"{median(m.rate for m in measured):,.0f}",
            f"{median(m.worker_ms for m in measured):.2f}",
            f"{median(m.others_ms for m in measured):.3f}",
            f"{median(m.postgres_ms for m in measured):.3f}",
            f"{median(m.transactions for m in measured):.4f}",
        )
    console.print(runs)
    table = Table(title="Promises", title_justify="left")
    for column in ("", "promised", "found", "", "at reference speed", ""):
        table.add_column(column, justify="left" if not column else "right")
    for promise in promises:
        sign = "≥" if promise.at_least else "≤"
        table.add_row(
            promise.what,
            f"{sign} {promise.limit:,g} {promise.unit}".rstrip(),
            f"{promise.found:,.4g} {promise.unit}".rstrip(),
            "kept" if promise.is_kept(promise.found) else "NOT KEPT",
            f"{promise.at_speed(slowness):,.4g}" if promise.scales else "",
            ("kept" if promise.is_kept_at_speed(slowness) else "NOT KEPT")
            if promise.scales
            else "",
        )
    console.print(table)
    console.print(
        f"This machine took {slowness * machine.REFERENCE:,.0f} µs of CPU for requests' "
        f"Session.post, the one the promises were set on {machine.REFERENCE:,.0f} µs: "
        f"{slowness:.2f} times as long."
    )
