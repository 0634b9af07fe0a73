"""Tokens that are one person's: they come with the person's consent, live for one call, and are
neither kept nor logged.

:class:`JwtBearer` finds out whether consent was given before. :class:`Ciba` asks for it: "the
Authentication Server MUST send a message to the Authentication Device" (CAMARA API access and user
consent, r4.2). It reaches a person, so its first request asks ``before_send`` as the match does, is
made once a call, and nothing that follows it may be repeated as if nobody had been disturbed
(:func:`spare_the_person`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from tenacity import RetryCallState, Retrying, retry_if_result

from verifier.carriers import camara_auth, wire
from verifier.carriers.base import Answer
from verifier.carriers.camara_auth import Granted, Refused
from verifier.carriers.camara_tokens import BeforeSend, Server
from verifier.outcomes import AFTER_PROMPT, CONSENT_PENDING, Meaning, Outcome
from verifier.transport import Deadline

_JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_CIBA: Final = "urn:openid:params:grant-type:ciba"
_POLL_EVERY: Final = 5.0  # seconds; CIBA core: what holds when the server names no interval
_SLOW_DOWN: Final = 5.0


class JwtBearer:
    """Three-legged without a message: the operator looks up whether the person has consented.

    The assertion is the grant and the client's authentication at once; the scope stands in it, and
    a ``scope`` parameter must not be sent.
    """

    three_legged = True
    prompts = False

    def __init__(self, server: Server) -> None:
        self._server = server

    def token(
        self,
        phone: str,
        scope: str,
        deadline: Deadline,
        before_send: BeforeSend,  # noqa: ARG002 - reaches nobody and costs nothing
    ) -> str | Answer:
        server = self._server
        assertion = server.signer.assertion(
            server.token_endpoint, subject=f"tel:+86{phone}", scope=server.scopes(scope)
        )
        body = camara_auth.encoded(grant_type=_JWT_BEARER, assertion=assertion)
        got = server.ask(body, deadline)
        match got:
            case Granted():
                return got.token
            case Refused(error="invalid_grant"):
                return camara_auth.refused_as(got, _invalid_grant(got))
            case Refused():
                return camara_auth.refusal("camara.token_error", got)
        return got

    def renews(self, scope: str, token: str) -> bool:  # noqa: ARG002
        return False  # it was made for this call a moment ago: another would fare no better


def _invalid_grant(refused: Refused) -> Meaning:
    """ "There is no consent from the user", or "the current time is not within the token's valid
    time window": one code for both (ICM r4.2, appendix A). A wrong clock of ours must not become
    everybody's missing consent, so the ``Date`` of the answer decides."""
    match refused.clocks_agree:
        case True:
            return Meaning(Outcome.CONSENT_MISSING)
        case False:
            return Meaning(Outcome.AUTH_CONFIG, "CLOCK")
        case _:
            return Meaning(Outcome.PROVIDER_ERROR, "INVALID_GRANT")


@dataclass(frozen=True, slots=True)
class _Pending:
    interval: float


