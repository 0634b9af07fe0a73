"""Tencent Cloud FaceID, action by action."""

from __future__ import annotations

import json
from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa

from tests.contract.cases.common import ProviderCase
from verifier.carriers.tencent import Tencent
from verifier.carriers.tencent_fields import FieldCipher
from verifier.outcomes import Check, Lane
from verifier.transport import Transport

TENCENT_ACTIONS = (
    "PhoneVerification",
    "PhoneVerificationCMCC",
    "PhoneVerificationCUCC",
    "PhoneVerificationCTCC",
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


CASES = [
    _tencent_case("PhoneVerification", Check.STATUS),
    _tencent_case("PhoneVerificationCMCC", Check.RECYCLED),
    _tencent_case("PhoneVerificationCUCC"),
    _tencent_case("PhoneVerificationCTCC"),
    _tencent_case("PhoneVerification", Check.RECYCLED, encrypt=True),
    _tencent_case("PhoneVerificationCTCC", Check.STATUS, encrypt=True),
    _tencent_case("EncryptedPhoneVerification"),
]
