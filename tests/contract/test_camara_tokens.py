"""Tokens: what is signed and sent, and how the shared one is shared."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from werkzeug import Response

from tests.contract.cases.common import PERSON
from tests.contract.faults import FAULTS, Fault
from tests.contract.operators import (
    SIGNER,
    TYPE,
    UNAUTHENTICATED,
    Operator,
    claims_of,
    granted,
    hang_after_the_request,
    pem_of,
    refused,
    reply,
    verify,
)
from tests.transport.scripted import SLACK, Peer, ScriptedServer, answer, eventually, refusing_url
from verifier.carriers.base import Answer, Number
from verifier.carriers.camara_auth import Signer
from verifier.carriers.camara_consent import JwtBearer
from verifier.carriers.camara_tokens import ClientCredentials, Server, Tokens
from verifier.outcomes import Billed, Check, Fact, Outcome, code_table
from verifier.transport import Deadline, Transport

# ------------------------------------------------------------------- assertions


def test_client_credentials_are_asked_for_as_the_profile_demands(
    operator: Operator, transport: Transport
) -> None:
    provider = operator.provider(ClientCredentials(operator.server(transport)), transport)
    assert verify(provider).outcome is Outcome.MATCHED
    [form] = operator.forms
    assertion = form.pop("client_assertion")
    assert form == {
        "grant_type": "client_credentials",
        "scope": "dpv:FraudPreventionAndDetection kyc-match:match",
        "client_assertion_type": TYPE,
    }
    claims = claims_of(assertion, f"{operator.url}/token")
    assert (claims["iss"], claims["sub"]) == ("tests-client", "tests-client")
    assert 0 < claims["exp"] - claims["iat"] <= 300
    assert claims["iat"] <= time.time()  # a server must refuse one from the future
    assert "scope" not in claims
    assert jwt.get_unverified_header(assertion)["kid"] == "key-1"
    assert operator.bearers == ["token-1"]


def test_an_assertion_is_never_signed_twice_with_one_jti() -> None:
    made = [claims_of(SIGNER.assertion("https://as.example"), "https://as.example") for _ in "abc"]
    assert len({claims["jti"] for claims in made}) == 3


def test_an_rsa_key_signs_rs256() -> None:
    key = rsa.generate_private_key(65537, 2048)
    assertion = Signer("c", pem_of(key)).assertion("https://as.example")
    claims = jwt.decode(
        assertion, key.public_key(), algorithms=["RS256"], audience="https://as.example"
    )
    assert claims["iss"] == "c"
    assert "kid" not in jwt.get_unverified_header(assertion)


def test_jwt_bearer_carries_person_and_scope_in_the_assertion_alone(
    operator: Operator, transport: Transport
) -> None:
    provider = operator.provider(JwtBearer(operator.server(transport)), transport)
    assert verify(provider).outcome is Outcome.MATCHED
    [form] = operator.forms
    assertion = form.pop("assertion")
    assert form == {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"}
    claims = claims_of(assertion, f"{operator.url}/token")
    assert (claims["iss"], claims["sub"]) == ("tests-client", f"tel:+86{PERSON.phone}")
    assert claims["scope"] == "dpv:FraudPreventionAndDetection kyc-match:match"
    assert 0 < claims["exp"] - claims["iat"] <= 300


# --------------------------------------------------------------- the shared token


def test_one_token_serves_many_calls(operator: Operator, transport: Transport) -> None:
    provider = operator.provider(ClientCredentials(operator.server(transport)), transport)
    assert {verify(provider).outcome for _ in range(5)} == {Outcome.MATCHED}
    assert len(operator.forms) == 1


def test_each_api_has_a_token_of_its_own_scope(operator: Operator, transport: Transport) -> None:
    provider = operator.provider(ClientCredentials(operator.server(transport)), transport)
    verify(provider)
    day = datetime.now(UTC).date()
    provider.check(Check.RECYCLED, Number(PERSON.phone, day), "a", Deadline.after(5))
    scopes = [form["scope"].split()[1] for form in operator.forms]
    assert scopes == ["kyc-match:match", "number-recycling:check"]


def test_a_token_is_renewed_before_it_expires(operator: Operator, transport: Transport) -> None:
    now = [1000.0]
    tokens = ClientCredentials(operator.server(transport), clock=lambda: now[0])
    provider = operator.provider(tokens, transport)
    operator.tokens = [lambda: granted("token-1", 100), lambda: granted("token-2", 100)]
    for at, bearer in ((1000.0, "token-1"), (1079.0, "token-1"), (1081.0, "token-2")):
        now[0] = at
        assert verify(provider).outcome is Outcome.MATCHED
        assert operator.bearers[-1] == bearer


def test_a_token_that_could_not_be_renewed_early_serves_on(
    operator: Operator, transport: Transport
) -> None:
    now = [1000.0]
    tokens = ClientCredentials(operator.server(transport), clock=lambda: now[0])
    provider = operator.provider(tokens, transport)
    operator.tokens = [lambda: granted("token-1", 100), lambda: reply({}, 500)]
    verify(provider)
    for at in (1081.0, 1082.0, 1083.0):
        now[0] = at
        assert verify(provider).outcome is Outcome.MATCHED
    assert operator.bearers == ["token-1"] * 4
    assert len(operator.forms) == 2  # and the server that is away is not asked by every call
    now[0] = 1095.0
    assert verify(provider).outcome is Outcome.NOT_SENT  # too old to set out with


@pytest.mark.parametrize("lifetime", [None, True, -5, 0, "3600", 1.5, [], {}, 10**400])
def test_a_lifetime_that_cannot_be_believed_is_a_short_one(
    lifetime: object, operator: Operator, transport: Transport
) -> None:
    now = [1000.0]
    tokens = ClientCredentials(operator.server(transport), clock=lambda: now[0])
    operator.tokens = [lambda: granted("token-1", lifetime)]
    assert tokens.token(PERSON.phone, "s", Deadline.after(5), None) == "token-1"
    now[0] += 40
    assert tokens.token(PERSON.phone, "s", Deadline.after(5), None) == "token-1"
    assert len(operator.forms) == 1
    now[0] += 86_400
    tokens.token(PERSON.phone, "s", Deadline.after(5), None)
    assert len(operator.forms) == 2


def _all_at_once(work: Callable[[], Answer], count: int = 16) -> list[Answer]:
    answers: list[Answer] = []
    gate = threading.Barrier(count)

    def run() -> None:
        gate.wait()
        answers.append(work())

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_sixteen_threads_without_a_token_ask_for_one(
    operator: Operator, transport: Transport
) -> None:
    provider = operator.provider(ClientCredentials(operator.server(transport)), transport)
    answers = _all_at_once(lambda: verify(provider))
    assert {a.outcome for a in answers} == {Outcome.MATCHED}
    assert len(operator.forms) == 1


def test_sixteen_threads_with_one_refused_token_ask_for_one_other(
    operator: Operator, transport: Transport
) -> None:
    operator.tokens = [lambda: granted("old"), lambda: granted("new")]
    provider = operator.provider(ClientCredentials(operator.server(transport)), transport)
    verify(provider)
    operator.bearers.clear()
    operator.expired = "old"
    answers = _all_at_once(lambda: verify(provider))
    assert {a.outcome for a in answers} == {Outcome.MATCHED}
    assert len(operator.forms) == 2
    assert operator.bearers.count("new") == 16
    assert operator.bearers.count("old") > 0


def test_a_thread_that_comes_late_with_the_old_token_does_not_throw_the_new_one_away(
    operator: Operator, transport: Transport
) -> None:
    tokens = ClientCredentials(operator.server(transport))
    operator.tokens = [lambda: granted("old"), lambda: granted("new"), lambda: granted("newer")]
    assert tokens.token(PERSON.phone, "s", Deadline.after(5), None) == "old"
    for _ in range(2):
        assert tokens.renews("s", "old")
        assert tokens.token(PERSON.phone, "s", Deadline.after(5), None) == "new"


def test_a_token_refused_twice_is_the_operators_and_the_match_is_asked_twice_at_most(
    operator: Operator, transport: Transport
) -> None:
    operator.tokens = [lambda: granted("token-1"), lambda: granted("token-2")]
    operator.answers = [(401, UNAUTHENTICATED)]
    provider = operator.provider(ClientCredentials(operator.server(transport)), transport)
    answered = verify(provider)
    assert (answered.outcome, answered.billed) == (Outcome.AUTH_CONFIG, Billed.NO)
    assert operator.bearers == ["token-1", "token-2"]
    assert len(operator.forms) == 2


@pytest.mark.parametrize(
    ("status", "document"),
    [
        (401, {"status": 401, "code": "SOMETHING_ELSE", "message": ""}),
        (401, {}),
        (403, UNAUTHENTICATED),
        (500, UNAUTHENTICATED),
    ],
)
def test_only_the_documented_401_is_asked_again(
    status: int, document: object, operator: Operator, transport: Transport
) -> None:
    operator.answers = [(status, document)]
    provider = operator.provider(ClientCredentials(operator.server(transport)), transport)
    assert verify(provider).outcome is Outcome.PROVIDER_ERROR
    assert len(operator.bearers) == 1


# ------------------------------------------------------------ the server is away


@pytest.mark.parametrize("flow", [ClientCredentials, JwtBearer])
def test_an_authorization_server_out_of_reach_means_that_nothing_was_sent(
    flow: Callable[[Server], Tokens], operator: Operator, transport: Transport
) -> None:
    server = Server(f"{refusing_url()}token", "P", SIGNER, transport)
    answered = verify(operator.provider(flow(server), transport))
    assert answered == Answer(Outcome.NOT_SENT, "TOKEN_REFUSED")
    assert operator.bearers == []


@pytest.mark.parametrize("flow", [ClientCredentials, JwtBearer])
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_of_the_authorization_server_means_that_nothing_was_sent(
    fault: Fault, flow: Callable[[Server], Tokens], operator: Operator, transport: Transport
) -> None:
    with ScriptedServer(fault.script) as faulty:
        server = Server(f"{faulty.url}token", "P", SIGNER, transport)
        started = time.monotonic()
        answered = verify(operator.provider(flow(server), transport), fault.seconds)
        assert time.monotonic() - started < fault.seconds + SLACK
    detail = "TOKEN_BAD_REPLY" if fault.answered else "TOKEN_TIMEOUT"
    assert (answered.outcome, answered.detail) == (Outcome.NOT_SENT, detail)
    assert answered.billed is Billed.NO
    assert operator.bearers == []


@pytest.mark.parametrize("flow", [ClientCredentials, JwtBearer])
@pytest.mark.parametrize(
    "make",
    [
        lambda: reply({}, 500),
        lambda: reply([], 200),
        lambda: Response("<html>", 502),
        lambda: Response("", 401),
        lambda: reply({"access_token": 7, "token_type": "Bearer"}),
        lambda: reply({"access_token": "two words", "token_type": "Bearer"}),
        lambda: reply({"access_token": "a\r\nX: y", "token_type": "Bearer"}),
        lambda: reply({"access_token": "t"}),
        lambda: reply({"access_token": "t", "token_type": "DPoP"}),
        lambda: reply({"access_token": "t" * 9000, "token_type": "Bearer"}),
        lambda: reply({"error": {"invalid_client": 1}}, 400),
        lambda: refused("temporarily_unavailable", 503),
    ],
)
def test_what_is_not_a_token_means_that_nothing_was_sent(
    make: Callable[[], Response],
    flow: Callable[[Server], Tokens],
    operator: Operator,
    transport: Transport,
) -> None:
    operator.tokens = [make]
    answered = verify(operator.provider(flow(operator.server(transport)), transport))
    assert (answered.outcome, answered.detail) == (Outcome.NOT_SENT, "TOKEN_BAD_REPLY")
    assert answered.billed is Billed.NO
    assert operator.bearers == []


@pytest.mark.parametrize("flow", [ClientCredentials, JwtBearer])
def test_limits_and_maintenance_of_the_authorization_server_are_waited_for(
    flow: Callable[[Server], Tokens], operator: Operator, transport: Transport
) -> None:
    provider = operator.provider(flow(operator.server(transport)), transport)
    operator.tokens = [lambda: refused("slow_down", 429, **{"Retry-After": "7"})]
    answered = verify(provider)
    assert (answered.outcome, answered.retry_after) == (Outcome.RATE_LIMITED, 7.0)
    operator.tokens = [lambda: reply({}, 503, **{"Retry-After": "600"})]
    answered = verify(provider)
    assert (answered.outcome, answered.retry_after) == (Outcome.MAINTENANCE, 600.0)
    assert answered.billed is Billed.NO


def test_who_waits_for_anothers_fetch_waits_within_the_own_deadline(
    operator: Operator, transport: Transport
) -> None:
    with ScriptedServer(hang_after_the_request) as hanging:
        tokens = ClientCredentials(Server(f"{hanging.url}token", "P", SIGNER, transport))
        provider = operator.provider(tokens, transport)
        slow = threading.Thread(target=verify, args=(provider, 30))
        slow.start()
        assert eventually(lambda: len(hanging.received) == 1)
        assert verify(provider, 0.3) == Answer(Outcome.NOT_SENT, "TOKEN_DEADLINE")
        assert slow.is_alive()
        assert len(hanging.received) == 1
    slow.join()


def test_who_has_more_time_than_the_one_that_fetched_tries_again(
    operator: Operator, transport: Transport
) -> None:
    def hang_once(peer: Peer) -> None:
        peer.read_request()
        if len(server.received) == 1:
            peer.hang()
        peer.send(answer(b'{"access_token":"t","token_type":"Bearer","expires_in":60}'))

    with ScriptedServer(hang_once) as server:
        tokens = ClientCredentials(Server(f"{server.url}token", "P", SIGNER, transport))
        provider = operator.provider(tokens, transport)
        hasty = threading.Thread(target=verify, args=(provider, 0.5))
        hasty.start()
        assert eventually(lambda: len(server.received) == 1)
        assert verify(provider, 5).outcome is Outcome.MATCHED
        hasty.join()


def test_renewing_early_leaves_the_call_its_time(operator: Operator, transport: Transport) -> None:
    now = [1000.0]

    def then_hang(peer: Peer) -> None:
        peer.read_request()
        if len(server.received) > 1:
            peer.hang()
        peer.send(answer(b'{"access_token":"t","token_type":"Bearer","expires_in":100}'))

    with ScriptedServer(then_hang) as server:
        as_server = Server(f"{server.url}token", "P", SIGNER, transport)
        provider = operator.provider(ClientCredentials(as_server, lambda: now[0]), transport)
        assert verify(provider).outcome is Outcome.MATCHED
        now[0] = 1081.0
        assert verify(provider, 1.0).outcome is Outcome.MATCHED
        assert len(server.received) == 2


def test_who_waited_for_a_fetch_that_failed_shares_its_answer(
    operator: Operator, transport: Transport
) -> None:
    release = threading.Event()

    def failing(peer: Peer) -> None:
        while peer.read_request():
            release.wait(5)
            peer.send(answer(b'{"error":"invalid_client"}', "401 Unauthorized"))

    with ScriptedServer(failing) as server:
        tokens = ClientCredentials(Server(f"{server.url}token", "P", SIGNER, transport))
        provider = operator.provider(tokens, transport)
        waiting = threading.Timer(0.3, release.set)
        waiting.start()
        answers = _all_at_once(lambda: verify(provider))
        waiting.join()
        assert {a.outcome for a in answers} == {Outcome.AUTH_CONFIG}
        # Late starters may have found the first fetch over: never one a thread.
        assert len(server.received) <= 3


# -------------------------------------------------------------------- refusals


@pytest.mark.parametrize("flow", [ClientCredentials, JwtBearer])
@pytest.mark.parametrize("error", [code for code, _ in code_table("camara.token_error").items()])
def test_a_documented_refusal_is_the_operators_and_free(
    error: str, flow: Callable[[Server], Tokens], operator: Operator, transport: Transport
) -> None:
    status = 401 if error == "invalid_client" else 400
    operator.tokens = [lambda: refused(error, status)]
    answered = verify(operator.provider(flow(operator.server(transport)), transport))
    assert answered == Answer(Outcome.AUTH_CONFIG, code=error, http_status=status)
    assert operator.bearers == []


@pytest.mark.parametrize("flow", [ClientCredentials, JwtBearer])
def test_an_unknown_refusal_is_an_error_and_free(
    flow: Callable[[Server], Tokens], operator: Operator, transport: Transport
) -> None:
    operator.tokens = [lambda: refused("never_heard_of")]
    answered = verify(operator.provider(flow(operator.server(transport)), transport))
    assert (answered.outcome, answered.detail) == (Outcome.PROVIDER_ERROR, "UNKNOWN_CODE")
    assert answered.billed is Billed.NO


@pytest.mark.parametrize(
    ("date", "outcome", "detail"),
    [
        (0, Outcome.CONSENT_MISSING, None),
        (3600, Outcome.AUTH_CONFIG, "CLOCK"),
        (-3600, Outcome.AUTH_CONFIG, "CLOCK"),
    ],
)
def test_a_wrong_clock_of_ours_is_not_everybodys_missing_consent(
    date: int, outcome: Outcome, detail: str | None, operator: Operator, transport: Transport
) -> None:
    theirs = format_datetime(datetime.fromtimestamp(time.time() + date, UTC), usegmt=True)
    head = f"400 Bad Request\r\nDate: {theirs}"

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer(b'{"error":"invalid_grant"}', head))

    with ScriptedServer(script) as server:
        tokens = JwtBearer(Server(f"{server.url}token", "P", SIGNER, transport))
        answered = verify(operator.provider(tokens, transport))
    assert (answered.outcome, answered.detail) == (outcome, detail)
    assert answered.billed is Billed.NO


@pytest.mark.parametrize("head", ["400 Bad", "400 Bad\r\nDate: yesterday"])
def test_an_invalid_grant_from_a_server_without_a_clock_is_no_verdict(
    head: str, operator: Operator, transport: Transport
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer(b'{"error":"invalid_grant"}', head))

    with ScriptedServer(script) as server:
        tokens = JwtBearer(Server(f"{server.url}token", "P", SIGNER, transport))
        answered = verify(operator.provider(tokens, transport))
    assert answered.outcome is Outcome.PROVIDER_ERROR
    assert answered.billed is Billed.NO


def test_a_check_that_gets_no_consent_leaves_it_unknown(
    operator: Operator, transport: Transport
) -> None:
    operator.tokens = [lambda: refused("invalid_grant")]
    provider = operator.provider(JwtBearer(operator.server(transport)), transport)
    number = Number(PERSON.phone, datetime.now(UTC).date())
    answered = provider.check(Check.RECYCLED, number, "a", Deadline.after(5))
    assert (answered.outcome, answered.fact) == (Outcome.CHECKED, Fact.UNKNOWN)
