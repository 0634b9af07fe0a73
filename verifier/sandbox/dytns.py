"""Alibaba Cloud dytns 2020-02-17: the mobile three elements, carrier, status, recycled numbers.

The product refuses parameters and authorization codes with HTTP 400, and says the rest in HTTP 200
with ``Code`` "OK" or a code of its own. Dead numbers: China Unicom says "inconsistent", Mobile and
Telecom "not found". Sources: the vendor's client library 3.4.0, its documents 433414, 389008,
440028, 453355, 437185 and "Public error codes".
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any
from uuid import uuid4

from verifier.outcomes import Lane
from verifier.sandbox.alibaba import CONTENT_TYPE, AlibabaGateway, parameters_of, refused
from verifier.sandbox.faults import FaultKind, VendorName
from verifier.sandbox.judge import Found
from verifier.sandbox.knobs import Knobs
from verifier.sandbox.masked import Mask, Subject, held_since, is_dead, today
from verifier.sandbox.register import Records, RegisterEntry
from verifier.sandbox.segments import COVERED, carrier_of_prefix
from verifier.sandbox.wire import Call, Received, Reply, dump

VERSION = "2020-02-17"
HOST = "dytnsapi.aliyuncs.com"
_VERIFY, _VIRTUAL = "ThreeElementsVerification", "VirtualThreeElementsVerification"
_CARRIER, _STATUS = "DescribePhoneNumberOperatorAttribute", "PhoneNumberStatusForReal"
_RECYCLED = "DescribePhoneTwiceTelVerify"
_NUMBER = ("AuthCode", "InputNumber", "Mask")
ACTIONS: dict[str, tuple[str, ...]] = {
    _VERIFY: (*_NUMBER, "CertCode", "Name"),
    _VIRTUAL: (*_NUMBER, "CertCode", "CertName"),
    _CARRIER: _NUMBER,
    _STATUS: _NUMBER,
    _RECYCLED: (*_NUMBER, "StartTime"),
}
_PHONE = re.compile(r"1[3-9][0-9]{9}")
_MASKS = {
    "NORMAL": Mask(),
    "MD5": Mask("md5", re.compile("[0-9a-f]{32}")),
    "SHA256": Mask("sha256", re.compile("[0-9a-f]{64}")),
}
#: The products' own refusals that come with HTTP 400.
_BAD_REQUESTS = frozenset(
    {
        "AuthCodeNotExist",
        "CertCodeIllegal",
        "EncyrptTypeIllegal",
        "InvalidParameter",
        "MobileNumberIllegal",
        "MobileNumberTypeNotMatch",
    }
)
_NAMES = {
    Lane.CMCC: "中国移动",
    Lane.CUCC: "中国联通",
    Lane.CTCC: "中国电信",
    Lane.CBN: "中国广电",
    Lane.MVNO: "阿里通信",
}
_CODES = {Lane.CMCC: "CMCC", Lane.CUCC: "CUCC", Lane.CTCC: "CTCC"}
#: "yes", "no" and "not found" of IsConsistent. Only "not found" is free.
_CONSISTENT = {_VERIFY: (1, 0, 2), _VIRTUAL: (1, 2, 0)}
_REFUSED = {
    Found.BAD_PHONE: "MobileNumberIllegal",
    Found.BAD_ID_NUMBER: "CertCodeIllegal",
    Found.BAD_NAME: "InvalidParameter",
    Found.SEGMENT: "RequestNumberNotSupported",
}


class Dytns:
    """The vendor. Holds no state of its own: what carriers know is the register's."""

    name: VendorName = "dytns"

    def __init__(
        self, credentials: dict[str, str], gateway: AlibabaGateway, register: Records
    ) -> None:
        self._auth_code = credentials["dytns_auth_code"]
        self._gateway = gateway
        self._register = register
        self.knobs = Knobs()

    def speaks(self, received: Received) -> bool:
        return received.headers.get("x-acs-action", "") in ACTIONS

    def read(self, received: Received) -> Call:
        action = received.headers.get("x-acs-action", "")
        # Letters of digests may have either case.
        ask = parameters_of(received)
        mask = _MASKS.get(ask.get("Mask", ""))
        if mask is not None and mask.algorithm is not None:
            digests = ("InputNumber", "CertCode", "Name")
            ask |= {name: ask[name].lower() for name in digests if name in ask}
        phone, id_number = ask.get("InputNumber"), ask.get("CertCode")
        if mask is not None and phone is not None:
            subject = Subject.find(self._register, phone, mask)
            phone = subject.phone or phone
            id_number = subject.id_number(id_number) if id_number is not None else None
        return Call(self.name, action, received, ask, phone=phone, id_number=id_number)

    def answer(self, call: Call) -> Reply:
        refusal = self._gateway.refusal(call, VERSION, HOST, ACTIONS[call.action])
        if refusal is not None:
            return refusal
        ask = call.parameters
        if ask["AuthCode"] != self._auth_code:
            return _product("AuthCodeNotExist")
        mask = _MASKS.get(ask["Mask"])
        if mask is None or (call.action == _VIRTUAL and mask.algorithm is not None):
            return _product("EncyrptTypeIllegal")
        if not mask.fits(ask["InputNumber"]):
            return _product("MobileNumberTypeNotMatch")
        if mask.algorithm is None and not _PHONE.fullmatch(ask["InputNumber"]):
            return _product("MobileNumberIllegal")
        subject = Subject.find(self._register, ask["InputNumber"], mask)
        if call.action == _CARRIER:
            return _attribute(subject)
        if call.action == _STATUS:
            return _status(subject)
        if call.action == _RECYCLED:
            return self._recycled(call, subject)
        return self._elements(call, subject)

    def excuse(self, kind: FaultKind, _call: Call, /) -> Reply:
        match kind:
            case FaultKind.RATE_LIMIT:
                return refused("Throttling.User", HOST)
            case FaultKind.MAINTENANCE:
                return refused("ServiceUnavailable", HOST)
            case FaultKind.AUTH:
                return _product("AuthCodeNotExist")
            case FaultKind.ARREARS:
                return refused("InsufficientBalance", HOST)
            case _:
                return _product("NEVER_HEARD_OF")

    def _elements(self, call: Call, subject: Subject) -> Reply:
        ask = call.parameters
        name = ask["CertName" if call.action == _VIRTUAL else "Name"]
        if not subject.mask.fits(ask["CertCode"]):
            return _product("CertCodeIllegal")
        ruling = subject.ruling(
            name,
            ask["CertCode"],
            covers=frozenset({Lane.MVNO}) if call.action == _VIRTUAL else COVERED,
            at=call.received.at,
            settle_days=self.knobs.settle_days,
        )
        if ruling.found in _REFUSED:
            return _product(_REFUSED[ruling.found])
        yes, no, not_found = _CONSISTENT[call.action]
        consistent = {Found.MATCH: yes, Found.NO_RECORD: not_found}.get(ruling.found, no)
        if call.action == _VERIFY and _is_dead_at_unicom(subject.entry):
            consistent = no
        data: dict[str, Any] = {"IsConsistent": consistent}
        if call.action == _VERIFY:
            data["BasicCarrier"] = _basic(subject.phone)
        return _product(
            "OK", billed=consistent != not_found, shown=f"IsConsistent {consistent}", Data=data
        )

    def _recycled(self, call: Call, subject: Subject) -> Reply:
        try:
            text = call.parameters["StartTime"] + " +0800"
            day = datetime.strptime(text, "%Y-%m-%d %H:%M:%S %z").date()
        except ValueError:
            return _product("InvalidParameter")
        entry = subject.entry
        if entry is not None and entry.carrier not in COVERED:
            return _product("RequestNumberNotSupported")
        result = self._holder(entry, day, today(call.received.at))
        carrier = _CODES.get(entry.carrier, "") if entry else ""
        data = {"VerifyResult": result, "Carrier": carrier}
        return _product("OK", billed=result != "0", shown=f"VerifyResult {result}", Data=data)

    def _holder(self, entry: RegisterEntry | None, day: date, now: date) -> str:
        if entry is None:
            return "0"
        if is_dead(entry):
            return "3"
        if (now - held_since(entry)).days < self.knobs.settle_days:
            return "0"
        return "2" if day >= held_since(entry) else "1"


