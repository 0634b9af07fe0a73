"""One webhook endpoint: a signed POST within a total deadline, and what came back as a word.

Redirects are refused, answers are not looked at beyond their status, and neither URL, body nor
answer is ever logged.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Final

from verifier.config import WebhookConfig, resolve_secret
from verifier.errors import ConfigError
from verifier.notify.policy import Answer
from verifier.signing import webhooks as signing
from verifier.transport import BadReply, Deadline, NotSent, Transport, TransportFault

#: More of an answer is not read; a longer one with a good status counts as good.
_MOST_BODY: Final = 16 * 1024


class Webhook:
    """``[webhooks.NAME]``, ready to be called. Raises ConfigError for a secret that is none."""

    def __init__(self, name: str, config: WebhookConfig) -> None:
        self.name = name
        self.config = config
        references = [config.secret, config.previous_secret]
        self._keys = [_key(name, reference) for reference in references if reference]
        try:
            self._transport = Transport(
                threads=1,
                connect_timeout=config.connect_timeout,
                max_body=_MOST_BODY,
                ca_file=config.ca_file,
            )
        except OSError as error:
            raise ConfigError(
                f"Webhook {name}: the ca_file cannot be used ({error.strerror}).",
                fix="Name a readable PEM file, or leave ca_file out.",
            ) from None

    def send(
        self,
        message_id: str,
        body: bytes,
        deadline: Deadline,
        may_leave: Callable[[], bool] = lambda: True,
    ) -> Answer:
        """POST ``body``. ``may_leave`` is asked right before the first byte is written."""
        headers = {
            "Content-Type": "application/json",
            **signing.headers(self._keys, message_id, int(time.time()), body),
        }
        try:
            reply = self._transport.request(
                "POST", self.config.url, headers, body, deadline, may_leave
            )
        except TransportFault as fault:
            return _fault(fault)
        return _status(reply.status, reply.retry_after())


def body_of(event: str, timestamp: str, data: dict[str, Any]) -> bytes:
    """The document that is sent: ``type``, ``timestamp`` (ISO 8601) and ``data``."""
    document = {"type": event, "timestamp": timestamp, "data": data}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _key(name: str, reference: str) -> bytes:
    try:
        return signing.key_of(resolve_secret(reference))
    except ValueError as error:
        raise ConfigError(
            f"The secret of webhook {name} ({reference}) cannot be used: {error}.",
            fix="`verifier webhook secret` makes one.",
        ) from None


def _status(status: int, retry_after: float | None = None) -> Answer:
    if 200 <= status < 300:
        return Answer(status)
    return Answer(status, f"status {status}", retry_after)


def _fault(fault: TransportFault) -> Answer:
    if isinstance(fault, NotSent) and fault.reason == "vetoed":
        return Answer(error=fault.reason, held_back=True)
    status = fault.status if isinstance(fault, BadReply) else None
    if status is not None and 200 <= status < 300:
        return Answer(status)  # a body that we would not read anyway
    return Answer(status, fault.reason)
