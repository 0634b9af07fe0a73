"""Alibaba Cloud SMS (Dysmsapi 2017-05-25): ``SendSms`` and ``QuerySendDetails``.

The gateway refuses with HTTP 4xx and ``{Code, Message, RequestId, HostId}``; the product answers
HTTP 200 with ``Code`` "OK" or ``isv.*``. Nothing is deduplicated: OutId is only echoed. Sources:
help.aliyun.com document_detail/419277 (QuerySendDetails: PageSize 1–50, yyyyMMdd in UTC+8, 30
days), /101346 (codes), "V3 request structure and signature" (nonce, 15 minutes).
"""

from __future__ import annotations

import json
import re
from collections import deque
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4
from zoneinfo import ZoneInfo

from verifier.sandbox.faults import FaultKind, VendorName
from verifier.sandbox.keys import subject_key
from verifier.sandbox.knobs import Knobs
from verifier.sandbox.register import Register
from verifier.sandbox.signatures import ACS3_SKEW, SignatureRefused, check_acs3
from verifier.sandbox.truth import Message, Truth
from verifier.sandbox.wire import Call, Received, Reply, dump

VERSION = "2017-05-25"
_SHANGHAI = ZoneInfo("Asia/Shanghai")
_CONTENT_TYPE = "application/json;charset=utf-8"
_PHONE = re.compile(r"(?:\+?86)?(1[3-9][0-9]{9})")
_TEMPLATE_CODE = re.compile(r"SMS_\w{1,64}")
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_DAY = 86_400.0
_REFUSALS = {
    "IncompleteSignature": 400,
    "InvalidAccessKeyId.NotFound": 404,
    "InvalidTimeStamp.Format": 400,
    "InvalidTimeStamp.Expired": 400,
    "SignatureDoesNotMatch": 400,
    "SignatureNonceUsed": 400,
}
_MANDATORY = {
    "SendSms": ("PhoneNumbers", "SignName", "TemplateCode"),
    "QuerySendDetails": ("PhoneNumber", "SendDate", "PageSize", "CurrentPage"),
}


