"""Every exchange ends at its deadline, whatever the other side does."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from tests.transport.certificates import Certificates
from tests.transport.scripted import SLACK, Peer, Script, ScriptedServer, always, answer
from verifier.transport import Deadline, NotSent, Reply, Transport, Unanswered
from verifier.transport.watchdog import Watch, Watchdog

TIME = 0.8


def _hang(peer: Peer) -> None:
    peer.read_request()
    peer.hang()


def _drip_headers(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\n")
    peer.drip(b"X-Filler: a\r\n" * 500)


def _drip_status_line(peer: Peer) -> None:
    peer.read_request()
    peer.drip(b"HTTP/1.1 200 " + b"O" * 5000)


def _drip_body(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
    peer.drip(b"x" * 5000)


def _drip_body_then_close(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    peer.drip(b"x" * 5000)


def _drip_chunks(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    peer.drip(b"1\r\nx\r\n" * 1000)


def _continue_for_ever(peer: Peer) -> None:
    peer.read_request()
    while not peer.server.stopping.wait(0.02):
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")


SLOW: list[Script] = [
    _hang,
    _drip_status_line,
    _drip_headers,
    _drip_body,
    _drip_body_then_close,
    _drip_chunks,
    _continue_for_ever,
]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("script", SLOW, ids=lambda script: script.__name__.strip("_"))
def test_a_slow_answer_is_unanswered_at_the_deadline(
    script: Script, tls: bool, transport: Transport, certificates: Certificates
) -> None:
    with ScriptedServer(script, certificates.server if tls else None) as server:
        started = time.monotonic()
        with pytest.raises(Unanswered) as caught:
            transport.request("POST", server.url, {}, b"{}", Deadline.after(TIME))
        assert TIME * 0.9 <= time.monotonic() - started < TIME + SLACK
        assert caught.value.reason == "deadline"
        assert len(server.received) == 1


def test_a_hang_in_the_tls_handshake_is_not_sent(
    transport: Transport, certificates: Certificates
) -> None:
    with ScriptedServer(Peer.hang, certificates.server, raw=True) as server:
        started = time.monotonic()
        with pytest.raises(NotSent) as caught:
            transport.request("POST", server.url, {}, b"{}", Deadline.after(TIME))
        assert time.monotonic() - started < TIME + SLACK
        assert caught.value.reason in {"deadline", "connect_timeout"}


def test_a_tls_handshake_that_drips_ends_at_the_deadline(
    transport: Transport, certificates: Certificates
) -> None:
    def drip_a_record(peer: Peer) -> None:
        peer.drip(b"\x16\x03\x03\x40\x00" + b"\x02" * 5000)

    with ScriptedServer(drip_a_record, certificates.server, raw=True) as server:
        started = time.monotonic()
        with pytest.raises(NotSent) as caught:
            transport.request("POST", server.url, {}, b"{}", Deadline.after(TIME))
        assert time.monotonic() - started < TIME + SLACK
        assert caught.value.reason == "deadline"


def test_a_connect_that_is_never_accepted_ends_at_the_connect_timeout() -> None:
    # A full backlog: the kernel answers no further SYN.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        transport = Transport(threads=1, connect_timeout=0.3)
        started = time.monotonic()
        with pytest.raises(NotSent) as caught:
            transport.request(
                "POST", f"http://127.0.0.1:{address[1]}/", {}, b"{}", Deadline.after(5)
            )
        assert caught.value.reason == "connect_timeout"
        assert time.monotonic() - started < 0.3 + SLACK
        transport.close()
        for filler in fillers:
            filler.close()


def test_a_name_server_that_never_answers_ends_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch, transport: Transport
) -> None:
    release = threading.Event()

    def stuck(*_: object, **__: object) -> list[object]:
        release.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    started = time.monotonic()
    with pytest.raises(NotSent) as caught:
        transport.request("POST", "http://stuck.invalid/", {}, b"{}", Deadline.after(TIME))
    release.set()
    assert caught.value.reason in {"dns", "deadline"}
    assert time.monotonic() - started < TIME + SLACK


def test_an_expired_deadline_opens_no_connection(transport: Transport) -> None:
    with ScriptedServer(always(answer())) as server:
        with pytest.raises(NotSent) as caught:
            transport.request("POST", server.url, {}, b"{}", Deadline.after(0))
        assert caught.value.reason == "deadline"
        assert server.connections == 0


def test_waiting_for_a_free_connection_ends_at_the_deadline() -> None:
    transport = Transport(threads=1, connect_timeout=1)
    with ScriptedServer(_hang) as server:

        def occupy() -> None:
            with pytest.raises(Unanswered):
                transport.request("POST", server.url, {}, b"1", Deadline.after(30))

        first = threading.Thread(target=occupy)
        first.start()
        while not server.received:
            time.sleep(0.01)
        with pytest.raises(NotSent) as caught:
            transport.request("POST", server.url, {}, b"2", Deadline.after(TIME))
        assert caught.value.reason in {"busy", "deadline"}
        assert first.is_alive()
        assert [request[-1:] for request in server.received] == [b"1"]
    first.join()
    transport.close()


def test_late_exchanges_do_not_disturb_those_in_time(transport: Transport) -> None:
    def by_path(peer: Peer) -> None:
        while request := peer.read_request():
            if request.startswith(b"POST /late"):
                peer.hang()
                return
            peer.send(answer(b'{"ok":true}'))

    outcomes: list[object] = []

    def call(path: str, seconds: float) -> None:
        try:
            outcomes.append(
                transport.request("POST", server.url + path, {}, b"{}", Deadline.after(seconds))
            )
        except Unanswered as fault:
            outcomes.append(fault.reason)

    with ScriptedServer(by_path) as server:
        threads = [threading.Thread(target=call, args=("late", 0.3)) for _ in range(8)]
        threads += [threading.Thread(target=call, args=("fine", 5)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert outcomes.count("deadline") == 8
    assert sum(isinstance(outcome, Reply) for outcome in outcomes) == 8


def test_one_watchdog_thread_serves_a_process(transport: Transport) -> None:
    with ScriptedServer(always(answer())) as server:
        for _ in range(20):
            transport.request("POST", server.url, {}, b"{}", Deadline.after(5))
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("transport-watchdog") == 1


def test_deadlines_fire_in_their_own_order_whatever_the_order_of_their_start() -> None:
    dog = Watchdog()
    now = time.monotonic()
    watches = [Watch(now + delay) for delay in (30, 0.4, 0.2, 0.3)]
    for watch in watches:
        dog.start(watch)
    while not watches[1].fired:
        assert time.monotonic() < now + 2
        time.sleep(0.01)
    assert [watch.fired for watch in watches] == [False, True, True, True]
