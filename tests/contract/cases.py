"""Every provider and every gateway, built against an endpoint, as the suites' parameters.

A new provider or gateway joins all of the contract's tests by a line here and an entry in the
table of the vendor's happy answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from verifier.carriers.base import Answer, Person, Provider
from verifier.carriers.camara import Camara
from verifier.carriers.tencent import Tencent
from verifier.gateways.aliyun_sms import AliyunSms
from verifier.gateways.base import Gateway, Message
from verifier.gateways.jpush import JPush
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
    the provider offers, and ``checked``: a body that answers it. ``code``: where the vendor's code
    stands in ``matched``."""

    name: str
    build: Callable[[str, Transport], Provider]
    matched: bytes
    carrier: Lane | None = Lane.CMCC
    check: Check | None = None
    checked: bytes = b""
    code: bytes = b'"0"'

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


class StaticTokens:
    """A token that is simply there, so that the operator sees nothing but the call itself."""

    prompts = False

    def __init__(self, *, three_legged: bool = False) -> None:
        self.three_legged = three_legged

    def token(self, *_: object) -> str | Answer:
        return "tests-secret-key"  # among SECRETS: it must not be seen

    def renews(self, scope: str, token: str) -> bool:
        return False


def camara(endpoint: str, transport: Transport) -> Camara:
    return Camara(
        name="camara",
        lanes=frozenset(Lane),
        checks=frozenset({Check.STATUS, Check.RECYCLED}),
        endpoint=endpoint,
        tokens=StaticTokens(),
        transport=transport,
    )


CAMARA = ProviderCase(
    "camara.kyc-match",
    camara,
    json.dumps({"idDocumentMatch": "true", "nameMatch": "true"}).encode(),
    carrier=None,  # the operator is known beforehand and does not name itself
    check=Check.STATUS,
    checked=b'{"voiceSmsIn":"active","voiceSmsOut":"active","dataService":"throttled"}',
    code=b'"true"',
)
PROVIDERS = [_tencent_case(action) for action in TENCENT_ACTIONS]
PROVIDERS += [CAMARA]
GATEWAYS = [
    GatewayCase("jpush", jpush, TOKEN, b'{"sendno":"0","msg_id":"18100287007462234"}'),
    GatewayCase(
        "aliyun_sms",
        aliyun_sms,
        PERSON.phone,
        b'{"Code":"OK","Message":"OK","BizId":"900619746936498440^0","RequestId":"F655A8D5"}',
    ),
]
