"""How commands speak: talk on standard error, data on standard output, as text or JSON.

Times are shown in the business time zone with their offset. Text that others wrote (labels,
reasons) cannot move the cursor or colour the terminal: what is not printable becomes ``?``.
"""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import click


def say(text: str) -> None:
    """One line for the person at the terminal."""
    click.echo(text, err=True)


def warn(text: str, fix: str | None = None) -> None:
    say(f"{_styled('warning:', 'yellow')} {text}" + (f"\nfix: {fix}" if fix else ""))


def error(text: str, fix: str | None = None) -> None:
    say(f"{_styled('error:', 'red')} {text}" + (f"\nfix: {fix}" if fix else ""))


def _styled(text: str, colour: str) -> str:
    if os.environ.get("NO_COLOR") or not sys.stderr.isatty():
        return text
    return click.style(text, fg=colour, bold=True)


def out(text: str = "") -> None:
    """One line of data."""
    click.echo(text)


def out_json(value: Any) -> None:
    """One JSON document. Times keep their offset; tuples become arrays."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return at(value, separator="T")
    if isinstance(value, date):
        return value.isoformat()
    return str(value)


def zone() -> ZoneInfo:
    """The business time zone."""
    from verifier.config import config

    return config().zone


def at(instant: datetime | None, *, separator: str = " ") -> str | None:
    """An instant in the business time zone, with its offset. None stays None."""
    if instant is None:
        return None
    return instant.astimezone(zone()).isoformat(separator, "seconds")


def cell(value: Any) -> str:
    """One value of a table: a dash for nothing, a time with its offset, and nothing unprintable."""
    if value is None or value == "":
        return "-"
    if isinstance(value, datetime):
        return at(value) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(str(value))


def printable(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def printable_lines(text: str) -> str:
    """As :func:`printable`, keeping line breaks."""
    return "\n".join(map(printable, text.splitlines()))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Aligned columns with a header. Never wraps or cuts: other programs may read it."""
    lines = [[name.upper() for name in columns], *([cell(value) for value in row] for row in rows)]
    widths = [max(_width(line[place]) for line in lines) for place in range(len(columns))]
    for line in lines:
        padded = [text + " " * (widths[place] - _width(text)) for place, text in enumerate(line)]
        out("  ".join(padded).rstrip())


def _width(text: str) -> int:
    """Columns on a terminal: wide characters take two."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def facts(pairs: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
    """``name  value`` lines."""
    items = list(pairs.items() if isinstance(pairs, Mapping) else pairs)
    width = max((len(name) for name, _ in items), default=0)
    for name, value in items:
        out(f"{name:<{width}}  {cell(value)}")


def counted(number: int, noun: str) -> str:
    """``1 user``, ``2,000 users``: for nouns whose plural is an s."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def by(who: str | None, reason: str | None) -> str:
    """Who held something, and why if they said: ``ada: the vendor's maintenance``."""
    return (who or "somebody") + (f": {reason}" if reason else "")


def duration(seconds: float) -> str:
    """``42 s``, ``5 min``, ``3 h``, ``2 d``."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"
