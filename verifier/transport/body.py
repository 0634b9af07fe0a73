"""Reading a response into a Reply with bounded memory, whatever its headers promise.

Identity coding is asked for. A vendor's proxy may compress all the same, so gzip and deflate are
undone here, where the decompressor can be told how much it may produce: a few kilobytes that would
unfold to a gigabyte are refused after ``limit`` bytes.
"""

from __future__ import annotations

import zlib

from requests import Response

from verifier.transport.faults import BadReply
from verifier.transport.reply import Reply

_WINDOW_ANY = zlib.MAX_WBITS | 32  # gzip or zlib, told apart by their header


def read_reply(response: Response, limit: int) -> Reply:
    """The whole answer. Raises BadReply, or what the reading of the socket raised."""
    status = response.status_code
    raw = response.raw
    try:
        if 300 <= status < 400:
            raise BadReply("redirect", status)
        # Read until the announced length is reached or the end is seen: a single read takes an
        # answer that was cut short for a whole one.
        body: bytes = raw.read(limit + 1, decode_content=False)
        while len(body) <= limit and raw.length_remaining != 0:
            more = raw.read(limit + 1 - len(body), decode_content=False)
            if not more:
                break
            body += more
        if len(body) > limit:
            raise BadReply("oversize", status)
        coding = raw.headers.get("Content-Encoding", "").strip().lower()
        if coding not in ("", "identity"):
            body = _decode(body, coding, limit, status)
    finally:
        # A body read to its end has given its connection back by now. Whatever else is closed: the
        # next request must not meet the rest of this answer.
        raw.close()
        raw.release_conn()
    return Reply(status, raw.headers, body)


def _decode(body: bytes, coding: str, limit: int, status: int) -> bytes:
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
