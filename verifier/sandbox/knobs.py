"""The sandbox's settings that can be turned while it runs (``POST /_sandbox/settings``)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from verifier.sandbox.faults import VendorName


class Knobs(BaseModel):
    """Times are milliseconds unless named otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    latency_ms: float = Field(0.0, ge=0, description="every vendor's answer waits so long")
    jitter_ms: float = Field(0.0, ge=0, description="and up to so much longer")
    per_second: dict[VendorName, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict,
        description="most requests a second of each action of a vendor; the real ones: tencent 20, "
        "jpush 10 (600 a minute), cloudauth 50, dytns 200",
    )
    token_seconds: int = Field(3600, ge=1, description="how long camara's access tokens live")
    consent: Literal["given", "pending", "refused", "unknown"] = Field(
        "given", description="what camara's people say when asked; unknown: not its customer"
    )
    poll_seconds: int = Field(1, ge=1, description="between two polls for camara's consent")
    settle_days: int = Field(3, ge=0, description="a new number is unknown for so long")
    sms_receipt_ms: float = Field(0.0, ge=0, description="until a receipt replaces 'waiting'")
    sms_details_lag_ms: float = Field(0.0, ge=0, description="until QuerySendDetails knows an SMS")
    sms_per_number_day: int = Field(50, ge=1, description="of one signature and template")
    sms_sign_names: tuple[str, ...] | None = Field(None, description="approved; None = any")
    sms_templates: dict[str, str] | None = Field(
        None, description="approved code → text with ${variables}; None = any code"
    )
