"""urllib3's connections and pools, taught about deadlines. Where the client meets the socket.

A pooled connection is reused only if it is quiet (urllib3 looks for a waiting FIN before each use)
and was used a short while ago: servers and load balancers drop idle connections without a word,
and a request written into that is a request whose fate is unknown.
"""

from __future__ import annotations

import socket
import time
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import EmptyPoolError
from urllib3.response import BaseHTTPResponse

from verifier.transport.dialling import dial
from verifier.transport.exchange import Exchange, running
from verifier.transport.faults import NotSent
from verifier.transport.watchdog import Guard, watchdog

#: Shorter than the keep-alive of the servers we know of (nginx 75 s, cloud load balancers 60 s).
LONGEST_IDLE = 15.0


def _exchange() -> Exchange:
    exchange = running.exchange
    if exchange is None:
        raise RuntimeError("a connection of the transport was used outside Transport.request")
    return exchange


class _Guarded(HTTPConnection):
    """What plain and TLS connections share. ``_guard`` lives as long as the socket does."""

    _guard: Guard | None = None
    _used_at = 0.0

    def _new_conn(self) -> socket.socket:
        exchange = _exchange()
        sock = dial(self.host, self.port, exchange.dial_until, self.socket_options or ())
        try:
            self._guard = Guard(sock)
        except OSError:  # out of file descriptors
            sock.close()
            raise
        watchdog().attach(exchange.watch, self._guard)
        return sock

    def send(self, data: Any) -> None:
        exchange = _exchange()
        if self.sock is None:
            self.connect()
        elif self._guard is not None and self._guard.watch is not exchange.watch:
            watchdog().attach(exchange.watch, self._guard)
        self._used_at = time.monotonic()
        exchange.write(self.sock, data)

    @property
    def is_connected(self) -> bool:
        """Asked by the pool before each reuse: False means close it and dial anew."""
        return time.monotonic() - self._used_at < LONGEST_IDLE and super().is_connected

    def close(self) -> None:
        """Close the socket. http.client also does so before the body of a ``Connection: close``
        response has been read; the watchdog must be able to end that reading, so the guard of a
        running exchange is left for the client to close."""
        guard, self._guard = self._guard, None
        super().close()
        if guard is None:
            return
        exchange = running.exchange
        if exchange is not None and guard.watch is exchange.watch and not exchange.left_over:
            exchange.left_over = guard
        else:
            guard.close()


class _PlainConnection(_Guarded):
    pass


class _TlsConnection(_Guarded, HTTPSConnection):
    """Method resolution finds the guarded ``send`` and ``close`` first, then HTTPSConnection."""


class _BoundedWait:
    """Waits for a free connection no longer than the exchange may last."""

    def urlopen(self, *args: Any, **kwargs: Any) -> BaseHTTPResponse:
        left = max(0.0, _exchange().watch.at - time.monotonic())
        try:
            response: BaseHTTPResponse = super().urlopen(  # type: ignore[misc]
                *args, pool_timeout=left, **kwargs
            )
        except EmptyPoolError:
            pass
        else:
            return response
        raise NotSent("busy")


class PlainPool(_BoundedWait, HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class TlsPool(_BoundedWait, HTTPSConnectionPool):
    ConnectionCls = _TlsConnection
