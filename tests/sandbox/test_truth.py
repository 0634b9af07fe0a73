from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.sandbox.conftest import CUSTOMER, ID_NUMBER, NAME, PHONE
from tests.sandbox.signed import cids, push, push_payload, send_sms, verify
from verifier.sandbox.server import SandboxServer

TOKEN = "sandbox-0011223344556677"


def test_calls_are_counted_per_phone_and_per_person(server: SandboxServer) -> None:
    second = replace(CUSTOMER, phone="13800138001")
    server.client.put(second)
    verify(server, PHONE, NAME, ID_NUMBER)
    verify(server, second.phone, NAME, "李小明")
    verify(server, second.phone, NAME, ID_NUMBER)
    assert server.client.calls_about(PHONE) == {"calls": 1, "processed": 1, "billed": 1}
    assert server.client.calls_about(second.phone) == {"calls": 2, "processed": 2, "billed": 1}
    assert server.client.calls_about(ID_NUMBER) == {"calls": 2, "processed": 2, "billed": 2}
    stats = server.client.stats()
    assert stats["most_calls_per_phone"] == 2
    assert stats["most_billed_per_person"] == 2
    assert stats["totals"]["tencent PhoneVerification"] == {"0": 2, "-7": 1}


def test_a_restarted_sandbox_still_knows_what_it_did(tmp_path: Path) -> None:
    with SandboxServer(tmp_path) as first:
        first.client.put(CUSTOMER)
        [used, unused] = cids(first, 2)
        pushed = push(first, push_payload(TOKEN, used)).json()
        send_sms(first, PHONE, "m-1")
        verify(first, PHONE, NAME, ID_NUMBER)
        stats = first.client.stats()
    with SandboxServer(tmp_path) as second:
        assert second.client.stats() == stats
        assert push(second, push_payload(TOKEN, used)).json() == pushed
        assert push(second, push_payload(TOKEN, unused)).status_code == 200
        assert [m["reference"] for m in second.client.messages(PHONE)] == ["m-1"]
        assert second.client.calls_about(PHONE)["billed"] == 1
        assert verify(second, PHONE, NAME, ID_NUMBER)["Result"] == "0"


def test_a_line_torn_by_a_crash_is_dropped_and_the_next_is_whole(tmp_path: Path) -> None:
    with SandboxServer(tmp_path) as first:
        send_sms(first, PHONE, "m-1")
    with (tmp_path / "truth.jsonl").open("a") as file:
        file.write('{"kind":"mess')
    for number in (2, 3):
        with SandboxServer(tmp_path) as again:
            send_sms(again, PHONE, f"m-{number}")
    with SandboxServer(tmp_path) as last:
        assert [m["reference"] for m in last.client.messages()] == ["m-1", "m-2", "m-3"]


def test_the_truth_holds_no_personal_data(server: SandboxServer) -> None:
    verify(server, PHONE, NAME, ID_NUMBER)
    send_sms(server, PHONE, "m-1")
    push(server, push_payload(TOKEN))
    server.client.stats()
    text = (server.state / "truth.jsonl").read_text("utf-8")
    assert text.count("\n") == 5  # three calls, two messages
    for secret in (PHONE, NAME, ID_NUMBER, TOKEN):
        assert secret not in text


def test_text_that_cannot_be_encoded_does_not_stop_the_books(server: SandboxServer) -> None:
    assert verify(server, "\ud800", "\ud800", "\ud800")["Result"] == "-6"
    assert verify(server, PHONE, NAME, ID_NUMBER, **{"\ud800": ""})["Error"]["Code"] == (
        "UnknownParameter"
    )
    assert push(server, push_payload(TOKEN, "\ud800")).status_code == 400
    assert server.client.stats()["calls"] == 3


def test_reset_forgets_what_it_is_told_to(server: SandboxServer) -> None:
    verify(server, PHONE, NAME, ID_NUMBER)
    server.client.fault("tencent", "maintenance")
    server.client.settings(latency_ms=1)
    server.client.reset()
    assert server.client.stats()["calls"] == 0
    assert server.client.faults() == []
    assert server.client.settings()["latency_ms"] == 0
    assert verify(server, PHONE, NAME, ID_NUMBER)["Result"] == "0"
    server.client.reset(register=True)
    assert verify(server, PHONE, NAME, ID_NUMBER)["Result"] == "-9"


def test_the_register_can_be_changed_and_survives_a_restart(tmp_path: Path) -> None:
    with SandboxServer(tmp_path) as first:
        first.client.put(CUSTOMER, replace(CUSTOMER, phone="13800138001"))
        first.client.put(replace(CUSTOMER, name="李小明"))
        first.client.remove("13800138001")
    with SandboxServer(tmp_path) as second:
        assert second.client.health() == {"ready": True, "register": 1}
        assert verify(second, PHONE, "李小明", ID_NUMBER)["Result"] == "0"
        (tmp_path / "register.jsonl").write_text(CUSTOMER.to_json() + "\n", "utf-8")
        assert second.client.reload() == 1
        assert verify(second, PHONE, NAME, ID_NUMBER)["Result"] == "0"


def test_a_wrong_register_row_is_refused_without_quoting_it(server: SandboxServer) -> None:
    with pytest.raises(ValueError, match="carrier") as refused:
        server.client.put(replace(CUSTOMER, carrier="vodafone"))  # type: ignore[arg-type]
    assert PHONE not in str(refused.value)
