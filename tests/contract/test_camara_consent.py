"""A person's token: it is never shared, and whoever was sent a message is not sent another soon."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from werkzeug import Response

from tests.contract.cases.common import PERSON
from tests.contract.operators import (
    MATCHED,
    TYPE,
    UNAUTHENTICATED,
    Operator,
    claims_of,
    granted,
    hang_after_the_request,
    refused,
    reply,
    verify,
)
from tests.transport.scripted import SLACK, ScriptedServer, refusing_url
from verifier.carriers.base import Answer
from verifier.carriers.camara import Camara
from verifier.carriers.camara_consent import Ciba, JwtBearer
from verifier.outcomes import Billed, Lane, Outcome, code_table
from verifier.transport import Deadline, Transport

# ------------------------------------------------------------- a person's token


def test_a_persons_token_lives_for_one_call_and_is_not_asked_for_again(
    operator: Operator, transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    operator.tokens = [lambda: granted("secret-1"), lambda: granted("secret-2")]
    operator.answers = [(200, MATCHED), (401, UNAUTHENTICATED)]
    tokens = JwtBearer(operator.server(transport))
    provider = operator.provider(tokens, transport)
    with caplog.at_level("DEBUG"):
        answers = [verify(provider), verify(provider)]
    assert [a.outcome for a in answers] == [Outcome.MATCHED, Outcome.AUTH_CONFIG]
    assert operator.bearers == ["secret-1", "secret-2"]
    seen = caplog.text + repr(answers) + repr(tokens) + repr(vars(tokens))
    assert not [word for word in ("secret-", PERSON.phone) if word in seen]


# ------------------------------------------------------------------------- CIBA


class Clock:
    """Sleeps that only write down how long they were."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def naps() -> Clock:
    return Clock()


@pytest.fixture
def ciba(operator: Operator, transport: Transport, naps: Clock) -> Camara:
    tokens = Ciba(operator.server(transport), f"{operator.url}/bc", sleep=naps)
    return operator.provider(tokens, transport)


PENDING: Callable[[], Response] = lambda: refused("authorization_pending")  # noqa: E731


def test_ciba_asks_for_consent_as_the_profile_demands(operator: Operator, ciba: Camara) -> None:
    assert verify(ciba, 60).outcome is Outcome.MATCHED
    [form] = operator.consents
    assertion = form.pop("client_assertion")
    assert form == {
        "scope": "openid dpv:FraudPreventionAndDetection kyc-match:match",
        "login_hint": f"tel:+86{PERSON.phone}",
        "client_assertion_type": TYPE,
    }
    assert claims_of(assertion, f"{operator.url}/bc")["sub"] == "tests-client"
    [poll] = operator.forms
    claims_of(poll.pop("client_assertion"), f"{operator.url}/token")
    assert poll == {
        "grant_type": "urn:openid:params:grant-type:ciba",
        "auth_req_id": "r-1",
        "client_assertion_type": TYPE,
    }


def test_ciba_polls_at_the_servers_interval_and_slows_down_when_told(
    operator: Operator, ciba: Camara, naps: Clock
) -> None:
    operator.tokens = [
        PENDING,
        PENDING,
        lambda: refused("slow_down"),
        PENDING,
        lambda: reply({}, 502),  # a poll that failed leaves the question open
        lambda: granted("token-1"),
    ]
    assert verify(ciba, 60).outcome is Outcome.MATCHED
    assert naps.slept == [2, 2, 2, 7, 7, 12]
    assert len(operator.consents) == 1


@pytest.mark.parametrize(
    ("interval", "seconds"), [(None, 5), (0, 5), (-1, 5), ("2", 5), (True, 5), (1.5, 5), (9, 9)]
)
def test_an_interval_that_cannot_be_believed_is_five_seconds(
    interval: object, seconds: float, operator: Operator, ciba: Camara, naps: Clock
) -> None:
    operator.consent = lambda: reply({"auth_req_id": "r-1", "interval": interval})
    verify(ciba, 60)
    assert naps.slept == [seconds]


@pytest.mark.parametrize("interval", [2, 5, 9, 10**30])
def test_who_does_not_answer_in_time_is_a_counted_timeout_and_free(
    interval: int, operator: Operator, ciba: Camara
) -> None:
    operator.consent = lambda: reply({"auth_req_id": "r-1", "interval": interval})
    operator.tokens = [PENDING, PENDING, lambda: refused("slow_down"), PENDING]
    started = time.monotonic()
    assert verify(ciba, 8) == Answer(Outcome.TIMEOUT, "CONSENT_PENDING")
    assert time.monotonic() - started < SLACK  # nobody waits for a poll that comes too late
    assert operator.bearers == []
    assert len(operator.consents) == 1


CIBA_ERRORS = {
    "access_denied": Outcome.CONSENT_MISSING,
    "expired_token": Outcome.CONSENT_MISSING,
    "unknown_user_id": Outcome.NO_RECORD,
    "invalid_client": Outcome.AUTH_CONFIG,
    "invalid_scope": Outcome.AUTH_CONFIG,
    "invalid_request": Outcome.AUTH_CONFIG,
    "invalid_request_object": Outcome.AUTH_CONFIG,
    "unauthorized_client": Outcome.AUTH_CONFIG,
    "unsupported_grant_type": Outcome.AUTH_CONFIG,
    "invalid_grant": Outcome.PROVIDER_ERROR,
    "never_heard_of": Outcome.PROVIDER_ERROR,
}


