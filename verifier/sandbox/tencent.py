"""Tencent Cloud FaceID 2018-03-01: ``PhoneVerification`` and its carrier-specific sisters.

Errors come inside HTTP 200; ``Result`` is a string; ``Content-Type`` is exactly
``application/json`` (the vendor's SDK depends on that). Documents 1007/39764 and 1007/31320.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from verifier.outcomes import Lane
from verifier.sandbox.faults import FaultKind, VendorName
from verifier.sandbox.judge import Found, rule
from verifier.sandbox.knobs import Knobs
from verifier.sandbox.register import Register
from verifier.sandbox.signatures import SignatureRefused, check_tc3
from verifier.sandbox.wire import Call, Received, Reply, dump

VERSION = "2018-03-01"
#: Action → the only carrier it knows, or None for the neutral one.
ACTIONS: dict[str, Lane | None] = {
    "PhoneVerification": None,
    "PhoneVerificationCMCC": Lane.CMCC,
    "PhoneVerificationCUCC": Lane.CUCC,
    "PhoneVerificationCTCC": Lane.CTCC,
}
_ELEMENTS = ("IdCard", "Name", "Phone")
_ENCRYPTION = {"CiphertextBlob", "EncryptList", "Iv", "Encryption"}
_ISP = {Lane.CMCC: "移动", Lane.CUCC: "联通", Lane.CTCC: "电信"}
_DESCRIPTIONS = {
    "0": "认证通过",
    "-4": "信息不一致",
    "-6": "手机号码不合法",
    "-7": "身份证号码有误",
    "-8": "姓名校验不通过",
    "-9": "没有记录",
    "-11": "验证中心服务繁忙",
    "-13": "不支持的号段",
}
#: What the records say → Result and ResultDetail.
RESULTS = {
    Found.MATCH: ("0", ""),
    Found.NAME_DIFFERS: ("-4", "PhoneNameMismatch"),
    Found.ID_DIFFERS: ("-4", "PhoneIdCardMismatch"),
    Found.BOTH_DIFFER: ("-4", "PhoneNameIdCardMismatch"),
    Found.BAD_PHONE: ("-6", ""),
    Found.BAD_ID_NUMBER: ("-7", ""),
    Found.BAD_NAME: ("-8", ""),
    Found.NO_RECORD: ("-9", ""),
    Found.SEGMENT: ("-13", ""),
}
_BILLED = frozenset({"0", "-4"})
_MESSAGES = {
    "AuthFailure.InvalidAuthorization": "The Authorization header does not comply with TC3.",
    "AuthFailure.SecretIdNotFound": "The SecretId is not found.",
    "AuthFailure.SignatureExpire": "The signature has expired: check your clock.",
    "AuthFailure.SignatureFailure": "The provided credentials could not be validated.",
}
_SHANGHAI = ZoneInfo("Asia/Shanghai")


class Tencent:
    """The vendor. Holds no state of its own: what carriers know is the register's."""

    name: VendorName = "tencent"

    def __init__(self, credentials: dict[str, str], register: Register) -> None:
        self._id = credentials["tencent_secret_id"]
        self._key = credentials["tencent_secret_key"]
        self._register = register
        self.knobs = Knobs()

    def speaks(self, received: Received) -> bool:
        headers = received.headers
        return "X-TC-Action" in headers or headers.get("Authorization", "").startswith("TC3-")

    def read(self, received: Received) -> Call:
        action = received.headers.get("X-TC-Action", "")
        if action not in ACTIONS:
            action = "unknown"
        try:
            parameters = json.loads(received.body)
        except ValueError:
            parameters = None
        if not isinstance(parameters, dict):
            return Call(self.name, action, received, problem="InvalidParameter")
        phone, id_number = parameters.get("Phone"), parameters.get("IdCard")
        return Call(
            self.name,
            action,
            received,
            parameters,
            phone=phone if isinstance(phone, str) else None,
            id_number=id_number if isinstance(id_number, str) else None,
        )

    def answer(self, call: Call) -> Reply:
        refusal = self._refusal(call)
        if refusal is not None:
            return refusal
        ask = call.parameters
        ruling = rule(
            self._register.get(ask["Phone"]),
            phone=ask["Phone"],
            name=ask["Name"],
            id_number=ask["IdCard"],
            only=ACTIONS[call.action],
            today=datetime.fromtimestamp(call.received.at, _SHANGHAI).date(),
            settle_days=self.knobs.settle_days,
        )
        result, detail = RESULTS[ruling.found]
        detailed = ask.get("VerifyMode") == "1"
        return _result(result, detail if detailed else "", ruling.carrier)

    def excuse(self, kind: FaultKind, _call: Call, /) -> Reply:
        match kind:
            case FaultKind.RATE_LIMIT:
                return _error(
                    "RequestLimitExceeded",
                    "The requests of one second exceed the limit.",
                )
            case FaultKind.MAINTENANCE:
                return _result("-11")
            case FaultKind.AUTH:
                return _error("AuthFailure.SecretIdNotFound", "The SecretId is not found.")
            case FaultKind.ARREARS:
                return _error("UnauthorizedOperation.Arrears", "账号已欠费。")
            case _:
                return _result("-77")

    def _refusal(self, call: Call) -> Reply | None:
        received = call.received
        if received.method != "POST" or received.path != "/":
            return _error("UnsupportedProtocol", "Only POST / is served here.")
        try:
            check_tc3(received, self._id, self._key, "faceid")
        except SignatureRefused as refused:
            return _error(refused.code, _MESSAGES[refused.code])
        if received.headers.get("X-TC-Version") != VERSION:
            return _error("NoSuchVersion", "The API version does not exist.")
        if call.action == "unknown":
            return _error("InvalidAction", "The action does not exist.")
        if call.problem is not None:
            return _error(call.problem, "The body is not a JSON object.")
        return _parameter_error(call.action, dict(call.parameters))


def _parameter_error(action: str, parameters: dict[str, Any]) -> Reply | None:
    known = {*_ELEMENTS, *_ENCRYPTION}
    if ACTIONS[action] is None:
        known.add("VerifyMode")
    for name in parameters:
        if name not in known:
            return _error("UnknownParameter", f"The parameter `{name}` is not recognized.")
    for name in _ELEMENTS:
        if name not in parameters:
            return _error("MissingParameter", f"The required parameter `{name}` is missing.")
        if not isinstance(parameters[name], str):
            return _error("InvalidParameter", f"The value type of parameter `{name}` is not valid.")
    if parameters.get("VerifyMode", "0") not in ("", "0", "1"):
        return _error("InvalidParameterValue", "VerifyMode must be 0 or 1.")
    if _ENCRYPTION & set(parameters):  # the sandbox holds no key to decrypt with
        return _error("FailedOperation.DecryptSystemError", "解密失败。")
    return None


def _result(result: str, detail: str = "", carrier: Lane | None = None) -> Reply:
    response = {
        "Result": result,
        "Description": _DESCRIPTIONS.get(result, "未知结果"),
        "Isp": _ISP.get(carrier, "") if carrier else "",
        "ResultDetail": detail,
        "RequestId": str(uuid4()),
    }
    return Reply(200, dump({"Response": response}), code=result, billed=result in _BILLED)


def _error(code: str, message: str) -> Reply:
    response = {"Error": {"Code": code, "Message": message}, "RequestId": str(uuid4())}
    return Reply(200, dump({"Response": response}), code=code)
