"""Every provider and every gateway, built against an endpoint, as the suites' parameters.

A new provider or gateway joins all of the contract's tests by a line here and an entry in the
table of the vendor's happy answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Literal

from cryptography.hazmat.primitives.asymmetric import rsa

from verifier.carriers.aliyun_cloudauth import AliyunCloudauth
from verifier.carriers.aliyun_dytns import AliyunDytns, Mask
from verifier.carriers.base import Number, Person, Provider
from verifier.carriers.tencent import Tencent
from verifier.carriers.tencent_fields import FieldCipher
from verifier.gateways.aliyun_sms import AliyunSms
from verifier.gateways.base import Gateway, Message
from verifier.gateways.jpush import JPush
from verifier.outcomes import Check, Lane
from verifier.transport import Transport

PERSON = Person(phone="13800138000", name="王小明", id_number="11010519491231002X")
NUMBER = Number(PERSON.phone, since=date(2020, 1, 1))
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
    the provider offers, and ``checked``: a body that answers it. ``probed``: a body that says to a
    probe that all is well. ``code``: the code in ``matched`` without which it means nothing."""

    name: str
    build: Callable[[str, Transport], Provider]
    matched: bytes
    carrier: Lane | None = Lane.CMCC
    check: Check | None = None
    checked: bytes = b""
    probed: bytes = b""
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


@cache
def tencent_private_key() -> rsa.RSAPrivateKey:
    """The vendor's side of the encrypted fields."""
    return rsa.generate_private_key(65537, 2048)


def tencent(
    endpoint: str,
    transport: Transport,
    action: str = "PhoneVerification",
    detailed: bool = False,
    encrypt: bool = False,
    checks: frozenset[Check] = frozenset(Check),
    lanes: frozenset[Lane] = frozenset(Lane),
) -> Tencent:
    return Tencent(
        name="tencent",
        lanes=lanes,
        checks=checks & {Check.STATUS, Check.RECYCLED},
        action=action,
        endpoint=endpoint,
        secret_id="tests-secret-id",
        secret_key="tests-secret-key",
        transport=transport,
        detailed=detailed,
        cipher=FieldCipher(tencent_private_key().public_key()) if encrypt else None,
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


def _tencent_case(
    action: str, check: Check | None = None, *, encrypt: bool = False
) -> ProviderCase:
    digests = action == "EncryptedPhoneVerification"
    isp = {"ISP" if digests else "Isp": "移动"}
    return ProviderCase(
        f"tencent.{action}" + (".encrypted" if encrypt else ""),
        lambda endpoint, transport: tencent(endpoint, transport, action, encrypt=encrypt),
        tencent_body(Result="0", Description="认证通过", **isp),
        check=check,
        checked=tencent_body(Result="0", StatusCode=0, Range="[24,+)", Description="成功"),
        probed=tencent_body(Result="-7" if digests else "-6", Description="不合法"),
    )


TENCENT_CASES = [
    _tencent_case("PhoneVerification", Check.STATUS),
    _tencent_case("PhoneVerificationCMCC", Check.RECYCLED),
    _tencent_case("PhoneVerificationCUCC"),
    _tencent_case("PhoneVerificationCTCC"),
    _tencent_case("PhoneVerification", Check.RECYCLED, encrypt=True),
    _tencent_case("PhoneVerificationCTCC", Check.STATUS, encrypt=True),
    _tencent_case("EncryptedPhoneVerification"),
]


CLOUDAUTH_ACTIONS = (
    "Mobile3MetaDetailVerify",
    "Mobile3MetaSimpleVerify",
    "Mobile3MetaDetailStandardVerify",
    "Mobile3MetaSimpleStandardVerify",
)
DYTNS_ACTIONS = ("ThreeElementsVerification", "VirtualThreeElementsVerification")


def cloudauth(
    endpoint: str,
    transport: Transport,
    action: str = "Mobile3MetaDetailVerify",
    mask: Literal["md5", "normal"] = "md5",
) -> AliyunCloudauth:
    return AliyunCloudauth(
        name="cloudauth",
        lanes=frozenset(Lane),
        checks=frozenset({Check.STATUS, Check.RECYCLED}),
        action=action,
        endpoint=endpoint,
        key_id="tests-key-id",
        key_secret="tests-secret-key",
        transport=transport,
        mask=mask,
    )


def dytns(
    endpoint: str,
    transport: Transport,
    action: str = "ThreeElementsVerification",
    mask: Mask = "SHA256",
) -> AliyunDytns:
    return AliyunDytns(
        name="dytns",
        lanes=frozenset(Lane),
        checks=frozenset({Check.CARRIER, Check.STATUS, Check.RECYCLED}),
        action=action,
        endpoint=endpoint,
        key_id="tests-key-id",
        key_secret="tests-secret-key",
        auth_code="tests-auth-code",
        check_auth_codes={Check.CARRIER: "tests-carrier-auth-code"},
        transport=transport,
        mask=mask,
    )


def cloudauth_body(code: str = "200", message: str = "success", **result: object) -> bytes:
    return json.dumps(
        {"Code": code, "Message": message, "RequestId": "request-1", "ResultObject": result}
    ).encode()


def dytns_body(code: str = "OK", **data: object) -> bytes:
    return json.dumps(
        {"Code": code, "Message": "说明", "RequestId": "request-1", "Data": data}
    ).encode()


def _cloudauth_case(action: str) -> ProviderCase:
    sub_code = {} if "Simple" in action else {"SubCode": "101"}
    return ProviderCase(
        f"aliyun_cloudauth.{action}",
        lambda endpoint, transport: cloudauth(endpoint, transport, action),
        cloudauth_body(message="成功", BizCode="1", IspName="CMCC", **sub_code),
        check=Check.STATUS,
        checked=cloudauth_body(BizCode="1", SubCode="101", IspName="CMCC"),
        probed=cloudauth_body("401", "参数非法"),
        code=b'"200"',
    )


def _dytns_case(action: str) -> ProviderCase:
    return ProviderCase(
        f"aliyun_dytns.{action}",
        lambda endpoint, transport: dytns(endpoint, transport, action),
        dytns_body(IsConsistent=1, BasicCarrier="中国移动"),
        carrier=None,
        check=Check.CARRIER,
        checked=dytns_body(BasicCarrier="中国移动", Carrier="中国移动", IsNumberPortability=False),
        probed=dytns_body("MobileNumberIllegal"),
        code=b'"OK"',
    )


PROVIDERS = [
    *TENCENT_CASES,
    *(_cloudauth_case(action) for action in CLOUDAUTH_ACTIONS),
    *(_dytns_case(action) for action in DYTNS_ACTIONS),
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
