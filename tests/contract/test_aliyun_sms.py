"""Alibaba Cloud SMS: its documented answers, and how an unanswered send is settled."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from urllib.parse import parse_qs

import pytest
import time_machine
from alibabacloud_tea_openapi.utils import Utils
from darabonba.request import DaraRequest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.contract.cases.common import PERSON
from tests.contract.cases.gateways import GATEWAYS, aliyun_sms
from verifier.gateways.aliyun_sms import NO_TEMPLATE, AliyunSms
from verifier.gateways.base import Blame, Delivery, Receipt
from verifier.transport import Deadline, Transport

CASE = GATEWAYS[1]
DAY = date(2026, 11, 20)
CODES = {
    "isv.MOBILE_NUMBER_ILLEGAL": (200, Delivery.REJECTED, Blame.PERSON),
    "isv.BUSINESS_LIMIT_CONTROL": (200, Delivery.REJECTED, Blame.NONE),
    "isv.DAY_LIMIT_CONTROL": (200, Delivery.REJECTED, Blame.OPERATOR),
    "isv.AMOUNT_NOT_ENOUGH": (200, Delivery.REJECTED, Blame.OPERATOR),
    "isv.OUT_OF_SERVICE": (200, Delivery.REJECTED, Blame.OPERATOR),
    "isv.SIGN_STATE_ILLEGAL": (200, Delivery.REJECTED, Blame.OPERATOR),
    "isv.SMS_SIGNATURE_SCENE_ILLEGAL": (200, Delivery.REJECTED, Blame.OPERATOR),
    "isv.SMS_TEMPLATE_ILLEGAL": (200, Delivery.REJECTED, Blame.OPERATOR),
    "isv.TEMPLATE_MISSING_PARAMETERS": (200, Delivery.REJECTED, Blame.OPERATOR),
    "isv.NEVER_HEARD_OF": (200, Delivery.REJECTED, Blame.OPERATOR),
    "isp.RAM_PERMISSION_DENY": (200, Delivery.REJECTED, Blame.OPERATOR),
    "isp.SYSTEM_ERROR": (200, Delivery.UNKNOWN, Blame.NONE),
    "isp.NEVER_HEARD_OF": (200, Delivery.UNKNOWN, Blame.NONE),
    "NeverHeardOf": (200, Delivery.UNKNOWN, Blame.NONE),
    "InvalidAccessKeyId.NotFound": (404, Delivery.REJECTED, Blame.OPERATOR),
    "SignatureDoesNotMatch": (400, Delivery.REJECTED, Blame.OPERATOR),
    "InvalidTimeStamp.Expired": (400, Delivery.REJECTED, Blame.OPERATOR),
    "Forbidden.RAM": (403, Delivery.REJECTED, Blame.OPERATOR),
    "MissingPhoneNumbers": (400, Delivery.REJECTED, Blame.OPERATOR),
    "SignatureNonceUsed": (400, Delivery.UNKNOWN, Blame.NONE),
    "Throttling.User": (400, Delivery.NOT_SENT, Blame.NONE),
    "Throttling": (429, Delivery.NOT_SENT, Blame.NONE),
    "ServiceUnavailable": (503, Delivery.NOT_SENT, Blame.NONE),
    "InternalError": (500, Delivery.UNKNOWN, Blame.NONE),
}


def _gateway(httpserver: HTTPServer, transport: Transport) -> AliyunSms:
    return aliyun_sms(httpserver.url_for("").rstrip("/"), transport)


@pytest.mark.parametrize("code", CODES)
def test_a_code_has_its_delivery_and_blame(
    code: str, httpserver: HTTPServer, transport: Transport
) -> None:
    status, delivery, blame = CODES[code]
    httpserver.expect_request("/").respond_with_json(
        {"Code": code, "Message": PERSON.phone, "RequestId": "R"}, status=status
    )
    receipt = _gateway(httpserver, transport).send(CASE.message(), Deadline.after(5))
    assert receipt == Receipt(delivery, code=code, blame=blame)


def test_ok_in_an_error_status_is_not_taken_for_sent(
    httpserver: HTTPServer, transport: Transport
) -> None:
    httpserver.expect_request("/").respond_with_json({"Code": "OK", "BizId": "1^0"}, status=502)
    receipt = _gateway(httpserver, transport).send(CASE.message(), Deadline.after(5))
    assert receipt.delivery is Delivery.UNKNOWN


def test_the_message_travels_in_a_signed_body_and_nothing_in_the_url(
    httpserver: HTTPServer, transport: Transport
) -> None:
    httpserver.expect_request("/", method="POST").respond_with_json({"Code": "OK", "BizId": "9^0"})
    receipt = _gateway(httpserver, transport).send(CASE.message("out-1"), Deadline.after(5))
    assert receipt == Receipt(Delivery.ACCEPTED, code="OK", message_id="9^0")
    sent, _ = httpserver.log[0]
    assert sent.query_string == b""
    fields = {name: values[0] for name, values in parse_qs(sent.data.decode()).items()}
    assert json.loads(fields.pop("TemplateParam")) == {"tail": "8000"}
    assert fields == {
        "PhoneNumbers": PERSON.phone,
        "SignName": "某某科技",
        "TemplateCode": "SMS_100001",
        "OutId": "out-1",
    }
    # The vendor's SDK, given the headers that our signature names, computes the same one.
    names = sent.headers["Authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    request = DaraRequest()
    request.method, request.pathname, request.query = "POST", "/", {}
    request.headers = {name: sent.headers[name] for name in names.split(";")}
    payload = Utils.hash(sent.data, "ACS3-HMAC-SHA256").hex()
    assert sent.headers["Authorization"] == Utils.get_authorization(
        request, "ACS3-HMAC-SHA256", payload, "tests-key-id", "tests-secret-key"
    )
    assert sent.headers["x-acs-action"] == "SendSms"
    assert sent.headers["x-acs-version"] == "2017-05-25"


def test_each_request_has_a_nonce_of_its_own(httpserver: HTTPServer, transport: Transport) -> None:
    httpserver.expect_request("/").respond_with_json({"Code": "OK"})
    gateway = _gateway(httpserver, transport)
    for _ in range(3):
        gateway.send(CASE.message(), Deadline.after(5))
    assert len({sent.headers["x-acs-signature-nonce"] for sent, _ in httpserver.log}) == 3


@pytest.mark.parametrize(
    ("template", "locale", "code"),
    [
        ("mismatched", "zh", "SMS_100001"),
        ("no_record", "zh", "SMS_100002"),
        ("no_record", "en", "SMS_100002"),
        ("mismatched", "en", None),
        ("unheard", "zh", None),
    ],
)
def test_a_template_is_found_by_name_and_locale_or_refused_without_a_call(
    template: str, locale: str, code: str | None, httpserver: HTTPServer, transport: Transport
) -> None:
    httpserver.expect_request("/").respond_with_json({"Code": "OK"})
    message = replace(CASE.message(), template=template, locale=locale)
    receipt = _gateway(httpserver, transport).send(message, Deadline.after(5))
    if code is None:
        assert receipt == Receipt(Delivery.REJECTED, NO_TEMPLATE, blame=Blame.OPERATOR)
        assert httpserver.log == []
    else:
        assert f"TemplateCode={code}" in httpserver.log[0][0].data.decode()


def test_our_own_reference_is_the_client_reference(
    httpserver: HTTPServer, transport: Transport
) -> None:
    assert _gateway(httpserver, transport).prepare("out-1", Deadline.after(0)) == "out-1"


def _serve_details(httpserver: HTTPServer, by_day: dict[str, list[str]]) -> list[tuple[str, str]]:
    """QuerySendDetails over these OutIds a day, in pages; returns the (day, page) asked for."""
    asked: list[tuple[str, str]] = []

    def handler(request: Request) -> Response:
        form = request.form
        assert form["PhoneNumber"] == PERSON.phone
        asked.append((form["SendDate"], form["CurrentPage"]))
        ids = by_day.get(form["SendDate"], [])
        size, page = int(form["PageSize"]), int(form["CurrentPage"])
        rows = [
            {"OutId": out_id, "SendStatus": 3, "ErrCode": "DELIVERED", "Content": "…"}
            for out_id in ids[(page - 1) * size : page * size]
        ]
        document = {
            "Code": "OK",
            "TotalCount": len(ids),
            "SmsSendDetailDTOs": {"SmsSendDetailDTO": rows},
        }
        return Response(json.dumps(document), content_type="application/json")

    httpserver.expect_request(
        "/", headers={"x-acs-action": "QuerySendDetails"}
    ).respond_with_handler(handler)
    return asked


def _reconcile(httpserver: HTTPServer, transport: Transport) -> Receipt | None:
    return _gateway(httpserver, transport).reconcile("out-1", PERSON.phone, DAY, Deadline.after(5))


def test_a_reference_that_the_vendor_lists_was_accepted(
    httpserver: HTTPServer, transport: Transport
) -> None:
    asked = _serve_details(httpserver, {"20261120": ["out-0", "out-1"]})
    assert _reconcile(httpserver, transport) == Receipt(Delivery.ACCEPTED, "DELIVERED")
    assert asked == [("20261120", "1")]


def test_a_reference_is_searched_on_every_page(
    httpserver: HTTPServer, transport: Transport
) -> None:
    ids = [f"other-{number}" for number in range(45)]
    asked = _serve_details(httpserver, {"20261120": [*ids, "out-1"]})
    found = _reconcile(httpserver, transport)
    assert found is not None
    assert found.delivery is Delivery.ACCEPTED
    assert [page for _, page in asked] == ["1", "2", "3"]


def test_a_reference_absent_from_complete_lists_was_not_accepted(
    httpserver: HTTPServer, transport: Transport
) -> None:
    _serve_details(httpserver, {"20261120": [f"other-{number}" for number in range(25)]})
    with time_machine.travel(datetime(2026, 11, 20, 15, 59, tzinfo=UTC)):  # 23:59 in Shanghai
        assert _reconcile(httpserver, transport) == Receipt(Delivery.REJECTED)


def test_a_send_committed_before_midnight_is_also_looked_for_on_the_next_day(
    httpserver: HTTPServer, transport: Transport
) -> None:
    asked = _serve_details(httpserver, {"20261121": ["out-1"]})
    with time_machine.travel(datetime(2026, 11, 20, 16, 1, tzinfo=UTC)):  # 00:01 in Shanghai
        found = _reconcile(httpserver, transport)
    assert found is not None
    assert found.delivery is Delivery.ACCEPTED
    assert [day for day, _ in asked] == ["20261120", "20261121"]


def _row(out_id: str) -> dict[str, str]:
    return {"OutId": out_id}


@pytest.mark.parametrize(
    "document",
    [
        {"Code": "isv.INVALID_PARAMETERS"},
        {"Code": "OK"},
        {"Code": "OK", "TotalCount": 2, "SmsSendDetailDTOs": {"SmsSendDetailDTO": []}},
        {"Code": "OK", "TotalCount": 1, "SmsSendDetailDTOs": {}},
        {"Code": "OK", "TotalCount": 1, "SmsSendDetailDTOs": {"SmsSendDetailDTO": ["x"]}},
        {"Code": "OK", "TotalCount": -1, "SmsSendDetailDTOs": {"SmsSendDetailDTO": []}},
        {"Code": "OK", "TotalCount": -1, "SmsSendDetailDTOs": {"SmsSendDetailDTO": [_row("x")]}},
        {"Code": "OK", "TotalCount": "-1", "SmsSendDetailDTOs": {"SmsSendDetailDTO": []}},
        {"Code": "OK", "TotalCount": "9" * 5000, "SmsSendDetailDTOs": {"SmsSendDetailDTO": []}},
        {"Code": "OK", "TotalCount": "٠", "SmsSendDetailDTOs": {"SmsSendDetailDTO": []}},
        {"Code": "OK", "TotalCount": True, "SmsSendDetailDTOs": {"SmsSendDetailDTO": []}},
        {"Code": "OK", "TotalCount": 9999, "SmsSendDetailDTOs": {"SmsSendDetailDTO": [_row("x")]}},
    ],
)
def test_an_absence_in_an_incomplete_list_proves_nothing(
    document: dict[str, object], httpserver: HTTPServer, transport: Transport
) -> None:
    httpserver.expect_request("/").respond_with_json(document)
    assert _reconcile(httpserver, transport) is None


@pytest.mark.parametrize("total", [0, "0"])
@pytest.mark.parametrize("rest", [{"SmsSendDetailDTOs": {}}, {}], ids=["no_rows", "no_list"])
def test_a_list_of_nothing_may_be_left_out(
    rest: dict[str, object], total: object, httpserver: HTTPServer, transport: Transport
) -> None:
    httpserver.expect_request("/").respond_with_json({"Code": "OK", "TotalCount": total, **rest})
    assert _reconcile(httpserver, transport) == Receipt(Delivery.REJECTED)
