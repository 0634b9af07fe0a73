"""One request under way, as seen from the socket: what was written, and who may still stop it.

urllib3 dials a connection from deep inside; the exchange of the running thread is how the
connection learns the deadline. One thread, one exchange.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

from verifier.transport.faults import NotSent
from verifier.transport.watchdog import Watch

# The most that one TLS record carries. A first write that fails has therefore not delivered a
# single complete record, and a plain TCP write that fails has delivered nothing at all.
_FIRST_WRITE = 16 * 1024


class Exchange:
    __slots__ = ("before_send", "dial_until", "watch", "written")

    def __init__(
        self, at: float, connect_timeout: float, before_send: Callable[[], bool] | None
    ) -> None:
        self.watch = Watch(at)
        self.dial_until = min(at, time.monotonic() + connect_timeout)
        self.before_send = before_send
        #: True from the moment at which the other side may have bytes of the request.
        self.written = False

    def write(self, sock: socket.socket, data: bytes) -> None:
        """Write the request, head and body in one go.

        A failed first write is NotSent("reset"): the kernel took nothing (plain), or no complete
        TLS record, so the other side cannot have read a request. Any later failure is an OSError.
        """
        if self.before_send is not None and not self.before_send():
            raise NotSent("vetoed")
        # By the clock, not only by the watchdog: in a process that was paused, that thread may
        # not have run yet.
        if self.watch.fired or time.monotonic() >= self.watch.at:
            raise NotSent("deadline")
        self.written = True
        try:
            count = sock.send(data[:_FIRST_WRITE])
        except OSError:
            self.written = False
        if not self.written:
            raise NotSent("reset")
        if count < len(data):
            sock.sendall(data[count:])


class _Running(threading.local):
    exchange: Exchange | None = None


running = _Running()
