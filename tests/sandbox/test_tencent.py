from __future__ import annotations

import time
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
import requests

from tests.sandbox.conftest import CUSTOMER, ID_NUMBER, NAME, PHONE
from tests.sandbox.signed import tencent, verify
from verifier.outcomes import Lane
from verifier.sandbox.server import SandboxServer
from verifier.signing import tc3

TRIPLE = {"Phone": PHONE, "Name": NAME, "IdCard": ID_NUMBER}


def error_code(response: requests.Response) -> str:
    assert response.status_code == 200, "the vendor reports errors inside HTTP 200"
    code: str = response.json()["Response"]["Error"]["Code"]
    return code


def test_the_true_customer_matches_in_the_vendors_wire_format(server: SandboxServer) -> None:
    answer = tencent(server, TRIPLE)
    assert answer.headers["Content-Type"] == "application/json"
    response = answer.json()["Response"]
    assert response.pop("RequestId")
    assert response == {
        "Result": "0",
        "Description": "认证通过",
        "Isp": "移动",
        "ResultDetail": "",
    }


def test_the_products_own_signature_is_accepted(server: SandboxServer) -> None:
    body, now, host = b'{"Phone":"1","Name":"2","IdCard":"3"}', int(time.time()), server.url[7:]
    authorization = tc3.authorization(
        secret_id=server.credentials["tencent_secret_id"],
        secret_key=server.credentials["tencent_secret_key"],
        service="faceid",
        host=host,
        content_type="application/json",
        body=body,
        timestamp=now,
    )
    headers = {
        "Content-Type": "application/json",
        "X-TC-Action": "PhoneVerification",
        "X-TC-Version": "2018-03-01",
        "X-TC-Timestamp": str(now),
        "Authorization": authorization,
    }
    answer = requests.post(f"{server.url}/", data=body, headers=headers, timeout=10)
    assert answer.json()["Response"]["Result"] == "-6"


@pytest.mark.parametrize(
    ("name", "id_number", "detail"),
    [
        ("李小明", ID_NUMBER, "PhoneNameMismatch"),
        (NAME, "110101199003070134", "PhoneIdCardMismatch"),
        ("李小明", "110101199003070134", "PhoneNameIdCardMismatch"),
    ],
)
def test_only_the_detailed_mode_says_which_element_differs(
    server: SandboxServer, name: str, id_number: str, detail: str
) -> None:
    basic = verify(server, PHONE, name, id_number)
    detailed = verify(server, PHONE, name, id_number, VerifyMode="1")
    assert (basic["Result"], basic["ResultDetail"]) == ("-4", "")
    assert (detailed["Result"], detailed["ResultDetail"]) == ("-4", detail)


@pytest.mark.parametrize(
    ("changed", "result"),
    [
        ({"Phone": "12800138000"}, "-6"),
        ({"Phone": "1380013800"}, "-6"),
        ({"IdCard": "110105194912310021"}, "-7"),
        ({"IdCard": "110105194913310027"}, "-7"),
        ({"IdCard": "932682198501010017"}, "-7"),
        ({"Name": "王"}, "-8"),
        ({"Name": "王1明"}, "-8"),
        ({"Phone": "19200138000"}, "-13"),
        ({"Phone": "17000138000"}, "-13"),
        ({"Phone": "13900139000"}, "-9"),
    ],
)
def test_what_is_malformed_unsupported_or_unknown_is_free(
    server: SandboxServer, changed: dict[str, str], result: str
) -> None:
    ask = {**TRIPLE, **changed}
    assert verify(server, ask["Phone"], ask["Name"], ask["IdCard"])["Result"] == result
    assert server.client.calls_about(ask["Phone"]) == {"calls": 1, "processed": 1, "billed": 0}


@pytest.mark.parametrize(
    ("action", "carrier", "result"),
    [
        ("PhoneVerification", Lane.CUCC, "0"),
        ("PhoneVerificationCUCC", Lane.CUCC, "0"),
        ("PhoneVerificationCMCC", Lane.CUCC, "-9"),
        ("PhoneVerificationCTCC", Lane.CTCC, "0"),
        ("PhoneVerification", Lane.CBN, "-13"),
    ],
)
def test_a_carriers_own_endpoint_knows_only_its_customers(
    server: SandboxServer, action: str, carrier: Lane, result: str
) -> None:
    server.client.put(replace(CUSTOMER, carrier=carrier))  # ported: the prefix is China Mobile's
    assert verify(server, PHONE, NAME, ID_NUMBER, action=action)["Result"] == result


