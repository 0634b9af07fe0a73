"""dytns' documented answers, each with outcome and billing, and the requests they answer."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from alibabacloud_dytnsapi20200217 import models  # type: ignore[import-untyped]
from pydantic import ValidationError
from pytest_httpserver import HTTPServer

from tests.contract.alibaba import assert_signed_and_named_like, parameters, sent_by_the_sdk
from tests.contract.cases.aliyun import DYTNS_ACTIONS, dytns, dytns_body
from tests.contract.cases.common import PERSON
from verifier.carriers.aliyun_dytns import AliyunDytns, Mask, Settings, serving
from verifier.carriers.base import Answer, Number
from verifier.outcomes import Billed, Check, Fact, Lane, Outcome, code_table
from verifier.transport import Deadline, Transport

VERIFY, VIRTUAL = DYTNS_ACTIONS
CONSISTENT = {
    VERIFY: {
        1: (Outcome.MATCHED, None, Billed.YES),
        0: (Outcome.MISMATCHED, "UNSPECIFIED", Billed.YES),
        2: (Outcome.NO_RECORD, None, Billed.NO),
    },
    VIRTUAL: {
        1: (Outcome.MATCHED, None, Billed.YES),
        2: (Outcome.MISMATCHED, "UNSPECIFIED", Billed.YES),
        0: (Outcome.NO_RECORD, None, Billed.NO),
    },
}
CODES = {
    "RequestFrequencyLimit": (Outcome.RATE_LIMITED, "NUMBER"),
    "OperatorLimit": (Outcome.UNSUPPORTED_NUMBER, "CARRIER_RESTRICTED"),
    "PortabilityNumberNotSupported": (Outcome.UNSUPPORTED_NUMBER, "PORTED"),
    "RequestNumberNotSupported": (Outcome.UNSUPPORTED_NUMBER, "SEGMENT"),
    "PhoneNumberNotfound": (Outcome.NO_RECORD, None),
    "MobileNumberIllegal": (Outcome.INVALID_INPUT, "PHONE"),
    "MobileNumberTypeNotMatch": (Outcome.INVALID_INPUT, "PARAM"),
    "CertCodeIllegal": (Outcome.INVALID_INPUT, "ID"),
    "InvalidParameter": (Outcome.INVALID_INPUT, "PARAM"),
    "EncyrptTypeIllegal": (Outcome.AUTH_CONFIG, None),
    "AuthCodeNotExist": (Outcome.AUTH_CONFIG, None),
    "AuthCodeIllegal": (Outcome.AUTH_CONFIG, None),
    "AuthCodeAndApiNotMatch": (Outcome.AUTH_CONFIG, None),
    "BIZ_NOT_OPEN_ERROR": (Outcome.AUTH_CONFIG, None),
    "isp.UNKNOWN": (Outcome.PROVIDER_ERROR, None),
}
RECYCLED = {
    "0": (Fact.UNKNOWN, Billed.NO),
    "1": (Fact.CHANGED_HANDS, Billed.YES),
    "2": (Fact.SAME_HOLDER, Billed.YES),
    "3": (Fact.UNKNOWN, Billed.YES),
    "4": (Fact.UNKNOWN, Billed.YES),
}
STATUS = {
    "NORMAL": (Fact.ACTIVE, Billed.YES),
    "POWER_OFF": (Fact.ACTIVE, Billed.YES),
    "BUSY": (Fact.ACTIVE, Billed.YES),
    "SHUTDOWN": (Fact.SUSPENDED, Billed.YES),
    "NOT_EXIST": (Fact.NOT_IN_NETWORK, Billed.YES),
    "SUSPECTED_POWER_OFF": (Fact.UNKNOWN, Billed.YES),
    "DEFECT": (Fact.UNKNOWN, Billed.YES),
    "UNKNOWN": (Fact.UNKNOWN, Billed.NO),
}
NUMBER = Number(PERSON.phone, date(2020, 2, 3))
CHECKS = (Check.CARRIER, Check.RECYCLED, Check.STATUS)
RUBBISH: list[Any] = [
    None,
    1.0,
    0.0,
    True,
    False,
    [],
    {"a": 1},
    "",
    "x y",
    3,
    -1,
    10**400,
    "9" * 5000,
]


def digested(algorithm: str, *values: str) -> list[str]:
    return [hashlib.new(algorithm, value.encode()).hexdigest() for value in values]


def elements(mask: Mask) -> dict[str, str]:
    values = [PERSON.phone, PERSON.id_number, PERSON.name]
    phone, id_number, name = values if mask == "NORMAL" else digested(mask.lower(), *values)
    return {
        "AuthCode": "tests-auth-code",
        "InputNumber": phone,
        "CertCode": id_number,
        "Name": name,
        "Mask": mask,
    }


def serve(httpserver: HTTPServer, body: bytes, status: int = 200) -> str:
    httpserver.expect_request("/", method="POST").respond_with_data(
        body, status=status, content_type="application/json"
    )
    return httpserver.url_for("").rstrip("/")


def ask(
    httpserver: HTTPServer,
    transport: Transport,
    body: bytes,
    *,
    action: str = VERIFY,
    mask: Mask = "SHA256",
    status: int = 200,
    id_number: str = PERSON.id_number,
) -> Answer:
    provider = dytns(serve(httpserver, body, status), transport, action, mask)
    person = replace(PERSON, id_number=id_number)
    return provider.verify(person, "attempt-1", Deadline.after(5))


def check(
    httpserver: HTTPServer,
    transport: Transport,
    which: Check,
    body: bytes,
    *,
    status: int = 200,
    mask: Mask = "SHA256",
    number: Number = NUMBER,
) -> Answer:
    provider = dytns(serve(httpserver, body, status), transport, mask=mask)
    return provider.check(which, number, "attempt-1", Deadline.after(5))


@pytest.mark.parametrize("action", DYTNS_ACTIONS)
@pytest.mark.parametrize("value", [0, 1, 2])
def test_consistency_is_read_and_billed_as_its_own_api_documents(
    value: int, action: str, httpserver: HTTPServer, transport: Transport
) -> None:
    outcome, detail, billed = CONSISTENT[action][value]
    body = dytns_body(IsConsistent=value, BasicCarrier="中国联通")
    assert ask(httpserver, transport, body, action=action) == Answer(
        outcome, detail, billed, str(value), "request-1", http_status=200
    )


def test_zero_and_two_are_swapped_between_the_two_verifications(
    httpserver: HTTPServer, transport: Transport
) -> None:
    def of(action: str, value: int) -> tuple[Outcome, Billed]:
        httpserver.clear()
        body = dytns_body(IsConsistent=value)
        answered = ask(httpserver, transport, body, action=action)
        return answered.outcome, answered.billed

    assert of(VERIFY, 0) == of(VIRTUAL, 2) == (Outcome.MISMATCHED, Billed.YES)
    assert of(VERIFY, 2) == of(VIRTUAL, 0) == (Outcome.NO_RECORD, Billed.NO)


@pytest.mark.parametrize("action", DYTNS_ACTIONS)
@pytest.mark.parametrize("value", [*RUBBISH, "0", "1", "2"])
def test_another_consistency_is_no_verdict_and_maybe_billed(
    value: object, action: str, httpserver: HTTPServer, transport: Transport
) -> None:
    answered = ask(httpserver, transport, dytns_body(IsConsistent=value), action=action)
    assert (answered.outcome, answered.detail) == (Outcome.PROVIDER_ERROR, "UNKNOWN_CODE")
    assert answered.billed is Billed.MAYBE


@pytest.mark.parametrize("data", [b"null", b"[]", b'"x"', b"1", b"{}"])
@pytest.mark.parametrize("action", DYTNS_ACTIONS)
def test_data_of_another_shape_is_no_verdict(
    action: str, data: bytes, httpserver: HTTPServer, transport: Transport
) -> None:
    body = b'{"Code":"OK","Data":' + data + b"}"
    answered = ask(httpserver, transport, body, action=action)
    assert (answered.outcome, answered.billed) == (Outcome.PROVIDER_ERROR, Billed.MAYBE)


@pytest.mark.parametrize("action", DYTNS_ACTIONS)
@pytest.mark.parametrize("code", CODES)
def test_a_documented_code_has_its_outcome_and_is_free(
    code: str, action: str, httpserver: HTTPServer, transport: Transport
) -> None:
    answered = ask(httpserver, transport, dytns_body(code), action=action)
    assert (answered.outcome, answered.detail) == CODES[code]
    assert (answered.billed, answered.code) == (Billed.NO, code)


@pytest.mark.parametrize("code", CODES)
def test_the_products_codes_in_http_400_say_nothing_about_a_person(
    code: str, httpserver: HTTPServer, transport: Transport
) -> None:
    answered = ask(httpserver, transport, dytns_body(code), status=400)
    outcome, detail = CODES[code]
    if outcome is Outcome.INVALID_INPUT:
        assert (answered.outcome, answered.detail) == (Outcome.INVALID_INPUT, "PARAM")
        assert answered.billed is Billed.NO
    elif outcome.is_result:
        assert (answered.outcome, answered.detail) == (Outcome.PROVIDER_ERROR, "UNKNOWN_CODE")
        assert answered.billed is Billed.MAYBE
    else:
        assert (answered.outcome, answered.detail) == (outcome, detail)
        assert answered.billed is Billed.NO


@pytest.mark.parametrize("code", ["NeverHeardOf", "ok", "200", "", None, 200, True, [], {}])
def test_an_unknown_code_is_no_verdict_and_maybe_billed(
    code: object, httpserver: HTTPServer, transport: Transport
) -> None:
    body = dytns_body(code, IsConsistent=1)  # type: ignore[arg-type]
    answered = ask(httpserver, transport, body)
    assert (answered.outcome, answered.billed) == (Outcome.PROVIDER_ERROR, Billed.MAYBE)


def test_every_code_of_the_outcome_map_is_tested_here() -> None:
    tables: dict[str, Collection[object]] = {
        "aliyun.dytns.Code": CODES,
        f"aliyun.dytns.{VERIFY}.IsConsistent": CONSISTENT[VERIFY],
        f"aliyun.dytns.{VIRTUAL}.IsConsistent": CONSISTENT[VIRTUAL],
        "aliyun.dytns.DescribePhoneTwiceTelVerify.VerifyResult": RECYCLED,
        "aliyun.dytns.PhoneNumberStatusForReal.Status": STATUS,
    }
    for name, tested in tables.items():
        assert {code for code, _ in code_table(name).items()} == {str(code) for code in tested}


@pytest.mark.parametrize("action", DYTNS_ACTIONS)
def test_nobody_is_called_a_mismatch_for_a_document_that_the_vendor_does_not_list(
    action: str, httpserver: HTTPServer, transport: Transport
) -> None:
    body = dytns_body(IsConsistent=0 if action == VERIFY else 2)
    answered = ask(httpserver, transport, body, action=action, id_number="932682198501010017")
    assert (answered.outcome, answered.billed) == (Outcome.UNSUPPORTED_NUMBER, Billed.YES)


def test_the_carrier_of_the_segment_is_not_told_as_the_numbers_carrier(
    httpserver: HTTPServer, transport: Transport
) -> None:
    body = dytns_body(IsConsistent=1, BasicCarrier="CUCC")
    assert ask(httpserver, transport, body).carrier is None


@pytest.mark.parametrize("mask", ["SHA256", "MD5", "NORMAL"])
def test_a_verification_is_the_request_that_the_vendors_sdk_would_send(
    mask: Mask, httpserver: HTTPServer, transport: Transport
) -> None:
    ask(httpserver, transport, dytns_body(), mask=mask)
    ours, _ = httpserver.log[-1]
    fields = elements(mask)
    request = models.ThreeElementsVerificationRequest(
        auth_code=fields["AuthCode"],
        input_number=fields["InputNumber"],
        cert_code=fields["CertCode"],
        name=fields["Name"],
        mask=mask,
    )
    theirs = sent_by_the_sdk(
        httpserver, lambda client: client.three_elements_verification(request), "dytns"
    )
    assert_signed_and_named_like(ours, theirs)
    assert parameters(theirs) == (fields, {})
    # In clear they go where proxies and access logs do not look; the gateway merges both.
    assert parameters(ours) == (({}, fields) if mask == "NORMAL" else (fields, {}))


def test_personal_data_in_the_url_is_hashed_unless_told_otherwise(
    httpserver: HTTPServer, transport: Transport
) -> None:
    ask(httpserver, transport, dytns_body())
    for which in CHECKS:
        check(httpserver, transport, which, dytns_body())
    for request, _ in httpserver.log:
        query, form = parameters(request)
        assert query["Mask"] == "SHA256"
        assert query["InputNumber"] == digested("sha256", PERSON.phone)[0]
        assert form == {}


@pytest.mark.parametrize("mask", ["SHA256", "MD5", "NORMAL"])
def test_virtual_operators_numbers_are_verified_in_clear_only_and_outside_the_url(
    mask: Mask, httpserver: HTTPServer, transport: Transport
) -> None:
    ask(httpserver, transport, dytns_body(), action=VIRTUAL, mask=mask)
    ours, _ = httpserver.log[-1]
    fields = elements("NORMAL")
    fields["CertName"] = fields.pop("Name")
    request = models.VirtualThreeElementsVerificationRequest(
        auth_code="tests-auth-code",
        input_number=PERSON.phone,
        cert_code=PERSON.id_number,
        cert_name=PERSON.name,
        mask="NORMAL",
    )
    theirs = sent_by_the_sdk(
        httpserver, lambda client: client.virtual_three_elements_verification(request), "dytns"
    )
    assert_signed_and_named_like(ours, theirs)
    assert parameters(theirs) == (fields, {})
    assert parameters(ours) == ({}, fields)


def test_the_checks_of_a_virtual_provider_are_still_hashed(
    httpserver: HTTPServer, transport: Transport
) -> None:
    provider = dytns(serve(httpserver, dytns_body()), transport, VIRTUAL)
    provider.check(Check.STATUS, NUMBER, "a", Deadline.after(5))
    [(request, _)] = httpserver.log
    assert parameters(request)[0]["Mask"] == "SHA256"


@pytest.mark.parametrize(
    ("which", "name", "more"),
    [
        (Check.CARRIER, "describe_phone_number_operator_attribute", {}),
        (Check.STATUS, "phone_number_status_for_real", {}),
        (
            Check.RECYCLED,
            "describe_phone_twice_tel_verify",
            {"start_time": "2020-02-03 23:59:59"},
        ),
    ],
)
def test_a_check_is_the_request_that_the_vendors_sdk_would_send(
    which: Check, name: str, more: dict[str, str], httpserver: HTTPServer, transport: Transport
) -> None:
    check(httpserver, transport, which, dytns_body())
    ours, _ = httpserver.log[-1]
    model = {
        Check.CARRIER: models.DescribePhoneNumberOperatorAttributeRequest,
        Check.STATUS: models.PhoneNumberStatusForRealRequest,
        Check.RECYCLED: models.DescribePhoneTwiceTelVerifyRequest,
    }[which]
    # The vendor approves each use of an API on its own, with an authorization code of its own.
    code = "tests-carrier-auth-code" if which is Check.CARRIER else "tests-auth-code"
    [phone] = digested("sha256", PERSON.phone)
    request = model(auth_code=code, input_number=phone, mask="SHA256", **more)
    theirs = sent_by_the_sdk(httpserver, lambda client: getattr(client, name)(request), "dytns")
    assert_signed_and_named_like(ours, theirs)
    assert parameters(ours) == parameters(theirs)
    assert parameters(ours)[0]["InputNumber"] == phone


@pytest.mark.parametrize("carrier", ["CMCC", "CUCC", "CTCC", "UNKNOW", "", None, [], 7])
@pytest.mark.parametrize("result", RECYCLED)
def test_whether_a_number_changed_hands_is_a_fact(
    result: str, carrier: object, httpserver: HTTPServer, transport: Transport
) -> None:
    fact, billed = RECYCLED[result]
    body = dytns_body(VerifyResult=result, Carrier=carrier)
    lane = {"CMCC": Lane.CMCC, "CUCC": Lane.CUCC, "CTCC": Lane.CTCC}.get(str(carrier))
    assert check(httpserver, transport, Check.RECYCLED, body) == Answer(
        Outcome.CHECKED,
        None,
        billed,
        result,
        "request-1",
        carrier=lane,
        http_status=200,
        fact=fact,
    )


@pytest.mark.parametrize("status", STATUS)
def test_a_status_is_a_fact(status: str, httpserver: HTTPServer, transport: Transport) -> None:
    fact, billed = STATUS[status]
    body = dytns_body(Status=status, Carrier="CTCC")
    answered = check(httpserver, transport, Check.STATUS, body)
    assert (answered.outcome, answered.fact, answered.billed) == (Outcome.CHECKED, fact, billed)
    assert (answered.carrier, answered.code) == (Lane.CTCC, status)


@pytest.mark.parametrize("value", [*RUBBISH, 1, 2, "5", "normal"])
@pytest.mark.parametrize("which", [Check.STATUS, Check.RECYCLED])
def test_a_check_that_was_not_understood_is_no_fact(
    which: Check, value: object, httpserver: HTTPServer, transport: Transport
) -> None:
    body = dytns_body(Status=value, VerifyResult=value)
    answered = check(httpserver, transport, which, body)
    assert (answered.outcome, answered.fact) == (Outcome.PROVIDER_ERROR, None)
    assert answered.billed is Billed.MAYBE


@pytest.mark.parametrize(
    ("carrier", "lane"),
    [
        ("中国移动", Lane.CMCC),
        ("中国联通", Lane.CUCC),
        ("中国电信", Lane.CTCC),
        ("中国广电", Lane.CBN),
        ("China Mobile", Lane.CMCC),
        ("China Unicom", Lane.CUCC),
        ("China Telecom", Lane.CTCC),
        ("China Broadnet", Lane.CBN),
    ],
)
def test_who_carries_a_number_after_porting_is_the_carrier_not_the_basic_one(
    carrier: str, lane: Lane, httpserver: HTTPServer, transport: Transport
) -> None:
    body = dytns_body(BasicCarrier="中国联通", Carrier=carrier, IsNumberPortability=True)
    assert check(httpserver, transport, Check.CARRIER, body) == Answer(
        Outcome.CHECKED,
        None,
        Billed.YES,
        "OK",
        "request-1",
        carrier=lane,
        http_status=200,
        fact=Fact.CARRIER,
    )


VIRTUAL_NAME: dict[str, Any] = {
    "BasicCarrier": "中国联通",
    "Carrier": "阿里通信",
    "IsNumberPortability": False,
}


@pytest.mark.parametrize("prefix", ["162", "165", "167", "170", "171"])
def test_a_trade_name_of_a_number_of_the_virtual_segments_is_a_virtual_operators(
    prefix: str, httpserver: HTTPServer, transport: Transport
) -> None:
    number = Number(f"{prefix}12345678")
    body = dytns_body(**VIRTUAL_NAME)
    answered = check(httpserver, transport, Check.CARRIER, body, number=number)
    assert (answered.fact, answered.carrier) == (Fact.CARRIER, Lane.MVNO)


@pytest.mark.parametrize(
    ("phone", "changed"),
    [
        ("13812345678", {}),  # not a segment of theirs
        ("17012345678", {"IsNumberPortability": True}),  # which cannot be ported
        ("17012345678", {"IsNumberPortability": None}),
        ("17012345678", {"BasicCarrier": "某某"}),
        ("17012345678", {"BasicCarrier": None}),
        ("17012345678", {"Carrier": ""}),
        ("17012345678", {"Carrier": "  "}),
        ("17012345678", {"Carrier": None}),
        ("17012345678", {"Carrier": ["中国移动"]}),
        ("17012345678", {"Carrier": {"中国移动": 1}}),
        ("17012345678", {"Carrier": True}),
    ],
)
def test_a_carrier_that_cannot_be_told_for_certain_is_unknown_and_billed(
    phone: str, changed: dict[str, Any], httpserver: HTTPServer, transport: Transport
) -> None:
    data = {**VIRTUAL_NAME, **changed}
    assert serving(data, phone) is None
    answered = check(httpserver, transport, Check.CARRIER, dytns_body(**data), number=Number(phone))
    assert (answered.outcome, answered.fact) == (Outcome.CHECKED, Fact.UNKNOWN)
    assert (answered.carrier, answered.billed) == (None, Billed.YES)


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("which", CHECKS)
@pytest.mark.parametrize("code", CODES)
def test_a_check_never_answers_a_result(
    code: str, which: Check, status: int, httpserver: HTTPServer, transport: Transport
) -> None:
    answered = check(httpserver, transport, which, dytns_body(code), status=status)
    outcome, detail = CODES[code]
    if outcome is Outcome.INVALID_INPUT:
        assert (answered.outcome, answered.detail) == (Outcome.INVALID_INPUT, "PARAM")
    elif not outcome.is_result:
        assert (answered.outcome, answered.detail) == (outcome, detail)
    elif status == 200:
        assert (answered.outcome, answered.fact) == (Outcome.CHECKED, Fact.UNKNOWN)
        assert (answered.detail, answered.billed) == (None, Billed.NO)
    else:
        assert (answered.outcome, answered.fact) == (Outcome.PROVIDER_ERROR, None)


def test_a_question_that_cannot_be_asked_is_not_sent(
    httpserver: HTTPServer, transport: Transport
) -> None:
    provider = dytns(serve(httpserver, dytns_body()), transport)
    answered = provider.check(Check.RECYCLED, Number(PERSON.phone), "a", Deadline.after(5))
    assert answered == Answer(Outcome.INVALID_INPUT, "PARAM", billed=Billed.NO)
    assert httpserver.log == []


@pytest.mark.parametrize("action", DYTNS_ACTIONS)
@pytest.mark.parametrize("code", ["MobileNumberIllegal", "MobileNumberTypeNotMatch"])
def test_the_probe_asks_about_nobody_in_one_call_that_is_free(
    code: str, action: str, httpserver: HTTPServer, transport: Transport
) -> None:
    provider = dytns(serve(httpserver, dytns_body(code), 400), transport, action)
    probe = provider.probe(Deadline.after(5))
    assert (probe.works, probe.answer.billed) == (True, Billed.NO)
    assert "OK" in probe.asked
    [(request, _)] = httpserver.log
    assert request.headers["x-acs-action"] == action
    query, form = parameters(request)
    assert (query | form)["InputNumber"] == "0"


@pytest.mark.parametrize(
    ("code", "status"), [("AuthCodeNotExist", 400), ("Throttling.User", 400), ("OK", 200)]
)
def test_a_probe_that_was_not_answered_as_documented_does_not_work(
    code: str, status: int, httpserver: HTTPServer, transport: Transport
) -> None:
    provider = dytns(serve(httpserver, dytns_body(code, IsConsistent=2), status), transport)
    assert not provider.probe(Deadline.after(5)).works


@pytest.mark.parametrize("which", CHECKS)
def test_a_provider_of_checks_alone_probes_one_of_them(
    which: Check, httpserver: HTTPServer, transport: Transport
) -> None:
    provider = AliyunDytns(
        name="checks",
        lanes=frozenset(),
        checks=frozenset({which}),
        action=VERIFY,
        endpoint=serve(httpserver, dytns_body("MobileNumberTypeNotMatch"), 400),
        key_id="tests-key-id",
        key_secret="tests-secret-key",
        auth_code="tests-auth-code",
        transport=transport,
    )
    assert provider.probe(Deadline.after(5)).works
    [(request, _)] = httpserver.log
    assert request.headers["x-acs-action"] != VERIFY
    others = set(CHECKS) - {which}
    assert all(
        provider.check(c, NUMBER, "a", Deadline.after(5)).outcome is Outcome.INVALID_INPUT
        for c in others
    )
    assert len(httpserver.log) == 1


def settings(**keys: object) -> Settings:
    return Settings.model_validate(
        {
            "kind": "aliyun_dytns",
            "key_id": "env:A",
            "key_secret": "env:B",
            "auth_code": "env:C",
            **keys,
        }
    )


def test_the_virtual_action_reaches_virtual_operators_and_nobody_else() -> None:
    assert settings(action=VIRTUAL, lanes=["mvno"]).reaches == {Lane.MVNO}
    assert settings(lanes=["cmcc", "cucc", "ctcc"]).mask == "SHA256"
    for action, lane in ((VIRTUAL, "cmcc"), (VERIFY, "mvno"), (VERIFY, "cbn")):
        with pytest.raises(ValidationError, match=f"cannot verify {lane} numbers"):
            settings(action=action, lanes=[lane])


def test_an_authorization_code_of_a_check_is_a_secret_and_needs_its_check() -> None:
    made = settings(checks=["carrier"], check_auth_codes={"carrier": "env:D"})
    assert made.secrets() == ("env:A", "env:B", "env:C", "env:D")
    with pytest.raises(ValidationError, match="a code for status, which is no check here"):
        settings(checks=["carrier"], check_auth_codes={"status": "env:D"})
    with pytest.raises(ValidationError, match="a secret must be a reference"):
        settings(checks=["carrier"], check_auth_codes={"carrier": "clear text"})
