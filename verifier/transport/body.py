"""Reading an answer from a socket into a Reply with bounded memory, whatever its headers promise.

Nearly every answer comes in one piece, with its length: that one is taken apart here, which costs
a tenth of what a general parser does. Everything else (chunks, no length, several pieces of a head,
1xx, a line that looks odd) goes to ``http.client``, with the bytes already read put back in front.

Identity coding is asked for. A vendor's proxy may compress all the same, so gzip and deflate are
undone here, where the decompressor can be told how much it may produce: a few kilobytes that would
unfold to a gigabyte are refused after ``limit`` bytes.
"""

from __future__ import annotations

import contextlib
import io
import re
import socket
import zlib
from collections.abc import Iterable, Mapping
from http.client import HTTPResponse
from typing import Any

from verifier.transport.faults import BadReply, Unanswered
from verifier.transport.reply import Reply

_WINDOW_ANY = zlib.MAX_WBITS | 32  # gzip or zlib, told apart by their header
_PIECE = 64 * 1024
#: Digits of a Content-Length: more would be a terabyte, or an attack on whoever parses them.
_LONGEST_LENGTH = 12
#: What ``http.client`` may read beyond twice the limit: heads, interim answers, chunk sizes.
_OVERHEAD = 512 * 1024

#: A status line and header lines as every server writes them (RFC 9112, without obsolete folding).
_PLAIN_HEAD = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9][0-9])(?: [^\r\n\0]*)?\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}:[^\r\n\0]*\r\n){0,99})\r\n"
)


def read_reply(sock: socket.socket, limit: int) -> tuple[Reply, bool]:
    """The whole answer, and whether the connection may be used again.

    Raises BadReply, Unanswered("lost") for an answer cut short, or what ``http.client`` or the
    socket raised.
    """
    data = sock.recv(_PIECE)
    match = _PLAIN_HEAD.match(data)
    if match is None:
        return _read_unusual(data, sock, limit)
    headers = _headers(match[2])
    length = headers.get("content-length", "")
    if not length.isdecimal() or "transfer-encoding" in headers:
        return _read_unusual(data, sock, limit)
    status = int(match[1])
    _refuse_redirect(status)
    if len(length) > _LONGEST_LENGTH:
        raise BadReply("oversize", status)
    size = int(length)
    if size > limit:
        raise BadReply("oversize", status)
    if status in (204, 304):
        size = 0
    end = match.end() + size
    if len(data) < end:
        pieces, have = [data], len(data)
        while have < end:
            piece = sock.recv(_PIECE)
            if not piece:
                raise Unanswered("lost")
            pieces.append(piece)
            have += len(piece)
        data = b"".join(pieces)
    # More than was announced belongs to nobody: the next request must not meet it.
    keep = len(data) == end and "close" not in headers.get("connection", "").lower()
    return Reply(status, headers, _decoded(data[match.end() : end], headers, limit, status)), keep


def _headers(lines: bytes) -> dict[str, str]:
    fields = (line.partition(":") for line in lines.decode("latin-1").split("\r\n")[:-1])
    return _gathered((name, value) for name, _, value in fields)


def _gathered(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Names in lower case. Different values of one name are joined, as RFC 9110 says."""
    found: dict[str, str] = {}
    for name, value in fields:
        name, value = name.lower(), value.strip(" \t")
        before = found.get(name, value)
        found[name] = value if before == value else f"{before}, {value}"
    return found


def _refuse_redirect(status: int) -> None:
    if 300 <= status < 400:
        raise BadReply("redirect", status)


def _read_unusual(data: bytes, sock: socket.socket, limit: int) -> tuple[Reply, bool]:
    if not data:
        raise Unanswered("lost")
    with contextlib.suppress(ValueError):  # int() of what http.client took for a number
        # Not used again: what http.client has read ahead stays behind in its buffer.
        return _parsed(_Socket(data, sock, 2 * limit + _OVERHEAD), limit), False
    raise BadReply("garbage")


def _parsed(source: _Socket, limit: int) -> Reply:
    response = HTTPResponse(source)  # type: ignore[arg-type]  # all it uses is makefile
    response.begin()
    status = response.status
    headers = _gathered(response.headers.items())
    length = headers.get("content-length")
    if length is not None and len(length) > _LONGEST_LENGTH:
        raise BadReply("oversize", status)
    if status < 200 or (length is not None and not length.isdecimal()):
        raise BadReply("garbage", status)  # http.client passes over 100 alone of the 1xx
    _refuse_redirect(status)
    # Read until the announced length is reached or the end is seen: a single read takes an answer
    # that was cut short for a whole one.
    body = response.read(limit + 1)
    while len(body) <= limit and response.length != 0:
        more = response.read(limit + 1 - len(body))
        if not more:
            if response.length:
                raise Unanswered("lost")
            break
        body += more
    if len(body) > limit:
        raise BadReply("oversize", status)
    return Reply(status, headers, _decoded(body, headers, limit, status))


class _Socket:
    """What ``http.client`` reads from: the bytes that were read already, then the socket."""

    def __init__(self, data: bytes, sock: socket.socket, most: int) -> None:
        self._source = _Source(data, sock, most)

    def makefile(self, *_: Any) -> io.BufferedReader:
        return io.BufferedReader(self._source)


class _Source(io.RawIOBase):
    """Gives out at most ``most`` bytes: a chunk of length -1 is "all there is" to http.client."""

    def __init__(self, data: bytes, sock: socket.socket, most: int) -> None:
        self._data = data
        self._sock = sock
        self._left = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._left <= 0:
            raise BadReply("oversize")
        if not self._data:
            count = self._sock.recv_into(buffer)
            self._left -= count
            return count
        taken = self._data[: len(buffer)]
        self._data = self._data[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)


def _decoded(body: bytes, headers: Mapping[str, str], limit: int, status: int) -> bytes:
    coding = headers.get("content-encoding", "").lower()
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise BadReply("encoding", status)
    unpacker = zlib.decompressobj(_WINDOW_ANY)
    try:
        plain = unpacker.decompress(body, limit + 1)
    except zlib.error:
        plain = b""
    else:
        if len(plain) > limit:
            raise BadReply("oversize", status)
    if not unpacker.eof:
        raise BadReply("encoding", status)
    return plain
