"""The contract of a provider: one call, one :class:`Answer`, never an exception.

A provider turns everything the wire can do (refuse, hang, drip, answer rubbish) into an answer:

* no byte of the request left this machine (DNS, connection refused, connect timeout, a certificate
  that does not hold, the caller's veto): ``NOT_SENT`` with the reason as detail, free;
* something was sent and no usable answer was read before the deadline: ``TIMEOUT``, maybe billed;
* an answer was read but not understood: ``PROVIDER_ERROR``, maybe billed;
* a documented code: what ``data/outcomes.yaml`` says, billed as the vendor documents.

The table is in :mod:`.wire`. Vendor SDK retries, redirects and environment proxies are off.
Retrying is not decided here. A room of this package with a ``Settings`` of its own is a *kind*: the
room's name is what ``kind`` says in the configuration.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

from verifier.config.providers import ProviderConfig
from verifier.outcomes import (
    CONSENT_PENDING,
    PERSONS_LIMITS,
    Billed,
    Check,
    Fact,
    Lane,
    Outcome,
)
from verifier.transport import Deadline, Transport


@dataclass(frozen=True, slots=True)
class Person:
    """The mobile three elements, in clear for the time of one call. Never logged: see ``repr``."""

    phone: str = field(repr=False)  # national form, 11 digits
    name: str = field(repr=False)
    id_number: str = field(repr=False)  # 18 characters


@dataclass(frozen=True, slots=True)
class Number:
    """The subject of a check, in clear for the time of one call.

    ``since``: the day from which one person should have held the number (``Check.RECYCLED``).
    """

    phone: str = field(repr=False)  # national form, 11 digits
    since: date | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What one call meant.

    The answer to a check is ``Outcome.CHECKED`` with a ``fact``, and never a result: a check says
    nothing about whose number it is.

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
    fact: Fact | None = None

    @property
    def refuses_us(self) -> bool:
        """Whether the vendor refuses our parameters, and says nothing about the person's data."""
        return self.outcome is Outcome.INVALID_INPUT and self.detail == "PARAM"

    @property
    def works(self) -> bool:
        """Whether the provider did what it is there for."""
        return self.is_about_the_person or (self.outcome.is_answer and not self.refuses_us)

    @property
    def is_about_the_person(self) -> bool:
        """Whether an error is this person's alone: asked about too often, or silent on the phone.
        It says nothing against the provider."""
        match self.outcome:
            case Outcome.RATE_LIMITED:
                return self.detail in PERSONS_LIMITS
            case Outcome.TIMEOUT:
                return self.detail == CONSENT_PENDING
            case _:
                return False


@dataclass(frozen=True, slots=True)
class Probe:
    """What a call that costs nothing brought. ``asked``: in words, and why it is free.

    ``works``: the other side was reached, took our credentials, and answered as documented.
    """

    asked: str
    answer: Answer
    works: bool


class Provider(Protocol):
    """One configured API. Instances are shared by the threads of a process and made after fork."""

    name: str
    kind: str
    lanes: frozenset[Lane]
    checks: frozenset[Check]

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

    def check(
        self,
        check: Check,
        number: Number,
        reference: str,
        deadline: Deadline,
        before_send: Callable[[], bool] | None = None,
    ) -> Answer:
        """Ask one of :attr:`checks` about ``number``; otherwise as :meth:`verify`.

        An answer that was understood is ``CHECKED``, with ``Fact.UNKNOWN`` where the vendor does
        not know. Refusals of our parameters are ``INVALID_INPUT/PARAM``.
        """
        ...

    def probe(self, deadline: Deadline) -> Probe:
        """One call that is documented as unbilled and needs nobody's data."""
        ...

    def close(self) -> None:
        """Close pooled connections."""
        ...


class Settings(ProviderConfig):
    """The table of a kind, and how a provider is made from it."""

    @abstractmethod
    def build(self, name: str, transport: Transport) -> Provider:
        """The provider. Opens no connection. Raises ConfigError when a secret is missing."""
