"""The configuration file (``VERIFIER_CONFIG``, TOML): providers, gateways, policies, links, times.

Secrets never stand in the file: they are references, ``"env:NAME"`` or ``"file:/path"``, resolved
when a provider is built. Unknown keys are refused with the nearest known name.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from datetime import time
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, ValidationError, field_validator, model_validator

from verifier.config.common import Endpoint, SecretRef, Strict, Url, resolve_secret
from verifier.config.explain import explain, syntax_fault
from verifier.config.providers import AnyProvider, ProviderConfig
from verifier.errors import ConfigError
from verifier.events import CELERY, Event
from verifier.outcomes import Check, Lane
from verifier.settings import settings

__all__ = [
    "AuditConfig",
    "BudgetConfig",
    "CallbackConfig",
    "CarrierCheckConfig",
    "Config",
    "EngineConfig",
    "GatewayConfig",
    "LaneConfig",
    "ProviderConfig",
    "RecycledCheckConfig",
    "ReminderConfig",
    "SecretRef",
    "StatusCheckConfig",
    "TimetableConfig",
    "WebhookConfig",
    "config",
    "load",
    "resolve_secret",
]


class GatewayConfig(Strict):
    """``[gateways.NAME]``: an API that reaches a person."""

    kind: Literal["jpush", "aliyun_sms"]
    endpoint: Endpoint | Literal[""] = ""
    key_id: SecretRef
    key_secret: SecretRef
    qps: float = Field(20.0, gt=0, le=100_000)
    timeout: float = Field(8.0, gt=0, le=30)
    connect_timeout: float = Field(2.0, gt=0, le=10)
    preference: int = Field(1, ge=1, le=99)
    sign_name: str | None = Field(None, description="SMS: the approved signature")
    templates: dict[str, str] = Field(
        default_factory=dict,
        description="SMS: template name and locale → the vendor's template code",
    )

    @model_validator(mode="after")
    def _complete(self) -> GatewayConfig:
        if self.kind == "aliyun_sms" and not (self.sign_name and self.templates):
            raise ValueError("an aliyun_sms gateway needs sign_name and templates")
        return self


class WebhookConfig(Strict):
    """``[webhooks.NAME]``: a service that is told what became of things."""

    url: Url
    secret: SecretRef = Field(description="whsec_ and base64, shared with the receiver")
    previous_secret: SecretRef | None = Field(
        None, description="signed with too, while receivers change over"
    )
    events: tuple[Event, ...] = Field((), description="only these; empty: all")
    platforms: tuple[str, ...] = Field((), description="only these products' users; empty: all")
    timeout: float = Field(5.0, gt=0, le=30, description="total deadline of a call, seconds")
    connect_timeout: float = Field(2.0, gt=0, le=10)
    max_events: int = Field(500, ge=1, le=5000, description="most verifications in one request")
    give_up_hours: float = Field(72.0, ge=0.01, le=8760)
    ca_file: str | None = Field(None, description="certificate authorities, instead of public ones")

    @property
    def subscribed(self) -> tuple[Event, ...]:
        """The events it is told."""
        return self.events or tuple(Event)


class CallbackConfig(Strict):
    """``[callbacks]``: how tasks that callers name reach their applications."""

    broker_url: SecretRef | None = Field(None, description="unset: our own broker")
    key_prefix: str = Field("vp:", max_length=100, description="the global_keyprefix they use")
    give_up_hours: float = Field(72.0, ge=0.01, le=8760)

    def resolved_broker_url(self) -> str | None:
        """The URL itself; None: our own. Raises ConfigError for one that cannot be spoken to."""
        if self.broker_url is None:
            return None
        url = resolve_secret(self.broker_url)
        if not url.startswith(("redis://", "rediss://", "sentinel://")):
            raise ConfigError(
                f"The URL that callbacks.broker_url names ({self.broker_url}) is of another kind "
                "of broker.",
                fix="Only redis://, rediss:// and sentinel:// are understood; an application on "
                "another broker is told by a webhook.",
            )
        return url


class EngineConfig(Strict):
    """``[engine]``: how the drain works. Seconds unless named otherwise."""

    threads: int = Field(16, ge=1, le=256, description="calls in flight per worker process")
    slots_per_lane: int = Field(2, ge=1, le=64, description="drains a lane may have at once")
    drain_seconds: float = Field(10.0, gt=0, le=60)
    flush_seconds: float = Field(0.5, gt=0, le=5)
    chunk: int = Field(500, ge=1, le=5000, description="most rows claimed ahead")
    lease_seconds: float = Field(45.0, gt=1, le=600)
    ring_seconds: float = Field(15.0, gt=0, le=300, description="a ring unanswered so long is lost")
    deadline_hours: int = Field(24, ge=1, le=8760)
    overdue_priority: Literal["high", "unchanged"] = Field(
        "high", description="of a verification that passed its deadline"
    )
    interactive_share: float = Field(0.1, gt=0, lt=1, description="of every provider's rate")


class ReminderConfig(Strict):
    """``[reminders]``: whom we may reach, when, and with which links."""

    enabled: bool = True
    send_from: time = time(9, 0)
    send_until: time = time(20, 0)
    link: str = "https://verify.example.com/mobile"
    allowed_links: tuple[str, ...] = ("https://verify.example.com/",)
    max_steps: int = Field(3, ge=1, le=10)
    days_between_steps: int = Field(3, ge=1, le=90)

    @model_validator(mode="after")
    def _official(self) -> ReminderConfig:
        if not all(
            prefix.startswith("https://") and prefix.endswith("/") for prefix in self.allowed_links
        ):
            raise ValueError('every allowed link must begin with "https://" and end with "/"')
        if not self.link.startswith(self.allowed_links):
            raise ValueError("link is not covered by allowed_links")
        return self


class AuditConfig(Strict):
    """``[audit]``: what the nightly scan re-queues. Days are calendar days unless named."""

    recheck_verified_days: int = Field(180, ge=1)
    recheck_no_record_working_days: int = Field(10, ge=1)
    recheck_inactive_days: int = Field(7, ge=1)


class LaneConfig(Strict):
    """``[lanes.LANE]``: which of its providers is asked first. Without it: by preference."""

    order: tuple[str, ...] = Field((), description="asked in this order")
    weights: dict[str, Annotated[float, Field(gt=0, le=1000)]] = Field(
        default_factory=dict, description="asked first in these shares, each user always the same"
    )

    @model_validator(mode="after")
    def _one_way(self) -> LaneConfig:
        if self.order and self.weights:
            raise ValueError("it has an order and weights, and only one can decide who is first")
        if len(set(self.order)) < len(self.order):
            raise ValueError("order: names a provider twice")
        return self


class StatusCheckConfig(Strict):
    """``[checks.status]``: before a mismatch is told, whether the number is dead.

    Unicom's empty and cancelled numbers are answered like a mismatch (dytns, documented).
    """

    enabled: bool = True
    lanes: tuple[Lane, ...] = (Lane.CUCC,)
    daily_cap: int = Field(10_000, ge=0, description="calls a business day, all users together")


class RecycledCheckConfig(Strict):
    """``[checks.recycled]``: whether the number of somebody who matched before changed hands."""

    enabled: bool = True
    daily_cap: int = Field(10_000, ge=0)


class CarrierCheckConfig(Strict):
    """``[checks.carrier]``: who carries a number now, since the segment is only a guess."""

    enabled: bool = True
    when: Literal["no_record", "first"] = Field(
        "no_record", description="after an answer that porting may explain, or before any call"
    )
    fresh_days: int = Field(7, ge=1, le=90, description="a look-up is believed for so long")
    daily_cap: int = Field(10_000, ge=0)


class ChecksConfig(Strict):
    """``[checks]``: the optional questions beside a verification. Each can be turned off."""

    status: StatusCheckConfig = StatusCheckConfig()
    recycled: RecycledCheckConfig = RecycledCheckConfig()
    carrier: CarrierCheckConfig = CarrierCheckConfig()


#: Amounts are kept with eight digits before the point.
MOST_MONEY: Final = 100_000_000


class BudgetConfig(Strict):
    """``[budget]``: what may be spent. A call that could go beyond it is not begun."""

    per_batch: Annotated[Decimal, Field(gt=0, lt=MOST_MONEY, decimal_places=6)] | None = None
    per_month: Annotated[Decimal, Field(gt=0, lt=MOST_MONEY, decimal_places=6)] | None = None
    currency: str = Field("CNY", pattern="^[A-Z]{3}$")


class TimetableConfig(Strict):
    """``[timetable]``: business times of the daily jobs, overriding ``beat_schedule.py``."""

    audit: time | None = None
    reminders_plan: time | None = None


class Config(Strict):
    business_time_zone: str = "Asia/Shanghai"
    providers: dict[str, AnyProvider] = Field(default_factory=dict)
    gateways: dict[str, GatewayConfig] = Field(default_factory=dict)
    webhooks: dict[str, WebhookConfig] = Field(default_factory=dict)
    callbacks: CallbackConfig = CallbackConfig()
    engine: EngineConfig = EngineConfig()
    lanes: dict[Lane, LaneConfig] = Field(default_factory=dict)
    checks: ChecksConfig = ChecksConfig()
    budget: BudgetConfig = BudgetConfig()
    reminders: ReminderConfig = ReminderConfig()
    audit: AuditConfig = AuditConfig()
    timetable: TimetableConfig = TimetableConfig()

    @field_validator("business_time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{value!r} is not a time zone") from error
        return value

    @field_validator("providers", "gateways")
    @classmethod
    def _plain_names(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if not (0 < len(name) <= 64 and name.isprintable() and ":" not in name):
                raise ValueError(
                    f"{name[:64]!a} is no name: 1 to 64 characters that can be seen, no colon"
                )
        return value

    @field_validator("webhooks")
    @classmethod
    def _free_names(cls, value: dict[str, WebhookConfig]) -> dict[str, WebhookConfig]:
        for name in value:
            if name == CELERY or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
                raise ValueError(
                    f"{name[:64]!r} is no name for a webhook: letters, digits, - and _; "
                    f"{CELERY!r} is taken"
                )
        return value

    @model_validator(mode="after")
    def _lease_outlives_a_call(self) -> Config:
        """A call starts at most a second after its claim (pacing) and must end within the lease."""
        longest = max((row.timeout for row in self.providers.values()), default=0.0)
        if self.engine.lease_seconds < longest + 2:
            raise ValueError(
                f"engine.lease_seconds: {self.engine.lease_seconds:g} must be at least 2 seconds "
                f"more than the longest timeout of a provider ({longest:g})"
            )
        return self

    @model_validator(mode="after")
    def _lanes_name_their_providers(self) -> Config:
        for lane, row in self.lanes.items():
            for name in (*row.order, *row.weights):
                if name not in self.providers or lane not in self.providers[name].lanes:
                    of_lane = [n for n, p in self.providers.items() if lane in p.lanes]
                    near = difflib.get_close_matches(name, of_lane, n=1)
                    hint = f"; did you mean {near[0]!r}?" if near else ""
                    where = "order" if name in row.order else "weights"
                    raise ValueError(
                        f"lanes.{lane}.{where}: {name!r} is no provider of the lane{hint}"
                    )
        return self

    @model_validator(mode="after")
    def _one_currency_for_a_budget(self) -> Config:
        if self.budget.per_batch is None and self.budget.per_month is None:
            return self
        for name, row in self.providers.items():
            if row.currency != self.budget.currency:
                raise ValueError(
                    f"budget.currency: {self.budget.currency}, and provider {name} is paid in "
                    f"{row.currency}: sums of both mean nothing"
                )
        return self

    def providers_of(self, lane: Lane) -> list[str]:
        """The providers that verify the lane's numbers, the one to be asked first at the front.

        Those that ``[lanes.LANE] order`` names come first; the rest follow by preference and name.
        """
        order = self.lanes[lane].order if lane in self.lanes else ()
        place = {name: number for number, name in enumerate(order)}
        of_lane = [
            (place.get(name, len(place)), row.preference, name)
            for name, row in self.providers.items()
            if lane in row.lanes
        ]
        return [name for *_, name in sorted(of_lane)]

    def checkers_of(self, check: Check, lane: Lane) -> list[str]:
        """The providers that answer ``check`` about the lane's numbers, preferred first."""
        found = [
            (row.preference, name)
            for name, row in self.providers.items()
            if check in row.checks and lane in row.check_lanes
        ]
        return [name for _, name in sorted(found)]

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.business_time_zone)


