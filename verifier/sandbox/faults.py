"""Scripted faults: what the sandbox may be told to do wrong, to whom, how often and how long.

Pure: a :class:`FaultBoard` decides which fault, if any, befalls a request; carrying it out is
:mod:`verifier.sandbox.misbehave` (the wire) or the vendor's own ``excuse`` (an answer by the book).
"""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from verifier.sandbox.rates import RateWindow


class FaultKind(enum.StrEnum):
    """What goes wrong. The options of a kind stand beside it."""

    SLOW = "slow"  # ms: a late but good answer
    DRIP = "drip"  # bytes_per_second; part: "headers" or "body"
    REFUSE = "refuse"  # seconds: nobody listens; connections are cut. The whole port.
    RESET = "reset"  # the connection is reset (RST); processed or not
    TIMEOUT = "timeout"  # never answered; processed or not
    GARBAGE = "garbage"  # random bytes; part: "body" or "headers" (not even HTTP)
    HTML = "html"  # an HTML page with status 200
    EMPTY = "empty"  # status 200 without a body
    WRONG_CHARSET = "wrong_charset"  # the true answer in GBK, said to be so
    WRONG_CONTENT_TYPE = "wrong_content_type"  # the true answer as `content_type`
    REDIRECT = "redirect"  # 302 to another path of the sandbox, which counts visitors
    HUGE = "huge"  # bytes: a body of that size
    HTTP_ERROR = "http_error"  # status: 429, 500, 502, 503, 504 … with a proxy's page
    RATE_LIMIT = "rate_limit"  # per_second: the vendor's own "too many requests" above it
    MAINTENANCE = "maintenance"  # the vendor's own answer
    AUTH = "auth"  # the vendor's own answer
    ARREARS = "arrears"  # the vendor's own answer
    UNKNOWN_CODE = "unknown_code"  # an answer by the book with a code that no book has


#: Whom the sandbox speaks for. ``aliyun`` is Alibaba Cloud SMS; ``reseller`` is made up.
VendorName = Literal["tencent", "jpush", "aliyun", "cloudauth", "dytns", "camara", "reseller"]

#: Kinds that a vendor answers itself, in its own words.
EXCUSES = frozenset(
    {
        FaultKind.RATE_LIMIT,
        FaultKind.MAINTENANCE,
        FaultKind.AUTH,
        FaultKind.ARREARS,
        FaultKind.UNKNOWN_CODE,
    }
)
#: Kinds that spoil the delivery of a true answer: the request is always processed.
_PROCESSED = frozenset(
    {FaultKind.SLOW, FaultKind.DRIP, FaultKind.WRONG_CHARSET, FaultKind.WRONG_CONTENT_TYPE}
)


class Fault(BaseModel):
    """The script of one fault. ``processed``: whether the vendor did the work nevertheless."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vendor: VendorName | Literal["*"]
    kind: FaultKind
    action: str | None = None
    rate: float = Field(1.0, ge=0, le=1)
    count: int | None = Field(None, ge=1, description="strikes at most so often")
    seconds: float | None = Field(None, gt=0, description="counted from when it was set")
    seed: int = 0
    processed: bool = False
    ms: float = Field(1000.0, ge=0)
    bytes_per_second: float = Field(20.0, gt=0)
    part: Literal["headers", "body"] = "body"
    content_type: str = "text/html; charset=utf-8"
    status: int = Field(500, ge=300, le=599)
    bytes: int = Field(8 * 1024 * 1024, ge=1, le=1 << 30)
    per_second: float = Field(1.0, gt=0)

    @model_validator(mode="after")
    def _refuse_is_for_all(self) -> Self:
        if self.kind is not FaultKind.REFUSE:
            return self
        if self.vendor != "*" or self.action or self.rate != 1 or self.count is not None:
            raise ValueError("refuse closes the port: it takes vendor * and seconds only")
        if self.seconds is None or self.seconds > 600:
            raise ValueError("refuse needs seconds (at most 600): nobody can lift it earlier")
        return self

    @property
    def is_processed(self) -> bool:
        """Whether the vendor does the work although the answer is spoilt."""
        return self.kind in _PROCESSED or (self.processed and self.kind not in EXCUSES)


@dataclass(slots=True)
class ActiveFault:
    """A fault on the board, with what it has done so far."""

    id: int
    fault: Fault
    since: float
    strikes: int = 0
    _dice: random.Random = field(default_factory=random.Random, repr=False)
    _window: RateWindow | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.fault.seed)
        if self.fault.kind is FaultKind.RATE_LIMIT:
            self._window = RateWindow(self.fault.per_second)

    def is_over(self, now: float) -> bool:
        limit, seconds = self.fault.count, self.fault.seconds
        return (limit is not None and self.strikes >= limit) or (
            seconds is not None and now >= self.since + seconds
        )

    def strikes_now(self, now: float) -> bool:
        if self._window is not None and self._window.allows(now):
            return False
        if self.fault.rate < 1 and self._dice.random() >= self.fault.rate:
            return False
        self.strikes += 1
        return True

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "strikes": self.strikes, **self.fault.model_dump(mode="json")}


class FaultBoard:
    """The active faults, in the order in which they were set. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._active: list[ActiveFault] = []
        self._next = 1

    def add(self, fault: Fault, now: float) -> ActiveFault:
        active = ActiveFault(self._next, fault, now)
        self._next += 1
        self._active.append(active)
        return active

    def remove(self, identifier: int | None = None) -> int:
        """Lift one fault, or all; returns how many were lifted."""
        kept = [a for a in self._active if identifier is not None and a.id != identifier]
        removed, self._active = len(self._active) - len(kept), kept
        return removed

    def active(self, now: float) -> list[ActiveFault]:
        """The faults that can still strike."""
        self._active = [a for a in self._active if not a.is_over(now)]
        return list(self._active)

    def strike(self, vendor: str, action: str, now: float) -> Fault | None:
        """The fault that befalls this request: the first that applies and whose dice fall so."""
        if not self._active:
            return None
        for active in self.active(now):
            fault = active.fault
            if fault.kind is FaultKind.REFUSE:
                continue
            applies = fault.vendor in (vendor, "*") and fault.action in (None, action)
            if applies and active.strikes_now(now):
                return fault
        return None
