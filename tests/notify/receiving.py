"""A receiver of webhooks: real HTTP, checked with somebody else's library, as unkind as told."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks.webhooks import Webhook

from tests.transport.scripted import Peer, ScriptedServer, answer
from verifier.signing.webhooks import new_secret


@dataclass(frozen=True)
class Message:
    """One delivery, its signature accepted."""

    id: str
    type: str
    data: dict[str, Any]


@dataclass
class Receiver:
    """Answers ``statuses`` in turn, then ``status``; a word hangs, drips or moves instead."""

    secret: str = field(default_factory=new_secret)
    status: int | str = 204
    statuses: list[int | str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    messages: list[Message] = field(default_factory=list)
    #: Requests, also those that were not answered well.
    calls: Counter[str] = field(default_factory=Counter)
    most_at_once: int = 0
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Receiver:
        self._stack = contextlib.ExitStack()
        self.server = self._stack.enter_context(ScriptedServer(self._script))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        return f"{self.server.endpoint}/hooks?tenant=7"

    @property
    def verifications(self) -> list[dict[str, Any]]:
        """What was told about verifications that settled, repeats left out, in order of arrival."""
        seen: set[str] = set()
        found: list[dict[str, Any]] = []
        for message in list(self.messages):
            if message.type == "verification.settled" and message.id not in seen:
                seen.add(message.id)
                found += message.data["verifications"]
        return found

    def of(self, kind: str) -> list[Message]:
        return [message for message in list(self.messages) if message.type == kind]

    def _script(self, peer: Peer) -> None:
        while request := peer.read_request():
            with self._lock:
                self._now += 1
                self.most_at_once = max(self.most_at_once, self._now)
            try:
                if not self._answer(peer, request):
                    return
            finally:
                with self._lock:
                    self._now -= 1

    def _answer(self, peer: Peer, request: bytes) -> bool:
        head, _, body = request.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        assert lines[0] == "POST /hooks?tenant=7 HTTP/1.1"
        headers = dict(line.split(": ", 1) for line in lines[1:])
        document = Webhook(self.secret).verify(body, headers)  # raises, and nothing is recorded
        assert document == json.loads(body)
        with self._lock:
            self.calls[headers["webhook-id"]] += 1
            status = self.statuses.pop(0) if self.statuses else self.status
        if status == "hang":
            peer.hang()
            return False
        if status == "drip":
            peer.drip(answer(b"x" * 500))
            return False
        assert isinstance(status, int)
        if status < 300:
            message = Message(headers["webhook-id"], document["type"], document["data"])
            with self._lock:
                self.messages.append(message)
        peer.send(answer(self.body, f"{status} So", self.headers))
        return True
