"""The sandbox's sockets: :func:`serve` in a process, :class:`SandboxServer` in a thread.

Listens on 127.0.0.1 only. One process per state directory, held by a file lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from verifier.errors import AlreadyRunningError
from verifier.sandbox.client import SandboxClient
from verifier.sandbox.control import PREFIX, Control
from verifier.sandbox.credentials import ensure_credentials
from verifier.sandbox.misbehave import to_response
from verifier.sandbox.service import Sandbox
from verifier.sandbox.wire import Received

HOST = "127.0.0.1"
_FLUSH_SECONDS = 0.5
_MOST_BODY = 64 * 1024 * 1024  # a large register may come over the control API


class _Listener:
    """The listening port, which can be closed for a while and opened again."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._control = Control(sandbox, self.refuse)
        # handler_cancellation: a request that is never answered ends when its client leaves.
        self._build: Callable[..., web.BaseRequest] = functools.partial(
            web.BaseRequest, client_max_size=_MOST_BODY
        )
        self._http = web.Server(
            self._handle,
            request_factory=self._request,
            handler_cancellation=True,
            access_log=None,
        )
        self._socket: asyncio.Server | None = None
        self._reopening: asyncio.Task[None] | None = None
        self.port = 0

    async def open(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        self._socket = await loop.create_server(self._http, HOST, port, backlog=1024)
        self.port = self._socket.sockets[0].getsockname()[1]

    def refuse(self, seconds: float) -> None:
        """Stop listening and cut every connection but the one that asked for it."""
        if self._reopening is None and self._socket is not None:
            self._socket.close()
            self._reopening = asyncio.create_task(self._reopen(seconds))

    async def _reopen(self, seconds: float) -> None:
        await asyncio.sleep(0.02)  # the answer to whoever asked for this leaves first
        for connection in self._http.connections:
            connection.force_close()
        await asyncio.sleep(seconds)
        while True:
            with contextlib.suppress(OSError):  # another program may hold the port for a moment
                await self.open(self.port)
                break
            await asyncio.sleep(0.05)
        self._reopening = None

    async def close(self) -> None:
        if self._reopening is not None:
            self._reopening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reopening
        if self._socket is not None:
            self._socket.close()
        await self._http.shutdown(timeout=0.2)

    def _request(self, *args: Any) -> web.BaseRequest:
        # The factory's arguments are aiohttp's own affair: passed on as they come.
        return self._build(*args, loop=asyncio.get_running_loop())

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        path, _, query = request.raw_path.partition("?")
        received = Received(request.method, path, query, request.headers, body, time.time())
        if path.startswith(PREFIX):
            return to_response(self._control.answer(received))
        vendor = self._sandbox.vendor_of(received)
        if vendor is None:
            return web.Response(status=404, text="No vendor of the sandbox speaks like this.\n")
        return await self._sandbox.serve(vendor, received, request)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / "sandbox.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError(
                f"Another sandbox uses {directory}.",
                fix="Stop it, or give this one another state directory.",
            ) from None
        yield


@contextlib.asynccontextmanager
async def _running(directory: Path, port: int) -> AsyncIterator[_Listener]:
    sandbox = Sandbox(directory)
    try:
        listener = _Listener(sandbox)
        await listener.open(port)
        flusher = asyncio.create_task(_flush_for_ever(sandbox))
        try:
            yield listener
        finally:
            flusher.cancel()
            await listener.close()
    finally:
        sandbox.truth.close()


async def _flush_for_ever(sandbox: Sandbox) -> None:
    while True:
        await asyncio.sleep(_FLUSH_SECONDS)
        sandbox.truth.flush()


def serve(state: Path, port: int, announce: Callable[[str], None] = print) -> None:
    """Serve until SIGTERM or SIGINT. ``announce`` gets one line when ready, with the address.

    Port 0 takes a free one. Raises AlreadyRunningError when ``state`` is in use, OSError when the
    port is.
    """

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with _running(state, port) as listener:
            announce(f"sandbox ready at http://{HOST}:{listener.port}")
            await stop.wait()

    with _locked(state):
        asyncio.run(main())


class SandboxServer:
    """A sandbox in a thread of this process, as a context manager. For tests.

    ``url``, ``port`` and ``credentials`` are set once started; ``client`` is its control API.
    """

    def __init__(self, state: Path, *, port: int = 0) -> None:
        self.state = state
        self.port = port
        self.credentials = ensure_credentials(state)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._stop: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def client(self) -> SandboxClient:
        return SandboxClient(self.url)

    def start(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def stop(self) -> None:
        self._stop()
        self._thread.join(timeout=10)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            with _locked(self.state):
                asyncio.run(self._main())
        except (AlreadyRunningError, OSError) as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        async with _running(self.state, self.port) as listener:
            self.port = listener.port

            def stop_from_outside() -> None:
                # The loop may have ended by itself; then there is nothing to stop.
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(stop.set)

            self._stop = stop_from_outside
            self._ready.set()
            await stop.wait()
