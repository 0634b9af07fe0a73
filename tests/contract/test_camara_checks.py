"""CAMARA's checks: each asks what its file allows, and states a documented fact or none."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
import time_machine
from pytest_httpserver import HTTPServer

from tests.contract import camara_specs
from tests.contract.camara_specs import RECYCLING, STATUS, SWAP, TENURE, Example, Spec
from tests.contract.cases.camara import StaticTokens
from tests.contract.cases.common import PERSON
from tests.contract.test_camara import ERRORS
from verifier.carriers.base import Answer, Number
from verifier.carriers.camara import Camara
from verifier.carriers.camara_checks import RecycledBy
from verifier.outcomes import Billed, Check, Fact, Outcome
from verifier.transport import Deadline, Transport

SINCE = date(2026, 5, 20)
NOW = datetime(2026, 6, 1, 4, 30, tzinfo=UTC)  # 12:30 in China
BY: dict[Spec, RecycledBy] = {
    RECYCLING: "number-recycling",
    TENURE: "kyc-tenure",
    SWAP: "sim-swap",
}
APIS = (STATUS, *BY)
FACTS: list[tuple[Spec, dict[str, Any], Fact]] = [
    (
        STATUS,
        {"voiceSmsIn": incoming, "voiceSmsOut": outgoing, "dataService": data},
        Fact.ACTIVE if incoming == outgoing == "active" else Fact.SUSPENDED,
    )
    for incoming in ("active", "suspended")
    for outgoing in ("active", "suspended")
    for data in ("active", "suspended", "throttled")
]
FACTS += [
    (RECYCLING, {"phoneNumberRecycled": True}, Fact.CHANGED_HANDS),
    (RECYCLING, {"phoneNumberRecycled": False}, Fact.SAME_HOLDER),
    (TENURE, {"tenureDateCheck": True, "contractType": "PAYG"}, Fact.SAME_HOLDER),
    (TENURE, {"tenureDateCheck": False}, Fact.CHANGED_HANDS),
    (SWAP, {"swapped": True}, Fact.UNKNOWN),  # people change SIM cards: it proves nothing
    (SWAP, {"swapped": False}, Fact.SAME_HOLDER),
]
ASKED: dict[Spec, dict[str, Any]] = {
    STATUS: {},
    RECYCLING: {"specifiedDate": "2026-05-20"},
    TENURE: {"tenureDate": "2026-05-20"},
    SWAP: {"maxAge": 12 * 24 + 13},  # since midnight in China, rounded up
}


def _provider(
    endpoint: str, transport: Transport, spec: Spec, *, three_legged: bool = False
) -> Camara:
    return Camara(
        name="camara",
        lanes=frozenset(),
        checks=frozenset({Check.STATUS, Check.RECYCLED}),
        endpoint=endpoint,
        tokens=StaticTokens(three_legged=three_legged),
        transport=transport,
        recycled_by=BY.get(spec, "number-recycling"),
    )


def _ask(
    httpserver: HTTPServer,
    transport: Transport,
    spec: Spec,
    document: object,
    *,
    status: int = 200,
    since: date | None = SINCE,
    three_legged: bool = False,
) -> Answer:
    httpserver.expect_request(spec.path, method="POST").respond_with_data(
        json.dumps(document),
        status=status,
        content_type="application/json",
        headers={"x-correlator": "attempt-1"},
    )
    endpoint = httpserver.url_for("").rstrip("/")
    provider = _provider(endpoint, transport, spec, three_legged=three_legged)
    check = Check.STATUS if spec is STATUS else Check.RECYCLED
    with time_machine.travel(NOW, tick=False):
        return provider.check(check, Number(PERSON.phone, since), "attempt-1", Deadline.after(5))


@pytest.mark.parametrize(("spec", "document", "fact"), FACTS)
def test_a_documented_answer_states_its_fact_and_is_billed(
    spec: Spec, document: dict[str, Any], fact: Fact, httpserver: HTTPServer, transport: Transport
) -> None:
    answered = _ask(httpserver, transport, spec, document)
    assert (answered.outcome, answered.fact) == (Outcome.CHECKED, fact)
    assert (answered.billed, answered.request_id) == (Billed.YES, "attempt-1")
    [(request, _)] = httpserver.log
    camara_specs.check_response(spec, request, 200, json.dumps(document).encode())


@pytest.mark.parametrize("three_legged", [False, True])
@pytest.mark.parametrize("spec", APIS, ids=str)
def test_the_request_is_one_that_camaras_file_allows(
    spec: Spec, three_legged: bool, httpserver: HTTPServer, transport: Transport
) -> None:
    _ask(httpserver, transport, spec, {}, three_legged=three_legged)
    [(request, _)] = httpserver.log
    camara_specs.check_request(spec, request)
    phone = {} if three_legged else {"phoneNumber": f"+86{PERSON.phone}"}
    assert json.loads(request.get_data()) == {**phone, **ASKED[spec]}
    assert request.headers["x-correlator"] == "attempt-1"


_SHOWN = [(spec, example) for spec in APIS for example in camara_specs.error_examples(spec)]


@pytest.mark.parametrize(("spec", "example"), _SHOWN, ids=str)
def test_every_error_that_the_files_show_is_no_verdict(
    spec: Spec, example: Example, httpserver: HTTPServer, transport: Transport
) -> None:
    answered = _ask(httpserver, transport, spec, example.value, status=example.status)
    outcome, detail, billed = ERRORS[example.key]
    if outcome in (Outcome.NO_RECORD, Outcome.UNSUPPORTED_NUMBER) or (
        spec is SWAP and example.key == "400 OUT_OF_RANGE"
    ):
        assert (answered.outcome, answered.fact) == (Outcome.CHECKED, Fact.UNKNOWN)
    else:
        assert (answered.outcome, answered.detail) == (outcome, detail)
    assert answered.billed is billed
    [(request, _)] = httpserver.log
    camara_specs.check_response(spec, request, example.status, json.dumps(example.value).encode())


@pytest.mark.parametrize("key", ERRORS)
@pytest.mark.parametrize("spec", APIS, ids=str)
def test_no_error_at_all_becomes_a_result_about_a_person(
    spec: Spec, key: str, httpserver: HTTPServer, transport: Transport
) -> None:
    status, code = key.split(" ")
    document = {"status": int(status), "code": code, "message": ""}
    answered = _ask(httpserver, transport, spec, document, status=int(status))
    refused = (Outcome.INVALID_INPUT, "PARAM")
    assert not answered.outcome.is_result or (answered.outcome, answered.detail) == refused
    assert answered.fact in (None, Fact.UNKNOWN)


@pytest.mark.parametrize("spec", APIS, ids=str)
def test_a_person_who_has_not_consented_stays_unknown(
    spec: Spec, httpserver: HTTPServer, transport: Transport
) -> None:
    document = {"status": 403, "code": "PERMISSION_DENIED", "message": ""}
    answered = _ask(httpserver, transport, spec, document, status=403, three_legged=True)
    assert (answered.outcome, answered.fact, answered.billed) == (
        Outcome.CHECKED,
        Fact.UNKNOWN,
        Billed.NO,
    )


@pytest.mark.parametrize("status", [404, 500])
def test_out_of_range_is_understood_with_its_own_status_only(
    status: int, httpserver: HTTPServer, transport: Transport
) -> None:
    document = {"status": status, "code": "OUT_OF_RANGE", "message": ""}
    answered = _ask(httpserver, transport, SWAP, document, status=status)
    assert (answered.outcome, answered.billed) == (Outcome.PROVIDER_ERROR, Billed.MAYBE)


HOSTILE = ["true", "false", 0, 1, None, "", [], {}, 1.0, "ACTIVE", "active ", "throttled"]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (STATUS, "voiceSmsIn"),
        (STATUS, "voiceSmsOut"),
        (RECYCLING, "phoneNumberRecycled"),
        (TENURE, "tenureDateCheck"),
        (SWAP, "swapped"),
    ],
)
def test_what_is_not_documented_states_no_fact(
    spec: Spec, name: str, value: object, httpserver: HTTPServer, transport: Transport
) -> None:
    document = {"voiceSmsIn": "active", "voiceSmsOut": "active", name: value}
    answered = _ask(httpserver, transport, spec, document)
    assert (answered.outcome, answered.detail) == (Outcome.PROVIDER_ERROR, "UNKNOWN_CODE")
    assert (answered.fact, answered.billed) == (None, Billed.MAYBE)


@pytest.mark.parametrize(
    ("since", "hours"),
    [
        (date(2026, 6, 1), 13),
        (date(2026, 6, 2), 1),  # tomorrow: the shortest there is
        (date(2026, 2, 22), 99 * 24 + 13),
    ],
)
def test_sim_swap_looks_back_to_midnight_of_that_day_in_china(
    since: date, hours: int, httpserver: HTTPServer, transport: Transport
) -> None:
    _ask(httpserver, transport, SWAP, {"swapped": False}, since=since)
    [(request, _)] = httpserver.log
    assert json.loads(request.get_data())["maxAge"] == hours
    camara_specs.check_request(SWAP, request)


def test_sim_swap_is_not_paid_for_when_it_cannot_look_back_so_far(
    httpserver: HTTPServer, transport: Transport
) -> None:
    answered = _ask(httpserver, transport, SWAP, {"swapped": False}, since=date(2026, 2, 21))
    assert answered == Answer(Outcome.CHECKED, fact=Fact.UNKNOWN)
    assert httpserver.log == []


def test_recycled_without_a_day_is_our_own_mistake_and_not_sent(
    httpserver: HTTPServer, transport: Transport
) -> None:
    answered = _ask(httpserver, transport, RECYCLING, {}, since=None)
    assert answered == Answer(Outcome.INVALID_INPUT, "PARAM")
    assert httpserver.log == []


def test_a_check_that_is_not_configured_is_not_sent(
    httpserver: HTTPServer, transport: Transport
) -> None:
    provider = Camara(
        name="camara",
        lanes=frozenset(),
        checks=frozenset({Check.STATUS}),
        endpoint=httpserver.url_for("").rstrip("/"),
        tokens=StaticTokens(),
        transport=transport,
    )
    for check in (Check.RECYCLED, Check.CARRIER):
        answered = provider.check(check, Number(PERSON.phone, SINCE), "a", Deadline.after(5))
        assert answered == Answer(Outcome.INVALID_INPUT, "PARAM")
    assert httpserver.log == []