def _is_dead_at_unicom(entry: RegisterEntry | None) -> bool:
    return entry is not None and entry.carrier is Lane.CUCC and is_dead(entry)


def _attribute(subject: Subject) -> Reply:
    original = carrier_of_prefix(subject.phone) if subject.phone else None
    if original is None:
        return _product("PhoneNumberNotfound")
    carrier = subject.entry.carrier if subject.entry else original
    data = {
        "BasicCarrier": _basic(subject.phone),
        "Carrier": _NAMES[carrier],
        "IsNumberPortability": carrier is not original,
        "NumberSegment": int(str(subject.phone)[:3]),
        "City": "杭州",
        "Province": "浙江",
    }
    return _product("OK", billed=True, Data=data)


def _status(subject: Subject) -> Reply:
    entry = subject.entry
    if entry is not None and entry.carrier is Lane.CBN:
        return _product("OperatorLimit")
    status = "UNKNOWN"
    if entry is not None:
        status = {"normal": "NORMAL", "suspended": "SHUTDOWN"}.get(entry.status, "NOT_EXIST")
    data = {"Status": status, "Carrier": _CODES.get(entry.carrier, "") if entry else ""}
    return _product("OK", billed=status != "UNKNOWN", shown=f"Status {status}", Data=data)


def _basic(phone: str | None) -> str:
    """The carrier of the segment; virtual operators' segments are China Unicom's here."""
    original = carrier_of_prefix(phone) if phone else None
    return _NAMES[Lane.CUCC if original is Lane.MVNO else original] if original else ""


def _product(
    code: str, *, billed: bool = False, shown: str | None = None, **fields: object
) -> Reply:
    if code in _BAD_REQUESTS:
        return refused(code, HOST)
    document = {"Code": code, "Message": code, "RequestId": str(uuid4()).upper(), **fields}
    return Reply(200, dump(document), content_type=CONTENT_TYPE, code=shown or code, billed=billed)
