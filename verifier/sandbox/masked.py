"""Whom a request is about when its numbers may be digests.

A vendor knows every number and finds a digest again; the sandbox finds the registered ones, and
has no record of any other.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from zoneinfo import ZoneInfo

from verifier.outcomes import Lane
from verifier.sandbox.judge import Found, Ruling, rule
from verifier.sandbox.register import Records, RegisterEntry

_SHANGHAI = ZoneInfo("Asia/Shanghai")


@dataclass(frozen=True, slots=True)
class Mask:
    """A digest that a vendor takes in place of a value; ``algorithm`` None: in clear."""

    algorithm: str | None = None
    shape: re.Pattern[str] = re.compile(r".*", re.DOTALL)

    def __call__(self, value: str) -> str:
        if self.algorithm is None:
            return value
        return hashlib.new(self.algorithm, value.encode(), usedforsecurity=False).hexdigest()

    def fits(self, *values: str) -> bool:
        return all(self.shape.fullmatch(value) for value in values)


@dataclass(frozen=True, slots=True)
class Subject:
    """A number as asked about. ``phone`` is in clear, None where only the digest is known."""

    phone: str | None = field(repr=False)
    entry: RegisterEntry | None = field(repr=False)
    mask: Mask

    @classmethod
    def find(cls, register: Records, sent: str, mask: Mask) -> Subject:
        phone: str | None = sent
        if mask.algorithm is not None:
            phone = register.phone_of(sent, mask.algorithm)
        return cls(phone, register.get(phone) if phone else None, mask)

    def id_number(self, sent: str) -> str:
        """For the books: in clear where it is the registered one, else as it was sent."""
        if self.entry is not None and self.mask(self.entry.id_number) == sent:
            return self.entry.id_number
        return sent

    def ruling(
        self, name: str, id_number: str, *, covers: frozenset[Lane], at: float, settle_days: int
    ) -> Ruling:
        if self.phone is None:
            return Ruling(Found.NO_RECORD)
        mask: Callable[[str], str] | None = self.mask if self.mask.algorithm else None
        return rule(
            self.entry,
            phone=self.phone,
            name=name,
            id_number=id_number,
            today=today(at),
            settle_days=settle_days,
            covers=covers,
            mask=mask,
        )


def today(at: float) -> date:
    """The carriers' calendar day."""
    return datetime.fromtimestamp(at, _SHANGHAI).date()


def is_dead(entry: RegisterEntry) -> bool:
    return entry.status in {"cancelled", "empty"}


def held_since(entry: RegisterEntry) -> date:
    """The day on which the present holder got the number."""
    return date.fromisoformat(entry.since) if entry.since else date.min
