"""Many rows in one statement: array literals for ``unnest(CAST(:ids AS bigint[]), ...)``.

psycopg2 writes a Python list as an expression of its elements, which the server parses, types and
folds one by one for every statement. A literal is one constant: the cost of a bulk write halves.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Final

_ESCAPES: Final = {ord("\\"): "\\\\", ord('"'): '\\"'}


def of_numbers(values: Iterable[int | Decimal | None]) -> str:
    """For ``smallint[]``, ``int[]``, ``bigint[]`` and ``numeric[]``."""
    return "{" + ",".join(map(str, values)).replace("None", "NULL") + "}"


def of_texts(values: Iterable[str | None]) -> str:
    """For ``text[]``, whatever the texts hold."""
    values = list(values)
    written = {v: "NULL" if v is None else f'"{v.translate(_ESCAPES)}"' for v in set(values)}
    return "{" + ",".join([written[v] for v in values]) + "}"


def of_bytes(values: Iterable[bytes]) -> str:
    """For ``bytea[]``."""
    return "{" + ",".join(['"\\\\x' + v.hex() + '"' for v in values]) + "}"


def of_instants(values: Iterable[datetime]) -> str:
    """For ``timestamptz[]``: aware datetimes."""
    values = list(values)
    written = {v: f'"{v.isoformat()}"' for v in set(values)}
    return "{" + ",".join([written[v] for v in values]) + "}"
