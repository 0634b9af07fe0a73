"""Rows of people who do not exist, as a file would have them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from verifier.sandbox.people import USER_COLUMNS, generate


def rows(number: int, seed: int = 1) -> Iterator[dict[str, str]]:
    for person in generate(number, seed):
        yield {column: str(getattr(person, column)) for column in USER_COLUMNS}


def csv_of(people: list[dict[str, str]], columns: tuple[str, ...] = USER_COLUMNS) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(people)
    return text.getvalue()
