"""Tencent's documented answers to checks, each with its fact and billing."""

from __future__ import annotations

from datetime import date
from importlib import resources
from typing import Any

import pytest
import time_machine
import yaml
from pytest_httpserver import HTTPServer

from tests.contract.cases.common import NUMBER, PERSON
from tests.contract.cases.tencent import tencent, tencent_body
from verifier.carriers.base import Answer, Number
from verifier.carriers.tencent import _NOBODY
from verifier.identity.errors import InvalidField
from verifier.identity.id_number import parse_id_number
from verifier.identity.phone import parse_phone
from verifier.outcomes import Billed, Check, Fact, Lane, Outcome
from verifier.transport import Deadline, Transport

STATES = {
    0: Fact.ACTIVE,
    1: Fact.SUSPENDED,
    2: Fact.CANCELLED,
    4: Fact.NOT_IN_NETWORK,
    5: Fact.ACTIVE,
    99: Fact.UNKNOWN,
}
DIGESTS = "EncryptedPhoneVerification"
CHECKED, BUSY, LIMIT = Outcome.CHECKED, Outcome.MAINTENANCE, Outcome.RATE_LIMITED
#: "0" is asked for with what stands beside it.
STATUS_RESULTS = {
    "-1": (CHECKED, None, Fact.UNKNOWN, Billed.NO),
    "-2": (CHECKED, None, Fact.UNKNOWN, Billed.NO),
    "-3": (BUSY, None, None, Billed.NO),
    "-4": (LIMIT, "IDENTITY_DAY", None, Billed.NO),
    "-13": (CHECKED, None, Fact.UNKNOWN, Billed.NO),
}
TIME_RESULTS = {
    "-1": (CHECKED, None, Fact.UNKNOWN, Billed.NO),
    "-2": (CHECKED, None, Fact.UNKNOWN, Billed.YES),
    "-3": (CHECKED, None, Fact.UNKNOWN, Billed.YES),
    "-4": (BUSY, None, None, Billed.NO),
    "-5": (LIMIT, "IDENTITY_DAY", None, Billed.NO),
    "-13": (CHECKED, None, Fact.UNKNOWN, Billed.NO),
}
RESULTS = {Check.STATUS: STATUS_RESULTS, Check.RECYCLED: TIME_RESULTS}
CHECKS = list(RESULTS)
UNKNOWN = (Outcome.PROVIDER_ERROR, "UNKNOWN_CODE", Billed.MAYBE, None)


def _ask(
    httpserver: HTTPServer,
    transport: Transport,
    check: Check,
    body: bytes,
    number: Number = NUMBER,
) -> Answer:
    httpserver.expect_request("/", method="POST").respond_with_data(
        body, content_type="application/json; charset=utf-8"
    )
    provider = tencent(httpserver.url_for("").rstrip("/"), transport)
    return provider.check(check, number, "attempt-1", Deadline.after(5))


def _of(answered: Answer) -> tuple[object, ...]:
    return answered.outcome, answered.detail, answered.billed, answered.fact


@pytest.mark.parametrize("state", STATES)
def test_a_documented_state_is_a_fact_and_billed(
    state: int, httpserver: HTTPServer, transport: Transport
) -> None:
    body = tencent_body(Result="0", StatusCode=state, Description="成功")
    assert _ask(httpserver, transport, Check.STATUS, body) == Answer(
        Outcome.CHECKED,
        billed=Billed.YES,
        code=f"0:{state}",
        request_id="request-1",
        http_status=200,
        fact=STATES[state],
    )


@pytest.mark.parametrize(
    ("span", "since", "fact"),
    [
        ("[24,+)", "2025-01-01", Fact.SAME_HOLDER),
        ("[0,3)", "2025-01-01", Fact.CHANGED_HANDS),
        ("[12,24)", "2025-01-01", Fact.UNKNOWN),
    ],
)
def test_the_time_in_the_network_says_whether_the_number_changed_hands(
    span: str, since: str, fact: Fact, httpserver: HTTPServer, transport: Transport
) -> None:
    number = Number(PERSON.phone, since=date.fromisoformat(since))
    with time_machine.travel("2026-05-10T01:00:00Z", tick=True):
        answered = _ask(
            httpserver, transport, Check.RECYCLED, tencent_body(Result="0", Range=span), number
        )
    assert _of(answered) == (Outcome.CHECKED, None, Billed.YES, fact)
    assert answered.code == "0"


