"""JPush REST API v3: ``GET /v3/push/cid`` and ``POST /v3/push``.

Sources (2022-08-09): docs.jiguang.cn/jpush/server/push/rest_api_v3_push (error codes and their HTTP
statuses), …/rest_api_v3_push_advanced (a cid must be fetched, is ``{appkey}-{uuid}``, lives a day,
and a second push with it returns the first success), …/http_status_code (200 is always success).
Undocumented and chosen here: a cid that was never handed out, or is over a day old, is 1003.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

from verifier.sandbox.faults import FaultKind, VendorName
from verifier.sandbox.keys import subject_key
from verifier.sandbox.knobs import Knobs
from verifier.sandbox.register import Records
from verifier.sandbox.signatures import basic_credentials_hold
from verifier.sandbox.truth import Message, Truth
from verifier.sandbox.wire import JSON, Call, Received, Reply, dump

CID_LIFE = 86_400.0  # seconds
_STATUS = {
    1000: 500,
    1001: 405,
    1002: 400,
    1003: 400,
    1004: 401,
    1005: 400,
    1008: 400,
    1009: 400,
    1011: 400,
    1030: 503,
    2002: 429,
    2003: 403,
}
_MESSAGES = {
    1001: "Only POST is supported",
    1002: "Missing parameter",
    1003: "Parameter value is invalid",
    1004: "Authen failed",
    1005: "The message is too large",
    1011: "cannot find user by this audience",
    1030: "Internal service timeout",
    2002: "Rate limit exceeded",
    2003: "The appkey is restricted",
}
_NO_MORE = {"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": "1"}
_TOKEN = re.compile(r"[0-9A-Za-z_-]{8,64}")
_MOST_BYTES = 4096  # of notification and message together; the document's Android limit
_PLATFORMS = {"android", "ios", "quickapp", "hmos", "winphone"}


class JPush:
    """The vendor. Which devices live, the register knows; cids and pushes, the truth."""

    name: VendorName = "jpush"

    def __init__(self, credentials: dict[str, str], register: Records, truth: Truth) -> None:
        self._app_key = credentials["jpush_app_key"]
        self._secret = credentials["jpush_master_secret"]
        self.knobs = Knobs()
        self._register = register
        self._truth = truth

    def speaks(self, received: Received) -> bool:
        return received.path.startswith("/v3/push")

    def read(self, received: Received) -> Call:
        if received.path == "/v3/push/cid":
            query = {key: values[-1] for key, values in parse_qs(received.query).items()}
            return Call(self.name, "cid", received, query)
        try:
            payload = json.loads(received.body) if received.body else None
        except ValueError:
            payload = None
        if not isinstance(payload, dict):
            return Call(self.name, "push", received, problem="1003")
        cid = payload.get("cid")
        return Call(
            self.name, "push", received, payload, reference=cid if isinstance(cid, str) else None
        )

    def answer(self, call: Call) -> Reply:
        if not basic_credentials_hold(call.received, self._app_key, self._secret):
            return _error(1004)
        if call.action == "cid":
            return self._hand_out(call)
        if call.received.method != "POST":
            return _error(1001)
        if call.problem is not None:
            return _error(1003)
        return self._push(call)

    def excuse(self, kind: FaultKind, _call: Call, /) -> Reply:
        match kind:
            case FaultKind.RATE_LIMIT:
                return _error(2002, headers=_NO_MORE)
            case FaultKind.MAINTENANCE:
                return _error(1030)
            case FaultKind.AUTH:
                return _error(1004)
            case FaultKind.ARREARS:
                return _error(2003)
            case _:
                return _error(7777, status=400)

    def _hand_out(self, call: Call) -> Reply:
        if call.received.method != "GET":
            return _error(1001, status=405)
        count = str(call.parameters.get("count", "1"))
        if not count.isdigit() or call.parameters.get("type", "push") not in ("push", "schedule"):
            return _error(1003)
        # 1–1000 as for VIP applications; others get at most 10, which would only slow tests.
        cids = [f"{self._app_key}-{uuid4()}" for _ in range(min(max(int(count), 1), 1000))]
        for cid in cids:
            self._truth.cid(cid, call.received.at)
        return Reply(200, dump({"cidlist": cids}), code="OK")

    def _push(self, call: Call) -> Reply:
        payload, now, cid = dict(call.parameters), call.received.at, call.reference
        if payload.get("cid") is not None:
            handed_out = self._truth.cids.get(cid or "")
            if handed_out is None or now - handed_out > CID_LIFE:
                return _error(1003)
            earlier = self._truth.by_reference.get((self.name, cid or ""))
            if earlier:
                return _pushed(earlier[0].id)
        problem = _payload_problem(payload)
        if problem is not None:
            return _error(problem)
        tokens: list[str] = payload["audience"]["registration_id"]
        live = [
            token
            for token in tokens
            if _TOKEN.fullmatch(token) and not self._register.token_is_dead(token)
        ]
        if not live:
            return _error(1011)
        message_id = str(uuid4().int % 10**17)
        for token in live:
            self._truth.message(_message(payload, token, cid or "", message_id, now))
        return _pushed(message_id)


def _payload_problem(payload: dict[str, Any]) -> int | None:
    if "platform" not in payload or "audience" not in payload:
        return 1002
    if not payload.get("notification") and not payload.get("message"):
        return 1002
    platform, audience = payload["platform"], payload["audience"]
    if platform != "all" and not (
        isinstance(platform, list) and platform and set(map(str, platform)) <= _PLATFORMS
    ):
        return 1003
    # Broadcasts, tags and aliases exist at the vendor; a product that reminds one person at a time
    # has no use for them, and a broadcast by mistake should fail loudly here.
    tokens = audience.get("registration_id") if isinstance(audience, dict) else None
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        return 1003
    if not 1 <= len(tokens) <= 1000 or set(audience) != {"registration_id"}:
        return 1003
    for part in ("notification", "message"):
        if part in payload and not isinstance(payload[part], dict):
            return 1003
    size = len(dump([payload.get("notification"), payload.get("message")]))
    return 1005 if size > _MOST_BYTES else None


def _message(payload: dict[str, Any], token: str, cid: str, message_id: str, at: float) -> Message:
    notification = payload.get("notification") or {}
    details = {part: payload[part] for part in ("notification", "message") if payload.get(part)}
    return Message(
        at=at,
        vendor=JPush.name,
        recipient=subject_key(token),
        reference=cid,
        id=message_id,
        template="",
        text=_alert(notification) or str((payload.get("message") or {}).get("msg_content", "")),
        details=details,
    )


def _alert(notification: dict[str, Any]) -> str:
    """The text a person sees: the common alert, or that of the first platform that has one."""
    parts = [notification, *(v for v in notification.values() if isinstance(v, dict))]
    for part in parts:
        alert = part.get("alert")
        if isinstance(alert, dict):  # iOS: title, subtitle, body
            alert = alert.get("body")
        if alert:
            return str(alert)
    return ""


def _pushed(message_id: str) -> Reply:
    body = dump({"sendno": "0", "msg_id": message_id})
    return Reply(200, body, content_type=JSON, code="OK", billed=True)


def _error(code: int, *, status: int | None = None, headers: dict[str, str] | None = None) -> Reply:
    error = {"code": code, "message": _MESSAGES.get(code, "Unknown error")}
    return Reply(
        status or _STATUS[code], dump({"error": error}), headers=headers or {}, code=str(code)
    )
