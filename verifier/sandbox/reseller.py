"""A made-up reseller of the three elements, typical of those that sell the carriers' answers.

``POST /reseller/v1/three-elements`` and ``…/number-status``, JSON both ways, ``X-App-Key``; every
answer is HTTP 200 with ``{code, message, requestId, data}``. ``sign`` in the body is the hex digits
of HMAC-SHA256, under the app's secret, of all other fields as NAME=VALUE, sorted by name and joined
by ``&``; ``timestamp`` (seconds) may be 300 s off. It sells every carrier's numbers, Broadnet's and
virtual operators' too. ``data.fee`` is what the call cost, in fen.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from verifier.outcomes import Lane
from verifier.sandbox.faults import FaultKind, VendorName
from verifier.sandbox.judge import Found, rule
from verifier.sandbox.knobs import Knobs
from verifier.sandbox.register import Records
from verifier.sandbox.wire import Call, Received, Reply, dump

PREFIX = "/reseller/"
SKEW = 300.0  # seconds
FEE = 15  # fen
#: Path → the fields it must have.
ACTIONS = {
    "/reseller/v1/three-elements": ("three-elements", ("mobile", "name", "idCard")),
    "/reseller/v1/number-status": ("number-status", ("mobile",)),
}
_COMMON = ("timestamp", "nonce", "sign")
#: What the records say → ``data.result`` and ``data.detail``; refusals have no data.
RESULTS = {
    Found.MATCH: ("1", ""),
    Found.NAME_DIFFERS: ("2", "name"),
    Found.ID_DIFFERS: ("2", "idCard"),
    Found.BOTH_DIFFER: ("2", "both"),
    Found.NO_RECORD: ("3", ""),
}
REFUSALS = {
    Found.BAD_PHONE: "2001",
    Found.BAD_ID_NUMBER: "2002",
    Found.BAD_NAME: "2003",
    Found.SEGMENT: "2004",
}
_STATUSES = {"normal": "0", "suspended": "1", "cancelled": "2", "empty": "3"}
_UNKNOWN_STATUS = "9"
_BILLED_RESULTS = frozenset({"1", "2"})
_MESSAGES = {
    "0": "成功",
    "1001": "appKey无效",
    "1002": "签名错误",
    "1003": "请求已过期",
    "1004": "参数错误",
    "1005": "请求过于频繁",
    "1006": "账户余额不足",
    "1007": "数据源维护中",
    "1008": "接口不存在",
    "2001": "手机号格式错误",
    "2002": "身份证号格式错误",
    "2003": "姓名格式错误",
    "2004": "号段不支持",
}
_SHANGHAI = ZoneInfo("Asia/Shanghai")


class Reseller:
    """The vendor. Holds no state of its own: what carriers know is the register's."""

    name: VendorName = "reseller"

    def __init__(self, credentials: dict[str, str], register: Records) -> None:
        self._key = credentials["reseller_app_key"]
        self._secret = credentials["reseller_app_secret"].encode()
        self._register = register
        self.knobs = Knobs()

    def speaks(self, received: Received) -> bool:
        return received.path.startswith(PREFIX)

    def read(self, received: Received) -> Call:
        action, _ = ACTIONS.get(received.path, ("unknown", ()))
        try:
            parameters = json.loads(received.body)
        except (ValueError, RecursionError):
            parameters = None
        if not isinstance(parameters, dict):
            return Call(self.name, action, received, problem="1004")
        phone, id_number = parameters.get("mobile"), parameters.get("idCard")
        order = parameters.get("orderNo")
        return Call(
            self.name,
            action,
            received,
            parameters,
            phone=phone if isinstance(phone, str) else None,
            id_number=id_number if isinstance(id_number, str) else None,
            reference=order if isinstance(order, str) else None,
        )

    def answer(self, call: Call) -> Reply:
        refusal = self._refusal(call)
        if refusal is not None:
            return _envelope(refusal)
        if call.action == "number-status":
            return self._status(call.parameters["mobile"])
        return self._three_elements(call)

    def excuse(self, kind: FaultKind, _call: Call, /) -> Reply:
        match kind:
            case FaultKind.RATE_LIMIT:
                return _envelope("1005")
            case FaultKind.MAINTENANCE:
                return _envelope("1007")
            case FaultKind.AUTH:
                return _envelope("1001")
            case FaultKind.ARREARS:
                return _envelope("1006")
            case _:
                return _envelope("7777")

    def _refusal(self, call: Call) -> str | None:
        received, ask = call.received, call.parameters
        if received.method != "POST" or call.action == "unknown":
            return "1008"
        if not hmac.compare_digest(
            received.headers.get("X-App-Key", "").encode("utf-8", "replace"), self._key.encode()
        ):
            return "1001"
        if call.problem is not None:
            return call.problem
        names = (*ACTIONS[received.path][1], *_COMMON)
        if not all(isinstance(ask.get(name), str) and ask[name] for name in names):
            return "1004"
        if not all(isinstance(value, str) for value in ask.values()):
            return "1004"
        if not _recent(ask["timestamp"], received.at):
            return "1003"
        expected = sign(ask, self._secret)
        given = ask["sign"].encode("utf-8", "replace")
        return None if hmac.compare_digest(expected.encode(), given) else "1002"

    def _three_elements(self, call: Call) -> Reply:
        ask = call.parameters
        ruling = rule(
            self._register.get(ask["mobile"]),
            phone=ask["mobile"],
            name=ask["name"],
            id_number=ask["idCard"],
            today=datetime.fromtimestamp(call.received.at, _SHANGHAI).date(),
            settle_days=self.knobs.settle_days,
            covers=frozenset(Lane),
        )
        if ruling.found in REFUSALS:
            return _envelope(REFUSALS[ruling.found])
        result, detail = RESULTS[ruling.found]
        billed = result in _BILLED_RESULTS
        carrier = ruling.carrier.value.upper() if ruling.carrier else ""
        data = {"result": result, "detail": detail, "carrier": carrier, "fee": FEE if billed else 0}
        return _envelope("0", data, code=result, billed=billed)

    def _status(self, phone: str) -> Reply:
        if not (phone.isascii() and phone.isdigit() and len(phone) == 11 and phone[0] == "1"):
            return _envelope("2001")
        entry = self._register.get(phone)
        status = _UNKNOWN_STATUS if entry is None else _STATUSES[entry.status]
        billed = entry is not None
        data = {"status": status, "fee": FEE if billed else 0}
        return _envelope("0", data, code=status, billed=billed)


def sign(parameters: Mapping[str, Any], secret: bytes) -> str:
    """The documented signature of a request's fields; ``sign`` itself is left out."""
    names = sorted(name for name in parameters if name != "sign")
    text = "&".join(name + "=" + parameters[name] for name in names)
    return hmac.new(secret, text.encode("utf-8", "surrogatepass"), "sha256").hexdigest()


def _recent(timestamp: str, now: float) -> bool:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    return abs(now - int(timestamp)) <= SKEW


def _envelope(
    envelope: str, data: Mapping[str, Any] | None = None, *, code: str = "", billed: bool = False
) -> Reply:
    document = {
        "code": envelope,
        "message": _MESSAGES.get(envelope, "未知错误"),
        "requestId": uuid4().hex,
        "data": data,
    }
    return Reply(200, dump(document), code=code or envelope, billed=billed)
