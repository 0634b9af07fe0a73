"""Policy: whether a person is reminded, by which channel, at which step, and when. Pure.

A reminder is about a *result* that the person can mend. Transient and operator outcomes, and
UNRESOLVED, are ours: nobody is ever bothered with them. Times respect the person's own clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from verifier.clock import at_local
from verifier.config import ReminderConfig
from verifier.gateways.base import Channel
from verifier.outcomes import Outcome

#: Results that the person can mend, each with the channels that can bring the news. A number that
#: is out of service gets no SMS. UNSUPPORTED_NUMBER is missing: an operator must find a provider.
CHANNELS: Final[dict[Outcome, tuple[Channel, ...]]] = {
    Outcome.MISMATCHED: (Channel.PUSH, Channel.SMS),
    Outcome.NO_RECORD: (Channel.PUSH, Channel.SMS),
    Outcome.INVALID_INPUT: (Channel.PUSH, Channel.SMS),
    Outcome.NUMBER_INACTIVE: (Channel.PUSH,),
    Outcome.CONSENT_MISSING: (Channel.PUSH, Channel.SMS),
}

#: A detail of INVALID_INPUT that accuses our own request, not the person's data.
_OUR_BUG: Final = "PARAM"


def concerns_person(outcome: str, detail: str | None) -> bool:
    """Whether the person, and nobody else, can do something about this outcome."""
    return outcome in CHANNELS and not (outcome == Outcome.INVALID_INPUT and detail == _OUR_BUG)


def template_of(outcome: str) -> str:
    """The template's name, which vendors' template codes are configured under. Never changes."""
    return outcome.lower()


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about one failed user. ``steps``: messages about this outcome and this data
    version that reached the person, may have, or could not for the person's own reasons;
    ``last_day`` is the day of the latest. ``answering``: a verification will soon say more.
    ``sms_refused``: the number takes no SMS from us (opted out, dead)."""

    outcome: str
    detail: str | None
    has_token: bool
    steps: int
    last_day: date | None
    answering: bool
    sms_refused: bool


@dataclass(frozen=True, slots=True)
class Step:
    """The message to plan: which in the series (from 1), and by which channel."""

    number: int
    channel: Channel


def next_step(
    facts: Facts, day: date, rules: ReminderConfig, channels: frozenset[Channel]
) -> Step | None:
    """The message for ``day``, or None. ``channels``: those that have a gateway."""
    if not concerns_person(facts.outcome, facts.detail) or facts.answering:
        return None
    if facts.steps >= rules.max_steps:
        return None
    gap = timedelta(days=rules.days_between_steps)
    if facts.last_day is not None and day < facts.last_day + gap:
        return None
    channel = choose_channel(facts, channels)
    return None if channel is None else Step(facts.steps + 1, channel)


def choose_channel(facts: Facts, channels: frozenset[Channel]) -> Channel | None:
    """Push first when there is a token; SMS otherwise and at later steps."""
    possible = [c for c in CHANNELS[Outcome(facts.outcome)] if c in channels]
    if not facts.has_token and Channel.PUSH in possible:
        possible.remove(Channel.PUSH)
    if facts.sms_refused and Channel.SMS in possible:
        possible.remove(Channel.SMS)
    if not possible:
        return None
    return possible[0] if facts.steps == 0 else possible[-1]


def may_switch_to_sms(outcome: str, channels: frozenset[Channel]) -> bool:
    """Whether an SMS may take the place of a push that certainly did not reach anybody."""
    return Channel.SMS in channels and Channel.SMS in CHANNELS.get(Outcome(outcome), ())


def due_at(
    day: date, now: datetime, person_zone: ZoneInfo, business_zone: ZoneInfo, rules: ReminderConfig
) -> datetime | None:
    """The first instant of the business day ``day``, not before ``now``, at which the person's
    wall clock is outside quiet hours; None when none is left."""
    begins = max(now, at_local(day, time(0), business_zone))
    ends = at_local(day + timedelta(days=1), time(0), business_zone)
    for offset in (-2, -1, 0, 1, 2):
        opens, closes = _hours(day + timedelta(days=offset), person_zone, rules)
        first = max(begins, opens)
        if first < min(ends, closes):
            return first
    return None


def _hours(local: date, zone: ZoneInfo, rules: ReminderConfig) -> tuple[datetime, datetime]:
    passes_midnight = rules.send_until <= rules.send_from
    last = local + timedelta(days=1) if passes_midnight else local
    return at_local(local, rules.send_from, zone), at_local(last, rules.send_until, zone)
