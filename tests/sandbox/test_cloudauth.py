"""The vendor's own client library against the sandbox: it understands every word of the answers."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from alibabacloud_cloudauth20190307 import models  # type: ignore[import-untyped]
from alibabacloud_tea_openapi.exceptions import ClientException

from tests.contract.alibaba import sdk
from tests.sandbox.conftest import CUSTOMER, ID_NUMBER, NAME, PHONE
from tests.sandbox.signed import aliyun, send_sms
from verifier.outcomes import Lane
from verifier.sandbox.judge import is_id_number
from verifier.sandbox.server import SandboxServer

FOREIGNER = "932682198501010017"
TODAY = date.today()  # noqa: DTZ011 - a day more or less is no matter


def md5(value: str) -> str:
    return hashlib.md5(value.encode()).hexdigest()  # noqa: S324


def client(server: SandboxServer) -> Any:
    keys = server.credentials
    address = f"127.0.0.1:{server.port}"
    return sdk("cloudauth", address, keys["aliyun_key_id"], keys["aliyun_key_secret"])


def triple(
    server: SandboxServer,
    *,
    api: str = "detail",
    masked: bool = False,
    phone: str = PHONE,
    name: str = NAME,
    id_number: str = ID_NUMBER,
    **changed: str,
) -> tuple[str, Any]:
    """Code, and the result as (BizCode, SubCode, IspName)."""
    seen = md5 if masked else str
    fields = {
        "param_type": "md5" if masked else "normal",
        "identify_num": seen(id_number),
        "user_name": seen(name),
        "mobile": seen(phone),
        **changed,
    }
    model = "".join(word.title() for word in api.split("_"))
    request = getattr(models, f"Mobile3Meta{model}VerifyRequest")(**fields)
    answer = getattr(client(server), f"mobile_3meta_{api}_verify")(request)
    assert answer.status_code == 200, "the product says everything in HTTP 200"
    return answer.body.code, _result(answer.body.result_object)


def _result(found: Any) -> tuple[str, str | None, str] | None:
    if found is None:
        return None
    return found.biz_code, getattr(found, "sub_code", None), found.isp_name


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("api", ["detail", "detail_standard"])
def test_the_detailed_actions_say_which_element_differs(
    server: SandboxServer, api: str, masked: bool
) -> None:
    other = "110101199003070134"
    cases: tuple[tuple[dict[str, Any], tuple[str, str]], ...] = (
        ({}, ("1", "101")),
        ({"name": "李小明", "id_number": other}, ("2", "201")),
        ({"id_number": other}, ("2", "202")),
        ({"name": "李小明"}, ("2", "203")),
    )
    for changed, result in cases:
        found = triple(server, api=api, masked=masked, **changed)
        assert found == ("200", (*result, "CMCC"))
    assert triple(server, api=api, masked=masked, phone="13900139000")[1] == ("3", "301", "")
    assert server.client.calls_about(PHONE) == {"calls": 4, "processed": 4, "billed": 4}


@pytest.mark.parametrize("api", ["simple", "simple_standard"])
def test_the_simple_actions_say_yes_no_or_no_record(server: SandboxServer, api: str) -> None:
    assert triple(server, api=api) == ("200", ("1", None, "CMCC"))
    assert triple(server, api=api, name="李小明")[1] == ("2", None, "CMCC")
    assert triple(server, api=api, phone="13900139000")[1] == ("3", None, "")


@pytest.mark.parametrize("phone", ["19200138000", PHONE])  # of the segment, and ported to it
def test_only_the_standard_actions_know_broadnet(server: SandboxServer, phone: str) -> None:
    server.client.put(replace(CUSTOMER, phone=phone, carrier=Lane.CBN))
    for api in ("detail", "simple"):
        assert triple(server, api=api, phone=phone) == ("405", None)
        assert triple(server, api=api, phone=phone, masked=True) == ("405", None)
        answered = triple(server, api=f"{api}_standard", phone=phone)
        assert answered[0] == "200"
        assert answered[1][2] == "CBCC"


def test_virtual_operators_are_not_supported(server: SandboxServer) -> None:
    for api in ("detail", "detail_standard"):
        assert triple(server, api=api, phone="17000138000") == ("405", None)


@pytest.mark.parametrize(
    "changed",
    [
        {"param_type": "sm2"},
        {"phone": "1380013800"},
        {"id_number": "110105194912310021"},
        {"id_number": FOREIGNER},
        {"name": "王"},
    ],
)
def test_what_is_malformed_in_clear_is_an_invalid_parameter_and_free(
    server: SandboxServer, changed: dict[str, Any]
) -> None:
    assert triple(server, **changed) == ("401", None)
    assert server.client.calls_about(PHONE)["billed"] == 0


@pytest.mark.parametrize("field", ["identify_num", "user_name", "mobile"])
@pytest.mark.parametrize("value", ["0" * 31, "G" * 32, md5("x").upper()])
def test_a_digest_is_32_lower_case_hexadecimal_digits(
    server: SandboxServer, value: str, field: str
) -> None:
    assert triple(server, masked=True, **{field: value}) == ("401", None)


def test_of_a_digest_the_vendor_cannot_say_that_it_is_malformed(server: SandboxServer) -> None:
    assert not is_id_number(FOREIGNER, TODAY)
    assert triple(server, masked=True, id_number=FOREIGNER)[1] == ("2", "202", "CMCC")
    assert triple(server, masked=True, name="王")[1] == ("2", "203", "CMCC")


def test_an_empty_parameter_is_the_products_business(server: SandboxServer) -> None:
    assert triple(server, mobile="") == ("400", None)


def test_a_digest_is_found_as_soon_as_its_phone_is_registered_and_until_it_is_not(
    server: SandboxServer,
) -> None:
    phone = "13900139000"
    assert triple(server, masked=True, phone=phone)[1][0] == "3"  # the index is built here
    server.client.put(replace(CUSTOMER, phone=phone), replace(CUSTOMER, carrier=Lane.CUCC))
    assert triple(server, masked=True, phone=phone)[1][0] == "1"
    assert triple(server, masked=True)[1][2] == "CUCC"
    server.client.remove(phone)
    assert triple(server, masked=True, phone=phone)[1][0] == "3"
    server.client.reset(register=True)
    assert triple(server, masked=True)[1][0] == "3"


def status(server: SandboxServer, phone: str = PHONE, masked: bool = True) -> Any:
    request = models.MobileOnlineStatusRequest(
        param_type="md5" if masked else "normal", mobile=md5(phone) if masked else phone
    )
    return _result(client(server).mobile_online_status(request).body.result_object)


@pytest.mark.parametrize(
    ("registered", "result"),
    [
        ("normal", ("1", "101", "CMCC")),
        ("suspended", ("2", "201", "CMCC")),
        ("cancelled", ("2", "202", "CMCC")),
        ("empty", ("2", "204", "CMCC")),
    ],
)
def test_the_status_is_the_registers(
    server: SandboxServer, registered: Any, result: tuple[str, str, str]
) -> None:
    server.client.put(replace(CUSTOMER, status=registered))
    assert status(server) == status(server, masked=False) == result
    assert server.client.calls_about(PHONE)["billed"] == 2
    assert status(server, "13900139000") == ("3", "301", "")


def recycled(server: SandboxServer, day: str) -> tuple[str, Any]:
    request = models.MobileRecycledMetaVerifyRequest(
        param_type="md5", mobile=md5(PHONE), register_date=day
    )
    body = client(server).mobile_recycled_meta_verify(request).body
    return body.code, _result(body.result_object)


def test_a_number_changed_hands_if_its_holder_came_after_the_day(server: SandboxServer) -> None:
    assert recycled(server, "20200601")[1] == ("1", "101", "CMCC")  # held for ever
    server.client.put(replace(CUSTOMER, since="2020-06-01"))
    days = {day: recycled(server, day)[1][1] for day in ("20200531", "20200601", "20200602")}
    assert days == {"20200531": "102", "20200601": "101", "20200602": "101"}
    assert server.client.calls_about(PHONE)["billed"] == 4
    assert recycled(server, "2020-06-01") == ("401", None)


def test_a_new_holder_is_not_known_before_the_records_are(server: SandboxServer) -> None:
    yesterday = TODAY - timedelta(days=1)
    server.client.put(replace(CUSTOMER, since=yesterday.isoformat()))
    assert recycled(server, "20200601")[1] == ("1", "103", "CMCC")
    server.client.put(replace(CUSTOMER, status="cancelled"))
    assert recycled(server, "20200601")[1] == ("3", "301", "")


ASK = {"ParamType": "normal", "Mobile": PHONE}


@pytest.mark.parametrize(
    ("options", "status_code", "code"),
    [
        ({"secret": "another"}, 400, "SignatureDoesNotMatch"),
        ({"skew": -1000}, 400, "InvalidTimeStamp.Expired"),
        ({"skew": 1000}, 400, "InvalidTimeStamp.Expired"),
        ({"version": "2017-05-25"}, 400, "InvalidVersion"),
    ],
)
def test_requests_that_do_not_authenticate_are_refused_by_the_gateway(
    server: SandboxServer, options: dict[str, Any], status_code: int, code: str
) -> None:
    options = {"version": "2019-03-07", **options}
    if "skew" in options:
        options["at"] = time.time() + options.pop("skew")
    answer = aliyun(server, "MobileOnlineStatus", ASK, **options)
    assert (answer.status_code, answer.json()["Code"]) == (status_code, code)
    assert server.client.calls_about(PHONE)["billed"] == 0


def test_a_nonce_serves_once_also_across_the_accounts_products(server: SandboxServer) -> None:
    first = aliyun(server, "MobileOnlineStatus", ASK, nonce="once", version="2019-03-07")
    assert first.json()["Code"] == "200"
    parameters = {"PhoneNumbers": PHONE, "SignName": "示例", "TemplateCode": "SMS_1001"}
    second = aliyun(server, "SendSms", parameters, nonce="once")
    assert (second.status_code, second.json()["Code"]) == (400, "SignatureNonceUsed")


def test_the_parameters_may_stand_in_the_url_or_in_the_form(server: SandboxServer) -> None:
    for in_query in (False, True):
        answer = aliyun(server, "MobileOnlineStatus", ASK, in_query=in_query, version="2019-03-07")
        assert answer.json()["ResultObject"]["SubCode"] == "101"


@pytest.mark.parametrize(
    ("kind", "code"), [("maintenance", "402"), ("arrears", "412"), ("unknown_code", "477")]
)
def test_the_product_excuses_itself_in_http_200(
    server: SandboxServer, kind: str, code: str
) -> None:
    server.client.fault("cloudauth", kind)
    assert triple(server) == (code, None)
    assert send_sms(server, PHONE, "m-1")["Code"] == "OK"  # another product's fault


@pytest.mark.parametrize(
    ("fault", "code"), [("auth", "InvalidAccessKeyId.NotFound"), ("rate_limit", "Throttling.User")]
)
def test_the_gateway_excuses_itself_with_an_http_error(
    server: SandboxServer, fault: str, code: str
) -> None:
    server.client.fault("cloudauth", fault, per_second=0.01)
    if fault == "rate_limit":
        assert triple(server)[0] == "200"  # the first is within it
    with pytest.raises(ClientException) as raised:
        triple(server)
    assert raised.value.code == code
