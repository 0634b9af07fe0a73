"""Between the workers and PostgreSQL: a proxy that cuts connections at their COMMIT.

What a client cannot tell apart are a COMMIT that was done and whose answer was lost, and one that
never arrived. The proxy makes both: it reads as much of the wire protocol as it takes to see a
simple query ``COMMIT`` from the client.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Self

HOST: Final = "127.0.0.1"
_PART: Final = 1 << 16
_COMMIT: Final = b"COMMIT\0"


class CommitCutter:
    """The proxy, in a thread of its own. ``port`` is where it listens, once started.

    ``upstream`` gives PostgreSQL's port, which is asked for at every connection.
    """

    def __init__(self, upstream: Callable[[], int]) -> None:
        self.port = 0
        self.answers_lost = 0
        self.commits_lost = 0
        self._upstream = upstream
        self._left = 0
        self._chance = 0.0
        self._dice = random.Random(0)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stopped: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def cut(self, times: int, chance: float, dice: random.Random) -> None:
        """From now on cut at a COMMIT with this chance, so many times."""
        self._dice, self._chance, self._left = dice, chance, times

    @property
    def left(self) -> int:
        """How many cuts are still to come."""
        return self._left

    def calm(self) -> None:
        """Cut no more."""
        self._left = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        if self._stopped is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        self._stopped = asyncio.Event()
        running: set[asyncio.Task[None]] = set()

        accepted: list[asyncio.StreamWriter] = []

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted.append(writer)
            task = asyncio.create_task(self._connection(reader, writer))
            running.add(task)
            task.add_done_callback(running.discard)

        server = await asyncio.start_server(accept, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopped.wait()
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await _close(accepted)  # also those whose task was cancelled before it began

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            server_reader, server_writer = await asyncio.open_connection(HOST, self._upstream())
            ends.append(server_writer)
            swallow = asyncio.Event()
            pumps = [
                asyncio.create_task(self._from_client(reader, server_writer, swallow)),
                asyncio.create_task(_from_server(server_reader, writer, swallow)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            return  # PostgreSQL is away: the client sees its connection end
        finally:
            await _close(ends)

    async def _from_client(
        self,
        reader: asyncio.StreamReader,
        server: asyncio.StreamWriter,
        swallow: asyncio.Event,
    ) -> None:
        messages = Messages()
        while part := await reader.read(_PART):
            for message in messages.feed(part):
                if is_commit(message) and self._strikes():
                    if self._dice.random() < 0.5:
                        self.commits_lost += 1
                        return
                    self.answers_lost += 1
                    swallow.set()
                server.write(message)
            await server.drain()

    def _strikes(self) -> bool:
        if self._left <= 0 or self._dice.random() >= self._chance:
            return False
        self._left -= 1
        return True


async def _close(ends: Sequence[asyncio.StreamWriter]) -> None:
    for end in ends:  # all, before the first wait: it may be cancelled
        end.close()
    for end in ends:
        with contextlib.suppress(OSError):
            await end.wait_closed()


async def _from_server(
    reader: asyncio.StreamReader, client: asyncio.StreamWriter, swallow: asyncio.Event
) -> None:
    """Pass on what PostgreSQL says; an answer to be swallowed ends the connection instead."""
    while part := await reader.read(_PART):
        if swallow.is_set():
            return
        client.write(part)
        await client.drain()


class Messages:
    """Cuts what a client sends into whole messages. The first ones have no type byte."""

    def __init__(self) -> None:
        self._buffer = b""
        self._started = False

    def feed(self, part: bytes) -> Iterator[bytes]:
        """Take what arrived; yields the messages that are complete now."""
        self._buffer += part
        while (end := self._end()) is not None:
            message, self._buffer = self._buffer[:end], self._buffer[end:]
            # After an SSL or GSS request (8 bytes) the start-up message is still to come.
            self._started = self._started or len(message) > 8
            yield message

    def _end(self) -> int | None:
        typed = 1 if self._started else 0
        if len(self._buffer) < typed + 4:
            return None
        (length,) = struct.unpack_from("!I", self._buffer, typed)
        end = typed + int(length)
        return end if len(self._buffer) >= end else None


def is_commit(message: bytes) -> bool:
    """Whether a message of a client is the simple query ``COMMIT``."""
    return message[:1] == b"Q" and message[5:].strip().upper() == _COMMIT
