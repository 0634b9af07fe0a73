"""Connections are kept, shared by threads, noticed when dead, and never inherited by a fork."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time

import pytest

from tests.transport.certificates import Certificates
from tests.transport.scripted import (
    SLACK,
    Peer,
    ScriptedServer,
    always,
    answer,
    eventually,
    refusing_url,
)
from verifier.transport import BadReply, Deadline, NotSent, Reply, Transport, Unanswered, connection
from verifier.transport.dialling import dial


def _post(transport: Transport, url: str, body: bytes = b"{}") -> Reply:
    return transport.request("POST", url, {"X-Test": "1"}, body, Deadline.after(5))


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_connection_is_used_again(
    tls: bool, transport: Transport, certificates: Certificates
) -> None:
    with ScriptedServer(always(answer()), certificates.server if tls else None) as server:
        for _ in range(10):
            assert _post(transport, server.url).body == b"{}"
        assert server.connections == 1


def test_the_request_arrives_as_it_was_given(transport: Transport) -> None:
    with ScriptedServer(always(answer())) as server:
        transport.request("POST", server.url, {"X-Test": "1"}, b"body", Deadline.after(5))
        transport.request("GET", server.url + "v3/push/cid?count=3", {}, b"", Deadline.after(5))
    post, get = server.received
    assert post.startswith(b"POST / HTTP/1.1\r\n")
    assert b"\r\nX-Test: 1\r\n" in post
    assert b"\r\nContent-Length: 4\r\n" in post
    assert post.endswith(b"\r\n\r\nbody")
    assert b"cookie" not in post.lower()
    assert get.startswith(b"GET /v3/push/cid?count=3 HTTP/1.1\r\n")
    assert get.endswith(b"\r\n\r\n")


def test_cookies_are_not_kept(transport: Transport) -> None:
    with ScriptedServer(always(answer(headers={"Set-Cookie": "a=b"}))) as server:
        _post(transport, server.url)
        _post(transport, server.url)
        assert b"a=b" not in server.received[1]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_an_idle_connection_that_the_server_closed_is_replaced_unnoticed(
    tls: bool, transport: Transport, certificates: Certificates
) -> None:
    closed = threading.Event()

    def one_answer(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer())
        peer.socket.shutdown(socket.SHUT_WR)  # the FIN is on its way when this returns
        closed.set()
        peer.hang()

    with ScriptedServer(one_answer, certificates.server if tls else None) as server:
        for _ in range(3):
            assert _post(transport, server.url).status == 200
            assert closed.wait(20)
            closed.clear()
        assert server.connections == 3


def test_a_connection_idle_for_long_is_not_trusted(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(always(answer())) as server:
        _post(transport, server.url)
        monkeypatch.setattr(connection, "LONGEST_IDLE", 0.0)
        _post(transport, server.url)
        assert server.connections == 2


def test_a_kept_connection_that_dies_on_the_request_is_unanswered(transport: Transport) -> None:
    def one_answer_then_reset(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer())
        peer.read_request()
        peer.reset()

    with ScriptedServer(one_answer_then_reset) as server:
        _post(transport, server.url)
        with pytest.raises(Unanswered) as caught:
            _post(transport, server.url)
        assert caught.value.reason == "lost"
        assert server.connections == 1
        assert len(server.received) == 2


def test_a_first_write_that_the_kernel_refuses_is_tried_once_more(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(always(answer())) as server:
        _post(transport, server.url)
        # The quiet check is skipped, and the socket is dead when the write comes.
        monkeypatch.setattr(connection._Guarded, "is_connected", True)
        pool = transport._adapter.pool(server.endpoint)
        assert pool.pool is not None
        kept = pool.pool.get()
        kept.sock.shutdown(socket.SHUT_RDWR)
        pool.pool.put(kept)
        assert _post(transport, server.url, b"again").body == b"{}"
        assert server.connections == 2
        assert [request[-5:] for request in server.received].count(b"again") == 1


def test_a_refused_connection_is_tried_twice_and_not_more(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def counting(*args: object) -> socket.socket:
        nonlocal calls
        calls += 1
        return dial(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(connection, "dial", counting)
    with pytest.raises(NotSent):
        _post(transport, refusing_url())
    assert calls == 2


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_veto_right_before_sending_sends_nothing(
    tls: bool, transport: Transport, certificates: Certificates
) -> None:
    with ScriptedServer(always(answer()), certificates.server if tls else None) as server:
        asked = []

        def veto() -> bool:
            asked.append(eventually(lambda: server.connections == 1))
            return False

        with pytest.raises(NotSent) as caught:
            transport.request("POST", server.url, {}, b"{}", Deadline.after(5), veto)
        assert caught.value.reason == "vetoed"
        assert asked == [True]  # once, with the connection already standing
        assert server.received == []
        reply = transport.request("POST", server.url, {}, b"{}", Deadline.after(5), lambda: True)
        assert reply.status == 200


def test_what_the_veto_raises_is_passed_on(transport: Transport) -> None:
    def broken() -> bool:
        raise KeyError("lease")

    with ScriptedServer(always(answer())) as server:
        with pytest.raises(KeyError):
            transport.request("POST", server.url, {}, b"{}", Deadline.after(5), broken)
        assert server.received == []
        assert _post(transport, server.url).status == 200


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_sixteen_threads_share_the_pool_and_get_their_own_answers(
    tls: bool, transport: Transport, certificates: Certificates
) -> None:
    def echo(peer: Peer) -> None:
        while request := peer.read_request():
            peer.send(answer(request.rpartition(b"\r\n\r\n")[2]))

    mixed_up: list[bytes] = []

    def work(number: int) -> None:
        for turn in range(20):
            body = f"{number}/{turn}".encode()
            if _post(transport, server.url, body).body != body:
                mixed_up.append(body)

    with ScriptedServer(echo, certificates.server if tls else None) as server:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert mixed_up == []
        assert len(server.received) == 320
        assert server.connections <= 16


def test_faults_leak_neither_descriptors_nor_places_in_the_pool() -> None:
    transport = Transport(threads=2, connect_timeout=1)

    def fail(peer: Peer) -> None:
        request = peer.read_request()
        if request.endswith(b"reset"):
            peer.reset()
        elif request.endswith(b"large"):
            peer.send(answer(b"x" * 70_000))
        else:
            peer.send(answer(b"", headers={"Connection": "close"}))

    def run() -> None:
        for body in (b"reset", b"large", b"close"):
            with contextlib.suppress(Unanswered, BadReply):
                _post(transport, server.url, body)

    with ScriptedServer(fail) as server:
        run()
        before = _own_sockets(server)
        for _ in range(10):
            run()
        assert eventually(lambda: _own_sockets(server) <= before)
    transport.close()


def _own_sockets(server: ScriptedServer) -> int:
    """Open descriptors of this process that are sockets; the server's own count too."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except OSError:
            continue
    return count


def test_a_forked_child_has_its_own_connections_and_watchdog(transport: Transport) -> None:
    def hang_on_demand(peer: Peer) -> None:
        while request := peer.read_request():
            if request.endswith(b"hang"):
                peer.hang()
                return
            peer.send(answer())

    with ScriptedServer(hang_on_demand) as server:
        _post(transport, server.url)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _post(transport, server.url, b"child")
                started = time.monotonic()
                try:
                    transport.request("POST", server.url, {}, b"hang", Deadline.after(0.3))
                except Unanswered:
                    code = 0 if time.monotonic() - started < 0.3 + SLACK else 2
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert _post(transport, server.url, b"parent").status == 200
        assert server.connections == 2  # the parent's own was not disturbed
