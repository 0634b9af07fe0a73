"""Alibaba Cloud cloudauth 2019-03-07: the mobile three elements, status and recycled numbers.

Everything the product says comes in HTTP 200; ``Code`` looks like an HTTP status and is none.
With ParamType md5 it sees digests and cannot judge formats. Sources: the vendor's client library
3.14.0, its document error-code-info-check.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from verifier.outcomes import Lane
from verifier.sandbox.alibaba import CONTENT_TYPE, AlibabaGateway, parameters_of, refused
from verifier.sandbox.faults import FaultKind, VendorName
from verifier.sandbox.judge import Found
from verifier.sandbox.knobs import Knobs
from verifier.sandbox.masked import Mask, Subject, held_since, is_dead, today
from verifier.sandbox.register import Records, RegisterEntry
from verifier.sandbox.segments import COVERED
from verifier.sandbox.wire import Call, Received, Reply, dump

VERSION = "2019-03-07"
HOST = "cloudauth.aliyuncs.com"
_PHONE = re.compile(r"1[3-9][0-9]{9}")
_TRIPLE = ("ParamType", "IdentifyNum", "UserName", "Mobile")
ACTIONS: dict[str, tuple[str, ...]] = {
    "Mobile3MetaDetailVerify": _TRIPLE,
    "Mobile3MetaSimpleVerify": _TRIPLE,
    "Mobile3MetaDetailStandardVerify": _TRIPLE,
    "Mobile3MetaSimpleStandardVerify": _TRIPLE,
    "MobileOnlineStatus": ("ParamType", "Mobile"),
    "MobileRecycledMetaVerify": ("ParamType", "Mobile", "RegisterDate"),
}
_MASKS = {"normal": Mask(), "md5": Mask("md5", re.compile("[0-9a-f]{32}"))}
_ISP = {Lane.CMCC: "CMCC", Lane.CUCC: "CUCC", Lane.CTCC: "CTCC", Lane.CBN: "CBCC"}
_MESSAGES = {
    "200": "success",
    "400": "参数不能为空",
    "401": "参数非法",
    "402": "权威源服务异常",
    "405": "手机号不可查询",
    "412": "欠费中",
}
_SUB_CODES = {
    Found.MATCH: "101",
    Found.BOTH_DIFFER: "201",
    Found.ID_DIFFERS: "202",
    Found.NAME_DIFFERS: "203",
    Found.NO_RECORD: "301",
}
_STATUS = {"normal": "101", "suspended": "201", "cancelled": "202", "empty": "204"}


@dataclass(frozen=True, slots=True)
class _Result:
    sub_code: str
    carrier: Lane | None = None

    @property
    def biz_code(self) -> str:
        return self.sub_code[0]


class Cloudauth:
    """The vendor. Holds no state of its own: what carriers know is the register's."""

    name: VendorName = "cloudauth"

    def __init__(self, gateway: AlibabaGateway, register: Records) -> None:
        self._gateway = gateway
        self._register = register
        self.knobs = Knobs()

    def speaks(self, received: Received) -> bool:
        return received.headers.get("x-acs-action", "") in ACTIONS

    def read(self, received: Received) -> Call:
        action = received.headers.get("x-acs-action", "")
        ask = parameters_of(received)
        phone, id_number = ask.get("Mobile"), ask.get("IdentifyNum")
        mask = _MASKS.get(ask.get("ParamType", ""))
        if mask is not None and phone is not None:
            subject = Subject.find(self._register, phone, mask)
            phone = subject.phone or phone
            id_number = subject.id_number(id_number) if id_number is not None else None
        return Call(self.name, action, received, ask, phone=phone, id_number=id_number)

    def answer(self, call: Call) -> Reply:
        refusal = self._gateway.refusal(call, VERSION, HOST, ())
        if refusal is not None:
            return refusal
        ask = call.parameters
        if not all(ask.get(name) for name in ACTIONS[call.action]):
            return _product("400")
        mask = _MASKS.get(ask["ParamType"])
        if mask is None or not mask.fits(ask["Mobile"]):
            return _product("401")
        subject = Subject.find(self._register, ask["Mobile"], mask)
        if mask.algorithm is None and not _PHONE.fullmatch(ask["Mobile"]):
            return _product("401")
        if call.action == "MobileOnlineStatus":
            return _found(call, _online(subject.entry))
        if call.action == "MobileRecycledMetaVerify":
            return self._recycled(call, subject.entry)
        return self._triple(call, subject)

    def excuse(self, kind: FaultKind, _call: Call, /) -> Reply:
        match kind:
            case FaultKind.RATE_LIMIT:
                return refused("Throttling.User", HOST)
            case FaultKind.MAINTENANCE:
                return _product("402")
            case FaultKind.AUTH:
                return refused("InvalidAccessKeyId.NotFound", HOST)
            case FaultKind.ARREARS:
                return _product("412")
            case _:
                return _product("477")

    def _triple(self, call: Call, subject: Subject) -> Reply:
        ask = call.parameters
        if not subject.mask.fits(ask["UserName"], ask["IdentifyNum"]):
            return _product("401")
        ruling = subject.ruling(
            ask["UserName"],
            ask["IdentifyNum"],
            covers=COVERED | ({Lane.CBN} if "Standard" in call.action else frozenset()),
            at=call.received.at,
            settle_days=self.knobs.settle_days,
        )
        if ruling.found is Found.SEGMENT:
            return _product("405")
        if ruling.found not in _SUB_CODES:
            return _product("401")
        return _found(call, _Result(_SUB_CODES[ruling.found], ruling.carrier))

    def _recycled(self, call: Call, entry: RegisterEntry | None) -> Reply:
        try:
            text = call.parameters["RegisterDate"] + "+0800"
            day = datetime.strptime(text, "%Y%m%d%z").date()
        except ValueError:
            return _product("401")
        if entry is None or is_dead(entry) or entry.carrier not in COVERED:
            return _found(call, _Result("301"))
        if (today(call.received.at) - held_since(entry)).days < self.knobs.settle_days:
            return _found(call, _Result("103", entry.carrier))
        same = day >= held_since(entry)
        return _found(call, _Result("101" if same else "102", entry.carrier))


def _online(entry: RegisterEntry | None) -> _Result:
    if entry is None or entry.carrier not in COVERED:
        return _Result("301")
    return _Result(_STATUS[entry.status], entry.carrier)


def _found(call: Call, result: _Result) -> Reply:
    fields = {
        "BizCode": result.biz_code,
        "IspName": _ISP.get(result.carrier, "") if result.carrier else "",
    }
    if "Simple" not in call.action:
        fields["SubCode"] = result.sub_code
    return _product("200", billed=result.biz_code in {"1", "2"}, shown=result.sub_code, **fields)


def _product(code: str, *, billed: bool = False, shown: str | None = None, **fields: str) -> Reply:
    document: dict[str, object] = {
        "Code": code,
        "Message": _MESSAGES.get(code, "未知"),
        "RequestId": str(uuid4()).upper(),
    }
    if fields:
        document["ResultObject"] = fields
    return Reply(200, dump(document), content_type=CONTENT_TYPE, code=shown or code, billed=billed)
