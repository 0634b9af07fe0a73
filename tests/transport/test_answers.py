"""However an answer is cut into pieces on its way, it means the same."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence
from http.client import HTTPException
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.scripted import Peer, ScriptedServer, answer
from verifier.transport import BadReply, Deadline, Reply, Transport, Unanswered
from verifier.transport.body import read_reply

_LIMIT = 200


def _read(pieces: Sequence[bytes]) -> Reply | str:
    """What is read from a peer that sends these pieces, one at a time, and closes."""
    ours, theirs = socket.socketpair()

    def send() -> None:
        with theirs:
            for piece in pieces:
                theirs.sendall(piece)

    sender = threading.Thread(target=send)
    sender.start()
    with ours:
        try:
            return read_reply(ours, _LIMIT)[0]
        except (BadReply, Unanswered) as fault:
            return f"{type(fault).__name__}: {fault.reason}"
        finally:
            sender.join()


_CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n"
    b'3\r\n{"a\r\n3\r\n":1\r\n1\r\n}\r\n0\r\n\r\n'
)
_ANSWERS = {
    "plain": answer(b'{"a":1}', headers={"Retry-After": "7", "X": "y"}),
    "lower_case": b'HTTP/1.1 200\r\ncontent-length:7\r\nx:y\r\nretry-after:\t7 \r\n\r\n{"a":1}',
    "chunked": _CHUNKED,
    "until_close": b'HTTP/1.1 200 OK\r\nX: y\r\n\r\n{"a":1}',
    "old": b'HTTP/1.0 200 OK\r\nContent-Length: 7\r\nX: y\r\n\r\n{"a":1}',
    "after_continue": b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b'{"a":1}', headers={"X": "y"}),
    "too_much": answer(b'{"a":1}', headers={"X": "y"}) + b"HTTP/1.1 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("name", _ANSWERS)
@given(cuts=st.lists(st.integers(0, 200), max_size=6))
def test_an_answer_in_pieces_is_the_same_answer(name: str, cuts: list[int]) -> None:
    data = _ANSWERS[name]
    places = sorted({cut % len(data) for cut in cuts} | {0, len(data)})
    reply = _read([data[a:b] for a, b in pairwise(places)])
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body) == (200, b'{"a":1}')
    assert reply.headers["x"] == "y"


_HEADS = st.sampled_from(
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n",
    ]
)


@given(head=_HEADS, data=st.binary(max_size=300))
def test_rubbish_is_an_answer_or_a_fault_that_the_client_sorts(head: bytes, data: bytes) -> None:
    with contextlib.suppress(HTTPException, OSError):
        _read([head + data])


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ("Content-Length: 3\r\nContent-Length: 4\r\n", "BadReply: garbage"),
        ("Content-Length: -1\r\n", "BadReply: garbage"),
        ("Content-Length: 9999999999999\r\n", "BadReply: oversize"),
        ("Content-Length: 4\r\n", "Unanswered: lost"),
        ("Content-Length: " + "9" * 5000 + "\r\n", "BadReply: oversize"),
        ("Content-Length: " + "0" * 4999 + "2\r\n", "BadReply: oversize"),
        ("Transfer-Encoding: chunked\r\n\r\n-5\r\nhello", "BadReply: garbage"),
    ],
    ids=["two", "negative", "huge", "short", "absurd", "many_zeroes", "negative_chunk"],
)
def test_a_length_that_does_not_hold_is_no_answer(lengths: str, expected: str) -> None:
    assert _read([f"HTTP/1.1 200 OK\r\n{lengths}\r\n{{}}".encode()]) == expected


def test_bytes_that_nobody_asked_for_are_not_read_as_the_next_answer(transport: Transport) -> None:
    """Response splitting: the second answer in the same breath must not answer the next person."""

    def two_at_once(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer(b'"mine"') + answer(b'"not mine"'))
        peer.read_request()
        peer.send(answer(b'"yours"'))

    def yours(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer(b'"yours"'))

    scripts = iter([two_at_once, yours])
    with ScriptedServer(lambda peer: next(scripts)(peer)) as server:
        first = transport.request("POST", server.url, {}, b"1", Deadline.after(5))
        second = transport.request("POST", server.url, {}, b"2", Deadline.after(5))
    assert (first.body, second.body) == (b'"mine"', b'"yours"')


@pytest.mark.parametrize("value", ["a\r\nX-Injected: 1", "a\nb", "a\rb", "a\0b"])
def test_a_header_cannot_break_out_of_its_line(value: str, transport: Transport) -> None:
    with pytest.raises(ValueError, match="line break"):
        transport.request("POST", "http://127.0.0.1:1/", {"X": value}, b"", Deadline.after(1))


@pytest.mark.parametrize(
    "url",
    ["http://h/a b", "http://h/\r\n", "ftp://h/", "/relative", "http://h/é", "http://h?a=b"],
)
def test_only_plain_absolute_urls_are_called(url: str, transport: Transport) -> None:
    with pytest.raises(ValueError, match="URL"):
        transport.request("POST", url, {}, b"", Deadline.after(1))
