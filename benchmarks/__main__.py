"""Measure the product, beside the same job as a Celery tutorial would do it.

Without a part: all of them, in turns where they are compared, then a table of what was promised.
The machine may be busy: CPU time is the figure to trust, wall time is not.

Exit code: 1 when a promise is not kept, those that scale with the machine at the speed of the one
they were set on. A part alone promises nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import everything, intake, interactive, product, tutorial
from benchmarks.stage import Stage

Options = argparse.Namespace


def _contestant(measure: Callable[..., Any]) -> Callable[[Stage, Options], Any]:
    return lambda stage, options: measure(stage, options.users, options.delay).as_dict()


def _import(stage: Stage, options: Options) -> Any:
    return intake.measure_import(stage, options.users).as_dict()


def _submit(stage: Stage, options: Options) -> Any:
    selected, listed = intake.measure_submit(stage, options.users)
    return {"by_selection": selected.as_dict(), "by_list": listed.as_dict()}


def _interactive(stage: Stage, options: Options) -> Any:
    return interactive.measure(stage, options.users, options.questions, options.delay).as_dict()


def _all(stage: Stage, options: Options) -> Any:
    return everything.measure(stage, options.scale)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    parser.add_argument(
        "--scale",
        type=_scale,
        default=1.0,
        help="of all sizes when no part is named (0.05: a try, which may miss promises)",
    )
    parser.set_defaults(run=_all)
    parts = parser.add_subparsers(title="parts", metavar="PART")
    _part(parts, "product", _contestant(product.measure), 10_000, delay=0.0)
    _part(parts, "tutorial", _contestant(tutorial.measure), 2_000, delay=0.0)
    _part(parts, "import", _import, 200_000)
    _part(parts, "submit", _submit, 1_000_000)
    asking = _part(parts, "interactive", _interactive, 100_000, delay=0.05)
    asking.add_argument("--questions", type=_some, default=200, help="(default: 200)")
    return parser


def _part(
    parts: Any, name: str, run: Callable[..., Any], users: int, delay: float | None = None
) -> argparse.ArgumentParser:
    part: argparse.ArgumentParser = parts.add_parser(name)
    part.add_argument("--users", type=_some, default=users, help=f"(default: {users:,})")
    if delay is not None:
        part.add_argument(
            "--delay", type=_seconds, default=delay, help=f"seconds of a call (default: {delay:g})"
        )
    part.set_defaults(run=run)
    return part


def _number(
    kind: type[int] | type[float], least: float, most: float
) -> Callable[[str], int | float]:
    """What argparse takes as a type: a number within the limits."""

    def parse(given: str) -> int | float:
        with contextlib.suppress(ValueError):
            if least <= (number := kind(given)) <= most:
                return number
        raise argparse.ArgumentTypeError(f"{given!r} is not a number from {least:g} to {most:g}")

    return parse


_some = _number(int, 1, 100_000_000)
_scale = _number(float, 0.001, 100)
_seconds = _number(float, 0, 60)


def main() -> int:
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the stage is taken down
    with Stage() as stage:
        found = options.run(stage, options)
    text = json.dumps(found, indent=1)
    if options.json is not None:
        options.json.write_text(text + "\n", "utf-8")
    elif options.run is not _all:
        print(text)
    return 0 if options.run is not _all or _all_kept(found) else 1


def _all_kept(found: dict[str, Any]) -> bool:
    """Of everything that was measured."""
    return all(promise["kept_at_reference_speed"] for promise in found["promises"])


if __name__ == "__main__":
    sys.exit(main())
