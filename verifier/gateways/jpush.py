"""JPush (Aurora) push, REST API v3: one notification to one device.

JPush dedupes by ``cid`` for a day: a second push with the same cid returns the first result. A cid
must have been fetched from ``GET /v3/push/cid`` (up to 1000 at once; non-VIP applications get at
most 10 whatever they ask for), so a few are kept at hand. JPush cannot be asked by cid what became
of a push, hence no reconciliation. Codes and limits: docs.jiguang.cn, "Push API v3" and "advanced".
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from verifier.gateways import wire
from verifier.gateways.base import Channel, Message, Receipt
from verifier.transport import Deadline, Reply, Transport
from verifier.transport.reply import identifier_of

ENDPOINT = "https://api.jpush.cn"
_CIDS_AT_ONCE = 100
_CID_KEPT = 3600.0  # of the day that it lives; the rest is for sending with it
_OFFLINE_SECONDS = 86_400  # how long JPush keeps the notification for a device that is off

_RECEIPTS = {
    "1000": wire.UNKNOWN,  # internal error: it does not say before or after sending
    "1001": wire.OPERATOR,  # not POST
    "1002": wire.OPERATOR,  # a parameter is missing
    "1003": wire.OPERATOR,  # a parameter is invalid; see _blame_for_1003
    "1004": wire.OPERATOR,  # authentication
    "1005": wire.OPERATOR,  # too large
    "1008": wire.OPERATOR,  # app key
    "1009": wire.OPERATOR,  # unknown key in the push object
    "1011": wire.PERSON,  # no such device: uninstalled, or away for very long
    "1020": wire.OPERATOR,  # not HTTPS
    "1030": wire.UNKNOWN,  # internal timeout
    "2002": wire.BUSY,  # calls per minute
    "2003": wire.OPERATOR,  # application barred from the API
    "2004": wire.OPERATOR,  # our address is not on the application's list
    "2005": wire.OPERATOR,  # too many messages altogether
}


class JPush:
    """One application. Keeps the contract of :class:`~verifier.gateways.base.Gateway`."""

    kind = "jpush"
    channel = Channel.PUSH
    settle_after = 0.0
    dedupes_for = 86_400.0 - _CID_KEPT - 600.0  # a day since it was fetched; with a margin

    def __init__(
        self, *, name: str, app_key: str, master_secret: str, endpoint: str, transport: Transport
    ) -> None:
        self.name = name
        self._endpoint = endpoint or ENDPOINT
        self._transport = transport
        token = base64.b64encode(f"{app_key}:{master_secret}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
        self._cids: deque[tuple[float, str]] = deque()  # (until, cid), the oldest first
        self._lock = threading.Lock()

    def prepare(self, reference: str, deadline: Deadline) -> str | None:  # noqa: ARG002
        if not self._lock.acquire(timeout=deadline.remaining()):
            return None  # another thread is fetching, slowly
        try:
            now = time.monotonic()
            while self._cids and self._cids[0][0] <= now:
                self._cids.popleft()
            if not self._cids:
                self._cids.extend((now + _CID_KEPT, cid) for cid in self._fetch(deadline))
            return self._cids.popleft()[1] if self._cids else None
        finally:
            self._lock.release()

    def send(
        self,
        message: Message,
        deadline: Deadline,
        before_send: Callable[[], bool] | None = None,
    ) -> Receipt:
        body = json.dumps(_payload(message), ensure_ascii=False).encode()
        url = f"{self._endpoint}/v3/push"
        reply = wire.ask(
            lambda: self._transport.request("POST", url, self._headers, body, deadline, before_send)
        )
        return reply if isinstance(reply, Receipt) else read(reply)

    def reconcile(self, *_: object, **__: object) -> Receipt | None:
        return None

    def close(self) -> None:
        self._transport.close()

    def _fetch(self, deadline: Deadline) -> list[str]:
        url = f"{self._endpoint}/v3/push/cid?count={_CIDS_AT_ONCE}"
        reply = wire.ask(lambda: self._transport.request("GET", url, self._headers, b"", deadline))
        if isinstance(reply, Receipt) or reply.status != 200:
            return []
        found = (reply.json_object() or {}).get("cidlist")
        if not isinstance(found, list):
            return []
        return [cid for cid in found if isinstance(cid, str) and identifier_of(cid) == cid]


def _payload(message: Message) -> dict[str, Any]:
    extras = {"link": message.link} if message.link else {}
    return {
        "cid": message.reference,
        "platform": "all",
        "audience": {"registration_id": [message.recipient]},
        "notification": {
            "alert": message.text,
            "android": {"alert": message.text, "title": message.title, "extras": extras},
            "ios": {"alert": {"title": message.title, "body": message.text}, "extras": extras},
        },
        "options": {"time_to_live": _OFFLINE_SECONDS, "apns_production": True},
    }


def read(reply: Reply) -> Receipt:
    """What a reply to a push means."""
    answer = reply.json_object() or {}
    if reply.status == 200:
        message_id = identifier_of(answer.get("msg_id"))
        return wire.with_code(wire.ACCEPTED, None, message_id) if message_id else wire.UNKNOWN
    error = answer.get("error")
    code = identifier_of(error.get("code")) if isinstance(error, dict) else None
    receipt = _RECEIPTS.get(code or "", wire.by_status(reply))
    if code == "1003":
        receipt = _blame_for_1003(error)
    return wire.with_code(receipt, code)


def _blame_for_1003(error: Any) -> Receipt:
    """ "Invalid value" covers our own mistakes and a malformed ``registration_id``, which is the
    device's. Only a message that names the latter may cost a person the push token."""
    text = error.get("message") if isinstance(error, dict) else None
    names_the_token = isinstance(text, str) and "registration_id" in text.lower()
    return wire.PERSON if names_the_token else wire.OPERATOR
