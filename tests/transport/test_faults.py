"""What went wrong is told apart by what the other side may have received."""

from __future__ import annotations

import contextlib
import gzip
import resource
import socket
import time
import zlib
from collections.abc import Callable

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
from verifier.transport import BadReply, Deadline, NotSent, Reply, Transport, Unanswered

SECRET = b'{"IdCard":"11010519491231002X","Phone":"13800138000"}'


def _post(transport: Transport, url: str, body: bytes = SECRET) -> Reply:
    return transport.request(
        "POST", url, {"Content-Type": "application/json"}, body, Deadline.after(5)
    )


def _once(data: bytes) -> Callable[[Peer], None]:
    """Answer one request with these bytes and close."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(data)
        peer.socket.shutdown(socket.SHUT_WR)

    return script


def test_a_refused_connection_is_not_sent(transport: Transport) -> None:
    with pytest.raises(NotSent) as caught:
        _post(transport, refusing_url())
    assert caught.value.reason == "refused"


def test_an_unknown_host_is_not_sent(transport: Transport) -> None:
    with pytest.raises(NotSent) as caught:
        _post(transport, "http://no-such-host.invalid/")
    assert caught.value.reason == "dns"


def test_an_untrusted_certificate_is_not_sent(certificates: Certificates) -> None:
    transport = Transport(threads=1, connect_timeout=2)  # trusts the public authorities only
    with ScriptedServer(always(answer()), certificates.server) as server:
        with pytest.raises(NotSent) as caught:
            _post(transport, server.url)
        assert caught.value.reason == "tls"
        assert server.received == []
    transport.close()


def test_a_certificate_of_another_name_is_not_sent(
    certificates: Certificates, transport: Transport
) -> None:
    with ScriptedServer(always(answer()), certificates.server) as server:
        url = server.url.replace("localhost", "127.0.0.1")
        with pytest.raises(NotSent) as caught:
            _post(transport, url)
        assert caught.value.reason == "tls"
        assert server.received == []


def test_the_environment_cannot_add_a_proxy_or_an_authority(
    monkeypatch: pytest.MonkeyPatch, certificates: Certificates
) -> None:
    monkeypatch.setenv("HTTP_PROXY", refusing_url())
    monkeypatch.setenv("HTTPS_PROXY", refusing_url())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.authority))
    transport = Transport(threads=1, connect_timeout=2)
    with ScriptedServer(always(answer())) as server:
        assert _post(transport, server.url).status == 200
    with ScriptedServer(always(answer()), certificates.server) as server:
        with pytest.raises(NotSent) as caught:
            _post(transport, server.url)
        assert caught.value.reason == "tls"
    transport.close()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("ending", ["close", "reset", "half_head", "half_body", "half_chunk"])
def test_a_connection_lost_after_sending_is_unanswered_and_not_resent(
    ending: str, tls: bool, transport: Transport, certificates: Certificates
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        match ending:
            case "reset":
                peer.reset()
            case "half_head":
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nX-Half: ")
                peer.reset()
            case "half_body":
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
            case "half_chunk":
                peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n123")

    with ScriptedServer(script, certificates.server if tls else None) as server:
        with pytest.raises((Unanswered, BadReply)) as caught:
            _post(transport, server.url)
        # Half a head may still parse as a whole one; it must not become a usable reply.
        assert ending == "half_head" or caught.type is Unanswered
        assert len(server.received) == 1


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"<html>hello</html>",
        b"HTTP/1.1 many OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab",
    ],
    ids=["binary", "html", "status", "ssh", "long_line", "many_headers", "two_lengths"],
)
def test_what_is_not_http_is_a_bad_reply(garbage: bytes, transport: Transport) -> None:
    with ScriptedServer(_once(garbage)) as server:
        with pytest.raises(BadReply) as caught:
            _post(transport, server.url)
        assert caught.value.reason == "garbage"
        assert len(server.received) == 1


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 Other", "307 Same", "308 Same"])
def test_a_redirect_is_refused_and_not_followed(status: str, transport: Transport) -> None:
    with ScriptedServer(always(answer())) as elsewhere:
        reply = answer(b"", status, {"Location": elsewhere.url})
        with ScriptedServer(always(reply)) as server:
            with pytest.raises(BadReply) as caught:
                _post(transport, server.url)
            assert caught.value.reason == "redirect"
            assert caught.value.status == int(status[:3])
        assert elsewhere.connections == 0


def _endless(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
    block = b"x" * 1_048_576
    for _ in range(1024):
        peer.send(block)


def _endless_chunks(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    block = b"100000\r\n" + b"x" * 1_048_576 + b"\r\n"
    for _ in range(1024):
        peer.send(block)


def _negative_chunk(peer: Peer) -> None:
    """To http.client a chunk of this length is all that ever comes."""
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n")
    for _ in range(300):
        peer.send(b"x" * 1_048_576)


def _bomb(coding: str) -> Callable[[Peer], None]:
    packer = zlib.compressobj(9, wbits=31 if coding == "gzip" else 15)
    packed = b"".join(packer.compress(b"\0" * 1_048_576) for _ in range(60)) + packer.flush()
    assert len(packed) < 65_536
    return always(answer(packed, headers={"Content-Encoding": coding}))


@pytest.mark.parametrize(
    "script",
    [_endless, _endless_chunks, _negative_chunk, _bomb("gzip"), _bomb("deflate")],
    ids=["gigabyte", "chunks", "negative_chunk", "gzip_bomb", "deflate_bomb"],
)
def test_an_answer_too_large_costs_flat_memory(
    script: Callable[[Peer], None], transport: Transport
) -> None:
    with ScriptedServer(script) as server:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(2):
            with pytest.raises(BadReply) as caught:
                _post(transport, server.url)
            assert caught.value.reason == "oversize"
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 20 * 1024  # kilobytes; the server in this process sends from 1 MB blocks


def _for_ever(start: bytes, again: bytes) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(start)
        block = again * (65_536 // len(again))
        while not peer.server.stopping.is_set():
            peer.send(block)

    return script


@pytest.mark.parametrize(
    ("start", "again"),
    [
        (b"HTTP/1.1 200 ", b"O"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"a"),
        (b"HTTP/1.1 200 OK\r\n", b"X: a\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b" folded\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0" * 4096),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: a\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    ],
    ids=[
        *("status_line", "header_line", "headers", "folded", "continue", "early_hints"),
        *("chunk_extension", "chunk_size", "trailers", "body"),
    ],
)
def test_what_never_ends_ends_at_the_deadline_and_costs_flat_memory(
    start: bytes, again: bytes, transport: Transport
) -> None:
    with ScriptedServer(_for_ever(start, again)) as server:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun = time.monotonic()
        with pytest.raises((BadReply, Unanswered)):
            transport.request("POST", server.url, {}, SECRET, Deadline.after(0.5))
        assert time.monotonic() - begun < 0.5 + SLACK
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 20 * 1024  # kilobytes
        assert len(server.received) == 1


def test_a_compressed_answer_is_read_though_none_was_asked_for(transport: Transport) -> None:
    packed = gzip.compress(b'{"a":1}')
    with ScriptedServer(always(answer(packed, headers={"Content-Encoding": "gzip"}))) as server:
        assert _post(transport, server.url).body == b'{"a":1}'
        assert b"Accept-Encoding: identity" in server.received[0]


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", b"not gzip"),
        ("gzip", gzip.compress(b"{}")[:-6]),
        ("br", b"{}"),
        ("gzip, br", b"{}"),
    ],
    ids=["not_gzip", "cut_gzip", "brotli", "two_codings"],
)
def test_a_broken_or_unknown_coding_is_a_bad_reply(
    coding: str, body: bytes, transport: Transport
) -> None:
    reply = answer(body, headers={"Content-Encoding": coding})
    with ScriptedServer(always(reply)) as server, pytest.raises(BadReply) as caught:
        _post(transport, server.url)
    assert caught.value.reason == "encoding"


def test_no_fault_carries_the_request_or_another_librarys_exception(transport: Transport) -> None:
    def fault_of(call: Callable[[], object]) -> BaseException:
        with pytest.raises((NotSent, Unanswered, BadReply)) as caught:
            call()
        return caught.value

    with ScriptedServer(Peer.reset) as resetting, ScriptedServer(_once(b"junk\r\n")) as junk:
        faults = [
            fault_of(lambda: _post(transport, refusing_url())),
            fault_of(lambda: _post(transport, resetting.url + "?phone=13800138000")),
            fault_of(lambda: _post(transport, junk.url)),
        ]
    for fault in faults:
        assert fault.__cause__ is None
        assert fault.__context__ is None
        assert "13800138000" not in repr(fault.args)
        trace = fault.__traceback__
        while trace is not None:  # only frames above the transport may hold the request
            assert "urllib3" not in trace.tb_frame.f_code.co_filename
            trace = trace.tb_next


def test_nothing_is_logged_even_at_debug(
    transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    malformed = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n : odd\r\nno colon\r\n\r\n{}"
    with caplog.at_level("DEBUG"), ScriptedServer(_once(malformed)) as server:
        with contextlib.suppress(BadReply, Unanswered):
            _post(transport, server.url + "v3?key=13800138000")
        assert eventually(lambda: bool(server.received))
    assert caplog.text == ""