def test_every_ciba_error_of_the_outcome_map_is_tested_here() -> None:
    known = {code for code, _ in code_table("camara.ciba_error").items()}
    assert known == set(CIBA_ERRORS) - {"never_heard_of"}


@pytest.mark.parametrize("endpoint", ["authorize", "token"])
@pytest.mark.parametrize("error", CIBA_ERRORS)
def test_a_refused_consent_is_the_answer_of_the_call_and_free(
    error: str, endpoint: str, operator: Operator, ciba: Camara
) -> None:
    if endpoint == "authorize":
        operator.consent = lambda: refused(error, 403)
    else:
        operator.tokens = [PENDING, lambda: refused(error)]
    answered = verify(ciba, 60)
    assert (answered.outcome, answered.code) == (CIBA_ERRORS[error], error)
    assert answered.billed is Billed.NO
    assert operator.bearers == []


def test_a_lost_lease_disturbs_nobody(operator: Operator, ciba: Camara) -> None:
    answered = ciba.verify(PERSON, "a", Deadline.after(60), lambda: False)
    assert answered == Answer(Outcome.NOT_SENT, "VETOED")
    assert operator.consents == []


def test_a_lease_that_is_lost_while_the_person_thinks_asks_no_match(
    operator: Operator, ciba: Camara
) -> None:
    allowed = [True]

    def once() -> bool:
        return allowed.pop() if allowed else False

    answered = ciba.verify(PERSON, "a", Deadline.after(60), once)
    assert (answered.outcome, answered.detail) == (Outcome.TIMEOUT, "VETOED")
    assert len(operator.consents) == 1
    assert operator.bearers == []


def test_an_authorize_endpoint_out_of_reach_reached_nobody(
    operator: Operator, transport: Transport, naps: Clock
) -> None:
    tokens = Ciba(operator.server(transport), f"{refusing_url()}bc", sleep=naps)
    answered = verify(operator.provider(tokens, transport))
    assert answered == Answer(Outcome.NOT_SENT, "TOKEN_REFUSED")


@pytest.mark.parametrize(
    "make",
    [
        lambda: reply({}, 500),
        lambda: reply({}),
        lambda: reply({"auth_req_id": 7}),
        lambda: reply({"auth_req_id": ""}),
        lambda: reply({"auth_req_id": "r" * 2000}),
        lambda: reply([]),
        lambda: Response("", 302, headers={"Location": "/elsewhere"}),
    ],
)
def test_a_consent_request_of_unknown_fate_counts_because_a_person_may_have_been_reached(
    make: Callable[[], Response], operator: Operator, ciba: Camara
) -> None:
    operator.consent = make
    assert verify(ciba) == Answer(Outcome.TIMEOUT, "CONSENT_UNKNOWN")
    assert len(operator.consents) == 1


def test_a_consent_request_that_is_never_answered_counts_too(
    operator: Operator, transport: Transport, naps: Clock
) -> None:
    with ScriptedServer(hang_after_the_request) as hanging:
        tokens = Ciba(operator.server(transport), f"{hanging.url}bc", sleep=naps)
        answered = verify(operator.provider(tokens, transport), 0.5)
    assert answered == Answer(Outcome.TIMEOUT, "CONSENT_UNKNOWN")


def test_a_limit_before_anybody_was_reached_is_the_accounts(
    operator: Operator, ciba: Camara
) -> None:
    operator.consent = lambda: reply({}, 429, **{"Retry-After": "7"})
    answered = verify(ciba)
    assert (answered.outcome, answered.detail) == (Outcome.RATE_LIMITED, "ACCOUNT_QPS")


def test_after_a_message_nothing_is_repeated_within_seconds(
    operator: Operator, transport: Transport, naps: Clock, ciba: Camara
) -> None:
    operator.answers = [(429, {"status": 429, "code": "TOO_MANY_REQUESTS", "message": ""})]
    answered = verify(ciba, 60)
    assert (answered.outcome, answered.detail) == (Outcome.RATE_LIMITED, "AFTER_PROMPT")
    operator.answers = [(503, {"status": 503, "code": "UNAVAILABLE", "message": ""})]
    answered = verify(ciba, 60)
    assert (answered.outcome, answered.detail) == (Outcome.TIMEOUT, "AFTER_PROMPT")
    tokens = Ciba(operator.server(transport), f"{operator.url}/bc", sleep=naps)
    unreachable = Camara(
        name="camara",
        lanes=frozenset(Lane),
        endpoint=refusing_url().rstrip("/"),
        tokens=tokens,
        transport=transport,
    )
    answered = verify(unreachable, 60)
    assert (answered.outcome, answered.detail) == (Outcome.TIMEOUT, "REFUSED")
    assert answered.billed is Billed.NO


def test_a_refused_persons_token_sends_no_second_message(operator: Operator, ciba: Camara) -> None:
    operator.answers = [(401, UNAUTHENTICATED)]
    assert verify(ciba, 60).outcome is Outcome.AUTH_CONFIG
    assert len(operator.consents) == len(operator.bearers) == 1