@pytest.mark.parametrize(
    ("status", "result"), [("suspended", "0"), ("cancelled", "-9"), ("empty", "-9")]
)
def test_suspended_numbers_verify_and_dead_ones_have_no_record(
    server: SandboxServer, status: Any, result: str
) -> None:
    server.client.put(replace(CUSTOMER, status=status))
    assert verify(server, PHONE, NAME, ID_NUMBER)["Result"] == result


def test_a_new_number_has_no_record_until_it_has_settled(server: SandboxServer) -> None:
    yesterday = date.today() - timedelta(days=1)  # noqa: DTZ011 - a day more or less is no matter
    server.client.put(replace(CUSTOMER, since=yesterday.isoformat()))
    assert verify(server, PHONE, NAME, ID_NUMBER)["Result"] == "-9"
    server.client.settings(settle_days=0)
    assert verify(server, PHONE, NAME, ID_NUMBER)["Result"] == "0"


@pytest.mark.parametrize(
    ("field", "result"), [("phone", "-6"), ("id_number", "-7"), ("name", "-8")]
)
def test_the_vendor_may_refuse_what_looks_well_formed(
    server: SandboxServer, field: Any, result: str
) -> None:
    server.client.put(replace(CUSTOMER, refuses=field))
    assert verify(server, PHONE, NAME, ID_NUMBER)["Result"] == result


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"key": "another key"}, "AuthFailure.SignatureFailure"),
        ({"at": time.time() - 310}, "AuthFailure.SignatureExpire"),
        ({"at": time.time() + 3600}, "AuthFailure.SignatureExpire"),
        ({"version": "2017-01-01"}, "NoSuchVersion"),
        ({"action": "PhoneTeleportation"}, "InvalidAction"),
    ],
)
def test_requests_that_do_not_authenticate_or_exist_are_refused_and_free(
    server: SandboxServer, options: dict[str, Any], code: str
) -> None:
    assert error_code(tencent(server, TRIPLE, **options)) == code
    assert server.client.calls_about(PHONE)["billed"] == 0


def test_a_body_changed_after_signing_is_refused(server: SandboxServer) -> None:
    prepared = tencent(server, TRIPLE).request
    assert isinstance(prepared.body, bytes)
    changed = prepared.body.replace(PHONE.encode(), b"13800138001")
    answer = requests.post(
        f"{server.url}/",
        data=changed,
        headers={k: v for k, v in prepared.headers.items() if k != "Content-Length"},
        timeout=10,
    )
    assert error_code(answer) == "AuthFailure.SignatureFailure"


def test_an_unsigned_request_is_refused(server: SandboxServer) -> None:
    headers = {"X-TC-Action": "PhoneVerification", "Content-Type": "application/json"}
    answer = requests.post(f"{server.url}/", json=TRIPLE, headers=headers, timeout=10)
    assert error_code(answer) == "AuthFailure.InvalidAuthorization"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"not json", "InvalidParameter"),
        (b"[]", "InvalidParameter"),
        ({"Phone": PHONE, "Name": NAME}, "MissingParameter"),
        ({**TRIPLE, "Phone": 13800138000}, "InvalidParameter"),
        ({**TRIPLE, "Colour": "red"}, "UnknownParameter"),
        ({**TRIPLE, "VerifyMode": "2"}, "InvalidParameterValue"),
        ({**TRIPLE, "CiphertextBlob": "xx"}, "FailedOperation.DecryptSystemError"),
    ],
)
def test_parameters_are_checked_with_the_vendors_codes(
    server: SandboxServer, body: Any, code: str
) -> None:
    assert error_code(tencent(server, body)) == code


def test_the_rate_is_limited_an_action_apart(server: SandboxServer) -> None:
    server.client.settings(per_second={"tencent": 1})
    results = [tencent(server, TRIPLE).json()["Response"] for _ in range(2)]
    assert results[0]["Result"] == "0"
    assert results[1]["Error"]["Code"] == "RequestLimitExceeded"
    assert verify(server, PHONE, NAME, ID_NUMBER, action="PhoneVerificationCMCC")["Result"] == "0"
