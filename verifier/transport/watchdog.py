"""The one thread of a process that ends exchanges at their deadline.

``requests`` has a timeout between two bytes, none for the whole. The watchdog shuts the socket of
a late exchange down (``shutdown(SHUT_RDWR)``), which ends every blocking call on it at once, also
under TLS and in the middle of a handshake.

A TLS socket takes the plain socket's descriptor over while the handshake runs, so the watchdog
holds a duplicate of its own: shutting that down ends the connection itself, and a descriptor
number that was closed and used again can never be hit by mistake.

Cost: the thread sleeps until the earliest deadline it knows of. New deadlines are later than
that one nearly always, so an exchange costs two short locks and no thread switch.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time

_PEEK = socket.MSG_PEEK | socket.MSG_DONTWAIT


class Guard:
    """A duplicate of a connection's socket. ``watch`` is the exchange using the connection now:
    a pooled connection passes from one exchange to the next, and only the last one may end it."""

    __slots__ = ("_socket", "watch")

    def __init__(self, connected: socket.socket) -> None:
        # Not connected.dup(), which copies the time-out: is_quiet would wait for it.
        self._socket = socket.socket(
            connected.family, connected.type, connected.proto, socket.dup(connected.fileno())
        )
        self.watch: Watch | None = None

    def is_quiet(self) -> bool:
        """Whether nothing waits to be read: neither the other side's FIN nor a stray byte."""
        try:
            self._socket.recv(1, _PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def shut_down(self) -> None:
        with contextlib.suppress(OSError):  # the other side may have ended it already
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._socket.close()


class Watch:
    """The deadline of one exchange. ``fired`` never goes back to False."""

    __slots__ = ("_guard", "at", "fired")

    def __init__(self, at: float) -> None:
        self.at = at
        self.fired = False
        self._guard: Guard | None = None


class Watchdog:
    def __init__(self) -> None:
        self._condition = threading.Condition(threading.Lock())
        self._watches: set[Watch] = set()
        self._wakes_at = float("inf")
        self._thread: threading.Thread | None = None

    def start(self, watch: Watch) -> None:
        """From now until :meth:`end`, the deadline is in force."""
        with self._condition:
            self._watches.add(watch)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="transport-watchdog", daemon=True
                )
                self._thread.start()
            elif watch.at < self._wakes_at:
                self._condition.notify()

    def attach(self, watch: Watch, guard: Guard) -> None:
        """The exchange uses this connection from now on. One already late is ended here."""
        with self._condition:
            guard.watch = watch
            watch._guard = guard
            if watch.fired:
                guard.shut_down()

    def end(self, watch: Watch) -> None:
        """The exchange is over; afterwards the watchdog never touches its connection."""
        with self._condition:
            self._watches.discard(watch)
            guard, watch._guard = watch._guard, None
            if guard is not None and guard.watch is watch:
                guard.watch = None

    def _run(self) -> None:
        with self._condition:
            while True:
                now = time.monotonic()
                for watch in [w for w in self._watches if w.at <= now]:
                    self._watches.discard(watch)
                    watch.fired = True
                    guard = watch._guard
                    if guard is not None and guard.watch is watch:
                        guard.shut_down()
                self._wakes_at = min((w.at for w in self._watches), default=float("inf"))
                idle = self._wakes_at == float("inf")
                self._condition.wait(None if idle else max(0.0, self._wakes_at - time.monotonic()))


_current = Watchdog()


def watchdog() -> Watchdog:
    """The watchdog of this process. Its thread starts with the first exchange."""
    return _current


def _renew_after_fork() -> None:
    """A forked child has neither the parent's thread nor a lock in a known state."""
    global _current
    _current = Watchdog()


os.register_at_fork(after_in_child=_renew_after_fork)
