"""Every provider and every gateway, built against an endpoint, as the suites' parameters.

A new provider or gateway joins all of the contract's tests by a line here and an entry in the
table of the vendor's happy answers.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from verifier.carriers.base import Person, Provider
from verifier.carriers.generic import Generic
from verifier.carriers.generic import Settings as GenericSettings
from verifier.carriers.tencent import Tencent
from verifier.gateways.aliyun_sms import AliyunSms
from verifier.gateways.base import Gateway, Message
from verifier.gateways.jpush import JPush
from verifier.local.reseller_config import reseller_table
from verifier.outcomes import Check, Lane
from verifier.transport import Transport

PERSON = Person(phone="13800138000", name="王小明", id_number="11010519491231002X")
TOKEN = "1104a89792e1f3fe3a1"
SECRETS = (
    PERSON.phone,
    PERSON.name,
    PERSON.id_number,
    TOKEN,
    "tests-secret-key",
)
TENCENT_ACTIONS = (
    "PhoneVerification",
    "PhoneVerificationCMCC",
    "PhoneVerificationCUCC",
    "PhoneVerificationCTCC",
)


@dataclass(frozen=True)
class ProviderCase:
    """``matched``: a body that means MATCHED, and ``carrier`` whose it then is. ``check``: one that
    the provider offers, and ``checked``: a body that answers it."""

    name: str
    build: Callable[[str, Transport], Provider]
    matched: bytes
    carrier: Lane | None = Lane.CMCC
    check: Check | None = None
    checked: bytes = b""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class GatewayCase:
    name: str
    build: Callable[[str, Transport], Gateway]
    recipient: str
    accepted: bytes  # a body that means ACCEPTED

    def __str__(self) -> str:
        return self.name

    def message(self, reference: str = "r-1") -> Message:
        return Message(
            reference=reference,
            recipient=self.recipient,
            template="mismatched",
            parameters={"tail": "8000"},
            title="实名核验",
            text="您的实名信息需要更新",
            link="https://verify.example.com/mobile",
            locale="zh",
        )


def tencent(
    endpoint: str, transport: Transport, action: str = "PhoneVerification", detailed: bool = False
) -> Tencent:
    return Tencent(
        name="tencent",
        lanes=frozenset(Lane),
        action=action,
        endpoint=endpoint,
        secret_id="tests-secret-id",
        secret_key="tests-secret-key",
        transport=transport,
        detailed=detailed,
    )


def jpush(endpoint: str, transport: Transport) -> JPush:
    return JPush(
        name="jpush",
        app_key="tests-app-key",
        master_secret="tests-secret-key",
        endpoint=endpoint,
        transport=transport,
    )


def aliyun_sms(endpoint: str, transport: Transport) -> AliyunSms:
    return AliyunSms(
        name="aliyun_sms",
        key_id="tests-key-id",
        key_secret="tests-secret-key",
        sign_name="某某科技",
        templates={"mismatched.zh": "SMS_100001", "no_record": "SMS_100002"},
        endpoint=endpoint,
        transport=transport,
    )


def tencent_body(**response: object) -> bytes:
    return json.dumps({"Response": {"RequestId": "request-1", **response}}).encode()


def _tencent_case(action: str) -> ProviderCase:
    return ProviderCase(
        f"tencent.{action}",
        lambda endpoint, transport: tencent(endpoint, transport, action),
        tencent_body(Result="0", Isp="移动", Description="认证通过"),
    )


def generic(endpoint: str, transport: Transport, table: dict[str, Any] | None = None) -> Generic:
    """As the configuration describes it, by default the sandbox's reseller."""
    settings = GenericSettings.model_validate(RESELLER if table is None else table)
    return Generic(
        name="reseller",
        lanes=frozenset(settings.lanes),
        checks=frozenset(settings.checks),
        endpoint=endpoint,
        verification=settings.verify,
        check_calls=settings.check,
        probe=settings.probe,
        secrets={name: f"tests-secret-{name[4:]}" for name in settings.secret_refs},
        max_body=settings.max_body,
        transport=transport,
    )


