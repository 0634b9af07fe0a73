"""What a person may be told about their verification, in Chinese and English.

The catalogue is data (``data/guidance.toml``). Promises: every outcome, every declared detail and
every reason for waiting has a text in both locales; no text names a carrier, a vendor or personal
data; a text about waiting says why, until when if that is known, that there is no need to submit
again, and what else is possible.
Does not decide anything, and does not render SMS: those are templates approved by the vendor.
"""

from __future__ import annotations

import enum
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib import resources
from typing import Final
from zoneinfo import ZoneInfo

from verifier.outcomes import UNRESOLVED, Outcome

LOCALES: Final = ("zh", "en")
BUSINESS_ZONE: Final = ZoneInfo("Asia/Shanghai")


class Actor(enum.StrEnum):
    """Who has to act next."""

    PERSON = "person"
    OPERATOR = "operator"
    SYSTEM = "system"
    NOBODY = "nobody"


class WaitingReason(enum.StrEnum):
    """Why an open verification is not being worked on now. The values are stored."""

    NEW = "new"
    RETRY = "retry"
    MAINTENANCE = "maintenance"
    RATE_LIMITED = "rate_limited"
    PROVIDER_DOWN = "provider_down"
    NOT_SENT = "not_sent"
    PROVIDER_SUSPENDED = "provider_suspended"  # our account with the provider: credentials, money
    DAILY_CAP = "daily_cap"
    TIMEOUT = "timeout"
    LEASE_EXPIRED = "lease_expired"
    DATA_CHANGED = "data_changed"
    PAUSED = "paused"
    NO_PROVIDER = "no_provider"
    QUARANTINED = "quarantined"
    NEXT_DAY = "next_day"
    BUDGET = "budget"  # what may be spent this month is spent


@dataclass(frozen=True, slots=True)
class Guidance:
    """``text`` says what is the case, ``next_step`` what to do now, ``who_acts`` who has to."""

    text: str
    next_step: str
    who_acts: Actor

    @property
    def message(self) -> str:
        """Both sentences in one, for a place with room for one text."""
        # Chinese full stops carry their own space.
        joint = "" if self.text.endswith("。") else " "
        return f"{self.text}{joint}{self.next_step}"


def for_outcome(outcome: Outcome | str, detail: str | None = None, locale: str = "zh") -> Guidance:
    """What to say about an outcome, or about ``UNRESOLVED``.

    A detail that the catalogue does not know is told like its outcome. Raises ValueError for an
    unknown outcome.
    """
    name = UNRESOLVED if outcome == UNRESOLVED else Outcome(outcome).value
    entries = _catalogue().outcomes
    entry = entries.get(f"{name}/{detail}") or entries[name]
    return entry[locale_of(locale)]


def for_waiting(
    reason: WaitingReason | str,
    until: datetime | None = None,
    locale: str = "zh",
    zone: ZoneInfo = BUSINESS_ZONE,
) -> Guidance:
    """What to say while a verification waits.

    ``until`` is the earliest time at which it may go on (aware; None if unknown or already past),
    shown in ``zone``, the person's time zone. Raises ValueError for an unknown reason or a naive
    time.
    """
    catalogue, locale = _catalogue(), locale_of(locale)
    waiting = catalogue.waiting[WaitingReason(reason)][locale]
    phrases = catalogue.phrases[locale]
    # Money: `until` is only when somebody looks again.
    if until is None or reason == WaitingReason.BUDGET:
        when = phrases["no_until"]
    else:
        when = phrases["until"].format(until=format_time(until, locale, zone))
    space = "" if locale == "zh" else " "
    return Guidance(
        text=waiting.text + space + when,
        next_step=phrases["no_resubmit"] + space + waiting.next_step,
        who_acts=waiting.who_acts,
    )


def locale_of(language: str) -> str:
    """``zh`` for every Chinese language tag (``zh-Hans-CN``, ``zh_TW``), ``en`` for any other."""
    primary = language.strip().replace("_", "-").partition("-")[0].lower()
    return "zh" if primary == "zh" else "en"


def format_time(instant: datetime, locale: str, zone: ZoneInfo) -> str:
    """The minute at or after ``instant``, as the person's clock will show it, with the zone."""
    if instant.tzinfo is None:
        raise ValueError("a time without a zone cannot be shown to a person")
    local = instant.astimezone(zone)
    if local.second or local.microsecond:
        # Never name a time before the true one: the person would look in vain.
        local = (instant + timedelta(minutes=1)).astimezone(zone)
    clock = f"{local:%H:%M}"
    if locale_of(locale) == "zh":
        name = "北京时间" if zone == BUSINESS_ZONE else _offset(local)
        return f"{local.year}年{local.month}月{local.day}日{clock}（{name}）"
    name = "Beijing time" if zone == BUSINESS_ZONE else _offset(local)
    return f"{local.day} {_MONTHS[local.month - 1]} {local.year}, {clock} ({name})"


_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July",
    "August", "September", "October", "November", "December",
)  # fmt: skip


def _offset(local: datetime) -> str:
    offset = f"{local:%z}"  # an offset is understood everywhere; abbreviations are not unique
    return f"UTC{offset[:3]}:{offset[3:5]}"


_Texts = Mapping[str, Guidance]


@dataclass(frozen=True, slots=True)
class _Catalogue:
    outcomes: Mapping[str, _Texts]  # "NAME" or "NAME/DETAIL" → locale → guidance
    waiting: Mapping[str, _Texts]  # text is the why, next_step what else is possible
    phrases: Mapping[str, Mapping[str, str]]


@cache
def _catalogue() -> _Catalogue:
    text = resources.files("verifier").joinpath("data/guidance.toml").read_text("utf-8")
    document = tomllib.loads(text)

    def entries(section: str, first: str, second: str) -> dict[str, _Texts]:
        return {
            name: {
                locale: Guidance(row[locale][first], row[locale][second], Actor(row["who"]))
                for locale in LOCALES
            }
            for name, row in document[section].items()
        }

    return _Catalogue(
        outcomes=entries("outcome", "text", "next_step"),
        waiting=entries("waiting", "why", "else"),
        phrases=document["phrases"],
    )
