"""The gateway before every product of Alibaba Cloud: signature, nonce, version, parameters.

It refuses with HTTP 4xx or 5xx and ``{Code, Message, RequestId, HostId}``. One access key and one
memory of nonces serve all products. Source: "V3 request structure and signature" (nonce, 15
minutes), "Public error codes".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from urllib.parse import parse_qsl
from uuid import uuid4

from verifier.sandbox.signatures import ACS3_SKEW, SignatureRefused, check_acs3
from verifier.sandbox.wire import Call, Received, Reply, dump

CONTENT_TYPE = "application/json;charset=utf-8"
#: The others are 400.
_STATUS = {
    "InvalidAccessKeyId.NotFound": 404,
    "InvalidAction.NotFound": 404,
    "ServiceUnavailable": 503,
}


class AlibabaGateway:
    """The gateway of one account."""

    def __init__(self, credentials: dict[str, str]) -> None:
        self._id = credentials["aliyun_key_id"]
        self._secret = credentials["aliyun_key_secret"]
        self._nonces: set[str] = set()
        self._nonce_times: deque[tuple[float, str]] = deque()

    def refusal(
        self, call: Call, version: str, host: str, mandatory: Sequence[str]
    ) -> Reply | None:
        """What keeps a call from its product, if anything does. An action that the product does
        not have is called ``unknown``."""
        try:
            check_acs3(call.received, self._id, self._secret)
            self._use_nonce(call.received)
        except SignatureRefused as failed:
            return refused(failed.code, host)
        if call.received.headers.get("x-acs-version") != version:
            return refused("InvalidVersion", host)
        if call.action == "unknown":
            return refused("InvalidAction.NotFound", host)
        for name in mandatory:
            if not call.parameters.get(name):
                return refused(f"Missing{name}", host)
        return None

    def _use_nonce(self, received: Received) -> None:
        nonce, now = received.headers.get("x-acs-signature-nonce", ""), received.at
        while self._nonce_times and self._nonce_times[0][0] < now - 2 * ACS3_SKEW:
            self._nonces.discard(self._nonce_times.popleft()[1])
        if not nonce or nonce in self._nonces:
            raise SignatureRefused("SignatureNonceUsed")
        self._nonces.add(nonce)
        self._nonce_times.append((now, nonce))


def parameters_of(received: Received) -> dict[str, str]:
    """The parameters, from the URL and from a form: the gateway merges both."""
    parameters = dict(parse_qsl(received.query, keep_blank_values=True))
    if received.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
        text = received.body.decode("utf-8", "replace")
        parameters.update(parse_qsl(text, keep_blank_values=True))
    return parameters


def refused(code: str, host: str) -> Reply:
    """The gateway's answer in place of the product's."""
    document = {
        "Code": code,
        "Message": code,
        "RequestId": str(uuid4()).upper(),
        "HostId": host,
    }
    status = _STATUS.get(code, 400)
    return Reply(status, dump(document), content_type=CONTENT_TYPE, code=code)
