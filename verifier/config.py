"""The configuration file (``VERIFIER_CONFIG``, TOML): providers, gateways, policies, links, times.

Secrets never stand in the file: they are references, ``"env:NAME"`` or ``"file:/path"``, resolved
when a provider is built. Unknown keys are refused with the nearest known name.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from datetime import time
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from verifier.errors import ConfigError
from verifier.events import CELERY, Event
from verifier.outcomes import Lane
from verifier.settings import settings


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _check_secret_reference(value: str) -> str:
    if not value.startswith(("env:", "file:")):
        raise ValueError('a secret must be a reference: "env:NAME" or "file:/path/to/secret"')
    return value


SecretRef = Annotated[str, AfterValidator(_check_secret_reference)]


def resolve_secret(reference: str) -> str:
    """The secret that ``env:NAME`` or ``file:/path`` points to. Raises ConfigError if absent."""
    scheme, _, rest = reference.partition(":")
    if scheme == "env":
        value = os.environ.get(rest)
        if not value:
            raise ConfigError(
                f"The environment variable {rest} is not set.",
                fix=f"Export {rest}, or change the reference in the configuration file.",
            )
        return value
    try:
        return Path(rest).read_text("utf-8").strip()
    except OSError as error:
        raise ConfigError(
            f"The secret file {rest} cannot be read ({error.strerror}).",
            fix="Create it with mode 0600, readable by the account of the workers.",
        ) from error


class ProviderConfig(_Strict):
    """``[providers.NAME]``: an API that verifies numbers of some lanes."""

    kind: Literal["tencent"]
    action: Literal[
        "PhoneVerification",
        "PhoneVerificationCMCC",
        "PhoneVerificationCUCC",
        "PhoneVerificationCTCC",
    ] = "PhoneVerification"
    endpoint: str = "https://faceid.tencentcloudapi.com"
    secret_id: SecretRef
    secret_key: SecretRef
    lanes: tuple[Lane, ...]
    preference: int = Field(1, ge=1, le=99, description="lower is asked first")
    qps: float = Field(20.0, gt=0, le=100_000)
    timeout: float = Field(8.0, gt=0, le=30, description="total deadline of a call, seconds")
    connect_timeout: float = Field(2.0, gt=0, le=10)
    detailed: bool = Field(False, description="VerifyMode 1: says which element differs, dearer")

    @field_validator("endpoint")
    @classmethod
    def _https(cls, value: str) -> str:
        return _check_endpoint(value)


class GatewayConfig(_Strict):
    """``[gateways.NAME]``: an API that reaches a person."""

    kind: Literal["jpush", "aliyun_sms"]
    endpoint: str = ""
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

    @field_validator("endpoint")
    @classmethod
    def _https(cls, value: str) -> str:
        return _check_endpoint(value) if value else value

    @model_validator(mode="after")
    def _complete(self) -> GatewayConfig:
        if self.kind == "aliyun_sms" and not (self.sign_name and self.templates):
            raise ValueError("an aliyun_sms gateway needs sign_name and templates")
        return self


def _check_endpoint(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname)):
        raise ValueError("must be https:// (plain http only to 127.0.0.1)")
    if not parts.hostname or parts.username is not None or parts.fragment:
        raise ValueError("must be a URL with a host, without a user name and a fragment")
    return value.rstrip("/")


def _is_loopback(host: str | None) -> bool:
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


class WebhookConfig(_Strict):
    """``[webhooks.NAME]``: a service that is told what became of things."""

    url: str
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

    @field_validator("url")
    @classmethod
    def _https(cls, value: str) -> str:
        _check_endpoint(value)
        return value

    @property
    def subscribed(self) -> tuple[Event, ...]:
        """The events it is told."""
        return self.events or tuple(Event)


class CallbackConfig(_Strict):
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


class EngineConfig(_Strict):
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


class ReminderConfig(_Strict):
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


class AuditConfig(_Strict):
    """``[audit]``: what the nightly scan re-queues. Days are calendar days unless named."""

    recheck_verified_days: int = Field(180, ge=1)
    recheck_no_record_working_days: int = Field(10, ge=1)
    recheck_inactive_days: int = Field(7, ge=1)


class TimetableConfig(_Strict):
    """``[timetable]``: business times of the daily jobs, overriding ``beat_schedule.py``."""

    audit: time | None = None
    reminders_plan: time | None = None


class Config(_Strict):
    business_time_zone: str = "Asia/Shanghai"
    providers: dict[str, ProviderConfig] = Field(default_factory=dict)
    gateways: dict[str, GatewayConfig] = Field(default_factory=dict)
    webhooks: dict[str, WebhookConfig] = Field(default_factory=dict)
    callbacks: CallbackConfig = CallbackConfig()
    engine: EngineConfig = EngineConfig()
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
                f"engine.lease_seconds ({self.engine.lease_seconds:g}) must be at least 2 seconds "
                f"more than the longest timeout of a provider ({longest:g})"
            )
        return self

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.business_time_zone)


def load(path: Path) -> Config:
    """Parse and check the file. Raises ConfigError that names every wrong key and the fix."""
    try:
        text = path.read_text("utf-8")
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
            f"The configuration file {path} is not TOML:\n  {_syntax_fault(error, text)}",
            fix="Mend that line: text stands in quotes, a list in [ ], a table begins with "
            "[its.name]. `verifier config check` says when all is well.",
        ) from error
    try:
        return Config.model_validate(document)
    except ValidationError as error:
        raise ConfigError(
            f"The configuration file {path} is wrong:\n" + "\n".join(_explain(error, path)),
            fix="Mend the keys above; `verifier config check` says when all is well.",
        ) from error


def _syntax_fault(error: tomllib.TOMLDecodeError, text: str) -> str:
    """The line first, as :func:`_explain` has it; tomllib names none at the end of the file."""
    message, _, place = str(error).rpartition(" (at ")
    found = re.fullmatch(r"line (\d+), column (\d+)\)", place)
    if found is not None:
        return f"line {found[1]}, column {found[2]}: {message}"
    return f"line {max(1, len(text.splitlines()))}: {message or error} (at the end of the file)"


def _explain(error: ValidationError, path: Path) -> list[str]:
    text = path.read_text("utf-8").splitlines()
    lines = []
    for item in error.errors():
        keys = [part for part in item["loc"] if isinstance(part, str)]
        if item["type"] == "extra_forbidden":
            message = "unknown key" + _did_you_mean(keys)
        else:
            message = _in_words(item, keys)
        lines.append(f"  line {_line_of(keys, text)}: {'.'.join(keys)}: {message}")
    return lines


def _in_words(item: Mapping[str, Any], keys: list[str]) -> str:
    """What is wrong with a value, in the terms of TOML. The value itself is never repeated."""
    match item["type"]:
        case "tuple_type":
            return f'must be a list: {keys[-1]} = ["...", "..."]'
        case "model_type" | "dict_type" if len(keys) <= 2 and keys[0] in _NAMED:
            return f"must be a table: write [{keys[0]}.NAME] above the keys of one of them"
        case "model_type" | "dict_type":
            return f"must be a table: write [{'.'.join(keys)}] above its keys"
        case "missing":
            return "is missing"
        case "enum" | "literal_error":
            expected = item["ctx"]["expected"]
            known = re.findall(r"'([^']*)'", expected)
            near = difflib.get_close_matches(str(item["input"]), known, n=1, cutoff=0.5)
            return f"must be {expected}" + (f"; did you mean {near[0]!r}?" if near else "")
    message: str = item["msg"]
    return message.removeprefix("Value error, ").replace("Input should be", "must be")


#: The tables that hold one table a name.
_NAMED = ("providers", "gateways", "webhooks")


def _did_you_mean(keys: list[str]) -> str:
    models: dict[str, type[BaseModel]] = {
        "providers": ProviderConfig,
        "gateways": GatewayConfig,
        "webhooks": WebhookConfig,
        "callbacks": CallbackConfig,
        "engine": EngineConfig,
        "reminders": ReminderConfig,
        "audit": AuditConfig,
        "timetable": TimetableConfig,
    }
    model = models.get(keys[0], Config) if len(keys) > 1 else Config
    near = difflib.get_close_matches(keys[-1], list(model.model_fields), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _line_of(keys: list[str], text: list[str]) -> int:
    """The line of the last key that can be found, walking down the tables; 1 if none can."""
    found, start = 1, 0
    for key in keys:
        for number in range(start, len(text)):
            stripped = text[number].strip()
            is_table = stripped.startswith("[") and key in stripped.strip("[]").split(".")
            if is_table or stripped.split("=")[0].strip() == key:
                found, start = number + 1, number
                break
    return found


@cache
def config() -> Config:
    """This process's configuration, read once. Without a file: defaults, and no providers."""
    path = settings().config_path
    if settings().config is None and not path.exists():
        return Config()
    return load(path)
