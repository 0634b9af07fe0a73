"""From what the wire did to a Receipt, and the shape of a vendor's code table: for every gateway.

What was certainly not sent is NOT_SENT; everything that may have been read by the vendor and was
not answered clearly is UNKNOWN, because a person must not get the same message twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from verifier.gateways.base import Blame, Delivery, Receipt
from verifier.transport import NotSent, Reply, TransportFault

ACCEPTED = Receipt(Delivery.ACCEPTED)
BUSY = Receipt(Delivery.NOT_SENT)
UNKNOWN = Receipt(Delivery.UNKNOWN)
#: Refused, and nobody need act: the person has had enough messages for now.
ENOUGH = Receipt(Delivery.REJECTED, blame=Blame.NONE)
PERSON = Receipt(Delivery.REJECTED, blame=Blame.PERSON)
OPERATOR = Receipt(Delivery.REJECTED, blame=Blame.OPERATOR)


def ask(exchange: Callable[[], Reply]) -> Reply | Receipt:
    """Run the exchange; the reply, or the Receipt that its failure amounts to."""
    try:
        return exchange()
    except NotSent:
        return BUSY
    except TransportFault:
        return UNKNOWN


def by_status(reply: Reply) -> Receipt:
    """For a reply without a code that we know.

    429 says that it was not taken. Other 4xx refuse the request as such: ours to mend. Anything
    else, a 200 included, leaves open what was done.
    """
    if reply.status == 429:
        return BUSY
    if 400 <= reply.status < 500 and reply.status != 408:
        return OPERATOR
    return UNKNOWN


def with_code(receipt: Receipt, code: str | None, message_id: str | None = None) -> Receipt:
    """The row of a table, completed with what this reply said."""
    return replace(receipt, code=code, message_id=message_id)