class Ciba:
    """Three-legged with a message to the person, polled until they answer or the call ends.

    Who has not answered by then is ``TIMEOUT/CONSENT_PENDING``, free: the match was not asked. It
    is not NOT_SENT, because a person was reached, and NOT_SENT may be tried again within seconds,
    all day: a message each time. TIMEOUT counts, twice a day at most.
    """

    three_legged = True
    prompts = True

    def __init__(
        self,
        server: Server,
        authorize_endpoint: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._server = server
        self._authorize_endpoint = authorize_endpoint
        self._sleep = sleep

    def token(
        self, phone: str, scope: str, deadline: Deadline, before_send: BeforeSend
    ) -> str | Answer:
        started = self._authorize(phone, scope, deadline, before_send)
        if isinstance(started, Answer):
            return started
        request_id, interval = started
        waiting: list[float] = [interval]
        polls = Retrying(
            retry=retry_if_result(lambda step: isinstance(step, _Pending)),
            wait=lambda _: waiting[0],
            # Nobody waits for a poll that could not be answered in time.
            stop=lambda state: state.upcoming_sleep >= deadline.remaining(),
            sleep=self._sleep,
            retry_error_callback=_still_pending,
        )

        def poll() -> str | Answer | _Pending:
            step = self._poll(request_id, waiting[0], deadline)
            if isinstance(step, _Pending):
                waiting[0] = step.interval
            return step

        if interval >= deadline.remaining():
            return PENDING
        self._sleep(interval)
        got: str | Answer | _Pending = polls(poll)
        return PENDING if isinstance(got, _Pending) else got

    def renews(self, scope: str, token: str) -> bool:  # noqa: ARG002
        return False  # another would be another message to the person

    def _authorize(
        self, phone: str, scope: str, deadline: Deadline, before_send: BeforeSend
    ) -> tuple[str, float] | Answer:
        """Ask for the person's consent; the request to poll for and the seconds between polls."""
        body = self._server.signer.form(
            self._authorize_endpoint,
            scope=f"openid {self._server.scopes(scope)}",
            login_hint=f"tel:+86{phone}",
        )
        reply = wire.ask(
            lambda: self._server.transport.request(
                "POST", self._authorize_endpoint, camara_auth.HEADERS, body, deadline, before_send
            )
        )
        if isinstance(reply, Answer):
            # Unanswered or not understood: the person may have been reached.
            return camara_auth.outage(reply) if reply.outcome is Outcome.NOT_SENT else UNKNOWN
        document = reply.json_object() or {}
        request_id = document.get("auth_req_id")
        if reply.status == 200 and isinstance(request_id, str) and 0 < len(request_id) <= 1024:
            return request_id, _interval(document.get("interval"))
        refused = camara_auth.read_refusal(reply)
        if isinstance(refused, Refused):
            return camara_auth.refusal("camara.ciba_error", refused)
        return refused if refused.outcome is not Outcome.NOT_SENT else UNKNOWN

    def _poll(
        self, request_id: str, interval: float, deadline: Deadline
    ) -> str | Answer | _Pending:
        server = self._server
        body = server.signer.form(server.token_endpoint, grant_type=_CIBA, auth_req_id=request_id)
        got = server.ask(body, deadline)
        match got:
            case Granted():
                return got.token
            case Refused(error="authorization_pending"):
                return _Pending(interval)
            case Refused(error="slow_down"):
                return _Pending(interval + _SLOW_DOWN)
            case Refused():
                return camara_auth.refusal("camara.ciba_error", got)
        # A poll that failed says nothing about the person: the question is still open.
        return _Pending(interval + _SLOW_DOWN)


PENDING: Final = Answer(Outcome.TIMEOUT, CONSENT_PENDING)
#: The message may have been sent to the person, or not.
UNKNOWN: Final = Answer(Outcome.TIMEOUT, "CONSENT_UNKNOWN")


def _still_pending(state: RetryCallState) -> Answer:  # noqa: ARG001 - tenacity's signature
    return PENDING


def _interval(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        return _POLL_EVERY
    return float(min(value, 3600))


def spare_the_person(answer: Answer) -> Answer:
    """The answer of a call in which a person was sent a message.

    What the schedule repeats without counting would send another one, perhaps a second later:
    an API out of reach, or in maintenance, counts as TIMEOUT, and a limit makes this number wait
    for a day.
    """
    match answer.outcome:
        case Outcome.NOT_SENT:
            return Answer(Outcome.TIMEOUT, answer.detail, http_status=answer.http_status)
        case Outcome.MAINTENANCE:
            return replace(answer, outcome=Outcome.TIMEOUT, detail=AFTER_PROMPT)
        case Outcome.RATE_LIMITED:
            return replace(answer, detail=AFTER_PROMPT)
        case _:
            return answer
