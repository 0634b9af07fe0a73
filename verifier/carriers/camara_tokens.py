"""Where the access token of a CAMARA call comes from, and the shared token of the two-legged flow.

*Two-legged* (:class:`ClientCredentials`): the token is ours, the phone number stands in each
request. One token a scope is shared by the threads of a process, renewed before it expires by one
of them, and fetched by one while the others wait, each within its own deadline.

*Three-legged*, the token is one person's: :mod:`.camara_consent`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from verifier.carriers import camara_auth, wire
from verifier.carriers.base import Answer
from verifier.carriers.camara_auth import Granted, Refused, Signer
from verifier.outcomes import Outcome
from verifier.transport import Deadline, Reply, Transport

BeforeSend = Callable[[], bool] | None

#: Seconds that renewing early may take, and that pass before it is tried again.
_EARLY_PATIENCE: Final = 2.0
_EARLY_AGAIN: Final = 10.0


class Tokens(Protocol):
    """``three_legged``: the token says whose number it is about, so the request must not.
    ``prompts``: obtaining one sends the person a message."""

    three_legged: bool
    prompts: bool

    def token(
        self, phone: str, scope: str, deadline: Deadline, before_send: BeforeSend
    ) -> str | Answer:
        """A token for ``scope`` (about ``phone``, national form), or the answer of the call."""
        ...

    def renews(self, scope: str, token: str) -> bool:
        """The API refused ``token`` as expired: whether asking :meth:`token` again may help."""
        ...


@dataclass(frozen=True, slots=True)
class Server:
    """The authorization server of one operator, and the one purpose that was agreed with it."""

    token_endpoint: str
    purpose: str
    signer: Signer = field(repr=False)
    transport: Transport = field(repr=False)

    def scopes(self, scope: str) -> str:
        return f"dpv:{self.purpose} {scope}"

    def post(
        self, url: str, body: bytes, deadline: Deadline, before_send: BeforeSend = None
    ) -> Reply | Answer:
        reply = wire.ask(
            lambda: self.transport.request(
                "POST", url, camara_auth.HEADERS, body, deadline, before_send
            )
        )
        return camara_auth.outage(reply) if isinstance(reply, Answer) else reply

    def ask(self, body: bytes, deadline: Deadline) -> Granted | Refused | Answer:
        """One request to the token endpoint."""
        reply = self.post(self.token_endpoint, body, deadline)
        return reply if isinstance(reply, Answer) else camara_auth.read_token(reply)


class _Slot:
    """The shared token of one scope. Times are monotonic."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.token: str | None = None
        self.renew_at = 0.0
        self.usable_until = 0.0
        self.fetching = False
        #: How many fetches ended, and what the last one brought if it brought no token.
        self.fetches = 0
        self.failure: Answer | None = None

    def valid(self, now: float) -> str | None:
        return self.token if now < self.usable_until else None

    def take(self, granted: Granted, now: float) -> None:
        self.token = granted.token
        self.renew_at = now + granted.lifetime * 0.8
        # A request in flight needs a moment: the token must live until it has arrived.
        self.usable_until = now + granted.lifetime - min(10.0, granted.lifetime * 0.1)


class ClientCredentials:
    """Two-legged, and only if agreed with the operator: nobody's consent is asked."""

    three_legged = False
    prompts = False

    def __init__(self, server: Server, clock: Callable[[], float] = time.monotonic) -> None:
        self._server = server
        self._clock = clock
        self._slots: dict[str, _Slot] = {}

    def token(
        self,
        phone: str,  # noqa: ARG002 - it stands in the request to the API
        scope: str,
        deadline: Deadline,
        before_send: BeforeSend,  # noqa: ARG002 - reaches nobody and costs nothing
    ) -> str | Answer:
        slot = self._slots.setdefault(scope, _Slot())
        with slot.changed:
            seen = slot.fetches
            while True:
                now = self._clock()
                valid = slot.valid(now)
                if valid and (slot.fetching or now < slot.renew_at):
                    return valid
                if not slot.fetching:
                    slot.fetching = True
                    slot.renew_at = now + _EARLY_AGAIN
                    break
                if not slot.changed.wait(deadline.remaining()):
                    return Answer(Outcome.NOT_SENT, "TOKEN_DEADLINE")
                if slot.failure is not None and slot.fetches > seen:
                    return slot.failure  # the one that asked for all of us
        if valid:  # renewing early must leave the call its time
            deadline = Deadline.after(min(_EARLY_PATIENCE, deadline.remaining() / 2))
        return self._fetch(slot, scope, deadline)

    def renews(self, scope: str, token: str) -> bool:
        slot = self._slots.setdefault(scope, _Slot())
        with slot.changed:
            if slot.token == token:  # else another thread has renewed it already
                slot.token = None
        return True

    def _fetch(self, slot: _Slot, scope: str, deadline: Deadline) -> str | Answer:
        got: Granted | Answer = Answer(Outcome.NOT_SENT, "TOKEN_BUG")
        try:
            got = self._ask(scope, deadline)
        finally:
            with slot.changed:
                if isinstance(got, Granted):
                    slot.take(got, self._clock())
                # Who asked may have had less time than those who wait: they try for themselves.
                late = isinstance(got, Answer) and deadline.expired
                slot.failure = got if isinstance(got, Answer) and not late else None
                slot.fetches += 1
                slot.fetching = False
                still = slot.valid(self._clock())
                slot.changed.notify_all()
        if isinstance(got, Granted):
            return got.token
        return still or got  # renewed early and in vain: the old one serves a little longer

    def _ask(self, scope: str, deadline: Deadline) -> Granted | Answer:
        server = self._server
        body = server.signer.form(
            server.token_endpoint,
            grant_type="client_credentials",
            scope=server.scopes(scope),
        )
        got = server.ask(body, deadline)
        return camara_auth.refusal("camara.token_error", got) if isinstance(got, Refused) else got
