"""Carrying out a fault on the wire: late, in drips, not at all, or as rubbish.

Writes to the transport itself where HTTP must be broken; the connection is closed afterwards.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct

from aiohttp import web

from verifier.sandbox.faults import Fault, FaultKind
from verifier.sandbox.wire import Reply

_PAGE = b"<html><head><title>%d</title></head><body><h1>nginx</h1></body></html>"
REDIRECT_TARGET = "/_sandbox/redirected"


def to_response(reply: Reply) -> web.Response:
    """The reply as it should be."""
    headers = {"Content-Type": reply.content_type, **reply.headers}
    return web.Response(status=reply.status, body=reply.body, headers=headers)


async def deliver_badly(
    request: web.BaseRequest, fault: Fault, reply: Reply | None
) -> web.Response:
    """Answer ``request`` in the way of ``fault``. ``reply``: the true answer if there is one."""
    honest = reply or Reply(200, b"{}")
    match fault.kind:
        case FaultKind.SLOW:
            await asyncio.sleep(fault.ms / 1000)
            return to_response(honest)
        case FaultKind.DRIP:
            await _drip(request, fault, honest)
            return _gone(request)
        case FaultKind.TIMEOUT:
            await asyncio.Event().wait()  # until the client leaves or the sandbox stops
            return _gone(request)
        case FaultKind.RESET:
            return _reset(request)
        case FaultKind.GARBAGE if fault.part == "headers":
            if request.transport is not None:
                request.transport.write(random.Random(fault.seed).randbytes(512))
            return _gone(request)
        case FaultKind.GARBAGE:
            rubbish = random.Random(fault.seed).randbytes(512)
            return _plain(200, rubbish, "application/json")
        case FaultKind.HTML:
            return _plain(200, _PAGE % 200, "text/html")
        case FaultKind.EMPTY:
            return _plain(200, b"", "application/json")
        case FaultKind.WRONG_CHARSET:
            body = honest.body.decode("utf-8").encode("gbk", "replace")
            return _plain(honest.status, body, "application/json; charset=gbk")
        case FaultKind.WRONG_CONTENT_TYPE:
            return _plain(honest.status, honest.body, fault.content_type)
        case FaultKind.REDIRECT:
            return web.Response(status=302, headers={"Location": REDIRECT_TARGET})
        case FaultKind.HUGE:
            return _plain(200, b'{"Response":"' + b"x" * fault.bytes + b'"}', "application/json")
        case FaultKind.HTTP_ERROR:
            return _plain(fault.status, _PAGE % fault.status, "text/html")
        case _:
            raise AssertionError(f"{fault.kind} is not a fault of the wire")


def _plain(status: int, body: bytes, content_type: str) -> web.Response:
    return web.Response(status=status, body=body, headers={"Content-Type": content_type})


async def _drip(request: web.BaseRequest, fault: Fault, reply: Reply) -> None:
    head = (
        f"HTTP/1.1 {reply.status} OK\r\nContent-Type: {reply.content_type}\r\n"
        f"Content-Length: {len(reply.body)}\r\nConnection: close\r\n\r\n"
    ).encode("ascii")
    at_once, slowly = (b"", head + reply.body) if fault.part == "headers" else (head, reply.body)
    transport = request.transport
    if transport is None:
        return
    transport.write(at_once)
    piece = max(1, round(fault.bytes_per_second / 20))
    for start in range(0, len(slowly), piece):
        if transport.is_closing():
            return
        transport.write(slowly[start : start + piece])
        await asyncio.sleep(piece / fault.bytes_per_second)


def _reset(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        raw = request.transport.get_extra_info("socket")
        # Linger of zero: closing sends RST instead of FIN.
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response()


def _gone(request: web.BaseRequest) -> web.Response:
    """Close the connection (after what was written); the response returned is never sent."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()
