"""Which gateways may be used now, and what their refusals add up to.

A gateway that refuses message after message for reasons of ours (money, credentials, an unapproved
template) is suspended until an operator resumes it: the messages wait instead of being used up.
Its row stands among the providers' rows, so pausing and resuming work the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import Connection

from verifier.gateways.base import Blame, Delivery, Receipt
from verifier.store import gateways, providers

_log = structlog.get_logger(__name__)

#: Refusals in a row, blamed on the operator, after which a gateway is suspended.
MOST_REFUSALS: Final = 5


@dataclass(frozen=True, slots=True)
class Standing:
    """What the store says about the gateways, by their names."""

    barred: frozenset[str]
    shaken: frozenset[str]  # has refused lately; an acceptance clears it

    def is_usable(self, gateway: str) -> bool:
        return gateway not in self.barred


def read(connection: Connection) -> Standing:
    """The gateways' standing now."""
    rows = gateways.get_all(connection).items()
    return Standing(
        frozenset(n for n, row in rows if row.paused_at is not None or row.state == "suspended"),
        frozenset(n for n, row in rows if row.failures),
    )


def refused_by_operator(receipt: Receipt) -> bool:
    """Whether the refusal is ours to mend."""
    return receipt.delivery is Delivery.REJECTED and receipt.blame is Blame.OPERATOR


def note(
    connection: Connection, gateway: str, receipts: Sequence[Receipt], before: Standing
) -> None:
    """Count refusals that are ours to mend; an acceptance in between clears the count."""
    refused = [receipt for receipt in receipts if refused_by_operator(receipt)]
    accepted = any(receipt.delivery is Delivery.ACCEPTED for receipt in receipts)
    if not refused and not (accepted and gateway in before.shaken):
        return
    name = gateways.row_name(gateway)
    row = providers.lock(connection, name)
    failures = (0 if accepted else row.failures) + len(refused)
    suspended = row.state == "suspended" or failures >= MOST_REFUSALS
    reason = refused[-1].code if refused else row.reason
    if suspended and row.state != "suspended":
        _log.error("gateway suspended until an operator resumes it", gateway=gateway, code=reason)
    providers.save_breaker(
        connection,
        name,
        state="suspended" if suspended else "closed",
        failures=failures,
        openings=row.openings,
        not_before=None,
        reason=reason if failures else None,
    )
