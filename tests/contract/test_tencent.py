"""Tencent's documented answers about a person, each with its outcome and billing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pytest_httpserver import HTTPServer

from tests.contract.cases.common import PERSON
from tests.contract.cases.tencent import TENCENT_ACTIONS, tencent, tencent_body
from verifier.carriers.base import Answer
from verifier.outcomes import Billed, Lane, Outcome, code_table
from verifier.transport import Deadline, Transport

RESULTS = {
    "0": (Outcome.MATCHED, None, Billed.YES),
    "-4": (Outcome.MISMATCHED, "UNSPECIFIED", Billed.YES),
    "-6": (Outcome.INVALID_INPUT, "PHONE", Billed.NO),
    "-7": (Outcome.INVALID_INPUT, "ID", Billed.NO),
    "-8": (Outcome.INVALID_INPUT, "NAME", Billed.NO),
    "-9": (Outcome.NO_RECORD, None, Billed.NO),
    "-11": (Outcome.MAINTENANCE, None, Billed.NO),
    "-12": (Outcome.RATE_LIMITED, "IDENTITY_DAY", Billed.NO),
    "-13": (Outcome.UNSUPPORTED_NUMBER, "SEGMENT", Billed.NO),
}
RESULTS_OF_CARRIERS = {code: row for code, row in RESULTS.items() if code != "-12"}
RESULTS_OF_DIGESTS = {
    "0": (Outcome.MATCHED, None, Billed.YES),
    "-4": (Outcome.MISMATCHED, "UNSPECIFIED", Billed.YES),
    "-7": (Outcome.INVALID_INPUT, "ID", Billed.NO),
    "-8": (Outcome.INVALID_INPUT, "PARAM", Billed.NO),
    "-9": (Outcome.NO_RECORD, None, Billed.NO),
    "-11": (Outcome.MAINTENANCE, None, Billed.NO),
}
TABLES = {
    "PhoneVerification": RESULTS,
    "PhoneVerificationCMCC": RESULTS_OF_CARRIERS,
    "PhoneVerificationCUCC": RESULTS_OF_CARRIERS,
    "PhoneVerificationCTCC": RESULTS_OF_CARRIERS,
    "EncryptedPhoneVerification": RESULTS_OF_DIGESTS,
}
ERRORS = {
    "RequestLimitExceeded": (Outcome.RATE_LIMITED, "ACCOUNT_QPS"),
    "RequestLimitExceeded.UinLimitExceeded": (Outcome.RATE_LIMITED, "ACCOUNT_QPS"),
    "AuthFailure.SignatureExpire": (Outcome.AUTH_CONFIG, None),  # our clock is wrong
    "AuthFailure.SecretIdNotFound": (Outcome.AUTH_CONFIG, None),
    "UnauthorizedOperation.Arrears": (Outcome.ARREARS, None),
    "UnauthorizedOperation.ChargeStatusException": (Outcome.ARREARS, None),
    "UnauthorizedOperation.NonAuthorize": (Outcome.AUTH_CONFIG, None),
    "UnauthorizedOperation.Nonactivated": (Outcome.AUTH_CONFIG, None),
    "FailedOperation.DecryptSystemError": (Outcome.AUTH_CONFIG, None),
    "FailedOperation.StsUnAuthErrError": (Outcome.AUTH_CONFIG, None),
    "FailedOperation.UnKnown": (Outcome.PROVIDER_ERROR, None),
    "FailedOperation.RequestLimitExceeded": (Outcome.RATE_LIMITED, "ACCOUNT_QPS"),
    "FailedOperation.IdentityAuthLimitExceeded": (Outcome.RATE_LIMITED, "IDENTITY_DAY"),
    "FailedOperation.CompareLibServiceUnavailable": (Outcome.MAINTENANCE, None),
    "AuthFailure": (Outcome.AUTH_CONFIG, None),
    "AuthFailure.SignatureFailure": (Outcome.AUTH_CONFIG, None),
    "UnauthorizedOperation": (Outcome.AUTH_CONFIG, None),
    "UnauthorizedOperation.Activating": (Outcome.AUTH_CONFIG, None),
    "UnsupportedOperation": (Outcome.AUTH_CONFIG, None),
    "InternalError": (Outcome.PROVIDER_ERROR, None),
    "InvalidParameter": (Outcome.INVALID_INPUT, "PARAM"),
    "InvalidParameter.UnsupportEncryptField": (Outcome.AUTH_CONFIG, None),
    "InvalidParameterValue": (Outcome.INVALID_INPUT, "PARAM"),
}
DETAILS = {
    "PhoneIdCardMismatch": "ID",
    "PhoneNameMismatch": "NAME",
    "PhoneNameIdCardMismatch": "NAME_AND_ID",
    "NameIdCardMismatch": "NAME_ID_PAIR",
    "OtherMismatch": "OTHER",
}


def _ask(
    httpserver: HTTPServer,
    transport: Transport,
    body: bytes,
    *,
    action: str = "PhoneVerification",
    detailed: bool = False,
    content_type: str = "application/json",
    status: int = 200,
) -> Answer:
    httpserver.expect_request("/", method="POST").respond_with_data(
        body, status=status, content_type=content_type
    )
    provider = tencent(httpserver.url_for("").rstrip("/"), transport, action, detailed)
    return provider.verify(PERSON, "attempt-1", Deadline.after(5))


@pytest.mark.parametrize(
    ("action", "result"), [(action, code) for action, table in TABLES.items() for code in table]
)
def test_a_documented_result_has_its_outcome_and_price(
    action: str, result: str, httpserver: HTTPServer, transport: Transport
) -> None:
    isp = {"ISP" if action == "EncryptedPhoneVerification" else "Isp": "联通"}
    body = tencent_body(Result=result, Description="说明", **isp)
    answered = _ask(httpserver, transport, body, action=action)
    outcome, detail, billed = TABLES[action][result]
    assert answered == Answer(
        outcome, detail, billed, result, "request-1", carrier=Lane.CUCC, http_status=200
    )


def test_every_code_of_the_outcome_map_is_tested_here() -> None:
    tables: dict[str, set[str]] = {
        "tencent.faceid.PhoneVerification*.Result": set(RESULTS),
        "tencent.faceid.PhoneVerificationOfCarrier.Result": set(RESULTS_OF_CARRIERS),
        "tencent.faceid.EncryptedPhoneVerification.Result": set(RESULTS_OF_DIGESTS),
        "tencent.faceid.PhoneVerification.ResultDetail": set(DETAILS),
    }
    for name, tested in tables.items():
        assert {code for code, _ in code_table(name).items()} == tested, name
    # Two of the error table are words of the SDK's own, never on the wire.
    errors = {code for code, _ in code_table("tencent.error").items()}
    assert errors - set(ERRORS) == {"ServerNetworkError", "ClientNetworkError"}


@pytest.mark.parametrize("action", sorted(set(TABLES) - {"PhoneVerification"}))
def test_a_daily_limit_is_known_of_the_neutral_action_only(
    action: str, httpserver: HTTPServer, transport: Transport
) -> None:
    answered = _ask(httpserver, transport, tencent_body(Result="-12"), action=action)
    assert (answered.outcome, answered.detail) == (Outcome.PROVIDER_ERROR, "UNKNOWN_CODE")
    assert answered.billed is Billed.MAYBE


@pytest.mark.parametrize("result", ["-6", "-13"])
def test_results_of_the_other_actions_mean_nothing_where_digests_are_sent(
    result: str, httpserver: HTTPServer, transport: Transport
) -> None:
    body = tencent_body(Result=result)
    answered = _ask(httpserver, transport, body, action="EncryptedPhoneVerification")
    assert (answered.outcome, answered.detail) == (Outcome.PROVIDER_ERROR, "UNKNOWN_CODE")


def test_minus_eight_is_a_name_or_a_parameter_of_ours_but_never_mixed_up(
    httpserver: HTTPServer, transport: Transport
) -> None:
    body = tencent_body(Result="-8")
    assert _ask(httpserver, transport, body).detail == "NAME"
    assert _ask(httpserver, transport, body, action="EncryptedPhoneVerification").detail == "PARAM"


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
@pytest.mark.parametrize("code", ERRORS)
def test_a_documented_error_has_its_outcome_and_is_free(
    code: str, content_type: str, httpserver: HTTPServer, transport: Transport
) -> None:
    body = tencent_body(Error={"Code": code, "Message": "说明"})
    answered = _ask(httpserver, transport, body, content_type=content_type)
    assert (answered.outcome, answered.detail) == ERRORS[code]
    assert (answered.billed, answered.code) == (Billed.NO, code)
    assert answered.request_id == "request-1"


@pytest.mark.parametrize("detail", DETAILS)
def test_the_detailed_mode_says_which_element_differs(
    detail: str, httpserver: HTTPServer, transport: Transport
) -> None:
    body = tencent_body(Result="-4", ResultDetail=detail)
    answered = _ask(httpserver, transport, body, detailed=True)
    assert (answered.outcome, answered.detail) == (Outcome.MISMATCHED, DETAILS[detail])
    assert answered.billed is Billed.YES


@pytest.mark.parametrize("detail", ["", None, 7, [], {}, True, "SomethingNew", "0" * 9999])
def test_an_unknown_detail_is_a_mismatch_of_unnamed_parts(
    detail: object, httpserver: HTTPServer, transport: Transport
) -> None:
    body = tencent_body(Result="-4", ResultDetail=detail)
    answered = _ask(httpserver, transport, body, detailed=True)
    assert (answered.outcome, answered.detail) == (Outcome.MISMATCHED, "UNSPECIFIED")
    assert answered.billed is Billed.YES


@pytest.mark.parametrize("detail", ["", *DETAILS])
@pytest.mark.parametrize("action", TENCENT_ACTIONS)
def test_the_basic_mode_names_no_element_even_if_the_answer_seems_to(
    action: str, detail: str, httpserver: HTTPServer, transport: Transport
) -> None:
    body = tencent_body(Result="-4", ResultDetail=detail)
    answered = _ask(httpserver, transport, body, action=action)
    assert (answered.outcome, answered.detail) == (Outcome.MISMATCHED, "UNSPECIFIED")


def test_a_detail_beside_a_match_is_no_mismatch(
    httpserver: HTTPServer, transport: Transport
) -> None:
    body = tencent_body(Result="0", ResultDetail="PhoneNameMismatch")
    answered = _ask(httpserver, transport, body, detailed=True)
    assert (answered.outcome, answered.detail) == (Outcome.MATCHED, None)


@pytest.mark.parametrize("result", ["-5", "1", "", "00", None, 0, -4, True, [], {"a": 1}])
def test_an_unknown_result_is_no_verdict_and_maybe_billed(
    result: object, httpserver: HTTPServer, transport: Transport
) -> None:
    answered = _ask(httpserver, transport, tencent_body(Result=result))
    assert (answered.outcome, answered.detail) == (Outcome.PROVIDER_ERROR, "UNKNOWN_CODE")
    assert answered.billed is Billed.MAYBE


@pytest.mark.parametrize("error", [{"Code": "NeverHeardOf"}, {"Code": 7}, {}, None, "x"])
def test_an_unknown_error_is_no_verdict_and_maybe_billed(
    error: object, httpserver: HTTPServer, transport: Transport
) -> None:
    answered = _ask(httpserver, transport, tencent_body(Error=error, Result="0"))
    assert answered.outcome is Outcome.PROVIDER_ERROR
    assert answered.billed is Billed.MAYBE


def test_an_error_is_understood_in_any_http_status(
    httpserver: HTTPServer, transport: Transport
) -> None:
    body = tencent_body(Error={"Code": "AuthFailure.SignatureFailure", "Message": ""})
    answered = _ask(httpserver, transport, body, status=401)
    assert (answered.outcome, answered.http_status) == (Outcome.AUTH_CONFIG, 401)


@pytest.mark.parametrize(
    ("isp", "lane"),
    [
        ("移动", Lane.CMCC),
        ("联通", Lane.CUCC),
        ("电信", Lane.CTCC),
        ("", None),
        (None, None),
        ([], None),
    ],
)
def test_the_carrier_that_tencent_names_is_a_lane(
    isp: object, lane: Lane | None, httpserver: HTTPServer, transport: Transport
) -> None:
    assert _ask(httpserver, transport, tencent_body(Result="0", Isp=isp)).carrier is lane


def test_a_request_id_that_cannot_be_stored_is_cleaned(
    httpserver: HTTPServer, transport: Transport
) -> None:
    answered = _ask(httpserver, transport, tencent_body(Result="0", RequestId="a\0b" + "c" * 500))
    assert answered.request_id is not None
    assert answered.request_id.startswith("abc")
    assert len(answered.request_id) == 128


def test_an_error_with_a_charset_is_not_read_as_an_answer_without_a_result(
    httpserver: HTTPServer, transport: Transport
) -> None:
    """The trap that Tencent's own SDK is in."""
    body = tencent_body(Error={"Code": "UnauthorizedOperation.Arrears", "Message": ""})
    answered = _ask(httpserver, transport, body, content_type="application/json; charset=utf-8")
    assert (answered.outcome, answered.billed) == (Outcome.ARREARS, Billed.NO)


def test_a_wrong_clock_is_the_operators_and_free(
    httpserver: HTTPServer, transport: Transport
) -> None:
    body = tencent_body(Error={"Code": "AuthFailure.SignatureExpire", "Message": "过期"})
    answered = _ask(httpserver, transport, body)
    assert (answered.outcome, answered.billed) == (Outcome.AUTH_CONFIG, Billed.NO)
    assert answered.code == "AuthFailure.SignatureExpire"


def test_what_is_no_text_is_refused_before_anything_is_sent(
    httpserver: HTTPServer, transport: Transport
) -> None:
    for encrypt in (False, True):
        for action in TABLES:
            if encrypt and action == "EncryptedPhoneVerification":
                continue
            endpoint = httpserver.url_for("").rstrip("/")
            provider = tencent(endpoint, transport, action, encrypt=encrypt)
            broken = replace(PERSON, name="王\ud800")
            answered = provider.verify(broken, "attempt-1", Deadline.after(5))
            assert answered == Answer(Outcome.INVALID_INPUT, "PARAM")
    assert httpserver.log == []
