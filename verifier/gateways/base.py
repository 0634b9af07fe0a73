"""The contract of a gateway: one message to one person, at most once, never an exception.

``send`` reports what is *known*: ACCEPTED (the vendor took it), REJECTED (it certainly did not,
with the reason), NOT_SENT (nothing left this machine, or the vendor was too busy to take it: safe
to try later) or UNKNOWN (it may have been taken; only :meth:`Gateway.reconcile` may settle it).

The order of a send, for the caller:

1. ``client_reference = gateway.prepare(our_reference, deadline)``: the id under which the *vendor*
   will know the message. For SMS that is our own; JPush dedupes only by a ``cid`` that it has
   handed out itself. None: not obtainable now, try later; nothing has been sent.
2. Write ``client_reference`` down and commit the state ``sending``.
3. ``gateway.send(Message(reference=client_reference, …), deadline)``.
4. UNKNOWN: no sooner than ``settle_after`` seconds later, ``reconcile(client_reference, …)``.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

from verifier.transport import Deadline


class Channel(enum.StrEnum):
    PUSH = "push"
    SMS = "sms"


class Delivery(enum.StrEnum):
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"


class Blame(enum.StrEnum):
    """Who must act on a rejection: nobody, the person (dead number, dead token, opted out), the
    operator (arrears, unapproved template), or the vendor."""

    NONE = "none"
    PERSON = "person"
    OPERATOR = "operator"
    VENDOR = "vendor"


@dataclass(frozen=True, slots=True)
class Message:
    """One message. ``reference`` is what :meth:`Gateway.prepare` returned: ASCII, unique.

    ``template`` names a fixed text; ``parameters`` are its few variables (never a name or number).
    ``text`` and ``title`` are the rendered form, used by gateways that carry free text (push).
    """

    reference: str
    recipient: str = field(repr=False)  # phone in national form, or push token
    template: str
    parameters: dict[str, str]
    title: str
    text: str
    link: str | None
    locale: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is known of one message. ``code`` and ``message_id`` are the vendor's."""

    delivery: Delivery
    code: str | None = None
    message_id: str | None = None
    blame: Blame = Blame.NONE


class Gateway(Protocol):
    """One configured API. Instances are shared by the threads of a process and made after fork.

    ``settle_after``: seconds after a send before which the vendor's records may still lack it, so
    that :meth:`reconcile` proves nothing by an absence. The caller asks no sooner.

    ``dedupes_for``: seconds after :meth:`prepare` during which the vendor takes a second send of
    the same client reference for the first one, so that repeating an UNKNOWN is harmless; 0: never.
    """

    name: str
    kind: str
    channel: Channel
    settle_after: float
    dedupes_for: float

    def prepare(self, reference: str, deadline: Deadline) -> str | None:
        """The client reference to write down before sending ``reference`` (our own message id),
        or None when the vendor must hand one out and did not by the deadline."""
        ...

    def send(
        self,
        message: Message,
        deadline: Deadline,
        before_send: Callable[[], bool] | None = None,
    ) -> Receipt:
        """Send once. Never repeats a request that may have been read by the vendor.

        ``before_send`` is asked right before the first byte is written; False ends the call as
        NOT_SENT."""
        ...

    def reconcile(
        self, reference: str, recipient: str, day: date, deadline: Deadline
    ) -> Receipt | None:
        """Ask the vendor what became of client reference ``reference``, sent on ``day`` (UTC+8).

        ACCEPTED when the vendor knows it, REJECTED (without a code) when its records are complete
        and lack it (see ``settle_after``), None when the vendor cannot be asked or did not answer.
        """
        ...

    def close(self) -> None:
        """Close pooled connections."""
        ...
