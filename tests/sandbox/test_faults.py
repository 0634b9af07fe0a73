"""Each scripted fault, seen from the client's side of a real socket."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from typing import Any

import pytest
import requests

from tests.sandbox.conftest import ID_NUMBER, NAME, PHONE
from tests.sandbox.signed import aliyun, cids, push, push_payload, send_sms, tencent, verify
from verifier.sandbox.server import SandboxServer

TRIPLE = {"Phone": PHONE, "Name": NAME, "IdCard": ID_NUMBER}
TOKEN = "sandbox-0011223344556677"


def is_matched(server: SandboxServer) -> bool:
    return bool(verify(server, PHONE, NAME, ID_NUMBER)["Result"] == "0")


def test_slow_answers_are_late_and_good(server: SandboxServer) -> None:
    server.client.fault("tencent", "slow", ms=300)
    started = time.monotonic()
    assert is_matched(server)
    assert time.monotonic() - started >= 0.3


def test_latency_delays_every_vendor(server: SandboxServer) -> None:
    server.client.settings(latency_ms=150, jitter_ms=10)
    for ask in (lambda: is_matched(server), lambda: cids(server)):
        started = time.monotonic()
        ask()
        assert time.monotonic() - started >= 0.15


@pytest.mark.parametrize("part", ["headers", "body"])
def test_drips_outlast_a_read_timeout_that_starts_anew_with_each_byte(
    server: SandboxServer, part: str
) -> None:
    server.client.fault("tencent", "drip", bytes_per_second=100, part=part)
    started = time.monotonic()
    answer = tencent(server, TRIPLE, timeout=1.0)
    assert answer.json()["Response"]["Result"] == "0"
    assert time.monotonic() - started > 1.0


def test_refuse_closes_the_port_cuts_connections_and_opens_again(server: SandboxServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as idle:
        idle.settimeout(10)
        server.client.fault("*", "refuse", seconds=1.0)
        with pytest.raises(requests.ConnectionError):
            tencent(server, TRIPLE)
        with contextlib.suppress(ConnectionResetError):
            assert idle.recv(1) == b""
    deadline = time.monotonic() + 10
    while True:
        try:
            assert is_matched(server)
            break
        except requests.ConnectionError:
            assert time.monotonic() < deadline, "the port did not open again"


@pytest.mark.parametrize("options", [{}, {"seconds": 5, "rate": 0.5}, {"seconds": 601}])
def test_refuse_must_end_by_itself(server: SandboxServer, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="refuse"):
        server.client.fault("*", "refuse", **options)


@pytest.mark.parametrize("processed", [False, True])
@pytest.mark.parametrize("kind", ["reset", "timeout"])
def test_an_unanswered_call_was_processed_or_not_as_scripted(
    server: SandboxServer, kind: str, processed: bool
) -> None:
    server.client.fault("tencent", kind, processed=processed)
    error, words = (
        (requests.ConnectionError, "Connection reset by peer")
        if kind == "reset"
        else (requests.ReadTimeout, "Read timed out")
    )
    with pytest.raises(error, match=words):
        tencent(server, TRIPLE, timeout=0.3)
    done = int(processed)
    assert server.client.calls_about(PHONE) == {"calls": 1, "processed": done, "billed": done}
    [call] = server.client.call_log(PHONE)
    assert call["fault"] == kind


@pytest.mark.parametrize("processed", [False, True])
def test_an_sms_may_be_sent_although_nobody_answered(
    server: SandboxServer, processed: bool
) -> None:
    server.client.fault("aliyun", "timeout", action="SendSms", processed=processed)
    parameters = {"PhoneNumbers": PHONE, "SignName": "示例", "TemplateCode": "SMS_1"}
    with pytest.raises(requests.ReadTimeout):
        aliyun(server, "SendSms", {**parameters, "OutId": "m-1"}, timeout=0.3)
    assert len(server.client.messages(reference="m-1")) == int(processed)


def test_garbage_is_either_no_json_or_no_http(server: SandboxServer) -> None:
    server.client.fault("tencent", "garbage", count=1)
    answer = tencent(server, TRIPLE)
    assert answer.headers["Content-Type"] == "application/json"
    with pytest.raises(ValueError, match=r"."):
        json.loads(answer.content)
    server.client.fault("tencent", "garbage", part="headers")
    with pytest.raises(requests.ConnectionError):
        tencent(server, TRIPLE)


@pytest.mark.parametrize(
    ("kind", "options", "status", "content_type"),
    [
        ("html", {}, 200, "text/html"),
        ("empty", {}, 200, "application/json"),
        ("wrong_charset", {}, 200, "application/json; charset=gbk"),
        ("wrong_content_type", {"content_type": "text/plain"}, 200, "text/plain"),
        ("http_error", {"status": 429}, 429, "text/html"),
        ("http_error", {"status": 502}, 502, "text/html"),
    ],
)
def test_answers_in_the_wrong_dress(
    server: SandboxServer, kind: str, options: dict[str, Any], status: int, content_type: str
) -> None:
    server.client.fault("tencent", kind, **options)
    answer = tencent(server, TRIPLE)
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith(content_type)
    assert (answer.content == b"") == (kind == "empty")
    spoilt_but_true = kind.startswith("wrong")
    assert server.client.calls_about(PHONE)["billed"] == int(spoilt_but_true)


def test_wrong_charset_carries_the_true_answer_in_gbk(server: SandboxServer) -> None:
    server.client.fault("tencent", "wrong_charset")
    content = tencent(server, TRIPLE).content
    assert json.loads(content.decode("gbk"))["Response"]["Description"] == "认证通过"
    with pytest.raises(UnicodeDecodeError):
        content.decode("utf-8")


def test_whoever_follows_a_redirect_is_counted(server: SandboxServer) -> None:
    server.client.fault("tencent", "redirect")
    answer = tencent(server, TRIPLE)
    assert answer.status_code == 302
    assert server.client.stats()["redirects_followed"] == 0
    requests.get(server.url + answer.headers["Location"], timeout=10)
    assert server.client.stats()["redirects_followed"] == 1


def test_a_huge_body_is_as_huge_as_asked(server: SandboxServer) -> None:
    server.client.fault("tencent", "huge", bytes=3_000_000)
    assert len(tencent(server, TRIPLE).content) > 3_000_000


@pytest.mark.parametrize(
    ("kind", "tencent_code", "jpush_status_code", "aliyun_code"),
    [
        ("maintenance", "-11", (503, 1030), "ServiceUnavailable"),
        ("auth", "AuthFailure.SecretIdNotFound", (401, 1004), "InvalidAccessKeyId.NotFound"),
        ("arrears", "UnauthorizedOperation.Arrears", (403, 2003), "isv.AMOUNT_NOT_ENOUGH"),
        ("unknown_code", "-77", (400, 7777), "isv.NEVER_HEARD_OF"),
    ],
)
def test_every_vendor_excuses_itself_in_its_own_words(
    server: SandboxServer,
    kind: str,
    tencent_code: str,
    jpush_status_code: tuple[int, int],
    aliyun_code: str,
) -> None:
    server.client.fault("*", kind)
    response = verify(server, PHONE, NAME, ID_NUMBER)
    assert tencent_code in (response.get("Result"), response.get("Error", {}).get("Code"))
    pushed = push(server, push_payload(TOKEN))
    assert (pushed.status_code, pushed.json()["error"]["code"]) == jpush_status_code
    assert send_sms(server, PHONE, "m-1")["Code"] == aliyun_code
    assert server.client.messages() == []
    assert server.client.calls_about(PHONE)["processed"] == 0


def test_a_rate_limit_lets_the_permitted_rate_through(server: SandboxServer) -> None:
    server.client.fault("*", "rate_limit", per_second=2)
    codes = [send_sms(server, PHONE, f"m-{number}")["Code"] for number in range(3)]
    assert codes == ["OK", "OK", "isv.BUSINESS_LIMIT_CONTROL"]
    deadline = time.monotonic() + 10
    while send_sms(server, PHONE, "later")["Code"] != "OK":
        assert time.monotonic() < deadline, "the window never moved on"


def test_a_fault_ends_after_its_count_and_strikes_only_its_vendor_and_action(
    server: SandboxServer,
) -> None:
    server.client.fault("tencent", "maintenance", action="PhoneVerificationCMCC", count=1)
    assert is_matched(server)
    cmcc = [
        verify(server, PHONE, NAME, ID_NUMBER, action="PhoneVerificationCMCC")["Result"]
        for _ in range(2)
    ]
    assert cmcc == ["-11", "0"]
    assert server.client.faults() == []


def test_a_fault_ends_after_its_seconds(server: SandboxServer) -> None:
    server.client.fault("tencent", "maintenance", seconds=0.3)
    assert not is_matched(server)
    deadline = time.monotonic() + 10
    while not is_matched(server):
        assert time.monotonic() < deadline, "the fault never ended"


def test_a_rate_between_0_and_1_is_reproducible_by_its_seed(server: SandboxServer) -> None:
    def pattern(seed: int) -> list[bool]:
        identifier = server.client.fault("tencent", "maintenance", rate=0.5, seed=seed)
        found = [is_matched(server) for _ in range(24)]
        assert server.client.lift(identifier) == 1
        return found

    first = pattern(1)
    assert first == pattern(1)
    assert first != pattern(2)
    assert 0 < sum(first) < 24


def test_lifting_all_faults_restores_the_vendors(server: SandboxServer) -> None:
    server.client.fault("tencent", "auth")
    server.client.fault("aliyun", "arrears")
    assert [fault["kind"] for fault in server.client.faults()] == ["auth", "arrears"]
    assert server.client.lift() == 2
    assert is_matched(server)


@pytest.mark.parametrize(
    ("vendor", "kind", "options", "complaint"),
    [
        ("twilio", "slow", {}, "vendor"),
        ("tencent", "earthquake", {}, "kind"),
        ("tencent", "slow", {"rate": 1.5}, "rate"),
        ("tencent", "slow", {"speed": 1}, "speed"),
    ],
)
def test_a_script_that_cannot_be_meant_is_refused_by_name(
    server: SandboxServer, vendor: str, kind: str, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        server.client.fault(vendor, kind, **options)
