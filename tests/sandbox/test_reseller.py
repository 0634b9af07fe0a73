from __future__ import annotations

import hashlib
import hmac
import json
import time
from dataclasses import replace
from typing import Any

import pytest
import requests

from tests.sandbox.conftest import CUSTOMER, ID_NUMBER, NAME, PHONE
from verifier.outcomes import Lane
from verifier.sandbox.reseller import sign
from verifier.sandbox.server import SandboxServer

TRIPLE = {"mobile": PHONE, "name": NAME, "idCard": ID_NUMBER}


def ask(
    server: SandboxServer,
    fields: dict[str, Any] | bytes,
    *,
    action: str = "three-elements",
    at: float | None = None,
    key: str | None = None,
    secret: str | None = None,
) -> Any:
    """The answer's document; the signature is computed here for itself."""
    body = fields
    if isinstance(fields, dict):
        stamp = str(int(time.time() if at is None else at))
        asked = {"timestamp": stamp, "nonce": "0a1b", **fields}
        text = "&".join(f"{name}={asked[name]}" for name in sorted(asked))
        digest = hmac.new(
            (secret or server.credentials["reseller_app_secret"]).encode(),
            text.encode(),
            hashlib.sha256,
        )
        body = json.dumps({"sign": digest.hexdigest(), **asked}).encode()
    answer = requests.post(
        f"{server.url}/reseller/v1/{action}",
        data=body,
        headers={"X-App-Key": key or server.credentials["reseller_app_key"]},
        timeout=10,
    )
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    return answer.json()


def test_the_true_customer_matches_in_the_vendors_wire_format(server: SandboxServer) -> None:
    document = ask(server, TRIPLE)
    assert document.pop("requestId")
    data = {"result": "1", "detail": "", "carrier": "CMCC", "fee": 15}
    assert document == {"code": "0", "message": "成功", "data": data}
    assert server.client.calls_about(PHONE) == {"calls": 1, "processed": 1, "billed": 1}


def test_the_signature_is_the_documented_one() -> None:
    fields = {"mobile": "13800138000", "name": "王小明", "timestamp": "1", "sign": "not covered"}
    # printf 'mobile=13800138000&name=王小明&timestamp=1' | openssl dgst -sha256 -hmac secret
    assert sign(fields, b"secret") == (
        "eca8a9c4228b96bed7aadeb54afd273b9364d82c562658f5a4dd9d23da87112e"
    )


@pytest.mark.parametrize(
    ("changed", "detail"),
    [
        ({"name": "李小明"}, "name"),
        ({"idCard": "110101199003070134"}, "idCard"),
        ({"name": "李小明", "idCard": "110101199003070134"}, "both"),
    ],
)
def test_a_mismatch_says_what_differs_and_is_billed(
    server: SandboxServer, changed: dict[str, str], detail: str
) -> None:
    data = ask(server, {**TRIPLE, **changed})["data"]
    assert (data["result"], data["detail"], data["fee"]) == ("2", detail, 15)
    assert server.client.calls_about(PHONE)["billed"] == 1


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"mobile": "12800138000"}, "2001"),
        ({"idCard": "110105194912310021"}, "2002"),
        ({"name": "王1明"}, "2003"),
        ({"mobile": "15400138000"}, "2004"),  # nobody's segment
        ({"mobile": "13900139000"}, "3"),
    ],
)
def test_what_is_malformed_unsupported_or_unknown_is_free(
    server: SandboxServer, changed: dict[str, str], code: str
) -> None:
    ask_for = {**TRIPLE, **changed}
    document = ask(server, ask_for)
    assert code in (document["code"], (document["data"] or {}).get("result"))
    assert server.client.calls_about(ask_for["mobile"])["billed"] == 0


