"""What passes between claiming, calling and recording."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import date, datetime

from verifier.carriers.base import Answer
from verifier.outcomes import Check, Lane
from verifier.verification.checking import NOTHING, Possible
from verifier.verification.decide import Settle
from verifier.verification.past import Past


@dataclass(frozen=True, slots=True)
class Sealed:
    """The person of a job, still encrypted."""

    platform: str
    reference: str
    phone: bytes
    name: bytes
    name_raw: bytes | None
    id_number: bytes


@dataclass(frozen=True, slots=True)
class Job:
    """One claimed verification, to be called. Times ending in ``_at`` are monotonic seconds.

    ``check``: ask this about its number, held by one person since the day ``since``. ``possible``:
    the checks that may follow the answer. ``breaker``: the row of the provider's that its answer
    moves; ``probe``: it is the one call that asks whether the provider is back.
    """

    verification_id: int
    user_id: int
    data_version: int
    attempts: int
    past: tuple[Past, ...]
    provider: str
    attempt_id: int
    started: datetime
    call_at: float
    lease_at: float
    lane: Lane
    sealed: Sealed = field(repr=False)
    raw_name: bool = False
    check: Check | None = None
    since: date | None = None
    possible: Possible = NOTHING
    breaker: str = ""
    probe: bool = False


class NotCalled(enum.Enum):
    """Why a claimed job was not called: nothing left this machine and nobody was asked."""

    GIVEN_BACK = "told to stop, or the lease would end before the call"
    UNREADABLE = "the stored data cannot be decrypted with this process's key ring"


@dataclass(frozen=True, slots=True)
class Called:
    """A job that ended: with the provider's answer, or without a call."""

    job: Job
    answer: Answer | NotCalled
    milliseconds: int = 0


@dataclass(frozen=True, slots=True)
class Uncalled:
    """A claimed verification that needs no call: its past holds the answer, or none can be had."""

    verification_id: int
    user_id: int
    data_version: int
    attempts: int
    past: tuple[Past, ...]
    settle: Settle | None
    has_raw_name: bool = False
    possible: Possible = NOTHING
    lane: Lane | None = None
