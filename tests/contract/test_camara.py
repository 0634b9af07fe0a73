"""kyc-match: what is asked, and what each documented answer means. CAMARA's files are the judge."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from openapi_core.exceptions import OpenAPIError
from pytest_httpserver import HTTPServer

from tests.contract import camara_specs
from tests.contract.camara_specs import DRAFT, MATCH, Example, Spec
from tests.contract.cases.camara import StaticTokens
from tests.contract.cases.common import PERSON
from verifier.carriers.base import Answer, Person
from verifier.carriers.camara import Camara, Version
from verifier.outcomes import Billed, Lane, Outcome, code_table
from verifier.transport import Deadline, Transport

YES, NO, MAYBE = Billed.YES, Billed.NO, Billed.MAYBE
RESULTS: dict[tuple[str, str], tuple[Outcome, str | None]] = {
    ("true", "true"): (Outcome.MATCHED, None),
    ("true", "false"): (Outcome.MISMATCHED, "NAME"),
    ("true", "not_available"): (Outcome.NO_RECORD, None),
    ("false", "true"): (Outcome.MISMATCHED, "ID"),
    ("false", "false"): (Outcome.MISMATCHED, "NAME_AND_ID"),
    ("false", "not_available"): (Outcome.MISMATCHED, "ID"),
    ("not_available", "true"): (Outcome.NO_RECORD, None),
    ("not_available", "false"): (Outcome.MISMATCHED, "NAME"),
    ("not_available", "not_available"): (Outcome.NO_RECORD, None),
}
ERRORS: dict[str, tuple[Outcome, str | None, Billed]] = {
    "400 INVALID_ARGUMENT": (Outcome.INVALID_INPUT, "PARAM", NO),
    "400 OUT_OF_RANGE": (Outcome.INVALID_INPUT, "PARAM", NO),
    "400 KNOW_YOUR_CUSTOMER.INVALID_PARAM_COMBINATION": (Outcome.INVALID_INPUT, "PARAM", NO),
    "401 UNAUTHENTICATED": (Outcome.AUTH_CONFIG, None, NO),
    "403 PERMISSION_DENIED": (Outcome.AUTH_CONFIG, None, NO),
    "403 INVALID_TOKEN_CONTEXT": (Outcome.AUTH_CONFIG, None, NO),
    "403 KNOW_YOUR_CUSTOMER.ID_DOCUMENT_REQUIRED": (Outcome.INVALID_INPUT, "ID", NO),
    # A mismatch that arrives as 403: the operator looked, so it is an answer like the others.
    "403 KNOW_YOUR_CUSTOMER.ID_DOCUMENT_MISMATCH": (Outcome.MISMATCHED, "ID", YES),
    "403 NUMBER_VERIFICATION.USER_NOT_AUTHENTICATED_BY_MOBILE_NETWORK": (
        Outcome.INVALID_INPUT,
        "PARAM",
        NO,
    ),
    "404 IDENTIFIER_NOT_FOUND": (Outcome.NO_RECORD, None, NO),
    "404 NOT_FOUND": (Outcome.AUTH_CONFIG, None, NO),
    "405 METHOD_NOT_ALLOWED": (Outcome.AUTH_CONFIG, None, NO),
    "406 NOT_ACCEPTABLE": (Outcome.AUTH_CONFIG, None, NO),
    "409 ABORTED": (Outcome.PROVIDER_ERROR, None, NO),
    "409 ALREADY_EXISTS": (Outcome.PROVIDER_ERROR, None, NO),
    "409 CONFLICT": (Outcome.PROVIDER_ERROR, None, NO),
    "409 INCOMPATIBLE_STATE": (Outcome.PROVIDER_ERROR, None, NO),
    "410 GONE": (Outcome.AUTH_CONFIG, None, NO),
    "412 FAILED_PRECONDITION": (Outcome.PROVIDER_ERROR, None, NO),
    "415 UNSUPPORTED_MEDIA_TYPE": (Outcome.AUTH_CONFIG, None, NO),
    "422 SERVICE_NOT_APPLICABLE": (Outcome.UNSUPPORTED_NUMBER, "CARRIER_RESTRICTED", NO),
    "422 UNSUPPORTED_IDENTIFIER": (Outcome.UNSUPPORTED_NUMBER, "SEGMENT", NO),
    "422 MISSING_IDENTIFIER": (Outcome.AUTH_CONFIG, None, NO),
    "422 UNNECESSARY_IDENTIFIER": (Outcome.AUTH_CONFIG, None, NO),
    "429 TOO_MANY_REQUESTS": (Outcome.RATE_LIMITED, "ACCOUNT_QPS", NO),
    "429 QUOTA_EXCEEDED": (Outcome.RATE_LIMITED, "ACCOUNT_QPS", NO),
    "500 INTERNAL": (Outcome.PROVIDER_ERROR, None, MAYBE),
    "501 NOT_IMPLEMENTED": (Outcome.AUTH_CONFIG, None, NO),
    "502 BAD_GATEWAY": (Outcome.PROVIDER_ERROR, None, MAYBE),
    "503 UNAVAILABLE": (Outcome.MAINTENANCE, None, NO),
    "504 TIMEOUT": (Outcome.TIMEOUT, None, MAYBE),
}
MATCHED = {"idDocumentMatch": "true", "idDocumentTypeMatch": "true", "nameMatch": "true"}


def _ask(
    httpserver: HTTPServer,
    transport: Transport,
    document: object,
    *,
    status: int = 200,
    version: Version = "0.4",
    three_legged: bool = False,
    person: Person = PERSON,
    reference: str = "attempt-1",
    headers: dict[str, str] | None = None,
) -> Answer:
    httpserver.expect_request(f"/kyc-match/v{version}/match", method="POST").respond_with_data(
        json.dumps(document), status=status, headers=headers, content_type="application/json"
    )
    provider = Camara(
        name="camara",
        lanes=frozenset(Lane),
        endpoint=httpserver.url_for("").rstrip("/"),
        tokens=StaticTokens(three_legged=three_legged),
        transport=transport,
        version=version,
    )
    return provider.verify(person, reference, Deadline.after(5))


def _sent(httpserver: HTTPServer) -> dict[str, Any]:
    [(request, _)] = httpserver.log
    sent: dict[str, Any] = json.loads(request.get_data())
    return sent


# ---------------------------------------------------------------- what is asked


@pytest.mark.parametrize(("version", "spec"), [("0.4", MATCH), ("wip", DRAFT)])
def test_the_request_is_one_that_camaras_file_allows(
    version: Version, spec: Spec, httpserver: HTTPServer, transport: Transport
) -> None:
    _ask(httpserver, transport, MATCHED, version=version)
    [(request, _)] = httpserver.log
    camara_specs.check_request(spec, request)
    camara_specs.check_response(spec, request, 200, json.dumps(MATCHED).encode())


def test_the_judge_does_refuse(httpserver: HTTPServer, transport: Transport) -> None:
    _ask(httpserver, transport, MATCHED, person=replace(PERSON, phone="not a number"))
    [(request, _)] = httpserver.log
    with pytest.raises(OpenAPIError):
        camara_specs.check_request(MATCH, request)
    with pytest.raises(OpenAPIError):
        camara_specs.check_response(MATCH, request, 200, b'{"nameMatch":"perhaps"}')


def test_nothing_is_asked_but_what_is_needed(httpserver: HTTPServer, transport: Transport) -> None:
    _ask(httpserver, transport, MATCHED)
    assert _sent(httpserver) == {
        "phoneNumber": f"+86{PERSON.phone}",
        "idDocument": PERSON.id_number,
        "idDocumentType": "national_id_card",
        "name": PERSON.name,
    }
    [(request, _)] = httpserver.log
    assert request.headers["Authorization"] == "Bearer tests-secret-key"
    assert request.headers["Content-Type"] == "application/json"
    assert request.query_string == b""


def test_with_a_persons_token_the_number_stands_in_the_token_only(
    httpserver: HTTPServer, transport: Transport
) -> None:
    _ask(httpserver, transport, MATCHED, three_legged=True)
    assert "phoneNumber" not in _sent(httpserver)
    [(request, _)] = httpserver.log
    camara_specs.check_request(MATCH, request)


@pytest.mark.parametrize(
    ("id_number", "kind"),
    [
        ("11010519491231002X", "national_id_card"),
        ("810000199408230021", "residence_permit"),
        ("820000199408230021", "residence_permit"),
        ("830000199408230021", "residence_permit"),
        ("932682198501010017", "residence_permit"),
        ("810100199408230021", "national_id_card"),
    ],
)
def test_the_type_of_the_document_follows_from_its_number(
    id_number: str, kind: str, httpserver: HTTPServer, transport: Transport
) -> None:
    _ask(httpserver, transport, MATCHED, person=replace(PERSON, id_number=id_number))
    assert _sent(httpserver)["idDocumentType"] == kind


def test_the_correlator_is_the_attempt_and_what_comes_back_is_the_request_id(
    httpserver: HTTPServer, transport: Transport
) -> None:
    answered = _ask(
        httpserver, transport, MATCHED, reference='a 1/é"7', headers={"x-correlator": "a1/7"}
    )
    [(request, _)] = httpserver.log
    assert request.headers["x-correlator"] == "a1/7"
    assert answered.request_id == "a1/7"
    camara_specs.check_request(MATCH, request)


def test_a_correlator_that_was_not_echoed_is_no_request_id(
    httpserver: HTTPServer, transport: Transport
) -> None:
    assert _ask(httpserver, transport, MATCHED).request_id is None


def test_a_correlator_that_quotes_the_number_is_not_repeated(
    httpserver: HTTPServer, transport: Transport
) -> None:
    answered = _ask(
        httpserver, transport, MATCHED, headers={"x-correlator": f"about-{PERSON.phone}"}
    )
    assert answered.request_id is None


# ------------------------------------------------------------- what is answered


@pytest.mark.parametrize(("version", "spec"), [("0.4", MATCH), ("wip", DRAFT)])
@pytest.mark.parametrize("results", RESULTS, ids="-".join)
def test_a_documented_result_has_its_outcome_and_is_billed(
    results: tuple[str, str],
    version: Version,
    spec: Spec,
    httpserver: HTTPServer,
    transport: Transport,
) -> None:
    same_id, same_name = results
    document = {"idDocumentMatch": same_id, "nameMatch": same_name}
    answered = _ask(httpserver, transport, document, version=version)
    outcome, detail = RESULTS[results]
    code = f"id:{same_id}.name:{same_name}"
    assert answered == Answer(outcome, detail, YES, code, http_status=200)
    [(request, _)] = httpserver.log
    camara_specs.check_response(spec, request, 200, json.dumps(document).encode())


def test_the_example_of_the_file_itself_is_a_match(
    httpserver: HTTPServer, transport: Transport
) -> None:
    shown = camara_specs.operation(MATCH)["responses"]["200"]["content"]["application/json"]
    [example] = shown["examples"].values()
    assert _ask(httpserver, transport, example["value"]).outcome is Outcome.MATCHED


@pytest.mark.parametrize("score", [0, 99, 100])
def test_a_score_never_turns_a_mismatch_into_a_match(
    score: int, httpserver: HTTPServer, transport: Transport
) -> None:
    document = {"idDocumentMatch": "true", "nameMatch": "false", "nameMatchScore": score}
    answered = _ask(httpserver, transport, document)
    assert (answered.outcome, answered.detail) == (Outcome.MISMATCHED, "NAME")


@pytest.mark.parametrize(
    "value", [True, False, None, 1, 0, "True", "TRUE", "", "yes", "false ", [], ["true"], {}]
)
@pytest.mark.parametrize("attribute", ["idDocumentMatch", "nameMatch"])
@pytest.mark.parametrize("other", ["true", "false"])
def test_what_is_not_one_of_the_three_strings_is_no_verdict(
    other: str, attribute: str, value: object, httpserver: HTTPServer, transport: Transport
) -> None:
    document = {"idDocumentMatch": other, "nameMatch": other, attribute: value}
    answered = _ask(httpserver, transport, document)
    assert (answered.outcome, answered.detail) == (Outcome.PROVIDER_ERROR, "UNKNOWN_CODE")
    assert answered.billed is MAYBE


@pytest.mark.parametrize("missing", ["idDocumentMatch", "nameMatch"])
def test_an_attribute_that_was_asked_and_not_answered_is_no_verdict(
    missing: str, httpserver: HTTPServer, transport: Transport
) -> None:
    document = {key: value for key, value in MATCHED.items() if key != missing}
    answered = _ask(httpserver, transport, document)
    assert (answered.outcome, answered.billed) == (Outcome.PROVIDER_ERROR, MAYBE)


def test_an_error_in_http_200_is_no_verdict(httpserver: HTTPServer, transport: Transport) -> None:
    document = {"status": 404, "code": "IDENTIFIER_NOT_FOUND", "message": ""}
    assert _ask(httpserver, transport, document).outcome is Outcome.PROVIDER_ERROR


# -------------------------------------------------------------------- the errors


def test_every_error_of_the_outcome_map_is_tested_here() -> None:
    assert {code for code, _ in code_table("camara.http_code").items()} == set(ERRORS)


@pytest.mark.parametrize("key", ERRORS)
def test_a_documented_error_has_its_outcome_and_price(
    key: str, httpserver: HTTPServer, transport: Transport
) -> None:
    status, code = key.split(" ")
    document = {"status": int(status), "code": code, "message": "说明"}
    answered = _ask(httpserver, transport, document, status=int(status))
    outcome, detail, billed = ERRORS[key]
    assert (answered.outcome, answered.detail, answered.billed) == (outcome, detail, billed)
    assert (answered.code, answered.http_status) == (code, int(status))


_SHOWN = [
    (spec, example) for spec in (MATCH, DRAFT) for example in camara_specs.error_examples(spec)
]


@pytest.mark.parametrize(("spec", "example"), _SHOWN, ids=str)
def test_every_error_that_the_files_show_is_understood(
    spec: Spec, example: Example, httpserver: HTTPServer, transport: Transport
) -> None:
    version: Version = "0.4" if spec is MATCH else "wip"
    answered = _ask(httpserver, transport, example.value, status=example.status, version=version)
    assert (answered.outcome, answered.detail, answered.billed) == ERRORS[example.key]
    [(request, _)] = httpserver.log
    body = json.dumps(example.value).encode()
    camara_specs.check_response(spec, request, example.status, body)


@pytest.mark.parametrize("example", camara_specs.common_examples(), ids=str)
def test_every_error_of_camara_common_is_understood(
    example: Example, httpserver: HTTPServer, transport: Transport
) -> None:
    answered = _ask(httpserver, transport, example.value, status=example.status)
    assert (answered.outcome, answered.detail, answered.billed) == ERRORS[example.key]


@pytest.mark.parametrize("version", ["0.5", "wip"])
@pytest.mark.parametrize("code", ["ID_DOCUMENT_MISMATCH", "ID_DOCUMENT_REQUIRED"])
def test_from_0_5_on_the_403_that_meant_a_mismatch_means_nothing(
    code: str, version: Version, httpserver: HTTPServer, transport: Transport
) -> None:
    document = {"status": 403, "code": f"KNOW_YOUR_CUSTOMER.{code}", "message": ""}
    answered = _ask(httpserver, transport, document, status=403, version=version)
    assert (answered.outcome, answered.billed) == (Outcome.PROVIDER_ERROR, MAYBE)


def test_permission_denied_for_a_persons_token_is_missing_consent(
    httpserver: HTTPServer, transport: Transport
) -> None:
    document = {"status": 403, "code": "PERMISSION_DENIED", "message": ""}
    answered = _ask(httpserver, transport, document, status=403, three_legged=True)
    assert (answered.outcome, answered.billed) == (Outcome.CONSENT_MISSING, NO)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "NEVER_HEARD_OF"),
        (403, "IDENTIFIER_NOT_FOUND"),  # a code that belongs to another status
        (404, "KNOW_YOUR_CUSTOMER.ID_DOCUMENT_MISMATCH"),
        (418, "UNAUTHENTICATED"),
        (500, "idDocument 11010519491231002X differs"),
        (404, 7),
        (404, None),
        (404, ["IDENTIFIER_NOT_FOUND"]),
        (404, {"code": "IDENTIFIER_NOT_FOUND"}),
    ],
)
def test_an_unknown_error_is_no_verdict_and_maybe_billed(
    status: int, code: object, httpserver: HTTPServer, transport: Transport
) -> None:
    document = {"status": status, "code": code, "message": ""}
    answered = _ask(httpserver, transport, document, status=status)
    assert (answered.outcome, answered.billed) == (Outcome.PROVIDER_ERROR, MAYBE)
    assert PERSON.id_number not in repr(answered)


@pytest.mark.parametrize(
    ("code", "retry_after", "expected"),
    [
        ("TOO_MANY_REQUESTS", None, None),
        ("TOO_MANY_REQUESTS", "7", 7.0),
        ("QUOTA_EXCEEDED", None, 600.0),  # nobody says when a quota renews: not in a second
        ("QUOTA_EXCEEDED", "7200", 7200.0),
    ],
)
def test_a_limit_says_when_to_come_back(
    code: str,
    retry_after: str | None,
    expected: float | None,
    httpserver: HTTPServer,
    transport: Transport,
) -> None:
    document = {"status": 429, "code": code, "message": ""}
    headers = {"Retry-After": retry_after} if retry_after else None
    answered = _ask(httpserver, transport, document, status=429, headers=headers)
    assert answered.retry_after == expected


@pytest.mark.parametrize(
    ("status", "code", "works"),
    [
        (404, "IDENTIFIER_NOT_FOUND", True),
        (400, "INVALID_ARGUMENT", True),
        (422, "SERVICE_NOT_APPLICABLE", True),
        (401, "UNAUTHENTICATED", False),
        (404, "NOT_FOUND", False),
        (503, "UNAVAILABLE", False),
        (404, None, False),
    ],
)
def test_a_probe_asks_about_nobody_once_and_is_never_billed(
    status: int, code: str | None, works: bool, httpserver: HTTPServer, transport: Transport
) -> None:
    document = {"status": status, "code": code, "message": ""}
    httpserver.expect_request(MATCH.path).respond_with_json(document, status=status)
    provider = Camara(
        name="camara",
        lanes=frozenset(Lane),
        endpoint=httpserver.url_for("").rstrip("/"),
        tokens=StaticTokens(),
        transport=transport,
    )
    probe = provider.probe(Deadline.after(5))
    assert probe.works is works
    assert not works or probe.answer.billed is NO
    [(request, _)] = httpserver.log
    assert json.loads(request.get_data())["phoneNumber"] == "+8610000000000"
    camara_specs.check_request(MATCH, request)
