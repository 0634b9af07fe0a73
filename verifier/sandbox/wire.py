"""What the vendor rooms see of HTTP: a request as received, the call read from it, and a reply.

Plain frozen values, so that a vendor's behaviour can be read and tested without a socket.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from verifier.sandbox.faults import FaultKind, VendorName
from verifier.sandbox.knobs import Knobs

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Received:
    """A request exactly as it arrived: the raw query and body are what signatures cover."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]  # case-insensitive
    body: bytes = field(repr=False)
    at: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class Call:
    """A request that a vendor has read: which action, about whom, with what.

    ``problem`` is set when the parameters could not be read at all; the vendor then answers it.
    """

    vendor: VendorName
    action: str
    received: Received
    parameters: Mapping[str, Any] = field(default_factory=dict, repr=False)
    phone: str | None = field(default=None, repr=False)
    id_number: str | None = field(default=None, repr=False)
    reference: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer. ``code`` and ``billed`` are for the truth; they are not sent."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    billed: bool = False


class Vendor(Protocol):
    """One vendor's wire format."""

    name: VendorName
    knobs: Knobs

    def speaks(self, received: Received) -> bool:
        """Whether this request is meant for this vendor."""
        ...

    def read(self, received: Received) -> Call:
        """Read a request. Never raises: what cannot be read becomes ``problem``."""
        ...

    def answer(self, call: Call) -> Reply:
        """Check the signature and the parameters, do what was asked, and answer."""
        ...

    def excuse(self, kind: FaultKind, call: Call, /) -> Reply:
        """The vendor's own answer for a scripted refusal (:data:`faults.EXCUSES`)."""
        ...


def dump(document: object) -> bytes:
    """JSON as the vendors write it: UTF-8, not escaped, no spaces."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")  # a lone surrogate may be echoed