class Aliyun:
    """The vendor. Messages are the truth's; what receipts say follows the register's status."""

    name: VendorName = "aliyun"

    def __init__(self, credentials: dict[str, str], register: Register, truth: Truth) -> None:
        self._id = credentials["aliyun_key_id"]
        self._secret = credentials["aliyun_key_secret"]
        self._register = register
        self._truth = truth
        self._nonces: set[str] = set()
        self._nonce_times: deque[tuple[float, str]] = deque()
        self.knobs = Knobs()

    def speaks(self, received: Received) -> bool:
        return "x-acs-action" in received.headers

    def read(self, received: Received) -> Call:
        headers = received.headers
        action = headers.get("x-acs-action", "")
        if action not in _MANDATORY:
            return Call(self.name, "unknown", received)
        parameters = dict(parse_qsl(received.query, keep_blank_values=True))
        if headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
            text = received.body.decode("utf-8", "replace")
            parameters.update(parse_qsl(text, keep_blank_values=True))
        # Without the phone: the truth tallies phones by verifications; an SMS is a message there.
        return Call(self.name, action, received, parameters, reference=parameters.get("OutId"))

    def answer(self, call: Call) -> Reply:
        try:
            check_acs3(call.received, self._id, self._secret)
            self._use_nonce(call.received)
        except SignatureRefused as refused:
            return _refused(refused.code, _REFUSALS[refused.code])
        if call.received.headers.get("x-acs-version") != VERSION:
            return _refused("InvalidVersion", 400)
        if call.action == "unknown":
            return _refused("InvalidAction.NotFound", 404)
        for name in _MANDATORY[call.action]:
            if not call.parameters.get(name):
                return _refused(f"Missing{name}", 400)
        if call.action == "SendSms":
            return self._send(call)
        return self._details(call)

    def excuse(self, kind: FaultKind, call: Call, /) -> Reply:
        match kind:
            case FaultKind.RATE_LIMIT if call.action == "SendSms":
                return _product("isv.BUSINESS_LIMIT_CONTROL")
            case FaultKind.RATE_LIMIT:
                return _refused("Throttling.User", 400)
            case FaultKind.MAINTENANCE:
                return _refused("ServiceUnavailable", 503)
            case FaultKind.AUTH:
                return _refused("InvalidAccessKeyId.NotFound", 404)
            case FaultKind.ARREARS:
                return _product("isv.AMOUNT_NOT_ENOUGH")
            case _:
                return _product("isv.NEVER_HEARD_OF")

    def _use_nonce(self, received: Received) -> None:
        nonce, now = received.headers.get("x-acs-signature-nonce", ""), received.at
        while self._nonce_times and self._nonce_times[0][0] < now - 2 * ACS3_SKEW:
            self._nonces.discard(self._nonce_times.popleft()[1])
        if not nonce or nonce in self._nonces:
            raise SignatureRefused("SignatureNonceUsed")
        self._nonces.add(nonce)
        self._nonce_times.append((now, nonce))

    def _send(self, call: Call) -> Reply:
        ask, now = call.parameters, call.received.at
        phones = ask["PhoneNumbers"].split(",")
        if len(phones) > 1000:
            return _product("isv.MOBILE_COUNT_OVER_LIMIT")
        matches = [_PHONE.fullmatch(phone) for phone in phones]
        nationals = [match[1] for match in matches if match]
        if len(nationals) < len(phones):
            return _product("isv.MOBILE_NUMBER_ILLEGAL")
        problem, text = self._compose(ask)
        if problem:
            return _product(problem)
        if len(ask.get("OutId", "")) > 255:
            return _product("isv.PARAM_LENGTH_LIMIT")
        if any(self._is_over_limit(phone, call, now) for phone in nationals):
            return _product("isv.BUSINESS_LIMIT_CONTROL")
        bizid = f"{uuid4().int % 10**18}^0"
        for phone in nationals:
            self._truth.message(
                Message(
                    at=now,
                    vendor=self.name,
                    recipient=subject_key(phone),
                    reference=ask.get("OutId", ""),
                    id=bizid,
                    template=ask["TemplateCode"],
                    text=text,
                    details={
                        "sign_name": ask["SignName"],
                        "parameters": json.loads(ask.get("TemplateParam") or "{}"),
                    },
                )
            )
        return _product("OK", billed=True, BizId=bizid)

    def _compose(self, ask: Any) -> tuple[str | None, str]:
        """The problem with signature, template or variables, if any, and the finished text."""
        signs, templates = self.knobs.sms_sign_names, self.knobs.sms_templates
        if signs is not None and ask["SignName"] not in signs:
            return "isv.SMS_SIGNATURE_ILLEGAL", ""
        code = ask["TemplateCode"]
        if not _TEMPLATE_CODE.fullmatch(code) or (templates is not None and code not in templates):
            return "isv.SMS_TEMPLATE_ILLEGAL", ""
        try:
            values = json.loads(ask.get("TemplateParam") or "{}")
        except ValueError:
            return "isv.INVALID_JSON_PARAM", ""
        if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
            return "isv.INVALID_JSON_PARAM", ""
        text = (templates or {}).get(code, code)
        if set(_VARIABLE.findall(text)) - set(values):
            return "isv.TEMPLATE_MISSING_PARAMETERS", ""
        body = _VARIABLE.sub(lambda match: str(values[match[1]]), text)
        return None, f"【{ask['SignName']}】{body}"

    def _is_over_limit(self, phone: str, call: Call, now: float) -> bool:
        """Notifications: 50 in 24 hours of one signature, template and number (documented)."""
        earlier = self._truth.by_recipient.get((self.name, subject_key(phone)), [])
        recent = sum(
            1
            for message in earlier
            if now - message.at < _DAY
            and message.template == call.parameters["TemplateCode"]
            and message.details.get("sign_name") == call.parameters["SignName"]
        )
        return recent >= self.knobs.sms_per_number_day

    def _details(self, call: Call) -> Reply:
        ask, now = call.parameters, call.received.at
        match = _PHONE.fullmatch(ask["PhoneNumber"])
        if match is None:
            return _product("isv.MOBILE_NUMBER_ILLEGAL")
        size, page = ask["PageSize"], ask["CurrentPage"]
        if not (size.isdigit() and page.isdigit() and 1 <= int(size) <= 50 and int(page) >= 1):
            return _product("isv.INVALID_PARAMETERS")
        try:
            day = datetime.strptime(ask["SendDate"], "%Y%m%d").replace(tzinfo=_SHANGHAI).date()
        except ValueError:
            return _product("isv.INVALID_PARAMETERS")
        today = datetime.fromtimestamp(now, _SHANGHAI).date()
        if not timedelta(0) <= today - day <= timedelta(days=30):
            return _product("isv.INVALID_PARAMETERS")
        visible = now - self.knobs.sms_details_lag_ms / 1000
        found = [
            message
            for message in self._truth.by_recipient.get((self.name, subject_key(match[1])), [])
            if message.at <= visible
            and datetime.fromtimestamp(message.at, _SHANGHAI).date() == day
            and ask.get("BizId") in (None, "", message.id)
        ]
        found.reverse()  # newest first
        start = (int(page) - 1) * int(size)
        rows = [self._detail(match[1], m, now) for m in found[start : start + int(size)]]
        return _product("OK", TotalCount=len(found), SmsSendDetailDTOs={"SmsSendDetailDTO": rows})

    def _detail(self, phone: str, message: Message, now: float) -> dict[str, Any]:
        row = {
            "PhoneNum": phone,
            "TemplateCode": message.template,
            "OutId": message.reference,
            "Content": message.text,
            "SendDate": _local(message.at),
            "SendStatus": 1,  # waiting for the carrier's receipt
            "ErrCode": "",
        }
        received = message.at + self.knobs.sms_receipt_ms / 1000
        if now >= received:
            entry = self._register.get(phone)
            gone = entry is not None and entry.status != "normal"
            row["SendStatus"] = 2 if gone else 3  # failed, delivered
            row["ErrCode"] = "MOBILE_NOT_ON_SERVICE" if gone else "DELIVERED"
            row["ReceiveDate"] = _local(received)
        return row


def _local(at: float) -> str:
    return datetime.fromtimestamp(at, _SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")


def _product(code: str, *, billed: bool = False, **fields: object) -> Reply:
    document = {"Code": code, "Message": code, "RequestId": str(uuid4()).upper(), **fields}
    return Reply(200, dump(document), content_type=_CONTENT_TYPE, code=code, billed=billed)


def _refused(code: str, status: int) -> Reply:
    document = {
        "Code": code,
        "Message": code,
        "RequestId": str(uuid4()).upper(),
        "HostId": "dysmsapi.aliyuncs.com",
    }
    return Reply(status, dump(document), content_type=_CONTENT_TYPE, code=code)