@pytest.mark.parametrize(
    ("phone", "carrier"), [("19200138000", Lane.CBN), ("17000138000", Lane.MVNO)]
)
def test_it_reaches_broadnet_and_virtual_operators(
    server: SandboxServer, phone: str, carrier: Lane
) -> None:
    server.client.put(replace(CUSTOMER, phone=phone, carrier=carrier))
    data = ask(server, {**TRIPLE, "mobile": phone})["data"]
    assert (data["result"], data["carrier"]) == ("1", carrier.value.upper())


@pytest.mark.parametrize(
    ("status", "code"),
    [("normal", "0"), ("suspended", "1"), ("cancelled", "2"), ("empty", "3")],
)
def test_the_status_of_a_number_is_the_registers(
    server: SandboxServer, status: Any, code: str
) -> None:
    server.client.put(replace(CUSTOMER, status=status))
    assert ask(server, {"mobile": PHONE}, action="number-status")["data"]["status"] == code
    assert server.client.calls_about(PHONE)["billed"] == 1


def test_the_status_of_an_unknown_number_is_unknown_and_free(server: SandboxServer) -> None:
    data = ask(server, {"mobile": "13900139000"}, action="number-status")["data"]
    assert data == {"status": "9", "fee": 0}
    assert server.client.calls_about("13900139000")["billed"] == 0
    assert ask(server, {"mobile": "1390013900x"}, action="number-status")["code"] == "2001"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"key": "another key"}, "1001"),
        ({"secret": "another secret"}, "1002"),
        ({"at": time.time() - 310}, "1003"),
        ({"at": time.time() + 3600}, "1003"),
        ({"action": "teleportation"}, "1008"),
    ],
)
def test_requests_that_do_not_authenticate_or_exist_are_refused_and_free(
    server: SandboxServer, options: dict[str, Any], code: str
) -> None:
    assert ask(server, TRIPLE, **options)["code"] == code
    assert server.client.calls_about(PHONE)["billed"] == 0


def test_a_clock_a_little_off_is_borne_with(server: SandboxServer) -> None:
    for skew in (-280, 280):
        assert ask(server, TRIPLE, at=time.time() + skew)["code"] == "0"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"[" * 60_000,
        {},
        {"mobile": PHONE, "name": NAME},
        {**TRIPLE, "idCard": ""},
        {**TRIPLE, "mobile": 13800138000},
        {**TRIPLE, "sign": ""},
        {**TRIPLE, "timestamp": ["1"]},
        {**TRIPLE, "extra": {"a": 1}},
    ],
)
def test_parameters_are_checked(server: SandboxServer, body: Any) -> None:
    assert ask(server, body)["code"] == "1004"


def test_a_body_changed_after_signing_is_refused(server: SandboxServer) -> None:
    fields = {**TRIPLE, "timestamp": str(int(time.time())), "nonce": "n"}
    secret = server.credentials["reseller_app_secret"].encode()
    signed = {**fields, "sign": sign(fields, secret)}
    assert ask(server, json.dumps(signed).encode())["code"] == "0"
    for name, value in (("mobile", "13800138001"), ("nonce", "m"), ("sign", "王")):
        assert ask(server, json.dumps({**signed, name: value}).encode())["code"] == "1002"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("maintenance", "1007"),
        ("auth", "1001"),
        ("arrears", "1006"),
        ("unknown_code", "7777"),
    ],
)
def test_scripted_refusals_are_in_the_vendors_own_words(
    server: SandboxServer, kind: Any, code: str
) -> None:
    fault = server.client.fault("reseller", kind)
    assert ask(server, TRIPLE)["code"] == code
    server.client.lift(fault)
    assert ask(server, TRIPLE)["code"] == "0"


def test_the_rate_is_limited_an_action_apart(server: SandboxServer) -> None:
    server.client.settings(per_second={"reseller": 1})
    assert [ask(server, TRIPLE)["code"] for _ in range(2)] == ["0", "1005"]
    assert ask(server, {"mobile": PHONE}, action="number-status")["code"] == "0"
