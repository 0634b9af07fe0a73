"""cloudauth's documented answers, each with outcome and billing, and the requests they answer."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import replace
from datetime import date
from typing import Any, Literal

import pytest
from alibabacloud_cloudauth20190307 import models  # type: ignore[import-untyped]
from pydantic import ValidationError
from pytest_httpserver import HTTPServer

from tests.contract.alibaba import assert_signed_and_named_like, parameters, sent_by_the_sdk
from tests.contract.cases.aliyun import CLOUDAUTH_ACTIONS, cloudauth, cloudauth_body
from tests.contract.cases.common import PERSON
from verifier.carriers.aliyun_cloudauth import Settings, meaning_of_402
from verifier.carriers.base import Answer, Number
from verifier.outcomes import Billed, Check, Fact, Lane, Outcome, code_table
from verifier.transport import Deadline, Transport

DETAIL = {
    "101": ("1", Outcome.MATCHED, None, Billed.YES),
    "201": ("2", Outcome.MISMATCHED, "NAME_AND_ID", Billed.YES),
    "202": ("2", Outcome.MISMATCHED, "ID", Billed.YES),
    "203": ("2", Outcome.MISMATCHED, "NAME", Billed.YES),
    "204": ("2", Outcome.MISMATCHED, "OTHER", Billed.YES),
    "301": ("3", Outcome.NO_RECORD, None, Billed.NO),
}
SIMPLE = {
    "1": (Outcome.MATCHED, None, Billed.YES),
    "2": (Outcome.MISMATCHED, "UNSPECIFIED", Billed.YES),
    "3": (Outcome.NO_RECORD, None, Billed.NO),
}
CODES = {
    "400": (Outcome.INVALID_INPUT, "PARAM"),
    "401": (Outcome.INVALID_INPUT, "PARAM"),
    "402": (Outcome.MAINTENANCE, None),
    "403": (Outcome.RATE_LIMITED, "NUMBER"),
    "405": (Outcome.UNSUPPORTED_NUMBER, "SEGMENT"),
    "410": (Outcome.AUTH_CONFIG, None),
    "411": (Outcome.AUTH_CONFIG, None),
    "412": (Outcome.ARREARS, None),
    "500": (Outcome.PROVIDER_ERROR, None),
}
STATUS = {
    "101": ("1", Fact.ACTIVE, Billed.YES),
    "201": ("2", Fact.SUSPENDED, Billed.YES),
    "202": ("2", Fact.CANCELLED, Billed.YES),
    "203": ("2", Fact.UNKNOWN, Billed.YES),
    "204": ("2", Fact.NOT_IN_NETWORK, Billed.YES),
    "301": ("3", Fact.UNKNOWN, Billed.NO),
}
RECYCLED = {
    "101": ("1", Fact.SAME_HOLDER, Billed.YES),
    "102": ("1", Fact.CHANGED_HANDS, Billed.YES),
    "103": ("1", Fact.UNKNOWN, Billed.YES),
    "301": ("3", Fact.UNKNOWN, Billed.NO),
}
DETAIL_ACTIONS = [action for action in CLOUDAUTH_ACTIONS if "Detail" in action]
SIMPLE_ACTIONS = [action for action in CLOUDAUTH_ACTIONS if "Simple" in action]
NUMBER = Number(PERSON.phone, date(2020, 2, 3))
RUBBISH: list[Any] = [None, 0, 101, 1.0, True, [], {"a": 1}, "", "1x1", "9" * 5000, "101 "]


def md5(value: str) -> str:
    return hashlib.md5(value.encode()).hexdigest()  # noqa: S324 - what the vendor asks for


MASKED = {
    "ParamType": "md5",
    "IdentifyNum": md5(PERSON.id_number),
    "UserName": md5(PERSON.name),
    "Mobile": md5(PERSON.phone),
}
CLEAR = {
    "ParamType": "normal",
    "IdentifyNum": PERSON.id_number,
    "UserName": PERSON.name,
    "Mobile": PERSON.phone,
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
    action: str = "Mobile3MetaDetailVerify",
    mask: Literal["md5", "normal"] = "md5",
    status: int = 200,
    id_number: str = PERSON.id_number,
) -> Answer:
    provider = cloudauth(serve(httpserver, body, status), transport, action, mask)
    person = replace(PERSON, id_number=id_number)
    return provider.verify(person, "attempt-1", Deadline.after(5))


def check(
    httpserver: HTTPServer,
    transport: Transport,
    which: Check,
    body: bytes,
    *,
    status: int = 200,
    mask: Literal["md5", "normal"] = "md5",
) -> Answer:
    provider = cloudauth(serve(httpserver, body, status), transport, mask=mask)
    return provider.check(which, NUMBER, "attempt-1", Deadline.after(5))


@pytest.mark.parametrize("action", DETAIL_ACTIONS)
@pytest.mark.parametrize("sub_code", DETAIL)
def test_a_documented_result_has_its_outcome_and_price(
    sub_code: str, action: str, httpserver: HTTPServer, transport: Transport
) -> None:
    biz, outcome, detail, billed = DETAIL[sub_code]
    body = cloudauth_body(BizCode=biz, SubCode=sub_code, IspName="CUCC")
    assert ask(httpserver, transport, body, action=action) == Answer(
        outcome, detail, billed, sub_code, "request-1", carrier=Lane.CUCC, http_status=200
    )


@pytest.mark.parametrize("action", SIMPLE_ACTIONS)
@pytest.mark.parametrize("biz", SIMPLE)
def test_a_documented_result_of_the_simple_actions_has_its_outcome_and_price(
    biz: str, action: str, httpserver: HTTPServer, transport: Transport
) -> None:
    outcome, detail, billed = SIMPLE[biz]
    body = cloudauth_body(BizCode=biz, IspName="CTCC")
    assert ask(httpserver, transport, body, action=action) == Answer(
        outcome, detail, billed, biz, "request-1", carrier=Lane.CTCC, http_status=200
    )


@pytest.mark.parametrize("code", CODES)
def test_a_code_that_looks_like_http_is_the_products_own(
    code: str, httpserver: HTTPServer, transport: Transport
) -> None:
    answered = ask(httpserver, transport, cloudauth_body(code, "说明"))
    assert (answered.outcome, answered.detail) == CODES[code]
    assert (answered.billed, answered.code, answered.http_status) == (Billed.NO, code, 200)
    assert answered.request_id == "request-1"


@pytest.mark.parametrize("code", CODES)
def test_the_same_number_as_an_http_status_is_not_that_code(
    code: str, httpserver: HTTPServer, transport: Transport
) -> None:
    answered = ask(httpserver, transport, cloudauth_body(code), status=int(code))
    assert (answered.outcome, answered.billed) == (Outcome.PROVIDER_ERROR, Billed.MAYBE)


def test_every_code_of_the_outcome_map_is_tested_here() -> None:
    tables: dict[str, Collection[str]] = {
        "aliyun.cloudauth.Code": CODES,
        "aliyun.cloudauth.Mobile3Meta.SubCode": DETAIL,
        "aliyun.cloudauth.Mobile3MetaSimple.BizCode": SIMPLE,
        "aliyun.cloudauth.MobileOnlineStatus.SubCode": STATUS,
        "aliyun.cloudauth.MobileRecycledMetaVerify.SubCode": RECYCLED,
    }
    for name, tested in tables.items():
        assert {code for code, _ in code_table(name).items()} == set(tested)


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ("Authoritative source service unavailable", Outcome.MAINTENANCE),
        ("权威源服务异常", Outcome.MAINTENANCE),
        ("Security policy restriction", Outcome.AUTH_CONFIG),
        ("触发安全策略限制", Outcome.AUTH_CONFIG),
        ("No permission to call", Outcome.AUTH_CONFIG),
        ("无调用权限", Outcome.AUTH_CONFIG),
        ("Authoritative source service: no permission, retry later", Outcome.MAINTENANCE),
        ("something new", Outcome.MAINTENANCE),
        ("x" * 5_000 + "no permission", Outcome.MAINTENANCE),
        ("", Outcome.MAINTENANCE),
        (None, Outcome.MAINTENANCE),
        (["no permission"], Outcome.MAINTENANCE),
    ],
)
def test_code_402_is_an_outage_unless_its_message_blames_our_account(
    message: object, outcome: Outcome, httpserver: HTTPServer, transport: Transport
) -> None:
    assert meaning_of_402(message).outcome is outcome
    body = cloudauth_body("402", message)  # type: ignore[arg-type]
    answered = ask(httpserver, transport, body)
    assert (answered.outcome, answered.detail, answered.billed) == (outcome, None, Billed.NO)


@pytest.mark.parametrize("sub_code", [*RUBBISH, "102", "103", "401", "302"])
def test_an_unknown_sub_code_is_no_verdict_and_maybe_billed(
    sub_code: object, httpserver: HTTPServer, transport: Transport
) -> None:
    body = cloudauth_body(BizCode="1", SubCode=sub_code, IspName="CMCC")
    answered = ask(httpserver, transport, body)
    assert (answered.outcome, answered.detail) == (Outcome.PROVIDER_ERROR, "UNKNOWN_CODE")
    assert answered.billed is Billed.MAYBE


@pytest.mark.parametrize("biz", [*RUBBISH, "0", "4", 1, 2])
def test_an_unknown_biz_code_is_no_verdict_and_maybe_billed(
    biz: object, httpserver: HTTPServer, transport: Transport
) -> None:
    for action, more in (
        ("Mobile3MetaSimpleVerify", {}),
        ("Mobile3MetaDetailVerify", {"SubCode": "101"}),
    ):
        body = cloudauth_body(BizCode=biz, **more)
        answered = ask(httpserver, transport, body, action=action)
        assert (answered.outcome, answered.billed) == (Outcome.PROVIDER_ERROR, Billed.MAYBE)
        httpserver.clear()


@pytest.mark.parametrize(
    ("biz", "sub_code"), [("2", "101"), ("1", "201"), ("3", "101"), ("1", "301")]
)
def test_codes_that_contradict_each_other_are_no_verdict(
    biz: str, sub_code: str, httpserver: HTTPServer, transport: Transport
) -> None:
    answered = ask(httpserver, transport, cloudauth_body(BizCode=biz, SubCode=sub_code))
    assert (answered.outcome, answered.billed) == (Outcome.PROVIDER_ERROR, Billed.MAYBE)


@pytest.mark.parametrize("code", [*RUBBISH, 200, 200.0, "0200", "404", "OK", "success"])
def test_an_unknown_code_is_no_verdict_and_maybe_billed(
    code: object, httpserver: HTTPServer, transport: Transport
) -> None:
    body = cloudauth_body(code, BizCode="1", SubCode="101")  # type: ignore[arg-type]
    answered = ask(httpserver, transport, body)
    assert (answered.outcome, answered.billed) == (Outcome.PROVIDER_ERROR, Billed.MAYBE)


@pytest.mark.parametrize("result", [b"null", b"[]", b'"x"', b"7", b"{}", b'{"BizCode":{}}'])
def test_a_result_of_another_shape_is_no_verdict(
    result: bytes, httpserver: HTTPServer, transport: Transport
) -> None:
    answered = ask(httpserver, transport, b'{"Code":"200","ResultObject":' + result + b"}")
    assert (answered.outcome, answered.billed) == (Outcome.PROVIDER_ERROR, Billed.MAYBE)


@pytest.mark.parametrize(
    ("isp", "lane"),
    [
        ("CMCC", Lane.CMCC),
        ("CUCC", Lane.CUCC),
        ("CTCC", Lane.CTCC),
        ("CBCC", Lane.CBN),
        ("cmcc", None),
        ("", None),
        (None, None),
        ([], None),
        ({}, None),
    ],
)
def test_the_carrier_that_the_vendor_names_is_a_lane(
    isp: object, lane: Lane | None, httpserver: HTTPServer, transport: Transport
) -> None:
    body = cloudauth_body(BizCode="1", SubCode="101", IspName=isp)
    assert ask(httpserver, transport, body).carrier is lane


def test_only_the_standard_actions_reach_broadnet() -> None:
    def settings(action: str) -> Settings:
        return Settings.model_validate(
            {
                "kind": "aliyun_cloudauth",
                "action": action,
                "key_id": "env:A",
                "key_secret": "env:B",
                "lanes": ["cbn"],
            }
        )

    for action in CLOUDAUTH_ACTIONS:
        if "Standard" in action:
            assert settings(action).reaches == {Lane.CMCC, Lane.CUCC, Lane.CTCC, Lane.CBN}
        else:
            with pytest.raises(ValidationError, match="cannot verify cbn numbers"):
                settings(action)


# 9 and 17 digits, the card of 2023; 3 letters and 12 digits, the one before; a passport.
OTHER_DOCUMENTS = ["932682198501010017", "ABC123456789012", "E12345678"]


@pytest.mark.parametrize("id_number", OTHER_DOCUMENTS)
@pytest.mark.parametrize("sub_code", ["201", "202", "203", "204"])
def test_nobody_is_called_a_mismatch_for_a_document_that_the_vendor_does_not_list(
    sub_code: str, id_number: str, httpserver: HTTPServer, transport: Transport
) -> None:
    body = cloudauth_body(BizCode="2", SubCode=sub_code)
    answered = ask(httpserver, transport, body, id_number=id_number)
    assert (answered.outcome, answered.detail) == (Outcome.UNSUPPORTED_NUMBER, None)
    assert (answered.billed, answered.code) == (Billed.YES, sub_code)  # it was paid for


def test_a_refused_document_that_is_not_listed_is_neither_the_persons_fault_nor_ours(
    httpserver: HTTPServer, transport: Transport
) -> None:
    body = cloudauth_body("401")
    answered = ask(httpserver, transport, body, mask="normal", id_number=OTHER_DOCUMENTS[0])
    assert (answered.outcome, answered.billed) == (Outcome.UNSUPPORTED_NUMBER, Billed.NO)


@pytest.mark.parametrize("id_number", ["810000199408230021", "830000199201300022"])
def test_residence_permits_of_hong_kong_macao_and_taiwan_are_judged_like_id_cards(
    id_number: str, httpserver: HTTPServer, transport: Transport
) -> None:
    body = cloudauth_body(BizCode="2", SubCode="202")
    answered = ask(httpserver, transport, body, id_number=id_number)
    assert (answered.outcome, answered.detail) == (Outcome.MISMATCHED, "ID")


def test_a_match_stays_a_match_whatever_the_document(
    httpserver: HTTPServer, transport: Transport
) -> None:
    body = cloudauth_body(BizCode="1", SubCode="101")
    answered = ask(httpserver, transport, body, id_number=OTHER_DOCUMENTS[0])
    assert answered.outcome is Outcome.MATCHED


@pytest.mark.parametrize(("mask", "fields"), [("md5", MASKED), ("normal", CLEAR)])
@pytest.mark.parametrize("action", CLOUDAUTH_ACTIONS)
def test_a_verification_is_the_request_that_the_vendors_sdk_would_send(
    action: str,
    mask: Literal["md5", "normal"],
    fields: dict[str, str],
    httpserver: HTTPServer,
    transport: Transport,
) -> None:
    ask(httpserver, transport, cloudauth_body(), action=action, mask=mask)
    ours, _ = httpserver.log[-1]

    def call(client: Any) -> Any:
        request = getattr(models, f"{action}Request")(
            param_type=fields["ParamType"],
            identify_num=fields["IdentifyNum"],
            user_name=fields["UserName"],
            mobile=fields["Mobile"],
        )
        name = {
            "Mobile3MetaDetailVerify": "mobile_3meta_detail_verify",
            "Mobile3MetaSimpleVerify": "mobile_3meta_simple_verify",
            "Mobile3MetaDetailStandardVerify": "mobile_3meta_detail_standard_verify",
            "Mobile3MetaSimpleStandardVerify": "mobile_3meta_simple_standard_verify",
        }[action]
        return getattr(client, name)(request)

    theirs = sent_by_the_sdk(httpserver, call, "cloudauth")
    assert_signed_and_named_like(ours, theirs)
    assert parameters(ours) == parameters(theirs) == ({}, fields)


def test_a_status_check_is_the_request_that_the_vendors_sdk_would_send(
    httpserver: HTTPServer, transport: Transport
) -> None:
    check(httpserver, transport, Check.STATUS, cloudauth_body())
    ours, _ = httpserver.log[-1]
    request = models.MobileOnlineStatusRequest(param_type="md5", mobile=MASKED["Mobile"])
    theirs = sent_by_the_sdk(
        httpserver, lambda client: client.mobile_online_status(request), "cloudauth"
    )
    assert_signed_and_named_like(ours, theirs)
    expected = {"ParamType": "md5", "Mobile": MASKED["Mobile"]}
    assert parameters(ours) == parameters(theirs) == ({}, expected)


def test_a_recycled_check_is_the_request_that_the_vendors_sdk_would_send(
    httpserver: HTTPServer, transport: Transport
) -> None:
    check(httpserver, transport, Check.RECYCLED, cloudauth_body())
    ours, _ = httpserver.log[-1]
    request = models.MobileRecycledMetaVerifyRequest(
        param_type="md5", mobile=MASKED["Mobile"], register_date="20200203"
    )
    theirs = sent_by_the_sdk(
        httpserver, lambda client: client.mobile_recycled_meta_verify(request), "cloudauth"
    )
    assert_signed_and_named_like(ours, theirs)
    expected = {"ParamType": "md5", "Mobile": MASKED["Mobile"], "RegisterDate": "20200203"}
    assert parameters(ours) == parameters(theirs) == (expected, {})


def test_a_number_in_clear_never_stands_in_the_url(
    httpserver: HTTPServer, transport: Transport
) -> None:
    check(httpserver, transport, Check.RECYCLED, cloudauth_body(), mask="normal")
    ours, _ = httpserver.log[-1]
    expected = {"ParamType": "normal", "Mobile": PERSON.phone, "RegisterDate": "20200203"}
    assert parameters(ours) == ({}, expected)


@pytest.mark.parametrize("sub_code", STATUS)
def test_a_status_is_a_fact(sub_code: str, httpserver: HTTPServer, transport: Transport) -> None:
    biz, fact, billed = STATUS[sub_code]
    body = cloudauth_body(BizCode=biz, SubCode=sub_code, IspName="CMCC")
    assert check(httpserver, transport, Check.STATUS, body) == Answer(
        Outcome.CHECKED,
        None,
        billed,
        sub_code,
        "request-1",
        carrier=Lane.CMCC,
        http_status=200,
        fact=fact,
    )


@pytest.mark.parametrize("sub_code", RECYCLED)
def test_whether_a_number_changed_hands_is_a_fact(
    sub_code: str, httpserver: HTTPServer, transport: Transport
) -> None:
    biz, fact, billed = RECYCLED[sub_code]
    body = cloudauth_body(BizCode=biz, SubCode=sub_code)
    answered = check(httpserver, transport, Check.RECYCLED, body)
    assert (answered.outcome, answered.fact, answered.billed) == (Outcome.CHECKED, fact, billed)


@pytest.mark.parametrize("which", [Check.STATUS, Check.RECYCLED])
@pytest.mark.parametrize("code", CODES)
def test_a_check_never_answers_a_result(
    code: str, which: Check, httpserver: HTTPServer, transport: Transport
) -> None:
    answered = check(httpserver, transport, which, cloudauth_body(code, "说明"))
    outcome, detail = CODES[code]
    if code == "405":
        assert (answered.outcome, answered.fact) == (Outcome.CHECKED, Fact.UNKNOWN)
    else:
        assert (answered.outcome, answered.detail, answered.fact) == (outcome, detail, None)
    assert answered.billed is Billed.NO


@pytest.mark.parametrize("sub_code", [*RUBBISH, "999", "301"])
@pytest.mark.parametrize("which", [Check.STATUS, Check.RECYCLED])
def test_a_check_that_was_not_understood_is_no_fact(
    which: Check, sub_code: object, httpserver: HTTPServer, transport: Transport
) -> None:
    body = cloudauth_body(BizCode="1", SubCode=sub_code)
    answered = check(httpserver, transport, which, body)
    assert (answered.outcome, answered.fact) == (Outcome.PROVIDER_ERROR, None)
    assert answered.billed is Billed.MAYBE


def test_a_question_that_cannot_be_asked_is_not_sent(
    httpserver: HTTPServer, transport: Transport
) -> None:
    provider = cloudauth(serve(httpserver, cloudauth_body()), transport)
    for which, number in ((Check.RECYCLED, Number(PERSON.phone)), (Check.CARRIER, NUMBER)):
        answered = provider.check(which, number, "attempt-1", Deadline.after(5))
        assert answered == Answer(Outcome.INVALID_INPUT, "PARAM", billed=Billed.NO)
    assert httpserver.log == []


@pytest.mark.parametrize("mask", ["md5", "normal"])
def test_the_probe_asks_about_nobody_in_one_call_that_is_free(
    mask: Literal["md5", "normal"], httpserver: HTTPServer, transport: Transport
) -> None:
    provider = cloudauth(serve(httpserver, cloudauth_body("401")), transport, mask=mask)
    probe = provider.probe(Deadline.after(5))
    assert (probe.works, probe.answer.billed) == (True, Billed.NO)
    assert "401" in probe.asked
    [(request, _)] = httpserver.log
    # In clear whatever the mask: of a digest the vendor could not say that it is malformed.
    assert parameters(request)[1]["Mobile"] == "10000000000"
    assert parameters(request)[1]["ParamType"] == "normal"


@pytest.mark.parametrize("code", ["410", "412", "500"])
def test_a_probe_that_was_not_answered_as_documented_does_not_work(
    code: str, httpserver: HTTPServer, transport: Transport
) -> None:
    provider = cloudauth(serve(httpserver, cloudauth_body(code)), transport)
    assert not provider.probe(Deadline.after(5)).works
