"""What an endpoint's answer means, and when to try again. Pure.

==========================  =====================================================================
answer                      meaning
==========================  =====================================================================
2xx                         taken
410                         the endpoint is gone: paused until an operator resumes it
anything else, or none      not taken: again after 5 s, doubled each time up to half an hour, with
                            jitter; the endpoint itself rests 1 s, doubled up to five minutes
``Retry-After``             the endpoint rests at least so long (an hour at most)
==========================  =====================================================================

A delivery's own schedule keeps one that is refused (a defect of the receiver) from holding up the
others; the endpoint's rest keeps one that is away from being called for each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Seconds: the first wait and the longest, of a delivery and of its endpoint.
DELIVERY_WAIT: Final = (5.0, 1800.0)
ENDPOINT_WAIT: Final = (1.0, 300.0)
LONGEST_RETRY_AFTER: Final = 3600.0

_GONE: Final = 410


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``error`` is a short word of ours, None when it was taken. ``held_back``:
    nothing was sent because this process is stopping."""

    status: int | None = None
    error: str | None = None
    retry_after: float | None = None
    held_back: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """Delivered."""


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Not tried after all."""


@dataclass(frozen=True, slots=True)
class Again:
    """Not taken. ``pause_reason``: tell this endpoint nothing more until somebody looks."""

    error: str
    delivery_seconds: float
    endpoint_seconds: float
    pause_reason: str | None = None


Verdict = Taken | HeldBack | Again


def judge(answer: Answer, *, tries: int, failures: int, chance: float) -> Verdict:
    """What to do about a delivery after its ``tries``-th try, its endpoint having failed
    ``failures`` times in a row before. ``chance``: 0 to 1, for the jitter."""
    if answer.held_back:
        return HeldBack()
    if answer.error is None:
        return Taken()
    asked = min(answer.retry_after or 0.0, LONGEST_RETRY_AFTER)
    return Again(
        error=answer.error,
        delivery_seconds=max(asked, _wait(*DELIVERY_WAIT, tries, chance)),
        endpoint_seconds=max(asked, _wait(*ENDPOINT_WAIT, failures + 1, chance)),
        pause_reason="it answered 410 Gone" if answer.status == _GONE else None,
    )


def _wait(first: float, longest: float, number: int, chance: float) -> float:
    """Doubled each time, from three quarters to five quarters of it."""
    return float(min(longest, first * 2 ** min(number - 1, 30)) * (0.75 + chance / 2))