def load(path: Path) -> Config:
    """Parse and check the file. Raises ConfigError that names every wrong key and the fix."""
    try:
        text = path.read_text("utf-8-sig")  # some editors put a mark before it
    except FileNotFoundError as error:
        raise ConfigError(
            f"The configuration file {path} does not exist.",
            fix="Set VERIFIER_CONFIG, or run `verifier dev up`, which writes one for the sandbox.",
        ) from error
    except OSError as error:
        raise ConfigError(
            f"The configuration file {path} cannot be read ({error.strerror}).",
            fix="Make it a file that this account may read, or set VERIFIER_CONFIG to another.",
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"The configuration file {path} is not UTF-8 (byte {error.start + 1}).",
            fix="Save it again as UTF-8.",
        ) from error
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"The configuration file {path} is not TOML:\n  {syntax_fault(error, text)}",
            fix="Mend that line: text stands in quotes, a list in [ ], a table begins with "
            "[its.name]. `verifier config check` says when all is well.",
        ) from error
    except (RecursionError, ValueError):
        raise _unreadable(path) from None
    try:
        return Config.model_validate(document)
    except RecursionError:
        raise _unreadable(path) from None
    except ValidationError as error:
        raise ConfigError(
            f"The configuration file {path} is wrong:\n"
            + "\n".join(explain(error, text, document, Config)),
            fix="Mend the keys above; `verifier config check` says when all is well.",
        ) from error


def _unreadable(path: Path) -> ConfigError:
    return ConfigError(
        f"The configuration file {path} is nested too deep, or has a number too long to read.",
        fix="Compare it with the examples in docs/providers.md.",
    )


@cache
def config() -> Config:
    """This process's configuration, read once. Without a file: defaults, and no providers."""
    path = settings().config_path
    if settings().config is None and not path.exists():
        return Config()
    return load(path)
