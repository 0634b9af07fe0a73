"""One person waits for an answer while a large batch runs: what the product adds to the carrier."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from statistics import quantiles
from typing import Any, Final

from benchmarks import stub
from benchmarks.stage import ROOT, Run, Stage, say, unique, until

WORKERS: Final = ("worker", "interactive", "control", "beat")
#: Calls answered before asking begins: the batch is under way.
_UNDER_WAY: Final = 1000


@dataclass(frozen=True, slots=True)
class Overhead:
    """Milliseconds over the carrier's own time, one a question, sorted."""

    milliseconds: list[float]

    def percentile(self, which: int) -> float:
        return quantiles(self.milliseconds, n=100, method="inclusive")[which - 1]

    def as_dict(self) -> dict[str, Any]:
        return {
            "questions": len(self.milliseconds),
            **{f"p{which}_ms": round(self.percentile(which), 1) for which in (50, 90, 99)},
        }


def measure(stage: Stage, batch: int, questions: int, delay: float) -> Overhead:
    """Ask ``questions`` times while ``batch`` users are verified; half of those asked about are
    of the batch themselves, the others are new."""
    with stub.running(delay) as carrier:
        run = stage.new_run(carrier.url)
        run.verifier("db", "upgrade")
        run.verifier("user", "import", stage.people(batch))
        run.verifier("user", "import", stage.people(questions + 1, seed=2))
        listed = run.listed("u1-")
        run.settle_down()
        under_way = min(_UNDER_WAY, batch // 10)
        with run.product(WORKERS):
            run.verifier("verify", "submit", "--from", listed, "--key", unique("bench"))
            until(lambda: carrier.count().calls > under_way, 60, "the batch to be under way")
            say(f"interactive: {questions} questions while {batch:,} are verified")
            answered = _ask(run, questions)
            left = batch - carrier.count().calls
    if left < 0:
        raise RuntimeError("The batch ended before the last question: take a larger one.")
    return Overhead(sorted(waited - carrier_ms for waited, carrier_ms in answered))


def _ask(run: Run, questions: int) -> list[tuple[float, float]]:
    half = questions // 2
    new = run.ask_all(
        "SELECT platform, reference FROM verifier.users WHERE starts_with(reference, 'u2-') "
        "ORDER BY id LIMIT %s",
        questions - half + 1,  # the first warms the connections up
    )
    waiting = run.ask_all(
        "SELECT platform, reference FROM verifier.users WHERE starts_with(reference, 'u1-') "
        "ORDER BY id DESC LIMIT %s",
        half,
    )
    mixed = [pair for pairs in zip(new, waiting, strict=False) for pair in pairs]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.asking"],
        env=run.env,
        cwd=ROOT,
        input=json.dumps([*mixed, new[-1]]),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"asking ended with {done.returncode}: {done.stderr[-2000:]}")
    return [(waited, carrier) for waited, carrier in json.loads(done.stdout)]
