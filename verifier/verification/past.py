"""What a verification has been through so far, as kept in its open row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from verifier.outcomes import PERSONS_LIMITS, Billed, Check, Fact, Lane, Outcome
from verifier.resilience.retry import RULES


@dataclass(frozen=True, slots=True)
class Past:
    """One earlier answer. ``version`` is the data version that was asked about; ``times`` counts
    equal answers that spend nothing (a closed counter seen a hundred times is one entry). ``raw``:
    the name was sent as it was typed, not in its canonical spelling. ``check``: what was asked was
    not whose the number is, but this; ``fact`` is the answer, ``carrier`` who was looked up.
    ``named``: the carrier that an answer about the person named beside it."""

    version: int
    provider: str
    outcome: Outcome
    detail: str | None
    billed: Billed
    day: date
    times: int = 1
    raw: bool = False
    check: Check | None = None
    fact: Fact | None = None
    carrier: Lane | None = None
    named: Lane | None = None

    @property
    def counts(self) -> bool:
        """Whether it spent one of the day's attempts."""
        return not self.outcome.is_answer and RULES[self.outcome].counts

    @property
    def is_our_bug(self) -> bool:
        """The vendor refuses our parameters, not the person's data: an error, never a verdict."""
        refused = self.outcome is Outcome.INVALID_INPUT and self.detail == "PARAM"
        return refused and self.check is None

    @property
    def is_verdict(self) -> bool:
        """Whether it says something about the person."""
        return self.outcome.is_result and not self.is_our_bug and self.check is None

    def to_row(self) -> dict[str, Any]:
        row: dict[str, Any] = {
            "v": self.version,
            "p": self.provider,
            "o": str(self.outcome),
            "b": str(self.billed),
            "day": self.day.isoformat(),
        }
        if self.detail:
            row["d"] = self.detail
        if self.times > 1:
            row["n"] = self.times
        if self.raw:
            row["raw"] = True
        if self.check:
            row["c"] = str(self.check)
        if self.fact:
            row["f"] = str(self.fact)
        if self.carrier:
            row["k"] = str(self.carrier)
        if self.named:
            row["a"] = str(self.named)
        return row


def from_rows(rows: Iterable[Mapping[str, Any]], version: int) -> tuple[Past, ...]:
    """The history of this data version; what was learned about older data is left out."""
    return tuple(
        Past(
            version=row["v"],
            provider=row["p"],
            outcome=Outcome(row["o"]),
            detail=row.get("d"),
            billed=Billed(row["b"]),
            day=date.fromisoformat(row["day"]),
            times=row.get("n", 1),
            raw=row.get("raw", False),
            check=Check(row["c"]) if "c" in row else None,
            fact=Fact(row["f"]) if "f" in row else None,
            carrier=Lane(row["k"]) if "k" in row else None,
            named=Lane(row["a"]) if "a" in row else None,
        )
        for row in rows
        if row["v"] == version
    )


def extend(past: tuple[Past, ...], new: Past) -> tuple[Past, ...]:
    """``past`` with ``new`` at the end; equal answers that spend nothing become one."""
    if not new.counts and not new.outcome.is_answer:
        same = [p for p in past if _kind(p) == _kind(new)]
        rest = tuple(p for p in past if p not in same)
        return (*rest, replace(new, times=sum(p.times for p in same) + 1))
    return (*past, new)


def _kind(entry: Past) -> tuple[str, Outcome, Check | None]:
    return entry.provider, entry.outcome, entry.check


def limited_on(past: tuple[Past, ...], day: date) -> frozenset[str]:
    """The providers that were asked about this person too often on ``day``."""
    return frozenset(
        p.provider
        for p in past
        if p.outcome is Outcome.RATE_LIMITED and p.detail in PERSONS_LIMITS and p.day == day
        if p.check is None
    )


def last_result(past: tuple[Past, ...]) -> Past | None:
    """The latest answer about the person, or None."""
    return next((p for p in reversed(past) if p.is_verdict), None)