def test_today_is_a_day_in_china(httpserver: HTTPServer, transport: Transport) -> None:
    """At 17:00 UTC the day that a full year ends has come there."""
    number = Number(PERSON.phone, since=date(2025, 5, 10))
    body = tencent_body(Result="0", Range="[12,24)")
    facts = []
    for instant in ("2026-05-10T15:00:00Z", "2026-05-10T17:00:00Z"):
        with time_machine.travel(instant, tick=True):
            facts.append(_ask(httpserver, transport, Check.RECYCLED, body, number).fact)
    assert facts == [Fact.SAME_HOLDER, Fact.UNKNOWN]  # on the 11th a 13th month has begun


@pytest.mark.parametrize(
    ("check", "result"), [(check, code) for check, rows in RESULTS.items() for code in rows]
)
def test_a_documented_result_has_its_fact_and_price(
    check: Check, result: str, httpserver: HTTPServer, transport: Transport
) -> None:
    """The same number means different things: "-2" is free here and billed there."""
    body = tencent_body(Result=result, StatusCode=1, Range="[0,3)")
    answered = _ask(httpserver, transport, check, body)
    outcome, detail, fact, billed = RESULTS[check][result]
    assert _of(answered) == (outcome, detail, billed, fact)
    assert (answered.code, answered.request_id) == (result, "request-1")


def test_every_code_of_the_outcome_map_is_tested_here() -> None:
    text = resources.files("verifier").joinpath("data/outcomes.yaml").read_text("utf-8")
    tables = yaml.safe_load(text)
    assert set(tables["tencent.faceid.MobileStatus.Result"]) == {"0", *STATUS_RESULTS}
    assert set(tables["tencent.faceid.MobileStatus.StatusCode"]) == {str(code) for code in STATES}
    time = tables["tencent.faceid.MobileNetworkTimeVerification.Result"]
    assert set(time) == {"0", *TIME_RESULTS}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("result", ["-6", "-9", "-99", "1", "", "00", None, 0, -2, True, [], {}])
def test_an_unknown_result_is_no_fact_and_maybe_billed(
    result: object, check: Check, httpserver: HTTPServer, transport: Transport
) -> None:
    body = tencent_body(Result=result, StatusCode=0, Range="[24,+)")
    assert _of(_ask(httpserver, transport, check, body)) == UNKNOWN


def test_results_of_one_check_mean_nothing_for_the_other(
    httpserver: HTTPServer, transport: Transport
) -> None:
    body = tencent_body(Result="-5")
    assert _of(_ask(httpserver, transport, Check.STATUS, body)) == UNKNOWN
    assert _ask(httpserver, transport, Check.RECYCLED, body).outcome is Outcome.RATE_LIMITED


@pytest.mark.parametrize(
    "state", [3, 6, -1, 1000, 10**40, "0", "", None, True, False, 0.0, 1.5, [], {}, [0]]
)
def test_a_state_that_is_not_documented_is_not_guessed(
    state: object, httpserver: HTTPServer, transport: Transport
) -> None:
    """3 was "empty" in older models and is in none now."""
    body = tencent_body(Result="0", StatusCode=state)
    answered = _ask(httpserver, transport, Check.STATUS, body)
    assert _of(answered) == UNKNOWN
    assert answered.code == ("0:3" if state == 3 else "0:6" if state == 6 else "0")


def test_a_success_without_a_state_is_not_understood(
    httpserver: HTTPServer, transport: Transport
) -> None:
    assert _of(_ask(httpserver, transport, Check.STATUS, tencent_body(Result="0"))) == UNKNOWN


