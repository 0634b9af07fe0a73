"""A stub carrier that is not the bottleneck: everybody matches.

It speaks just enough HTTP/1.1 for the clients measured here (keep-alive, ``Content-Length``), and
answers every ``POST`` as Tencent FaceID does, from bytes rendered once, at once or after a delay.
``GET /count`` tells how many calls there were, and the seconds from the first to the last answer;
``GET /forget`` begins a new count.

Run as a process: ``python -m benchmarks.stub --delay 0.05``. It prints its port.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from typing import Final

HOST: Final = "127.0.0.1"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_BODY: Final = json.dumps(
    {
        "Response": {
            "Result": "0",
            "Description": "认证通过",
            "Isp": "移动",
            "RequestId": "5b5f7d6e-0f63-4a3c-8d1b-000000000000",
        }
    }
).encode()


def _rendered(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


_ANSWER: Final = _rendered(_BODY)


class _Counter:
    """What the stub saw, over all its connections."""

    calls = 0
    first = last = 0.0

    def forget(self) -> None:
        self.calls = 0

    def count(self) -> None:
        self.calls += 1
        self.last = time.monotonic()
        if self.calls == 1:
            self.first = self.last

    def told(self) -> bytes:
        return _rendered(
            json.dumps({"calls": self.calls, "seconds": self.last - self.first}).encode()
        )


class _Connection(asyncio.Protocol):
    """One kept-alive connection. A request may come in several pieces, never two at once."""

    def __init__(self, counter: _Counter, delay: float) -> None:
        self._counter = counter
        self._delay = delay
        self._pending = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a TCP server's always is
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._pending + data
        end = data.find(b"\r\n\r\n")
        if end >= 0:
            found = _LENGTH.search(data, 0, end)
            if len(data) >= end + 4 + (int(found[1]) if found else 0):
                self._pending = b""
                self._answer(data)
                return
        self._pending = data

    def _answer(self, request: bytes) -> None:
        if request.startswith(b"GET "):
            if request.startswith(b"GET /forget "):
                self._counter.forget()
            self._write(self._counter.told())
        elif self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._answer_call)
        else:
            self._answer_call()

    def _answer_call(self) -> None:
        self._counter.count()
        self._write(_ANSWER)

    def _write(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)


async def _serve(delay: float) -> None:
    loop, stop, counter = asyncio.get_running_loop(), asyncio.Event(), _Counter()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(partial(_Connection, counter, delay), HOST, 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stop.wait()
    server.close()


@dataclass(frozen=True, slots=True)
class Count:
    """Calls answered, and the seconds from the first answer to the last."""

    calls: int
    seconds: float


class Stub:
    """The address of a running stub, and what it has seen."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.url = f"http://{HOST}:{port}"

    def forget(self) -> None:
        """Count from 0 again."""
        self._ask("/forget")

    def count(self) -> Count:
        return self._ask("/count")

    def _ask(self, path: str) -> Count:
        connection = HTTPConnection(HOST, self._port, timeout=10)
        try:
            connection.request("GET", path)
            return Count(**json.loads(connection.getresponse().read()))
        finally:
            connection.close()


@contextmanager
def running(delay: float) -> Iterator[Stub]:
    """A stub in a process of its own that answers after ``delay`` seconds."""
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "benchmarks.stub", "--delay", str(delay)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None  # noqa: S101 - it is piped
        yield Stub(int(process.stdout.readline()))
    finally:
        process.terminate()
        process.communicate(timeout=10)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    asyncio.run(_serve(parser.parse_args().delay))
