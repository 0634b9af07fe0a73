"""The sandbox's CAMARA operator, asked with requests of PyJWT's making and no code of ours."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any
from uuid import uuid4

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec

from tests.sandbox.conftest import CUSTOMER, ID_NUMBER, NAME, PHONE
from verifier.outcomes import Lane
from verifier.sandbox.server import SandboxServer

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
CIBA = "urn:openid:params:grant-type:ciba"
SCOPE = "dpv:FraudPreventionAndDetection kyc-match:match"
MATCH = "/kyc-match/v0.4/match"
STATUS = "/subscription-status/v0.1/retrive-subscription-status"
RECYCLING = "/number-recycling/v0.2/check"
TENURE = "/kyc-tenure/v0.2/check-tenure"
SWAP = "/sim-swap/v2/check"
TRIPLE = {"idDocument": ID_NUMBER, "idDocumentType": "national_id_card", "name": NAME}


def assertion(
    server: SandboxServer, path: str = "/oauth2/token", *, key: Any = None, **claims: Any
) -> str:
    """A valid one, but for what ``claims`` changes; None leaves a claim out."""
    client, now = server.credentials["camara_client_id"], int(time.time())
    made = {
        "iss": client,
        "sub": client,
        "aud": f"{server.url}{path}",
        "iat": now - 1,
        "exp": now + 200,
        "jti": str(uuid4()),
        **claims,
    }
    return jwt.encode(
        {name: value for name, value in made.items() if value is not None},
        key or server.credentials["camara_private_key"],
        algorithm="ES256",
    )


def post(server: SandboxServer, path: str, **fields: str) -> requests.Response:
    return requests.post(f"{server.url}{path}", data=fields, timeout=10)


def client_credentials(
    server: SandboxServer, scope: str = SCOPE, **claims: Any
) -> requests.Response:
    return post(
        server,
        "/oauth2/token",
        grant_type="client_credentials",
        scope=scope,
        client_assertion_type=TYPE,
        client_assertion=assertion(server, **claims),
    )


def token(server: SandboxServer, scope: str = SCOPE) -> str:
    found: str = client_credentials(server, scope).json()["access_token"]
    return found


def persons_token(server: SandboxServer, scope: str = SCOPE, phone: str = PHONE) -> str:
    answer = post(
        server,
        "/oauth2/token",
        grant_type=BEARER,
        assertion=assertion(server, sub=f"tel:+86{phone}", scope=scope),
    )
    found: str = answer.json()["access_token"]
    return found


def ask(server: SandboxServer, path: str, bearer: str | None, **fields: Any) -> requests.Response:
    headers = {"x-correlator": "c-1"}
    if bearer is not None:
        headers["Authorization"] = f"Bearer {bearer}"
    return requests.post(f"{server.url}{path}", json=fields, headers=headers, timeout=10)


def match(server: SandboxServer, **changed: Any) -> requests.Response:
    fields = {"phoneNumber": f"+86{PHONE}", **TRIPLE, **changed}
    return ask(server, MATCH, token(server), **fields)


def refusal(answer: requests.Response) -> tuple[int, str]:
    document = answer.json()
    assert document["status"] == answer.status_code
    assert isinstance(document["message"], str)
    return answer.status_code, document["code"]


# ----------------------------------------------------------------- the tokens


def test_a_signed_client_gets_a_token(server: SandboxServer) -> None:
    answer = client_credentials(server)
    assert answer.status_code == 200
    document = answer.json()
    assert (document["token_type"], document["expires_in"]) == ("Bearer", 3600)
    assert "refresh_token" not in document


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "somebody"},
        {"sub": "somebody"},
        {"aud": "https://another.example/oauth2/token"},
        {"aud": None},
        {"jti": None},
        {"exp": None},
        {"iat": None},
        {"iat": -4000, "exp": -3800},  # a clock that is slow
        {"iat": 100, "exp": 250},  # and one that is fast
        {"iat": -200, "exp": 200},  # lives for 400 s
        {"iat": 0, "exp": 3600},
        {"exp": "soon"},
    ],
)
def test_an_assertion_that_does_not_hold_is_refused(
    server: SandboxServer, claims: dict[str, Any]
) -> None:
    now = int(time.time())
    moved: dict[str, Any] = {
        name: now + claim if isinstance(claim, int) else claim for name, claim in claims.items()
    }
    answer = client_credentials(server, **moved)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_another_key_is_refused(server: SandboxServer) -> None:
    answer = client_credentials(server, key=ec.generate_private_key(ec.SECP256R1()))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_an_unsigned_or_symmetric_assertion_is_refused(server: SandboxServer) -> None:
    client, now = server.credentials["camara_client_id"], int(time.time())
    claims = {
        "iss": client,
        "sub": client,
        "aud": f"{server.url}/oauth2/token",
        "iat": now,
        "exp": now + 60,
        "jti": "1",
    }
    for made in (
        jwt.encode(claims, "", algorithm="none"),
        jwt.encode(claims, "x" * 64, algorithm="HS256"),
        "not.a.token",
        "",
    ):
        answer = post(
            server,
            "/oauth2/token",
            grant_type="client_credentials",
            scope=SCOPE,
            client_assertion_type=TYPE,
            client_assertion=made,
        )
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_an_assertion_serves_once(server: SandboxServer) -> None:
    answers = [client_credentials(server, jti="once").status_code for _ in range(2)]
    assert answers == [200, 401]


@pytest.mark.parametrize(
    "scope", ["kyc-match:match", "dpv:A", "dpv:A dpv:B kyc-match:match", "", "openid"]
)
def test_exactly_one_purpose_must_be_named(server: SandboxServer, scope: str) -> None:
    answer = client_credentials(server, scope)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({}, "unsupported_grant_type"),
        ({"grant_type": BEARER, "scope": SCOPE}, "invalid_request"),
        ({"grant_type": BEARER}, "invalid_client"),
    ],
)
def test_a_grant_that_is_not_offered_is_refused(
    server: SandboxServer, fields: dict[str, str], error: str
) -> None:
    assert post(server, "/oauth2/token", **fields).json()["error"] == error


def test_without_consent_a_persons_token_is_refused(server: SandboxServer) -> None:
    server.client.settings(consent="refused")
    fields = {"assertion": assertion(server, sub=f"tel:+86{PHONE}", scope=SCOPE)}
    answer = post(server, "/oauth2/token", grant_type=BEARER, **fields)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


# ------------------------------------------------------------------------ CIBA


def authorize(server: SandboxServer, **changed: str) -> requests.Response:
    fields = {
        "scope": f"openid {SCOPE}",
        "login_hint": f"tel:+86{PHONE}",
        "client_assertion_type": TYPE,
        "client_assertion": assertion(server, "/oauth2/bc-authorize"),
        **changed,
    }
    return post(server, "/oauth2/bc-authorize", **fields)


def poll(server: SandboxServer, identifier: str) -> requests.Response:
    return post(
        server,
        "/oauth2/token",
        grant_type=CIBA,
        auth_req_id=identifier,
        client_assertion_type=TYPE,
        client_assertion=assertion(server),
    )


def test_consent_is_pending_until_it_is_given(server: SandboxServer) -> None:
    server.client.settings(consent="pending", poll_seconds=1)
    started = authorize(server).json()
    assert started["interval"] == 1
    assert poll(server, started["auth_req_id"]).json()["error"] == "authorization_pending"
    assert poll(server, started["auth_req_id"]).json()["error"] == "slow_down"  # too early
    server.client.settings(consent="given")
    again = authorize(server).json()["auth_req_id"]
    granted = poll(server, again)
    assert granted.status_code == 200
    assert ask(server, MATCH, granted.json()["access_token"], **TRIPLE).status_code == 200
    assert poll(server, again).json()["error"] == "invalid_grant"  # it was used


@pytest.mark.parametrize(
    ("changed", "status", "error"),
    [
        ({"login_hint": "13800138000"}, 400, "unknown_user_id"),
        ({"scope": SCOPE}, 400, "invalid_request"),  # no openid
        ({"scope": "openid kyc-match:match"}, 400, "invalid_scope"),
        ({"client_assertion": "x"}, 401, "invalid_client"),
    ],
)
def test_a_request_for_consent_is_checked(
    server: SandboxServer, changed: dict[str, str], status: int, error: str
) -> None:
    answer = authorize(server, **changed)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_consent_may_be_refused(server: SandboxServer) -> None:
    server.client.settings(consent="refused")
    identifier = authorize(server).json()["auth_req_id"]
    assert poll(server, identifier).json()["error"] == "access_denied"


# -------------------------------------------------------------------- the APIs


@pytest.mark.parametrize("lane", list(Lane))
@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, ("true", "true")),
        ({"name": "李大伟"}, ("true", "false")),
        ({"idDocument": "11010519491231001X"}, ("false", "true")),
        ({"idDocument": "1", "name": "x"}, ("false", "false")),
    ],
)
def test_it_compares_with_its_records_for_every_lane(
    server: SandboxServer, lane: Lane, changed: dict[str, str], expected: tuple[str, str]
) -> None:
    server.client.put(replace(CUSTOMER, carrier=lane))
    answer = match(server, **changed)
    assert answer.headers["x-correlator"] == "c-1"
    document = answer.json()
    assert (document["idDocumentMatch"], document["nameMatch"]) == expected
    assert server.client.calls_about(PHONE) == {"calls": 1, "processed": 1, "billed": 1}


def test_only_what_was_asked_is_answered(server: SandboxServer) -> None:
    fields = {"phoneNumber": f"+86{PHONE}", "name": NAME}
    assert ask(server, MATCH, token(server), **fields).json() == {"nameMatch": "true"}


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"phoneNumber": "13800138000"}, 400, "INVALID_ARGUMENT"),
        ({"phoneNumber": 8613800138000}, 400, "INVALID_ARGUMENT"),
        ({"phoneNumber": "+8613900139000"}, 404, "IDENTIFIER_NOT_FOUND"),
        ({"phoneNumber": "+8610000000000"}, 404, "IDENTIFIER_NOT_FOUND"),
        ({"phoneNumber": None}, 422, "MISSING_IDENTIFIER"),
        ({"name": 7}, 400, "INVALID_ARGUMENT"),
    ],
)
def test_requests_are_refused_in_camaras_words_and_free(
    server: SandboxServer, changed: dict[str, Any], status: int, code: str
) -> None:
    assert refusal(match(server, **changed)) == (status, code)
    assert server.client.stats()["billed"] == 0


def test_a_request_that_asks_nothing_is_refused(server: SandboxServer) -> None:
    answer = ask(server, MATCH, token(server), phoneNumber=f"+86{PHONE}")
    assert refusal(answer) == (400, "KNOW_YOUR_CUSTOMER.INVALID_PARAM_COMBINATION")


@pytest.mark.parametrize("status", ["cancelled", "empty"])
def test_a_dead_number_is_not_found(server: SandboxServer, status: Any) -> None:
    server.client.put(replace(CUSTOMER, status=status))
    assert refusal(match(server)) == (404, "IDENTIFIER_NOT_FOUND")


def test_a_new_number_has_no_attributes_yet(server: SandboxServer) -> None:
    today = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 8 * 3600))
    server.client.put(replace(CUSTOMER, since=today))
    assert set(match(server).json().values()) == {"not_available"}


def test_without_a_valid_token_nothing_is_served(server: SandboxServer) -> None:
    for bearer in (None, "", "never-issued"):
        answer = ask(server, MATCH, bearer, phoneNumber=f"+86{PHONE}", **TRIPLE)
        assert refusal(answer) == (401, "UNAUTHENTICATED")


def test_a_token_expires(server: SandboxServer) -> None:
    server.client.settings(token_seconds=1)
    bearer = token(server)
    deadline = time.monotonic() + 10
    while ask(server, MATCH, bearer, phoneNumber=f"+86{PHONE}", **TRIPLE).status_code != 401:
        assert time.monotonic() < deadline, "the token never expired"


def test_a_token_for_another_api_is_not_enough(server: SandboxServer) -> None:
    bearer = token(server, "dpv:FraudPreventionAndDetection sim-swap:check")
    answer = ask(server, MATCH, bearer, phoneNumber=f"+86{PHONE}", **TRIPLE)
    assert refusal(answer) == (403, "PERMISSION_DENIED")


def test_a_persons_token_names_the_number(server: SandboxServer) -> None:
    bearer = persons_token(server)
    assert ask(server, MATCH, bearer, **TRIPLE).json()["nameMatch"] == "true"
    repeated = ask(server, MATCH, bearer, phoneNumber=f"+86{PHONE}", **TRIPLE)
    assert repeated.status_code == 200
    another = ask(server, MATCH, bearer, phoneNumber="+8613900139000", **TRIPLE)
    assert refusal(another) == (403, "INVALID_TOKEN_CONTEXT")
    assert server.client.calls_about(PHONE)["billed"] == 2


def test_other_apis_want_no_number_beside_a_persons_token(server: SandboxServer) -> None:
    bearer = persons_token(server, "dpv:FraudPreventionAndDetection number-recycling:check")
    fields = {"specifiedDate": "2024-01-01"}
    assert ask(server, RECYCLING, bearer, **fields).status_code == 200
    answer = ask(server, RECYCLING, bearer, phoneNumber=f"+86{PHONE}", **fields)
    assert refusal(answer) == (422, "UNNECESSARY_IDENTIFIER")


@pytest.mark.parametrize(
    ("path", "scope", "fields", "since", "expected"),
    [
        (RECYCLING, "number-recycling:check", {"specifiedDate": "2024-01-01"}, "", False),
        (RECYCLING, "number-recycling:check", {"specifiedDate": "2024-01-01"}, "2024-01-01", False),
        (RECYCLING, "number-recycling:check", {"specifiedDate": "2024-01-01"}, "2024-01-02", True),
        (TENURE, "kyc-tenure:check-tenure", {"tenureDate": "2024-01-01"}, "", True),
        (TENURE, "kyc-tenure:check-tenure", {"tenureDate": "2024-01-01"}, "2024-01-01", True),
        (TENURE, "kyc-tenure:check-tenure", {"tenureDate": "2024-01-01"}, "2024-01-02", False),
        (SWAP, "sim-swap:check", {"maxAge": 2400}, "", False),
        (SWAP, "sim-swap:check", {}, "2024-01-02", False),
    ],
)
def test_the_register_answers_who_has_held_a_number(
    server: SandboxServer,
    path: str,
    scope: str,
    fields: dict[str, Any],
    since: str,
    expected: bool,
) -> None:
    server.client.put(replace(CUSTOMER, since=since))
    bearer = token(server, f"dpv:A {scope}")
    answer = ask(server, path, bearer, phoneNumber=f"+86{PHONE}", **fields)
    assert next(iter(answer.json().values())) is expected
    assert server.client.calls_about(PHONE)["billed"] == 1


def test_a_subscription_that_began_within_the_hours_is_a_swap(server: SandboxServer) -> None:
    today = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 8 * 3600))
    server.client.put(replace(CUSTOMER, since=today))
    bearer = token(server, "dpv:A sim-swap:check")
    answer = ask(server, SWAP, bearer, phoneNumber=f"+86{PHONE}", maxAge=48)
    assert answer.json() == {"swapped": True}


@pytest.mark.parametrize(
    ("path", "scope", "fields", "code"),
    [
        (SWAP, "sim-swap:check", {"maxAge": 2401}, "OUT_OF_RANGE"),
        (SWAP, "sim-swap:check", {"maxAge": "9"}, "INVALID_ARGUMENT"),
        (RECYCLING, "number-recycling:check", {}, "INVALID_ARGUMENT"),
        (RECYCLING, "number-recycling:check", {"specifiedDate": "2999-01-01"}, "OUT_OF_RANGE"),
        (TENURE, "kyc-tenure:check-tenure", {"tenureDate": 7}, "INVALID_ARGUMENT"),
    ],
)
def test_a_date_or_age_that_cannot_be_is_refused(
    server: SandboxServer, path: str, scope: str, fields: dict[str, Any], code: str
) -> None:
    bearer = token(server, f"dpv:A {scope}")
    answer = ask(server, path, bearer, phoneNumber=f"+86{PHONE}", **fields)
    assert refusal(answer) == (400, code)


@pytest.mark.parametrize(("status", "state"), [("normal", "active"), ("suspended", "suspended")])
def test_a_suspended_number_says_so(server: SandboxServer, status: Any, state: str) -> None:
    server.client.put(replace(CUSTOMER, status=status))
    bearer = token(server, "dpv:A subscription-status:retrive-subscription-status")
    answer = ask(server, STATUS, bearer, phoneNumber=f"+86{PHONE}")
    assert set(answer.json().values()) == {state}
    server.client.put(replace(CUSTOMER, status="cancelled"))
    gone = ask(server, STATUS, bearer, phoneNumber=f"+86{PHONE}")
    assert refusal(gone) == (404, "IDENTIFIER_NOT_FOUND")


@pytest.mark.parametrize(
    ("kind", "status", "code", "oauth_status", "error"),
    [
        ("rate_limit", 429, "TOO_MANY_REQUESTS", 429, "slow_down"),
        ("maintenance", 503, "UNAVAILABLE", 503, "temporarily_unavailable"),
        ("auth", 401, "UNAUTHENTICATED", 401, "invalid_client"),
        ("arrears", 403, "PERMISSION_DENIED", 400, "unauthorized_client"),
        ("unknown_code", 400, "NEVER_HEARD_OF", 400, "never_heard_of"),
    ],
)
def test_it_excuses_itself_in_its_own_words(
    server: SandboxServer, kind: str, status: int, code: str, oauth_status: int, error: str
) -> None:
    bearer = token(server)
    options = {"per_second": 0.001} if kind == "rate_limit" else {}
    server.client.fault("camara", kind, action="match", **options)
    answers = [ask(server, MATCH, bearer, phoneNumber=f"+86{PHONE}", **TRIPLE) for _ in range(2)]
    assert refusal(answers[-1]) == (status, code)
    server.client.fault("camara", kind, action="token", **options)
    refused = [client_credentials(server) for _ in range(2)][-1]
    assert (refused.status_code, refused.json()["error"]) == (oauth_status, error)


def test_the_truth_keeps_no_number_and_no_token(server: SandboxServer) -> None:
    bearer = persons_token(server)
    ask(server, MATCH, bearer, **TRIPLE)
    server.client.stats()  # flushes the file
    written = (server.state / "truth.jsonl").read_text("utf-8")
    assert '"action":"match"' in written
    assert not [word for word in (PHONE, ID_NUMBER, NAME, bearer) if word in written]
