"""What the other side may do to a call that it has received, and how much is known afterwards."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from tests.transport.scripted import Peer, Script, answer

TIME = 0.4  # the deadline of calls that are meant to run into it
PATIENCE = 5.0  # of calls that are meant to end before it


@dataclass(frozen=True)
class Fault:
    """``answered``: something came back that cannot be used; else nothing complete did."""

    name: str
    script: Script
    answered: bool

    @property
    def seconds(self) -> float:
        """The deadline to call with: only what never answers runs into it."""
        return TIME if self.name in _ENDLESS else PATIENCE

    def __str__(self) -> str:
        return self.name


def _close(peer: Peer) -> None:
    peer.read_request()


def _reset(peer: Peer) -> None:
    peer.read_request()
    peer.reset()


def _hang(peer: Peer) -> None:
    peer.read_request()
    peer.hang()


def _drip_headers(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\n")
    peer.drip(b"X-Filler: a\r\n" * 500)


def _drip_body(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
    peer.drip(b" " * 5000)


def _cut_body(peer: Peer) -> None:
    peer.read_request()
    peer.send(b'HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{"Response":{"Result":"0"}}')
    peer.socket.shutdown(socket.SHUT_WR)


def _says(reply: bytes) -> Script:
    def script(peer: Peer) -> None:
        while peer.read_request():
            peer.send(reply)

    return script


def _garbage(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"\x16\x03\x01\x02\x00 not http\r\n\r\n")
    peer.socket.shutdown(socket.SHUT_WR)


def _gigabyte(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
    for _ in range(1024):
        peer.send(b" " * 1_048_576)


_ENDLESS = frozenset({"hang", "drip_headers", "drip_body"})
HTML = b"<html><head><title>502 Bad Gateway</title></head></html>"

FAULTS = [
    Fault("close", _close, answered=False),
    Fault("reset", _reset, answered=False),
    Fault("hang", _hang, answered=False),
    Fault("drip_headers", _drip_headers, answered=False),
    Fault("drip_body", _drip_body, answered=False),
    Fault("cut_body", _cut_body, answered=False),
    Fault("garbage", _garbage, answered=True),
    Fault("gigabyte", _gigabyte, answered=True),
    Fault("empty", _says(answer(b"")), answered=True),
    Fault("html", _says(answer(HTML, headers={"Content-Type": "text/html"})), answered=True),
    Fault("json_list", _says(answer(b"[]")), answered=True),
    Fault("json_null", _says(answer(b"null")), answered=True),
    Fault("json_deep", _says(answer(b"[" * 60_000)), answered=True),
    Fault("json_other", _says(answer(b'{"Response":"yes","error":7,"Code":[]}')), answered=True),
    Fault("json_cut", _says(answer(b'{"Response":{"Result":"0"')), answered=True),
    Fault("gbk", _says(answer('{"Response":{"Result":"0","Isp":"移动"}}'.encode("gbk"))), True),
    Fault("http_500", _says(answer(HTML, "500 Internal Server Error")), answered=True),
    Fault("http_502", _says(answer(HTML, "502 Bad Gateway")), answered=True),
    Fault("http_503", _says(answer(b"", "503 Service Unavailable")), answered=True),
    Fault("http_504", _says(answer(b"", "504 Gateway Timeout")), answered=True),
    Fault("redirect", _says(answer(b"", "302 Found", {"Location": "http://127.0.0.1:1/"})), True),
]
