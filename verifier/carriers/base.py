"""The contract of a provider: one call about one person, one :class:`Answer`, never an exception.

A provider turns everything the wire can do (refuse, hang, drip, answer rubbish) into an answer:

* no byte of the request left this machine (DNS, connection refused, connect timeout, a certificate
  that does not hold, the caller's veto): ``NOT_SENT`` with the reason as detail, free;
* something was sent and no usable answer was read before the deadline: ``TIMEOUT``, maybe billed;
* an answer was read but not understood: ``PROVIDER_ERROR``, maybe billed;
* a documented code: what ``data/outcomes.yaml`` says, billed as the vendor documents.

The table is in :mod:`.wire`. Vendor SDK retries, redirects and environment proxies are off.
Retrying is not decided here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from verifier.outcomes import Billed, Lane, Outcome
from verifier.transport import Deadline


@dataclass(frozen=True, slots=True)
class Person:
    """The mobile three elements, in clear for the time of one call. Never logged: see ``repr``."""

    phone: str = field(repr=False)  # national form, 11 digits
    name: str = field(repr=False)
    id_number: str = field(repr=False)  # 18 characters


@dataclass(frozen=True, slots=True)
class Answer:
    """What one call meant.

    ``code`` is the vendor's code as read (never personal data), ``request_id`` the vendor's id of
    the call, ``carrier`` the lane the vendor named if it did, ``retry_after`` in seconds.
    """

    outcome: Outcome
    detail: str | None = None
    billed: Billed = Billed.NO
    code: str | None = None
    request_id: str | None = None
    carrier: Lane | None = None
    http_status: int | None = None
    retry_after: float | None = None


class Provider(Protocol):
    """One configured API. Instances are shared by the threads of a process and made after fork."""

    name: str
    kind: str
    lanes: frozenset[Lane]

    def verify(
        self,
        person: Person,
        reference: str,
        deadline: Deadline,
        before_send: Callable[[], bool] | None = None,
    ) -> Answer:
        """Ask about ``person``. ``reference`` is our attempt id, passed on where the vendor takes
        one. Returns before ``deadline`` (within a second), whatever the other side does.

        ``before_send`` is asked right before the first byte is written, when the connection
        stands; False (the caller's lease no longer outlives the deadline) ends the call as
        ``NOT_SENT/VETOED``. It may be asked twice, when a connection dies before that byte."""
        ...

    def close(self) -> None:
        """Close pooled connections."""
        ...
