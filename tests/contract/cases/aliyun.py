"""Alibaba Cloud cloudauth and dytns, action by action."""

from __future__ import annotations

import json
from typing import Literal

from tests.contract.cases.common import ProviderCase
from verifier.carriers.aliyun_cloudauth import AliyunCloudauth
from verifier.carriers.aliyun_dytns import AliyunDytns, Mask
from verifier.outcomes import Check, Lane
from verifier.transport import Transport

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


CLOUDAUTH = [_cloudauth_case(action) for action in CLOUDAUTH_ACTIONS]
DYTNS = [_dytns_case(action) for action in DYTNS_ACTIONS]
