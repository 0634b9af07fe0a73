"""Where a value stands in an answer: ``data.result``, ``data.items[0].code``.

Names, joined by dots, and places in lists, counted from 0. A path that leads nowhere finds None,
whatever the answer is made of.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator

_NAME: Final = r"[^\s.\[\]]{1,64}(?:\[[0-9]{1,3}\]){0,3}"
_PATH: Final = re.compile(rf"{_NAME}(?:\.{_NAME}){{0,9}}")
_STEP: Final = re.compile(r"[^\s.\[\]]+|\[([0-9]+)\]")


def _checked(value: str) -> str:
    steps(value)
    return value


Path = Annotated[str, AfterValidator(_checked)]


def steps(path: str) -> tuple[str | int, ...]:
    """The names and places of a path. Raises ValueError for one that is none."""
    if _PATH.fullmatch(path) is None:
        raise ValueError('must be a path such as "data.result" or "data.items[0].code"')
    return tuple(step[0] if step[1] is None else int(step[1]) for step in _STEP.finditer(path))


def find(document: Any, path: tuple[str | int, ...]) -> Any:
    """What stands there, or None."""
    for step in path:
        if isinstance(step, str):
            document = document.get(step) if isinstance(document, dict) else None
        elif isinstance(document, list) and step < len(document):
            document = document[step]
        else:
            return None
    return document
