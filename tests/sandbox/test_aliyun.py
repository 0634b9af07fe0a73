from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
import requests

from tests.sandbox.conftest import CUSTOMER, PHONE
from tests.sandbox.signed import aliyun, send_sms
from verifier.sandbox.server import SandboxServer
from verifier.signing import acs3

SMS = {"PhoneNumbers": PHONE, "SignName": "示例", "TemplateCode": "SMS_1001"}


def today() -> str:
    return (datetime.now(UTC) + timedelta(hours=8)).strftime("%Y%m%d")


def details(server: SandboxServer, **more: str) -> Any:
    ask = {"PhoneNumber": PHONE, "SendDate": today(), "PageSize": "10", "CurrentPage": "1", **more}
    return aliyun(server, "QuerySendDetails", ask).json()


def rows(server: SandboxServer, **more: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = details(server, **more)["SmsSendDetailDTOs"]["SmsSendDetailDTO"]
    return found


@pytest.mark.parametrize("in_query", [False, True])
def test_an_sms_is_accepted_from_form_and_query(server: SandboxServer, in_query: bool) -> None:
    answer = aliyun(server, "SendSms", {**SMS, "OutId": "m-1"}, in_query=in_query)
    assert answer.status_code == 200
    assert answer.json()["Code"] == "OK"
    [message] = server.client.messages(PHONE)
    assert message["id"] == answer.json()["BizId"]
    assert (message["reference"], message["template"]) == ("m-1", "SMS_1001")


def test_the_products_own_signature_is_accepted(server: SandboxServer) -> None:
    body = urlencode(SMS).encode()
    headers = acs3.headers(
        access_key_id=server.credentials["aliyun_key_id"],
        access_key_secret=server.credentials["aliyun_key_secret"],
        host=server.url[7:],
        action="SendSms",
        version="2017-05-25",
        body=body,
        content_type="application/x-www-form-urlencoded",
        timestamp=int(time.time()),
        nonce="once",
    )
    answer = requests.post(f"{server.url}/", data=body, headers=headers, timeout=10)
    assert answer.json()["Code"] == "OK"


def test_the_vendor_deduplicates_nothing_and_echoes_the_reference(server: SandboxServer) -> None:
    for _ in range(2):
        assert send_sms(server, PHONE, "m-1")["Code"] == "OK"
    assert [row["OutId"] for row in rows(server)] == ["m-1", "m-1"]
    assert server.client.stats()["most_messages_per_reference"] == 2


def test_details_are_paged_newest_first_and_filtered(server: SandboxServer) -> None:
    sent = [send_sms(server, PHONE, f"m-{number}") for number in range(5)]
    assert details(server, PageSize="2")["TotalCount"] == 5
    pages = [rows(server, PageSize="2", CurrentPage=str(page)) for page in (1, 2, 3, 4)]
    found = [[row["OutId"] for row in page] for page in pages]
    assert found == [["m-4", "m-3"], ["m-2", "m-1"], ["m-0"], []]
    assert [row["OutId"] for row in rows(server, BizId=sent[3]["BizId"])] == ["m-3"]
    yesterday = datetime.now(UTC) + timedelta(hours=8) - timedelta(days=1)
    assert rows(server, SendDate=yesterday.strftime("%Y%m%d")) == []


def test_a_message_shows_up_late_and_its_receipt_later(server: SandboxServer) -> None:
    server.client.settings(sms_details_lag_ms=3_600_000, sms_receipt_ms=3_600_000)
    send_sms(server, PHONE, "m-1")
    assert rows(server) == []
    server.client.settings(sms_details_lag_ms=0)
    [row] = rows(server)
    assert (row["SendStatus"], row["ErrCode"]) == (1, "")
    server.client.settings(sms_receipt_ms=0)
    [row] = rows(server)
    assert (row["SendStatus"], row["ErrCode"]) == (3, "DELIVERED")


def test_an_sms_to_a_dead_number_is_accepted_and_fails(server: SandboxServer) -> None:
    server.client.put(replace(CUSTOMER, status="cancelled"))
    assert send_sms(server, PHONE, "m-1")["Code"] == "OK"
    [row] = rows(server)
    assert (row["SendStatus"], row["ErrCode"]) == (2, "MOBILE_NOT_ON_SERVICE")


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"PhoneNumbers": "12345"}, "isv.MOBILE_NUMBER_ILLEGAL"),
        ({"PhoneNumbers": ",".join([PHONE] * 1001)}, "isv.MOBILE_COUNT_OVER_LIMIT"),
        ({"TemplateCode": "1001"}, "isv.SMS_TEMPLATE_ILLEGAL"),
        ({"TemplateCode": "SMS_9"}, "isv.SMS_TEMPLATE_ILLEGAL"),
        ({"SignName": "别家"}, "isv.SMS_SIGNATURE_ILLEGAL"),
        ({"TemplateParam": "{"}, "isv.INVALID_JSON_PARAM"),
        ({"TemplateParam": '{"tail":8000}'}, "isv.INVALID_JSON_PARAM"),
        ({"TemplateParam": "{}"}, "isv.TEMPLATE_MISSING_PARAMETERS"),
    ],
)
def test_refusals_by_the_product_are_http_200_with_its_codes(
    server: SandboxServer, changed: dict[str, str], code: str
) -> None:
    server.client.settings(sms_sign_names=["示例"], sms_templates={"SMS_1001": "尾号${tail}"})
    answer = aliyun(server, "SendSms", {**SMS, "TemplateParam": '{"tail":"8"}', **changed})
    assert (answer.status_code, answer.json()["Code"]) == (200, code)
    assert server.client.messages() == []


