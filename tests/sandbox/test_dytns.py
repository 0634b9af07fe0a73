"""The vendor's own client library against the sandbox: it understands every word of the answers."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from alibabacloud_dytnsapi20200217 import models  # type: ignore[import-untyped]
from alibabacloud_tea_openapi.exceptions import ClientException, ServerException

from tests.contract.alibaba import sdk
from tests.sandbox.conftest import CUSTOMER, ID_NUMBER, NAME, PHONE
from tests.sandbox.signed import aliyun
from verifier.outcomes import Lane
from verifier.sandbox.server import SandboxServer

TODAY = date.today()  # noqa: DTZ011 - a day more or less is no matter
VIRTUAL_PHONE = "17012345678"
OTHER = "110101199003070134"
MASKS = ("NORMAL", "MD5", "SHA256")


def seen(value: str, mask: str) -> str:
    if mask == "NORMAL":
        return value
    # Letters of a digest may have either case.
    return hashlib.new(mask.lower(), value.encode()).hexdigest().upper()


def client(server: SandboxServer) -> Any:
    keys = server.credentials
    address = f"127.0.0.1:{server.port}"
    return sdk("dytns", address, keys["aliyun_key_id"], keys["aliyun_key_secret"])


def verify(
    server: SandboxServer,
    *,
    mask: str = "SHA256",
    phone: str = PHONE,
    name: str = NAME,
    id_number: str = ID_NUMBER,
    **changed: str,
) -> tuple[str, int | None]:
    """Code and IsConsistent."""
    fields = {
        "auth_code": server.credentials["dytns_auth_code"],
        "input_number": seen(phone, mask),
        "cert_code": seen(id_number, mask),
        "name": seen(name, mask),
        "mask": mask,
        **changed,
    }
    request = models.ThreeElementsVerificationRequest(**fields)
    body = client(server).three_elements_verification(request).body
    return body.code, body.data and body.data.is_consistent


def verify_virtual(server: SandboxServer, **changed: str) -> tuple[str, int | None]:
    fields = {
        "auth_code": server.credentials["dytns_auth_code"],
        "input_number": VIRTUAL_PHONE,
        "cert_code": ID_NUMBER,
        "cert_name": NAME,
        "mask": "NORMAL",
        **changed,
    }
    request = models.VirtualThreeElementsVerificationRequest(**fields)
    body = client(server).virtual_three_elements_verification(request).body
    return body.code, body.data and body.data.is_consistent


def ask(server: SandboxServer, api: str, phone: str = PHONE, **more: str) -> tuple[str, Any]:
    """Code and data of a check."""
    model = "".join(word.title() for word in api.split("_"))
    request = getattr(models, f"{model}Request")(
        auth_code=server.credentials["dytns_auth_code"],
        input_number=seen(phone, "SHA256"),
        mask="SHA256",
        **more,
    )
    body = getattr(client(server), api)(request).body
    return body.code, body.data


@pytest.mark.parametrize("mask", MASKS)
def test_three_elements_are_compared_by_their_digests(server: SandboxServer, mask: str) -> None:
    assert verify(server, mask=mask) == ("OK", 1)
    assert verify(server, mask=mask, name="李小明") == ("OK", 0)
    assert verify(server, mask=mask, id_number=OTHER) == ("OK", 0)
    assert server.client.calls_about(PHONE) == {"calls": 3, "processed": 3, "billed": 3}
    assert server.client.calls_about(ID_NUMBER)["billed"] == 2  # the third was about another
    assert verify(server, mask=mask, phone="13900139000") == ("OK", 2)


def test_virtual_operators_have_a_verification_of_their_own_with_swapped_answers(
    server: SandboxServer,
) -> None:
    assert verify_virtual(server) == ("OK", 0)  # no record
    assert server.client.calls_about(VIRTUAL_PHONE)["billed"] == 0
    server.client.put(replace(CUSTOMER, phone=VIRTUAL_PHONE, carrier=Lane.MVNO))
    assert verify_virtual(server) == ("OK", 1)
    assert verify_virtual(server, cert_name="李小明") == ("OK", 2)
    assert server.client.calls_about(VIRTUAL_PHONE)["billed"] == 2
    assert verify_virtual(server, input_number=PHONE) == ("RequestNumberNotSupported", None)
    assert verify(server, phone=VIRTUAL_PHONE) == ("RequestNumberNotSupported", None)


@pytest.mark.parametrize("status", ["cancelled", "empty"])
@pytest.mark.parametrize(
    ("carrier", "consistent", "billed"),
    [(Lane.CMCC, 2, 0), (Lane.CTCC, 2, 0), (Lane.CUCC, 0, 1)],
)
def test_unicoms_dead_numbers_are_inconsistent_and_the_others_not_found(
    server: SandboxServer, carrier: Lane, consistent: int, billed: int, status: Any
) -> None:
    server.client.put(replace(CUSTOMER, carrier=carrier, status=status))
    assert verify(server) == ("OK", consistent)
    assert server.client.calls_about(PHONE)["billed"] == billed


def test_a_virtual_operators_dead_number_is_not_found(server: SandboxServer) -> None:
    entry = replace(CUSTOMER, phone=VIRTUAL_PHONE, carrier=Lane.MVNO, status="cancelled")
    server.client.put(entry)
    assert verify_virtual(server) == ("OK", 0)


@pytest.mark.parametrize("carrier", [Lane.CMCC, Lane.CUCC, Lane.CTCC])
def test_suspended_numbers_are_verified_normally(server: SandboxServer, carrier: Lane) -> None:
    server.client.put(replace(CUSTOMER, carrier=carrier, status="suspended"))
    assert verify(server) == ("OK", 1)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"auth_code": "another"}, "AuthCodeNotExist"),
        ({"mask": "sha256"}, "EncyrptTypeIllegal"),
        ({"mask": "SM3"}, "EncyrptTypeIllegal"),
        ({"input_number": PHONE}, "MobileNumberTypeNotMatch"),
        ({"input_number": "0"}, "MobileNumberTypeNotMatch"),
        ({"cert_code": ID_NUMBER}, "CertCodeIllegal"),
        ({"mask": "NORMAL", "input_number": "0"}, "MobileNumberIllegal"),
    ],
)
def test_parameters_are_refused_with_http_400_and_the_products_codes(
    server: SandboxServer, changed: dict[str, str], code: str
) -> None:
    mask = "NORMAL" if changed.get("mask") == "NORMAL" else "SHA256"
    with pytest.raises(ClientException) as raised:
        verify(server, **{"mask": mask, **changed})
    assert (raised.value.code, raised.value.status_code) == (code, 400)
    assert server.client.calls_about(PHONE)["billed"] == 0


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("phone", "MobileNumberIllegal"),
        ("id_number", "CertCodeIllegal"),
        ("name", "InvalidParameter"),
    ],
)
def test_the_vendor_may_refuse_what_looks_well_formed(
    server: SandboxServer, field: Any, code: str
) -> None:
    server.client.put(replace(CUSTOMER, refuses=field))
    with pytest.raises(ClientException) as raised:
        verify(server, mask="NORMAL")
    assert raised.value.code == code


def test_the_virtual_verification_takes_clear_text_only(server: SandboxServer) -> None:
    with pytest.raises(ClientException) as raised:
        verify_virtual(server, mask="SHA256")
    assert raised.value.code == "EncyrptTypeIllegal"


@pytest.mark.parametrize(
    ("phone", "carrier", "answer"),
    [
        (PHONE, Lane.CMCC, ("中国移动", "中国移动", False)),
        (PHONE, Lane.CUCC, ("中国移动", "中国联通", True)),
        (PHONE, Lane.CBN, ("中国移动", "中国广电", True)),
        (VIRTUAL_PHONE, Lane.MVNO, ("中国联通", "阿里通信", False)),
        ("19212345678", Lane.CBN, ("中国广电", "中国广电", False)),
    ],
)
def test_the_carrier_is_the_registers_and_the_basic_one_the_segments(
    server: SandboxServer, phone: str, carrier: Lane, answer: tuple[str, str, bool]
) -> None:
    server.client.put(replace(CUSTOMER, phone=phone, carrier=carrier))
    code, data = ask(server, "describe_phone_number_operator_attribute", phone)
    assert (data.basic_carrier, data.carrier, data.is_number_portability) == answer
    assert code == "OK"
    assert server.client.calls_about(phone)["billed"] == 1


def test_the_carrier_of_an_unknown_number_is_not_found(server: SandboxServer) -> None:
    found = ask(server, "describe_phone_number_operator_attribute", "13900139000")
    assert found == ("PhoneNumberNotfound", None)


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        ("normal", "NORMAL"),
        ("suspended", "SHUTDOWN"),
        ("cancelled", "NOT_EXIST"),
        ("empty", "NOT_EXIST"),
    ],
)
def test_the_status_is_the_registers(server: SandboxServer, status: Any, answer: str) -> None:
    server.client.put(replace(CUSTOMER, status=status))
    code, data = ask(server, "phone_number_status_for_real")
    assert (code, data.status, data.carrier) == ("OK", answer, "CMCC")
    assert server.client.calls_about(PHONE)["billed"] == 1


def test_a_status_that_is_not_known_is_free_and_broadnet_is_restricted(
    server: SandboxServer,
) -> None:
    _, data = ask(server, "phone_number_status_for_real", "13900139000")
    assert data.status == "UNKNOWN"
    server.client.put(replace(CUSTOMER, carrier=Lane.CBN))
    assert ask(server, "phone_number_status_for_real") == ("OperatorLimit", None)
    totals = server.client.stats()["totals"]["dytns PhoneNumberStatusForReal"]
    assert totals == {"Status UNKNOWN": 1, "OperatorLimit": 1}
    assert server.client.calls_about(PHONE)["billed"] == 0


def recycled(server: SandboxServer, start: str) -> str | None:
    code, data = ask(server, "describe_phone_twice_tel_verify", start_time=start)
    assert code == "OK"
    result: str = data.verify_result
    return result


def test_a_number_changed_hands_if_its_holder_came_after_the_day(server: SandboxServer) -> None:
    assert recycled(server, "2020-06-01 00:00:00") == "2"  # held for ever
    server.client.put(replace(CUSTOMER, since="2020-06-01"))
    assert recycled(server, "2020-05-31 23:59:59") == "1"
    assert recycled(server, "2020-06-01 23:59:59") == "2"
    assert server.client.calls_about(PHONE)["billed"] == 3
    with pytest.raises(ClientException) as raised:
        recycled(server, "2020-06-01")
    assert raised.value.code == "InvalidParameter"


def test_a_dead_number_and_one_too_new_are_told_apart(server: SandboxServer) -> None:
    server.client.put(replace(CUSTOMER, status="cancelled"))
    assert recycled(server, "2020-06-01 00:00:00") == "3"
    server.client.put(replace(CUSTOMER, since=(TODAY - timedelta(days=1)).isoformat()))
    assert recycled(server, "2020-06-01 00:00:00") == "0"
    assert server.client.calls_about(PHONE)["billed"] == 1


def test_broadnet_and_virtual_numbers_cannot_be_asked_about(server: SandboxServer) -> None:
    for carrier in (Lane.CBN, Lane.MVNO):
        server.client.put(replace(CUSTOMER, carrier=carrier))
        found = ask(server, "describe_phone_twice_tel_verify", start_time="2020-06-01 00:00:00")
        assert found == ("RequestNumberNotSupported", None)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"secret": "another"}, "SignatureDoesNotMatch"),
        ({"skew": -1000}, "InvalidTimeStamp.Expired"),
        ({"skew": 1000}, "InvalidTimeStamp.Expired"),
        ({"version": "2019-03-07"}, "InvalidVersion"),
    ],
)
def test_requests_that_do_not_authenticate_are_refused_by_the_gateway(
    server: SandboxServer, options: dict[str, Any], code: str
) -> None:
    fields = {
        "AuthCode": server.credentials["dytns_auth_code"],
        "InputNumber": PHONE,
        "Mask": "NORMAL",
    }
    options = {"version": "2020-02-17", **options}
    if "skew" in options:
        options["at"] = time.time() + options.pop("skew")
    answer = aliyun(server, "PhoneNumberStatusForReal", fields, in_query=True, **options)
    assert (answer.status_code, answer.json()["Code"]) == (400, code)
    assert server.client.calls_about(PHONE)["billed"] == 0


def test_a_missing_parameter_is_named_by_the_gateway(server: SandboxServer) -> None:
    with pytest.raises(ClientException) as raised:
        verify(server, auth_code="")
    assert raised.value.code == "MissingAuthCode"


@pytest.mark.parametrize(
    ("kind", "error", "code"),
    [
        ("auth", ClientException, "AuthCodeNotExist"),
        ("arrears", ClientException, "InsufficientBalance"),
        ("rate_limit", ClientException, "Throttling.User"),
        ("maintenance", ServerException, "ServiceUnavailable"),
    ],
)
def test_the_vendor_excuses_itself_in_its_own_words(
    server: SandboxServer, kind: str, error: type[Any], code: str
) -> None:
    server.client.fault("dytns", kind, per_second=0.01)
    if kind == "rate_limit":
        assert verify(server) == ("OK", 1)  # the first is within it
    with pytest.raises(error) as raised:
        verify(server)
    assert raised.value.code == code


def test_a_code_that_no_book_has_comes_in_http_200(server: SandboxServer) -> None:
    server.client.fault("dytns", "unknown_code")
    assert verify(server) == ("NEVER_HEARD_OF", None)
