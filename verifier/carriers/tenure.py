"""From how long a number has been in the network to whether it changed hands: pure arithmetic.

Vendors answer "[a,b) months" and do not say how they count a month (by the calendar, by 30 days)
nor of which day their copy of the carriers' records is. So the two comparisons lean apart, and what
lies between them is ``UNKNOWN``:

* ``SAME_HOLDER`` when the whole range is at least the months since the day, a month begun counting
  as one. Nobody else can have got the number in the days that rounding hides: carriers let a
  cancelled number rest for about 90 days before they give it out again.
* ``CHANGED_HANDS`` when the whole range is shorter than the months that have passed by every count,
  the shortest: 31 days to a month, and the days left out that a vendor's copy may lag behind.

A range that holds the true time of one holder is therefore never called ``CHANGED_HANDS``. It is
not documented whether a number that moves to another carrier with its holder starts anew.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from verifier.outcomes import Fact

#: New numbers appear at Tencent after 3 to 10 working days (1007/46063): two weeks.
LAG_DAYS = 14
_RANGE = re.compile(r"\[([0-9]{1,4}),([0-9]{1,4}|\+)\)")


@dataclass(frozen=True, slots=True)
class Tenure:
    """Months in the network: ``at_least`` of them, and fewer than ``below`` (None: no limit)."""

    at_least: int
    below: int | None

    @classmethod
    def read(cls, text: object) -> Tenure | None:
        """From ``[3,6)`` or ``[24,+)``; None for anything else, and for an empty range."""
        match = _RANGE.fullmatch(text.replace(" ", "")) if isinstance(text, str) else None
        if match is None:
            return None
        at_least, below = int(match[1]), None if match[2] == "+" else int(match[2])
        return None if below is not None and below <= at_least else cls(at_least, below)


def months_begun(since: date, today: date) -> int:
    """Months by the calendar, the last one whole when it has begun; never below 0."""
    months = (today.year - since.year) * 12 + today.month - since.month
    return max(0, months + (today.day > since.day))


def months_passed(since: date, today: date) -> int:
    """Months that have passed by every way to count them, in a copy ``LAG_DAYS`` old."""
    return max(0, ((today - since).days - LAG_DAYS) // 31)


def holder_since(tenure: Tenure, since: date, today: date) -> Fact:
    """Whether one person can have held, from ``since``, a number that is so long in the network."""
    if tenure.at_least >= months_begun(since, today):
        return Fact.SAME_HOLDER
    if tenure.below is not None and tenure.below <= months_passed(since, today):
        return Fact.CHANGED_HANDS
    return Fact.UNKNOWN
