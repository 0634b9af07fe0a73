"""The sandbox's ``MobileStatus`` and ``MobileNetworkTimeVerification``, in the vendor's words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tencentcloud.faceid.v20180301.models import (
    MobileNetworkTimeVerificationRequest,
    MobileStatusRequest,
)

from tests.sandbox.conftest import CUSTOMER, PHONE
from tests.sandbox.signed import tencent
from tests.sandbox.test_sdk import client_of
from verifier.outcomes import Lane
from verifier.sandbox.server import SandboxServer
from verifier.sandbox.tencent_checks import full_months

STATUS, TIME = "MobileStatus", "MobileNetworkTimeVerification"


def ask(server: SandboxServer, action: str, phone: str = PHONE) -> Any:
    answer = tencent(server, {"Mobile": phone}, action=action)
    assert answer.headers["Content-Type"] == "application/json"
    return answer.json()["Response"]


def months_ago(months: int) -> str:
    """The day so many months ago that is sure to make them full: three days earlier still."""
    today = datetime.now(UTC).astimezone(ZoneInfo("Asia/Shanghai")).date()
    total = today.year * 12 + today.month - 1 - months
    return (date(total // 12, total % 12 + 1, min(today.day, 28)) - timedelta(days=3)).isoformat()


@pytest.mark.parametrize(
    ("status", "code"), [("normal", 0), ("suspended", 1), ("cancelled", 2), ("empty", 4)]
)
def test_every_status_of_the_register_has_its_code(
    server: SandboxServer, status: Any, code: int
) -> None:
    server.client.put(replace(CUSTOMER, status=status))
    answer = ask(server, STATUS)
    assert answer.pop("RequestId")
    assert answer == {"Result": "0", "Description": "成功", "StatusCode": code}
    assert server.client.calls_about(PHONE)["billed"] == 1


@pytest.mark.parametrize(
    ("months", "span"),
    [
        (0, "[0,3)"),
        (2, "[0,3)"),
        (3, "[3,6)"),
        (6, "[6,12)"),
        (11, "[6,12)"),
        (12, "[12,24)"),
        (24, "[24,+)"),
        (240, "[24,+)"),
    ],
)
def test_the_time_in_the_network_is_a_range_of_months(
    server: SandboxServer, months: int, span: str
) -> None:
    server.client.put(replace(CUSTOMER, since=months_ago(months)))
    answer = ask(server, TIME)
    assert answer.pop("RequestId")
    assert answer == {"Result": "0", "Description": "成功", "Range": span}


@pytest.mark.parametrize(
    ("action", "entry", "phone", "result", "billed"),
    [
        (STATUS, {}, "13900139000", "-1", 0),
        (STATUS, {}, "12800138000", "-2", 0),
        (STATUS, {"refuses": "phone"}, PHONE, "-2", 0),
        (STATUS, {}, "17000138000", "-13", 0),
        (STATUS, {"carrier": Lane.CBN}, PHONE, "-13", 0),  # ported to where it does not reach
        (TIME, {}, "13900139000", "-2", 1),
        (TIME, {"status": "cancelled"}, PHONE, "-2", 1),
        (TIME, {"status": "empty"}, PHONE, "-2", 1),
        (TIME, {"since": date.today().isoformat()}, PHONE, "-3", 1),  # noqa: DTZ011
        (TIME, {}, "12800138000", "-1", 0),
        (TIME, {}, "17000138000", "-13", 0),
        (TIME, {}, PHONE, "0", 1),  # since long ago
    ],
)
def test_the_same_number_is_called_and_billed_differently(
    server: SandboxServer, action: str, entry: Any, phone: str, result: str, billed: int
) -> None:
    server.client.put(replace(CUSTOMER, **entry))
    assert ask(server, action, phone)["Result"] == result
    assert server.client.calls_about(phone) == {"calls": 1, "processed": 1, "billed": billed}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "MissingParameter"),
        ({"Mobile": 13800138000}, "InvalidParameter"),
        ({"Mobile": PHONE, "VerifyMode": "0"}, "UnknownParameter"),
        ({"Phone": PHONE}, "UnknownParameter"),
        (b"[" * 100_000, "InvalidParameter"),
    ],
)
def test_parameters_are_checked_with_the_vendors_codes(
    server: SandboxServer, body: Any, code: str
) -> None:
    for action in (STATUS, TIME):
        answer = tencent(server, body, action=action).json()["Response"]
        assert answer["Error"]["Code"] == code


@pytest.mark.parametrize(("action", "result"), [(STATUS, "-3"), (TIME, "-4")])
def test_busy_is_called_differently_too(server: SandboxServer, action: str, result: str) -> None:
    server.client.fault("tencent", "maintenance", action=action)
    answer = ask(server, action)
    assert (answer["Result"], answer["Description"]) == (result, "验证中心服务繁忙")
    assert server.client.calls_about(PHONE)["billed"] == 0


def test_the_sdk_reads_the_answers(server: SandboxServer) -> None:
    client = client_of(server)
    status, duration = MobileStatusRequest(), MobileNetworkTimeVerificationRequest()
    status.Mobile = duration.Mobile = PHONE
    assert client.MobileStatus(status).StatusCode == 0
    assert client.MobileNetworkTimeVerification(duration).Range == "[24,+)"


def test_months_are_full_only_on_their_day() -> None:
    assert full_months(date(2026, 1, 10), date(2026, 4, 9)) == 2
    assert full_months(date(2026, 1, 10), date(2026, 4, 10)) == 3
