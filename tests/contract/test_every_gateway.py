"""What every gateway promises, whatever the other side does."""

from __future__ import annotations

import threading
import time
from datetime import date

import pytest

from tests.contract.cases.common import SECRETS, GatewayCase
from tests.contract.cases.gateways import GATEWAYS
from tests.contract.faults import FAULTS, TIME, Fault
from tests.transport.certificates import Certificates
from tests.transport.scripted import SLACK, Peer, ScriptedServer, always, answer, refusing_url
from verifier.gateways.base import Blame, Delivery, Receipt
from verifier.transport import Deadline, Transport

every_gateway = pytest.mark.parametrize("case", GATEWAYS, ids=str)


def _send(case: GatewayCase, endpoint: str, transport: Transport, seconds: float = 5) -> Receipt:
    gateway = case.build(endpoint, transport)
    started = time.monotonic()
    receipt = gateway.send(case.message(), Deadline.after(seconds))
    assert time.monotonic() - started < seconds + SLACK
    return receipt


@every_gateway
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_after_sending_is_unknown_and_not_repeated(
    fault: Fault, case: GatewayCase, transport: Transport
) -> None:
    with ScriptedServer(fault.script) as server:
        receipt = _send(case, server.endpoint, transport, fault.seconds)
        assert receipt.delivery is Delivery.UNKNOWN
        assert len(server.received) == 1


@every_gateway
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_preparing_and_reconciling_end_in_time_and_claim_nothing(
    fault: Fault, case: GatewayCase, transport: Transport
) -> None:
    with ScriptedServer(fault.script) as server:
        gateway = case.build(server.endpoint, transport)
        started = time.monotonic()
        prepared = gateway.prepare("r-1", Deadline.after(fault.seconds))
        assert time.monotonic() - started < fault.seconds + SLACK
        assert prepared in {None, "r-1"}
        started = time.monotonic()
        found = gateway.reconcile(
            "r-1", case.recipient, date(2026, 11, 21), Deadline.after(fault.seconds)
        )
        assert time.monotonic() - started < fault.seconds + SLACK
        assert found is None


@every_gateway
def test_an_accepted_message_is_known_by_the_vendors_id(
    case: GatewayCase, transport: Transport, certificates: Certificates
) -> None:
    with ScriptedServer(always(answer(case.accepted)), certificates.server) as server:
        receipt = _send(case, server.endpoint, transport)
    assert receipt.delivery is Delivery.ACCEPTED
    assert receipt.message_id
    assert receipt.blame is Blame.NONE


@every_gateway
def test_the_reference_travels_in_the_body(case: GatewayCase, transport: Transport) -> None:
    with ScriptedServer(always(answer(case.accepted))) as server:
        gateway = case.build(server.endpoint, transport)
        gateway.send(case.message("reference-4711"), Deadline.after(5))
        head, _, body = server.received[0].partition(b"\r\n\r\n")
    assert b"reference-4711" in body
    assert b"reference-4711" not in head


@every_gateway
@pytest.mark.parametrize("what", ["refused", "dns", "deadline", "vetoed", "tls", "handshake"])
def test_what_never_left_is_not_sent(
    what: str, case: GatewayCase, transport: Transport, certificates: Certificates
) -> None:
    strict = Transport(threads=1, connect_timeout=1)  # does not know the tests' authority
    raw = what == "handshake"
    script = Peer.hang if raw else always(answer(case.accepted))
    tls = certificates.server if what in {"tls", "handshake"} else None
    with ScriptedServer(script, tls, raw=raw) as server:
        endpoint = server.endpoint
        if what == "refused":
            endpoint = refusing_url().rstrip("/")
        elif what == "dns":
            endpoint = "http://no-such-host.invalid"
        gateway = case.build(endpoint, strict if what == "tls" else transport)
        deadline = Deadline.after({"deadline": 0, "handshake": TIME}.get(what, 5))
        started = time.monotonic()
        receipt = gateway.send(
            case.message(), deadline, (lambda: False) if what == "vetoed" else None
        )
        assert time.monotonic() - started < 5 + SLACK
        assert receipt.delivery is Delivery.NOT_SENT
        assert server.received == []
    strict.close()


@every_gateway
def test_too_many_requests_are_not_sent(case: GatewayCase, transport: Transport) -> None:
    with ScriptedServer(always(answer(b"", "429 Too Many Requests"))) as server:
        assert _send(case, server.endpoint, transport).delivery is Delivery.NOT_SENT


@every_gateway
@pytest.mark.parametrize("status", ["400 Bad", "401 Un", "403 No", "404 Not", "413 Big"])
def test_a_refusal_without_a_known_code_is_the_operators(
    status: str, case: GatewayCase, transport: Transport
) -> None:
    with ScriptedServer(always(answer(b"", status))) as server:
        receipt = _send(case, server.endpoint, transport)
    assert (receipt.delivery, receipt.blame) == (Delivery.REJECTED, Blame.OPERATOR)


@every_gateway
def test_sixteen_threads_use_one_gateway(case: GatewayCase, transport: Transport) -> None:
    deliveries: list[Delivery] = []
    with ScriptedServer(always(answer(case.accepted))) as server:
        gateway = case.build(server.endpoint, transport)

        def work(number: int) -> None:
            for turn in range(5):
                message = case.message(f"r-{number}-{turn}")
                deliveries.append(gateway.send(message, Deadline.after(10)).delivery)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert deliveries == [Delivery.ACCEPTED] * 80
        assert len(set(server.received)) == 80


@every_gateway
def test_nothing_personal_is_logged_answered_or_put_into_the_url(
    case: GatewayCase, transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    echo = f"bad {case.recipient}".encode()
    scripts = [fault.script for fault in FAULTS if fault.name in {"reset", "garbage", "cut_body"}]
    scripts += [always(answer(case.accepted)), always(answer(echo, "400 Bad Request"))]
    with caplog.at_level("DEBUG"):
        for script in scripts:
            with ScriptedServer(script) as server:
                receipt = _send(case, server.endpoint, transport)
            request_line, _, _ = server.received[0].partition(b"\r\n")
            seen = repr(receipt) + request_line.decode() + repr(case.message()) + caplog.text
            assert not [secret for secret in SECRETS if secret in seen]
