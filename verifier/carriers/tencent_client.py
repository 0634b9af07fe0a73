"""One signed call to Tencent Cloud FaceID 2018-03-01: ``POST /`` with JSON, signed by TC3."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from verifier.carriers import wire
from verifier.carriers.base import Answer
from verifier.signing import tc3
from verifier.transport import Deadline, Reply, Transport

VERSION = "2018-03-01"
CONTENT_TYPE = "application/json"


class FaceId:
    """One account at one endpoint."""

    def __init__(
        self, *, endpoint: str, secret_id: str, secret_key: str, transport: Transport
    ) -> None:
        self._secret_id = secret_id
        self._secret_key = secret_key
        self._transport = transport
        self._url = f"{endpoint}/"
        self._host = urlsplit(endpoint).netloc
        self._headers = {
            "Host": self._host,
            "Content-Type": CONTENT_TYPE,
            "X-TC-Version": VERSION,
            "X-TC-Language": "zh-CN",
        }

    def ask(
        self,
        action: str,
        parameters: Mapping[str, Any],
        deadline: Deadline,
        before_send: Callable[[], bool] | None,
    ) -> Reply | Answer:
        """The reply, or the Answer that its absence amounts to. ``parameters`` are UTF-8 text."""
        body = json.dumps(parameters, ensure_ascii=False).encode()
        headers = self._signed(action, body, int(time.time()))
        return wire.ask(
            lambda: self._transport.request("POST", self._url, headers, body, deadline, before_send)
        )

    def close(self) -> None:
        self._transport.close()

    def _signed(self, action: str, body: bytes, timestamp: int) -> dict[str, str]:
        return self._headers | {
            "X-TC-Action": action,
            "X-TC-Timestamp": str(timestamp),
            "Authorization": tc3.authorization(
                secret_id=self._secret_id,
                secret_key=self._secret_key,
                service="faceid",
                host=self._host,
                content_type=CONTENT_TYPE,
                body=body,
                timestamp=timestamp,
            ),
        }