def test_an_approved_template_is_rendered_in_the_truth(server: SandboxServer) -> None:
    server.client.settings(sms_templates={"SMS_1001": "尾号${tail}的号码请核对"})
    send_sms(server, PHONE, "m-1")
    assert server.client.messages(PHONE)[0]["text"] == "【示例】尾号8000的号码请核对"
    assert rows(server)[0]["Content"] == "【示例】尾号8000的号码请核对"


def test_a_number_gets_only_so_many_of_one_template_a_day(server: SandboxServer) -> None:
    server.client.settings(sms_per_number_day=2)
    codes = [send_sms(server, PHONE, f"m-{number}")["Code"] for number in range(3)]
    assert codes == ["OK", "OK", "isv.BUSINESS_LIMIT_CONTROL"]
    assert send_sms(server, PHONE, "m-4", TemplateCode="SMS_1002")["Code"] == "OK"


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"secret": "another"}, 400, "SignatureDoesNotMatch"),
        ({"at": time.time() - 1000}, 400, "InvalidTimeStamp.Expired"),
    ],
)
def test_requests_that_do_not_authenticate_are_refused_by_the_gateway(
    server: SandboxServer, options: dict[str, Any], status: int, code: str
) -> None:
    answer = aliyun(server, "SendSms", SMS, **options)
    assert (answer.status_code, answer.json()["Code"]) == (status, code)
    assert server.client.messages() == []


def test_a_nonce_serves_once(server: SandboxServer) -> None:
    answers = [aliyun(server, "SendSms", SMS, nonce="once").json()["Code"] for _ in range(2)]
    assert answers == ["OK", "SignatureNonceUsed"]


def test_mandatory_parameters_and_actions_are_checked_by_the_gateway(server: SandboxServer) -> None:
    without = {key: value for key, value in SMS.items() if key != "SignName"}
    assert aliyun(server, "SendSms", without).json()["Code"] == "MissingSignName"
    answer = aliyun(server, "SendPigeon", SMS)
    assert (answer.status_code, answer.json()["Code"]) == (404, "InvalidAction.NotFound")
    assert details(server, PageSize="51")["Code"] == "isv.INVALID_PARAMETERS"
    assert details(server, SendDate="20200101")["Code"] == "isv.INVALID_PARAMETERS"