#: JSON, HMAC over the sorted fields, an envelope with codes in text.
RESELLER = tomllib.loads(reseller_table("https://reseller.example.com", "env:KEY", "env:SECRET"))[
    "providers"
]["reseller"]
#: Another one, as different as they come: a form, an MD5 signature, codes in Chinese, in a list.
FORM_RESELLER = tomllib.loads(
    """
    kind = "generic"
    endpoint = "https://api.other.example.com/open"
    lanes = ["cmcc", "cucc"]
    checks = ["recycled", "carrier"]

    [secrets]
    app_key = "env:OTHER"

    [verify]
    path = "/tel3"
    format = "form"
    success = { "head.status" = ["0", "00"] }
    error = "head.error"
    result = "payload[0].verdict"
    carrier = "payload[0].isp"
    request_id = "head.seq"

    [verify.body]
    tel = "{{ phone_e164 }}"
    xm = "{{ name }}"
    sfz = "{{ id_number | lower }}"
    t = "{{ timestamp_ms }}"
    r = "{{ nonce }}"
    day = "{{ date }}"
    version = 2
    plain = true

    [verify.signature]
    algorithm = "md5"
    over = "{{ sorted_parameters }}&key={{ secret.app_key }}"
    case = "upper"
    place = "header"
    name = "X-Sign"

    [verify.codes]
    "一致" = "MATCHED"
    "不一致" = "MISMATCHED/UNSPECIFIED"
    "查无" = "NO_RECORD"

    [verify.carriers]
    "移动" = "cmcc"
    "联通" = "cucc"

    [verify.billed]
    "查无" = "yes"

    [verify.errors]
    "4*" = "INVALID_INPUT/PARAM"
    "41" = "AUTH_CONFIG"
    "411" = "NUMBER_INACTIVE/EMPTY"
    "5*" = "MAINTENANCE"
    "59" = "PROVIDER_ERROR"

    [verify.errors_billed]
    "59" = "maybe"

    [verify.http]
    "407" = "AUTH_CONFIG"
    "402" = "ARREARS"
    "418" = "MAINTENANCE"
    "509" = "PROVIDER_ERROR"

    [check.recycled]
    method = "GET"
    path = "/recycled"
    result = "same"
    error = "errno"
    [check.recycled.query]
    tel = "{{ phone | hmac_sha256(secret.app_key) }}"
    since = "{{ since }}"
    compact = "{{ since_compact }}"
    key = "{{ secret.app_key }}"
    [check.recycled.codes]
    true = "SAME_HOLDER"
    false = "CHANGED_HANDS"
    [check.recycled.errors]
    "404" = "UNKNOWN"

    [check.carrier]
    method = "GET"
    path = "/carrier"
    allow_personal_data_in_url = true
    result = "code"
    carrier = "isp"
    [check.carrier.query]
    tel = "{{ phone }}"
    [check.carrier.codes]
    "0" = "CARRIER"
    "1" = "UNKNOWN"
    [check.carrier.carriers]
    "1" = "cmcc"
    "2" = "cbn"
    """
)


def _generic_case(name: str, table: dict[str, Any], *bodies: bytes) -> ProviderCase:
    check = Check(table["checks"][0])
    return ProviderCase(
        f"generic.{name}",
        lambda endpoint, transport: generic(endpoint, transport, table),
        bodies[0],
        check=check,
        checked=bodies[1],
    )


PROVIDERS = [_tencent_case(action) for action in TENCENT_ACTIONS]
PROVIDERS += [
    _generic_case(
        "json",
        RESELLER,
        b'{"code":"0","requestId":"r-1","data":{"result":"1","carrier":"CMCC","fee":15}}',
        b'{"code":"0","requestId":"r-1","data":{"status":"0","fee":15}}',
    ),
    _generic_case(
        "form",
        FORM_RESELLER,
        '{"head":{"status":"0","seq":7},"payload":[{"verdict":"一致","isp":"移动"}]}'.encode(),
        b'{"same":true}',
    ),
]
GATEWAYS = [
    GatewayCase("jpush", jpush, TOKEN, b'{"sendno":"0","msg_id":"18100287007462234"}'),
    GatewayCase(
        "aliyun_sms",
        aliyun_sms,
        PERSON.phone,
        b'{"Code":"OK","Message":"OK","BizId":"900619746936498440^0","RequestId":"F655A8D5"}',
    ),
]
