"""Reconcile: settle messages whose fate we did not hear, by asking the vendor. Sends nothing, ever.

Such rows are in ``sending``: their sender died, or its call ended without a clear answer. A vendor
that knows the message makes it ``sent``; one whose complete records lack it makes it ``rejected``
(tomorrow's plan may try again); one that cannot be asked makes it ``unknown`` for good, which
counts as a message that the person may have had.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import Row

from verifier.gateways.base import Channel, Delivery, Receipt
from verifier.identity.keyring import DecryptionError
from verifier.reminders.runtime import Runtime, runtime
from verifier.reminders.send import MARGIN_SECONDS
from verifier.store import gateways, providers, reminders
from verifier.store.engine import transaction
from verifier.transport import Deadline

_log = structlog.get_logger(__name__)

#: A vendor is asked about one message so often.
MOST_RECONCILIATIONS: Final = 5
#: Between two questions about a message, times how often it was asked.
PAUSE_SECONDS: Final = 600.0
#: Messages asked about in one run.
LIMIT: Final = 50

_VENDORS_CALENDAR: Final = ZoneInfo("Asia/Shanghai")


def reconcile() -> dict[str, int]:
    """Ask about messages in ``sending`` whose call has certainly ended. Returns counts.

    Level-triggered and safe to run twice at once: a row is taken by one run at a time.
    """
    current = runtime()
    with transaction() as connection:
        rows = reminders.take_unsettled(connection, limit=LIMIT, pause_seconds=PAUSE_SECONDS)
    counts: Counter[str] = Counter()
    for row in rows:
        counts[_settle(row, _ask(current, row))] += 1
    if counts:
        _log.info("reminders reconciled", **counts)
    return dict(counts)


def _ask(current: Runtime, row: Row[Any]) -> Receipt | None:
    """What the vendor says, or None when it cannot be asked (now)."""
    gateway = current.gateways.get(row.gateway)
    # A number that changed since: the vendor's records of the new one would "prove" an absence.
    if gateway is None or not row.same_recipient:
        return None
    settings = current.config.gateways[gateway.name]
    recipient = _recipient(current, gateway.channel, row)
    if recipient is None or not _may_ask(gateway.name, settings.qps):
        return None
    deadline = Deadline.after(settings.timeout)
    return gateway.reconcile(row.client_reference, recipient, sent_on(row.sent_before), deadline)


def sent_on(sent_before: datetime) -> date:
    """The vendor's calendar day on which a message left whose call had ended by ``sent_before``.

    Rather a day too early than one too late: gateways look at the following day as well. The real
    clock counts here: the vendor does not know our business time.
    """
    longest_call = timedelta(seconds=MARGIN_SECONDS)
    return (sent_before.astimezone(UTC) - longest_call).astimezone(_VENDORS_CALENDAR).date()


def _recipient(current: Runtime, channel: Channel, row: Row[Any]) -> str | None:
    column, blob = (
        ("push_token", row.push_token) if channel is Channel.PUSH else ("phone", row.phone)
    )
    if blob is None:
        return None
    try:
        return current.keyring.decrypt("users", column, row.platform, row.reference, blob)
    except DecryptionError:
        _log.error("stored data cannot be decrypted", reminder=row.id, column=column)
        return None


def _may_ask(gateway: str, rate: float) -> bool:
    """Whether the vendor's rate allows a question now; if not, the row comes up again."""
    with transaction() as connection:
        granted = providers.reserve(
            connection,
            gateways.row_name(gateway),
            "reconcile",
            want=1,
            rate=rate,
            burst=max(1, int(rate / 10)),
        )
    return granted.count == 1


def _settle(row: Row[Any], receipt: Receipt | None) -> str:
    """Write what is known now; returns the row's state."""
    if receipt is not None and receipt.delivery is Delivery.ACCEPTED:
        state = "sent"
    elif receipt is not None and receipt.delivery is Delivery.REJECTED:
        state = "rejected"
    elif row.reconciliations >= MOST_RECONCILIATIONS:
        state = "unknown"
    else:
        return "sending"
    with transaction() as connection:
        ours = reminders.settle(
            connection,
            row.id,
            reconciliation=row.reconciliations,
            state=state,
            reason="reconciled",
            code=receipt.code if receipt else None,
            message_id=receipt.message_id if receipt else None,
        )
    return state if ours else "lost"
