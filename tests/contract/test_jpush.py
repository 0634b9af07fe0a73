"""JPush's documented answers, and the handling of the cids that it dedupes by."""

from __future__ import annotations

import json
import threading

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.contract.cases.common import TOKEN
from tests.contract.cases.gateways import GATEWAYS, jpush
from tests.transport.scripted import Peer, ScriptedServer
from verifier.gateways import jpush as module
from verifier.gateways.base import Blame, Delivery, Receipt
from verifier.gateways.jpush import JPush
from verifier.transport import Deadline, Transport

CASE = GATEWAYS[0]
CODES = {  # docs.jiguang.cn, Push API v3: code → HTTP status, and what we make of it
    1000: (500, Delivery.UNKNOWN, Blame.NONE),
    1001: (405, Delivery.REJECTED, Blame.OPERATOR),
    1002: (400, Delivery.REJECTED, Blame.OPERATOR),
    1003: (400, Delivery.REJECTED, Blame.OPERATOR),
    1004: (401, Delivery.REJECTED, Blame.OPERATOR),
    1005: (400, Delivery.REJECTED, Blame.OPERATOR),
    1008: (400, Delivery.REJECTED, Blame.OPERATOR),
    1009: (400, Delivery.REJECTED, Blame.OPERATOR),
    1011: (400, Delivery.REJECTED, Blame.PERSON),
    1020: (404, Delivery.REJECTED, Blame.OPERATOR),
    1030: (503, Delivery.UNKNOWN, Blame.NONE),
    2002: (429, Delivery.NOT_SENT, Blame.NONE),
    2003: (403, Delivery.REJECTED, Blame.OPERATOR),
    2004: (403, Delivery.REJECTED, Blame.OPERATOR),
    2005: (403, Delivery.REJECTED, Blame.OPERATOR),
    7777: (400, Delivery.REJECTED, Blame.OPERATOR),
    7778: (500, Delivery.UNKNOWN, Blame.NONE),
}


def _gateway(httpserver: HTTPServer, transport: Transport) -> JPush:
    return jpush(httpserver.url_for("").rstrip("/"), transport)


def _refused(httpserver: HTTPServer, transport: Transport, code: int, text: str = "") -> Receipt:
    httpserver.expect_request("/v3/push").respond_with_json(
        {"error": {"code": code, "message": text}}, status=CODES[code][0]
    )
    return _gateway(httpserver, transport).send(CASE.message(), Deadline.after(5))


@pytest.mark.parametrize("code", CODES)
def test_a_documented_code_has_its_delivery_and_blame(
    code: int, httpserver: HTTPServer, transport: Transport
) -> None:
    receipt = _refused(httpserver, transport, code)
    _, delivery, blame = CODES[code]
    assert receipt == Receipt(delivery, code=str(code), blame=blame)


def test_a_token_is_blamed_only_when_the_vendor_names_it(
    httpserver: HTTPServer, transport: Transport
) -> None:
    receipt = _refused(httpserver, transport, 1003, "registration_id 13… is invalid")
    assert (receipt.delivery, receipt.blame) == (Delivery.REJECTED, Blame.PERSON)


@pytest.mark.parametrize("msg_id", ["18100287007462234", 18100287007462234])
def test_an_accepted_push_carries_the_cid_and_reaches_one_device(
    msg_id: object, httpserver: HTTPServer, transport: Transport
) -> None:
    httpserver.expect_request("/v3/push", method="POST").respond_with_json(
        {"sendno": "0", "msg_id": msg_id}
    )
    receipt = _gateway(httpserver, transport).send(CASE.message("key-cid-1"), Deadline.after(5))
    assert receipt == Receipt(Delivery.ACCEPTED, message_id="18100287007462234")
    sent, _ = httpserver.log[0]
    payload = json.loads(sent.data)
    assert payload["cid"] == "key-cid-1"
    assert payload["audience"] == {"registration_id": [TOKEN]}
    for platform in ("android", "ios"):
        assert payload["notification"][platform]["extras"] == {"link": CASE.message().link}
    assert payload["notification"]["android"]["title"] == "实名核验"
    assert sent.authorization is not None
    assert sent.authorization.username == "tests-app-key"
    assert sent.authorization.password == "tests-secret-key"


def test_a_success_without_a_message_id_is_unknown(
    httpserver: HTTPServer, transport: Transport
) -> None:
    httpserver.expect_request("/v3/push").respond_with_json({"sendno": "0"})
    receipt = _gateway(httpserver, transport).send(CASE.message(), Deadline.after(5))
    assert receipt.delivery is Delivery.UNKNOWN


def _hand_out(httpserver: HTTPServer, each: int) -> list[int]:
    """Serve cids ``key-0``, ``key-1``…; returns the growing list of counts asked for."""
    asked: list[int] = []

    def handler(request: Request) -> Response:
        first = len(asked) * each
        asked.append(int(request.args["count"]))
        cids = [f"key-{number}" for number in range(first, first + each)]
        return Response(json.dumps({"cidlist": cids}), content_type="application/json")

    httpserver.expect_request("/v3/push/cid", method="GET").respond_with_handler(handler)
    return asked


def test_cids_are_fetched_in_batches_and_never_handed_out_twice(
    httpserver: HTTPServer, transport: Transport
) -> None:
    asked = _hand_out(httpserver, each=10)
    gateway = _gateway(httpserver, transport)
    found: list[str | None] = []

    def work() -> None:
        for _ in range(5):
            found.append(gateway.prepare("ours", Deadline.after(5)))  # noqa: PERF401

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(str(cid) for cid in found) == sorted(f"key-{number}" for number in range(40))
    assert asked == [100] * 4


def test_a_cid_kept_too_long_is_not_used(
    httpserver: HTTPServer, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _hand_out(httpserver, each=10)
    gateway = _gateway(httpserver, transport)
    monkeypatch.setattr(module, "_CID_KEPT", 0.0)
    gateway.prepare("ours", Deadline.after(5))
    assert gateway.prepare("ours", Deadline.after(5)) == "key-10"
    assert len(asked) == 2


@pytest.mark.parametrize("cidlist", [[], None, "key-1", [7], ["a b"], [""]])
def test_what_is_not_a_cid_is_not_used(
    cidlist: object, httpserver: HTTPServer, transport: Transport
) -> None:
    httpserver.expect_request("/v3/push/cid").respond_with_json({"cidlist": cidlist})
    assert _gateway(httpserver, transport).prepare("ours", Deadline.after(5)) is None


def test_no_thread_waits_for_anothers_slow_fetch_beyond_its_deadline(transport: Transport) -> None:
    def hang(peer: Peer) -> None:
        peer.read_request()
        peer.hang()

    with ScriptedServer(hang) as server:
        gateway = jpush(server.endpoint, transport)
        slow = threading.Thread(target=gateway.prepare, args=("ours", Deadline.after(1.5)))
        slow.start()
        deadline = Deadline.after(0.3)
        assert gateway.prepare("ours", deadline) is None
        assert Deadline.after(0).at < deadline.at + 1
        slow.join()