@pytest.mark.parametrize("span", ["", "24+", "[3,0)", None, 24, [0, 3], {}, True, "[" * 50_000])
def test_a_time_that_cannot_be_read_is_not_understood(
    span: object, httpserver: HTTPServer, transport: Transport
) -> None:
    body = tencent_body(Result="0", Range=span)
    assert _of(_ask(httpserver, transport, Check.RECYCLED, body)) == UNKNOWN


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    ("code", "outcome", "detail"),
    [
        ("InvalidParameter", Outcome.INVALID_INPUT, "PARAM"),
        ("InvalidParameterValue", Outcome.INVALID_INPUT, "PARAM"),
        ("RequestLimitExceeded", Outcome.RATE_LIMITED, "ACCOUNT_QPS"),
        ("AuthFailure.SignatureExpire", Outcome.AUTH_CONFIG, None),
        ("UnauthorizedOperation.Nonactivated", Outcome.AUTH_CONFIG, None),
        ("UnauthorizedOperation.Arrears", Outcome.ARREARS, None),
        ("FailedOperation.DecryptSystemError", Outcome.AUTH_CONFIG, None),
        ("InternalError", Outcome.PROVIDER_ERROR, None),
    ],
)
def test_errors_are_those_of_every_action_and_free(
    code: str,
    outcome: Outcome,
    detail: str | None,
    check: Check,
    httpserver: HTTPServer,
    transport: Transport,
) -> None:
    body = tencent_body(Error={"Code": code, "Message": "说明"}, Result="0", StatusCode=0)
    answered = _ask(httpserver, transport, check, body)
    assert _of(answered) == (outcome, detail, Billed.NO, None)


def test_a_check_without_its_day_is_not_paid_for(
    httpserver: HTTPServer, transport: Transport
) -> None:
    number = Number(PERSON.phone)
    answered = _ask(httpserver, transport, Check.RECYCLED, tencent_body(Result="0"), number)
    assert answered == Answer(Outcome.INVALID_INPUT, "PARAM")
    assert httpserver.log == []


def test_what_is_no_text_is_refused_before_anything_is_sent(
    httpserver: HTTPServer, transport: Transport
) -> None:
    number = Number("1380013800\ud800", since=date(2020, 1, 1))
    for check in CHECKS:
        answered = _ask(httpserver, transport, check, tencent_body(Result="0"), number)
        assert answered == Answer(Outcome.INVALID_INPUT, "PARAM")
    assert httpserver.log == []


@pytest.mark.parametrize(
    ("options", "body", "action", "works"),
    [
        ({}, {"Result": "-6"}, "PhoneVerification", True),
        ({}, {"Result": "-13"}, "PhoneVerification", True),
        ({}, {"Result": "-11"}, "PhoneVerification", False),
        ({}, {"Result": "-4"}, "PhoneVerification", False),
        ({}, {"Error": {"Code": "InvalidParameter"}}, "PhoneVerification", False),
        ({}, {"Error": {"Code": "AuthFailure.SignatureFailure"}}, "PhoneVerification", False),
        (
            {"action": "EncryptedPhoneVerification"},
            {"Result": "-9"},
            "EncryptedPhoneVerification",
            True,
        ),
        (
            {"action": "EncryptedPhoneVerification"},
            {"Result": "-6"},
            "EncryptedPhoneVerification",
            False,
        ),
        ({"lanes": frozenset()}, {"Result": "-2"}, "MobileStatus", True),
        ({"lanes": frozenset()}, {"Result": "-3"}, "MobileStatus", False),
        (
            {"lanes": frozenset(), "checks": frozenset({Check.RECYCLED})},
            {"Result": "-1"},
            "MobileNetworkTimeVerification",
            True,
        ),
        (
            {"lanes": frozenset(), "checks": frozenset({Check.RECYCLED})},
            {"Result": "-2"},  # billed here, so it was no probe that went well
            "MobileNetworkTimeVerification",
            False,
        ),
    ],
)
def test_a_probe_asks_what_the_provider_is_there_for(
    options: dict[str, Any],
    body: dict[str, Any],
    action: str,
    works: bool,
    httpserver: HTTPServer,
    transport: Transport,
) -> None:
    httpserver.expect_request("/").respond_with_data(tencent_body(**body))
    options = {"lanes": frozenset({Lane.CMCC}), **options}
    provider = tencent(httpserver.url_for("").rstrip("/"), transport, **options)
    probe = provider.probe(Deadline.after(5))
    assert probe.works is works
    assert len(httpserver.log) == 1
    assert httpserver.log[0][0].headers["X-TC-Action"] == action


def test_a_probe_is_about_nobody() -> None:
    """No carrier has numbers that begin with 100, and no ID card has a wrong check digit."""
    with pytest.raises(InvalidField, match="phone"):
        parse_phone(_NOBODY.phone)
    with pytest.raises(InvalidField, match="check digit"):
        parse_id_number(_NOBODY.id_number, date(2026, 5, 10))
