"""A server that does exactly what a test says, byte by byte, on a real socket, plain or TLS.

A script is a function that is given the accepted connection and does what it likes with it. It
runs in a thread of its own for each connection. ``received`` holds what each request looked like.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

#: Seconds by which a loaded machine may be late. What is meant to be cut short lasts longer.
SLACK = 5.0


def answer(
    body: bytes = b"{}", status: str = "200 OK", headers: dict[str, str] | None = None
) -> bytes:
    """The bytes of a complete HTTP/1.1 response that keeps the connection open."""
    fields = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


class Peer:
    """One accepted connection, with the verbs that scripts need."""

    def __init__(self, sock: socket.socket, server: ScriptedServer) -> None:
        self.socket = sock
        self.server = server

    def read_request(self) -> bytes:
        """One whole request (head and body); b"" when the client has closed."""
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = self.socket.recv(65536)
            if not chunk:
                return b""
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        while len(body) < length:
            body += self.socket.recv(65536)
        request = head + b"\r\n\r\n" + body
        self.server.received.append(request)
        return request

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def drip(self, data: bytes, pause: float = 0.05) -> None:
        """A byte at a time until the data or the client's patience ends."""
        for index in range(len(data)):
            self.send(data[index : index + 1])
            if self.server.stopping.wait(pause):
                return

    def hang(self) -> None:
        """Say nothing until the client gives up or the test is over."""
        self.socket.settimeout(0.1)
        while not self.server.stopping.is_set():
            with contextlib.suppress(TimeoutError):
                if not self.socket.recv(65536):
                    return

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


Script = Callable[[Peer], None]


def always(reply: bytes) -> Script:
    """The same answer to every request of a kept-alive connection."""

    def script(peer: Peer) -> None:
        while peer.read_request():
            peer.send(reply)

    return script


class ScriptedServer:
    """Listens on 127.0.0.1. With ``certificate`` (a PEM file with key) it speaks TLS; a script of
    ``raw=True`` gets the bare socket before any handshake."""

    def __init__(
        self, script: Script, certificate: Path | None = None, *, raw: bool = False
    ) -> None:
        self.script = script
        self.received: list[bytes] = []
        self.connections = 0
        self.stopping = threading.Event()
        self._context: ssl.SSLContext | None = None
        if certificate is not None and not raw:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
        scheme = "https" if certificate is not None else "http"
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        host = "localhost" if certificate is not None else "127.0.0.1"
        self.endpoint = f"{scheme}://{host}:{self._listener.getsockname()[1]}"
        self.url = f"{self.endpoint}/"

    def __enter__(self) -> ScriptedServer:
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(5)
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            if self._context is not None:
                tls = self._context.wrap_socket(sock, server_side=True)
                self._sockets.append(tls)
                sock = tls
            self.script(Peer(sock, self))
        sock.close()


def eventually(condition: Callable[[], bool], within: float = 20.0) -> bool:
    """Whether the condition came true in time. Polls; for facts that another thread brings."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def refusing_url() -> str:
    """A URL of a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}/"
