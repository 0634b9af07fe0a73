"""Tencent Cloud FaceID 2018-03-01: ``PhoneVerification``, its carrier-specific sisters and the one
that takes digests, ``MobileStatus`` and ``MobileNetworkTimeVerification``.

Documents 1007/39764, 1007/31320, 1007/55050. Codes and words are in :mod:`.tencent_answers`, the
checks in :mod:`.tencent_checks`, encrypted fields in :mod:`.tencent_sealed`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from verifier.outcomes import Lane
from verifier.sandbox.faults import FaultKind, VendorName
from verifier.sandbox.judge import Found, Ruling, rule
from verifier.sandbox.knobs import Knobs
from verifier.sandbox.masked import Mask
from verifier.sandbox.register import Records, RegisterEntry
from verifier.sandbox.signatures import SignatureRefused, check_tc3
from verifier.sandbox.tencent_answers import DIGEST_ACTION, busy, error, result, verified
from verifier.sandbox.tencent_checks import NETWORK_TIME, STATUS, mobile_status, network_time
from verifier.sandbox.tencent_sealed import SealRefused, opened, private_key
from verifier.sandbox.wire import Call, Received, Reply

VERSION = "2018-03-01"
#: Verifying action → the only carrier it knows, or None for the neutral ones.
ACTIONS: dict[str, Lane | None] = {
    "PhoneVerification": None,
    "PhoneVerificationCMCC": Lane.CMCC,
    "PhoneVerificationCUCC": Lane.CUCC,
    "PhoneVerificationCTCC": Lane.CTCC,
    DIGEST_ACTION: None,
}
_ELEMENTS = ("IdCard", "Name", "Phone")
#: Action → the parameters it needs.
_NEEDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(ACTIONS, _ELEMENTS),
    DIGEST_ACTION: (*_ELEMENTS, "EncryptionMode"),
    STATUS: ("Mobile",),
    NETWORK_TIME: ("Mobile",),
}
#: EncryptionMode → the digest; "0" is clear text. SM3 ("3") is not spoken here.
_DIGESTS = {"0": None, "1": "md5", "2": "sha256"}
_MESSAGES = {
    "AuthFailure.InvalidAuthorization": "The Authorization header does not comply with TC3.",
    "AuthFailure.SecretIdNotFound": "The SecretId is not found.",
    "AuthFailure.SignatureExpire": "The signature has expired: check your clock.",
    "AuthFailure.SignatureFailure": "The provided credentials could not be validated.",
    "FailedOperation.DecryptSystemError": "解密失败。",
    "InvalidParameter": "The body is not a JSON object.",
    "InvalidParameter.UnsupportEncryptField": "不支持加密的字段。",
}
_SHANGHAI = ZoneInfo("Asia/Shanghai")


class Tencent:
    """The vendor. Holds no state of its own: what carriers know is the register's."""

    name: VendorName = "tencent"

    def __init__(self, credentials: dict[str, str], register: Records) -> None:
        self._id = credentials["tencent_secret_id"]
        self._key = credentials["tencent_secret_key"]
        self._private_key = private_key(credentials["tencent_encryption_private_key"])
        self._register = register
        self.knobs = Knobs()

    def speaks(self, received: Received) -> bool:
        headers = received.headers
        return "X-TC-Action" in headers or headers.get("Authorization", "").startswith("TC3-")

    def read(self, received: Received) -> Call:
        action = received.headers.get("X-TC-Action", "")
        if action not in _NEEDS:
            action = "unknown"
        try:
            parameters = json.loads(received.body)
        except (ValueError, RecursionError):
            parameters = None
        if not isinstance(parameters, dict):
            return Call(self.name, action, received, problem="InvalidParameter")
        if action not in {"unknown", DIGEST_ACTION}:
            nested = action != "PhoneVerification"
            try:
                fields = _NEEDS[action]
                parameters = opened(parameters, fields, self._private_key, nested=nested)
            except SealRefused as refused:
                return Call(self.name, action, received, problem=refused.code)
        phone, id_number = self._about(action, parameters)
        return Call(self.name, action, received, parameters, phone=phone, id_number=id_number)

    def answer(self, call: Call) -> Reply:
        refusal = self._refusal(call)
        if refusal is not None:
            return refusal
        ask, today = call.parameters, datetime.fromtimestamp(call.received.at, _SHANGHAI).date()
        match call.action:
            case "MobileStatus":
                entry = self._register.get(ask["Mobile"])
                code, fields = mobile_status(entry, ask["Mobile"], today)
                return result(call.action, code, **fields)
            case "MobileNetworkTimeVerification":
                entry = self._register.get(ask["Mobile"])
                days = self.knobs.settle_days
                code, fields = network_time(entry, ask["Mobile"], today, days)
                return result(call.action, code, **fields)
        detailed = ask.get("VerifyMode") == "1"
        return verified(call.action, self._ruling(call, today), detailed=detailed)

    def excuse(self, kind: FaultKind, call: Call, /) -> Reply:
        match kind:
            case FaultKind.RATE_LIMIT:
                return error("RequestLimitExceeded", "The requests of one second exceed the limit.")
            case FaultKind.MAINTENANCE:
                return busy(call.action)
            case FaultKind.AUTH:
                return error("AuthFailure.SecretIdNotFound", "The SecretId is not found.")
            case FaultKind.ARREARS:
                return error("UnauthorizedOperation.Arrears", "账号已欠费。")
            case _:
                return result(call.action, "-77")

    def _about(self, action: str, ask: dict[str, Any]) -> tuple[str | None, str | None]:
        """The phone and the ID number that a call is about, for the truth."""
        phone = ask.get("Mobile" if action in {STATUS, NETWORK_TIME} else "Phone")
        id_number = ask.get("IdCard")
        digest = _DIGESTS.get(str(ask.get("EncryptionMode"))) if action == DIGEST_ACTION else None
        if digest is not None:
            entry = self._by_digest(str(phone), digest)
            phone = entry.phone if entry else None
            same = entry is not None and Mask(digest)(entry.id_number) == id_number
            id_number = entry.id_number if entry and same else None
        return (
            phone if isinstance(phone, str) else None,
            id_number if isinstance(id_number, str) else None,
        )

    def _by_digest(self, digest: str, algorithm: str) -> RegisterEntry | None:
        phone = self._register.phone_of(digest, algorithm)
        return self._register.get(phone) if phone else None

    def _ruling(self, call: Call, today: date) -> Ruling:
        ask, phone = call.parameters, call.parameters["Phone"]
        entry: RegisterEntry | None
        mask: Callable[[str], str] | None = None
        digest = _DIGESTS[ask["EncryptionMode"]] if call.action == DIGEST_ACTION else None
        if digest is None:
            entry = self._register.get(phone)
        elif not all(_is_digest(ask[name], digest) for name in _ELEMENTS):
            return Ruling(Found.BAD_PHONE)
        else:
            entry, mask = self._by_digest(phone, digest), Mask(digest)
            if entry is None:  # nobody can say of which number this would be the digest
                return Ruling(Found.NO_RECORD)
            phone = entry.phone
        return rule(
            entry,
            phone=phone,
            name=ask["Name"],
            id_number=ask["IdCard"],
            only=ACTIONS[call.action],
            today=today,
            settle_days=self.knobs.settle_days,
            mask=mask,
        )

    def _refusal(self, call: Call) -> Reply | None:
        received = call.received
        if received.method != "POST" or received.path != "/":
            return error("UnsupportedProtocol", "Only POST / is served here.")
        try:
            check_tc3(received, self._id, self._key, "faceid")
        except SignatureRefused as refused:
            return error(refused.code, _MESSAGES[refused.code])
        if received.headers.get("X-TC-Version") != VERSION:
            return error("NoSuchVersion", "The API version does not exist.")
        if call.action == "unknown":
            return error("InvalidAction", "The action does not exist.")
        if call.problem is not None:
            return error(call.problem, _MESSAGES[call.problem])
        return _parameter_error(call.action, dict(call.parameters))


def _is_digest(value: str, algorithm: str) -> bool:
    return re.fullmatch("[0-9a-f]+", value) is not None and len(value) == len(Mask(algorithm)(""))


def _parameter_error(action: str, parameters: dict[str, Any]) -> Reply | None:
    known = {*_NEEDS[action]}
    if action == "PhoneVerification":
        known.add("VerifyMode")
    for name in parameters:
        if name not in known:
            return error("UnknownParameter", f"The parameter `{name}` is not recognized.")
    for name in _NEEDS[action]:
        if name not in parameters:
            return error("MissingParameter", f"The required parameter `{name}` is missing.")
        if not isinstance(parameters[name], str):
            return error("InvalidParameter", f"The value type of parameter `{name}` is not valid.")
    if parameters.get("VerifyMode", "0") not in ("", "0", "1"):
        return error("InvalidParameterValue", "VerifyMode must be 0 or 1.")
    if parameters.get("EncryptionMode", "0") not in _DIGESTS:
        return error("InvalidParameterValue", "EncryptionMode must be 0, 1 or 2.")
    return None
