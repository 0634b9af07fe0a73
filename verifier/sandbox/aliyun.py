"""Alibaba Cloud SMS (Dysmsapi 2017-05-25): ``SendSms`` and ``QuerySendDetails``.

Behind the gateway (:mod:`.alibaba`) the product answers HTTP 200 with ``Code`` "OK" or ``isv.*``.
Nothing is deduplicated: OutId is only echoed. Sources: help.aliyun.com document_detail/419277
(QuerySendDetails: PageSize 1–50, yyyyMMdd in UTC+8, 30 days), /101346 (codes).
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from verifier.sandbox.alibaba import CONTENT_TYPE, AlibabaGateway, parameters_of, refused
from verifier.sandbox.faults import FaultKind, VendorName
from verifier.sandbox.keys import subject_key
from verifier.sandbox.knobs import Knobs
from verifier.sandbox.register import Records
from verifier.sandbox.truth import Message, Truth
from verifier.sandbox.wire import Call, Received, Reply, dump

VERSION = "2017-05-25"
HOST = "dysmsapi.aliyuncs.com"
_SHANGHAI = ZoneInfo("Asia/Shanghai")
_PHONE = re.compile(r"(?:\+?86)?(1[3-9][0-9]{9})")
_TEMPLATE_CODE = re.compile(r"SMS_\w{1,64}")
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_DAY = 86_400.0
_MANDATORY = {
    "SendSms": ("PhoneNumbers", "SignName", "TemplateCode"),
    "QuerySendDetails": ("PhoneNumber", "SendDate", "PageSize", "CurrentPage"),
}


class Aliyun:
    """The vendor. Messages are the truth's; what receipts say follows the register's status."""

    name: VendorName = "aliyun"

    def __init__(self, gateway: AlibabaGateway, register: Records, truth: Truth) -> None:
        self._gateway = gateway
        self._register = register
        self._truth = truth
        self.knobs = Knobs()

    def speaks(self, received: Received) -> bool:
        return "x-acs-action" in received.headers

    def read(self, received: Received) -> Call:
        action = received.headers.get("x-acs-action", "")
        if action not in _MANDATORY:
            return Call(self.name, "unknown", received)
        parameters = parameters_of(received)
        # Without the phone: the truth tallies phones by verifications; an SMS is a message there.
        return Call(self.name, action, received, parameters, reference=parameters.get("OutId"))

    def answer(self, call: Call) -> Reply:
        mandatory = _MANDATORY.get(call.action, ())
        refusal = self._gateway.refusal(call, VERSION, HOST, mandatory)
        if refusal is not None:
            return refusal
        if call.action == "SendSms":
            return self._send(call)
        return self._details(call)

    def excuse(self, kind: FaultKind, call: Call, /) -> Reply:
        match kind:
            case FaultKind.RATE_LIMIT if call.action == "SendSms":
                return _product("isv.BUSINESS_LIMIT_CONTROL")
            case FaultKind.RATE_LIMIT:
                return refused("Throttling.User", HOST)
            case FaultKind.MAINTENANCE:
                return refused("ServiceUnavailable", HOST)
            case FaultKind.AUTH:
                return refused("InvalidAccessKeyId.NotFound", HOST)
            case FaultKind.ARREARS:
                return _product("isv.AMOUNT_NOT_ENOUGH")
            case _:
                return _product("isv.NEVER_HEARD_OF")

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
    return Reply(200, dump(document), content_type=CONTENT_TYPE, code=code, billed=billed)
