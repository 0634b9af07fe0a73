"""Tencent's documented answers, each with its outcome and billing, and the request they answer."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import time_machine
from pytest_httpserver import HTTPServer
from tencentcloud.common.credential import Credential
from tencentcloud.common.http.request import RequestInternal
from tencentcloud.faceid.v20180301.faceid_client import FaceidClient

from tests.contract.cases import PERSON, TENCENT_ACTIONS, tencent, tencent_body
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


@pytest.mark.parametrize("action", TENCENT_ACTIONS)
@pytest.mark.parametrize("result", RESULTS)
def test_a_documented_result_has_its_outcome_and_price(
    result: str, action: str, httpserver: HTTPServer, transport: Transport
) -> None:
    body = tencent_body(Result=result, Description="说明", Isp="联通")
    answered = _ask(httpserver, transport, body, action=action)
    outcome, detail, billed = RESULTS[result]
    assert answered == Answer(
        outcome, detail, billed, result, "request-1", carrier=Lane.CUCC, http_status=200
    )


def test_every_result_of_the_outcome_map_is_tested_here() -> None:
    table = code_table("tencent.faceid.PhoneVerification*.Result")
    assert {code for code, _ in table.items()} == set(RESULTS)


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


@pytest.mark.parametrize("detail", ["", None, 7, "SomethingNew"])
def test_an_unknown_detail_is_a_mismatch_of_unnamed_parts(
    detail: object, httpserver: HTTPServer, transport: Transport
) -> None:
    answered = _ask(httpserver, transport, tencent_body(Result="-4", ResultDetail=detail))
    assert (answered.outcome, answered.detail) == (Outcome.MISMATCHED, "UNSPECIFIED")


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


@pytest.mark.parametrize(
    ("action", "detailed", "mode"),
    [
        ("PhoneVerification", False, {"VerifyMode": "0"}),
        ("PhoneVerification", True, {"VerifyMode": "1"}),
        ("PhoneVerificationCMCC", False, {}),
    ],
)
def test_the_request_is_the_one_that_tencents_sdk_would_send(
    action: str,
    detailed: bool,
    mode: dict[str, str],
    httpserver: HTTPServer,
    transport: Transport,
) -> None:
    params: dict[str, Any] = {
        "IdCard": PERSON.id_number,
        "Name": PERSON.name,
        "Phone": PERSON.phone,
        **mode,
    }
    with time_machine.travel(time.time(), tick=False):
        _ask(httpserver, transport, tencent_body(Result="0"), action=action, detailed=detailed)
        sent, _ = httpserver.log[0]
        assert json.loads(sent.data) == params
        client = FaceidClient(Credential("tests-secret-id", "tests-secret-key"), "")
        client.profile.httpProfile.endpoint = f"{httpserver.host}:{httpserver.port}"
        request = RequestInternal(sent.host, "POST", "/", header={})
        # The SDK escapes non-ASCII in JSON and we do not, so it signs our very bytes.
        client._build_req_with_tc3_signature(action, params, request)
        request.data = sent.data.decode()
        signature = client._get_tc3_signature(
            params, request, time.strftime("%Y-%m-%d", time.gmtime()), "faceid", "tests-secret-key"
        )
    for name in ("X-TC-Action", "X-TC-Version", "X-TC-Timestamp", "X-TC-Language", "Host"):
        assert sent.headers[name] == request.header[name]
    assert sent.headers["Authorization"].endswith(f"Signature={signature}")
    assert sent.headers["Authorization"].startswith(
        request.header["Authorization"].rpartition("=")[0]
    )
