from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import requests

from tests.sandbox.conftest import CUSTOMER
from tests.sandbox.signed import cids, push, push_payload
from verifier.sandbox.server import SandboxServer

TOKEN = "sandbox-0011223344556677"


def refusal(answer: requests.Response) -> tuple[int, int]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_push_is_accepted_and_remembered_with_its_text(server: SandboxServer) -> None:
    [cid] = cids(server)
    answer = push(server, push_payload(TOKEN, cid))
    assert answer.status_code == 200
    [message] = server.client.messages(TOKEN)
    assert message["id"] == answer.json()["msg_id"]
    assert (message["reference"], message["text"]) == (cid, "请核对您的手机号实名信息")
    assert TOKEN not in str(message)


def test_the_same_cid_pushes_once_and_answers_the_same(server: SandboxServer) -> None:
    [cid] = cids(server)
    first, second = (push(server, push_payload(TOKEN, cid)).json() for _ in range(2))
    assert first == second
    assert len(server.client.messages(TOKEN)) == 1


def test_without_a_cid_nothing_is_deduplicated(server: SandboxServer) -> None:
    for _ in range(2):
        push(server, push_payload(TOKEN))
    assert len(server.client.messages(TOKEN)) == 2


def test_a_cid_must_have_been_handed_out(server: SandboxServer) -> None:
    [cid] = cids(server)
    assert cid.startswith(server.credentials["jpush_app_key"] + "-")
    assert refusal(push(server, push_payload(TOKEN, cid[:-1] + "!"))) == (400, 1003)
    assert len(set(cids(server, 50))) == 50


def test_a_refused_push_does_not_use_up_its_cid(server: SandboxServer) -> None:
    [cid] = cids(server)
    assert refusal(push(server, {"platform": "all", "cid": cid})) == (400, 1002)
    assert push(server, push_payload(TOKEN, cid)).status_code == 200


def test_a_dead_device_has_no_target(server: SandboxServer) -> None:
    server.client.put(replace(CUSTOMER, push_token=TOKEN, push_live=False))
    assert refusal(push(server, push_payload(TOKEN))) == (400, 1011)
    assert refusal(push(server, push_payload("short"))) == (400, 1011)
    assert server.client.messages(TOKEN) == []


def test_wrong_credentials_are_refused(server: SandboxServer) -> None:
    assert refusal(push(server, push_payload(TOKEN), secret="wrong")) == (401, 1004)
    assert refusal(requests.get(f"{server.url}/v3/push/cid", timeout=10)) == (401, 1004)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"platform": None}, 1003),
        ({"platform": ["android", "toaster"]}, 1003),
        ({"audience": "all"}, 1003),
        ({"audience": {"registration_id": []}}, 1003),
        ({"notification": {}}, 1002),
        ({"notification": {"alert": "长" * 2000}}, 1005),
    ],
)
def test_payloads_are_checked_with_the_vendors_codes(
    server: SandboxServer, changed: dict[str, Any], code: int
) -> None:
    assert refusal(push(server, {**push_payload(TOKEN), **changed})) == (400, code)


def test_too_many_requests_are_429_and_2002(server: SandboxServer) -> None:
    server.client.settings(per_second={"jpush": 1})
    assert push(server, push_payload(TOKEN)).status_code == 200
    assert refusal(push(server, push_payload(TOKEN))) == (429, 2002)
