"""From a leased row to a message that may leave now, or the reason why it may not. Sends nothing.

The row was planned hours ago: everything it rests on is looked at again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import Row

from verifier.clock import business_date
from verifier.gateways.base import Channel, Gateway, Message
from verifier.identity.keyring import DecryptionError
from verifier.reminders import policy, templates
from verifier.reminders.runtime import Runtime
from verifier.reminders.standing import Standing
from verifier.reminders.zones import person_zone

_log = structlog.get_logger(__name__)

#: Minutes until a row looks again for a gateway that an operator has paused.
LOOK_AGAIN: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message with its gateway. ``gateways``: how many the channel has."""

    id: int
    channel: Channel
    tries: int
    gateway: Gateway
    gateways: int
    sms_instead: bool
    recipient: str = field(repr=False)
    template: str
    locale: str
    texts: templates.Rendered

    def message(self, client_reference: str) -> Message:
        """What the gateway is given. Texts are fixed: there are no parameters."""
        return Message(
            reference=client_reference,
            recipient=self.recipient,
            template=self.template,
            parameters={},
            title=self.texts.title,
            text=self.texts.text if self.channel is Channel.PUSH else self.texts.sms,
            link=self.texts.link,
            locale=self.locale,
        )


@dataclass(frozen=True, slots=True)
class Skip:
    """The message will not be sent on its day."""

    reason: str


@dataclass(frozen=True, slots=True)
class Later:
    """Not now; by ``channel`` from then on, if that is set."""

    due_at: datetime
    reason: str
    channel: Channel | None = None


def examine(runtime: Runtime, standing: Standing, row: Row[Any]) -> Outgoing | Skip | Later:
    """What to do with a row of :func:`verifier.store.reminders.lease_due`."""
    return _untrue(row) or _unseasonable(runtime, row) or _address(runtime, standing, row)


def _untrue(row: Row[Any]) -> Skip | None:
    if not row.current:
        return Skip("no_longer_true")
    return Skip("being_verified") if row.answering else None


def _unseasonable(runtime: Runtime, row: Row[Any]) -> Skip | Later | None:
    zone, rules = runtime.config.zone, runtime.config.reminders
    due = policy.due_at(row.day, row.now, person_zone(row.time_zone, zone), zone, rules)
    if due is None or row.day < business_date(row.now, zone):
        return Skip("day_over")
    return Later(due, "quiet_hours") if due > row.now else None


def _address(runtime: Runtime, standing: Standing, row: Row[Any]) -> Outgoing | Skip | Later:
    channel = Channel(row.channel)
    sms_instead = policy.may_switch_to_sms(row.outcome, runtime.channels)
    if channel is Channel.PUSH and row.push_token is None:
        return Later(row.now, "no_token", Channel.SMS) if sms_instead else Skip("no_token")
    gateways = runtime.of_channel(channel)
    if not gateways:
        return Skip("no_gateway")
    usable = [gateway for gateway in gateways if standing.is_usable(gateway.name)]
    if not usable:
        return Later(row.now + LOOK_AGAIN, "gateway_paused")
    column, blob = (
        ("push_token", row.push_token) if channel is Channel.PUSH else ("phone", row.phone)
    )
    try:
        recipient = runtime.keyring.decrypt("users", column, row.platform, row.reference, blob)
    except DecryptionError:
        _log.error("stored data cannot be decrypted", reminder=row.id, column=column)
        return Skip("unreadable")
    return Outgoing(
        id=row.id,
        channel=channel,
        tries=row.tries,
        # What could not leave by one gateway tries the next.
        gateway=usable[row.tries % len(usable)],
        gateways=len(usable),
        sms_instead=sms_instead,
        recipient=recipient,
        template=row.template,
        locale=row.locale,
        texts=templates.render(row.template, row.locale, runtime.config.reminders),
    )
