"""What a gateway's receipt means for the row of a reminder. Pure.

Only what certainly did not leave us is tried again, and only what certainly reached nobody may be
replaced by another channel. UNKNOWN is left in ``sending``: :mod:`verifier.reminders.reconcile`
settles it, and it is never sent again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from verifier.gateways.base import Blame, Channel, Delivery, Receipt

#: A message that cannot leave us is tried so often in its day.
MOST_TRIES: Final = 8

_FIRST_PAUSE: Final = 60.0
_LONGEST_PAUSE: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Ended:
    """The row is final: ``sent``, ``rejected`` or ``skipped``. ``reason`` says whose matter a
    refusal is (person, operator, vendor, none)."""

    state: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Again:
    """The row is planned again in ``seconds``, by ``channel`` if it changes."""

    seconds: float
    reason: str
    channel: Channel | None = None


@dataclass(frozen=True, slots=True)
class Unsettled:
    """It may have been sent: the row stays ``sending``."""


Verdict = Ended | Again | Unsettled

#: We were told to stop before the first byte: as if it had not been tried.
HELD_BACK: Final = Again(0.0, "held_back")


def judge(
    receipt: Receipt, channel: Channel, *, tries: int, gateways: int, sms_instead: bool
) -> Verdict:
    """What follows ``receipt``. ``tries``: how often this row could not leave us before;
    ``gateways``: how many there are for the channel; ``sms_instead``: an SMS may replace it."""
    match receipt.delivery:
        case Delivery.ACCEPTED:
            return Ended("sent")
        case Delivery.UNKNOWN:
            return Unsettled()
        case Delivery.NOT_SENT:
            return not_sent(tries, gateways)
        case Delivery.REJECTED:
            if channel is Channel.PUSH and receipt.blame is Blame.PERSON and sms_instead:
                return Again(0.0, "push_refused", Channel.SMS)
            return Ended("rejected", str(receipt.blame))


def not_sent(tries: int, gateways: int) -> Verdict:
    """Nothing left us: the next gateway at once, and when all were tried, all of them later."""
    if tries + 1 >= MOST_TRIES:
        return Ended("skipped", "not_sent")
    rounds = (tries + 1) // max(1, gateways)
    if (tries + 1) % max(1, gateways):
        return Again(0.0, "not_sent")
    return Again(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (rounds - 1)), "not_sent")
