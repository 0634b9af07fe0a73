"""urllib3's connections and pools, taught about deadlines. Where the client meets the socket.

urllib3 does what it does best: keeps connections, and makes TLS ones that verify. The bytes of an
exchange go over the socket directly.

A pooled connection is reused only if it is quiet (no waiting FIN, no byte nobody asked for) and was
used a short while ago: servers and load balancers drop idle connections without a word, and a
request written into that is a request whose fate is unknown.
"""

from __future__ import annotations

import contextlib
import socket
import time

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import EmptyPoolError

from verifier.transport.body import read_reply
from verifier.transport.dialling import dial
from verifier.transport.exchange import Exchange, running
from verifier.transport.faults import NotSent
from verifier.transport.reply import Reply
from verifier.transport.watchdog import Guard, watchdog

#: Shorter than the keep-alive of the servers we know of (nginx 75 s, cloud load balancers 60 s).
LONGEST_IDLE = 15.0


class _Guarded(HTTPConnection):
    """What plain and TLS connections share. ``_guard`` lives as long as the socket does."""

    _guard: Guard | None = None
    _used_at = 0.0

    def _new_conn(self) -> socket.socket:
        exchange = running.exchange
        if exchange is None:
            raise RuntimeError("a connection of the transport was used outside Transport.request")
        sock = dial(self.host, self.port, exchange.dial_until, self.socket_options or ())
        try:
            self._guard = Guard(sock)
        except OSError:  # out of file descriptors
            sock.close()
            raise
        watchdog().attach(exchange.watch, self._guard)
        return sock

    def carry(self, exchange: Exchange, request: bytes, limit: int) -> tuple[Reply, bool]:
        """One exchange on this connection: the reply, and whether it may be used for another.

        The socket blocks: its time-out would cost two more system calls an exchange, and the
        watchdog ends whatever is late.
        """
        sock = self.sock
        if sock is None:
            sock = self._dialled()
        elif self._guard is not None:
            watchdog().attach(exchange.watch, self._guard)
        exchange.write(sock, request)
        answer = read_reply(sock, limit)
        self._used_at = time.monotonic()
        return answer

    def _dialled(self) -> socket.socket:
        self.connect()
        if self.sock is None:
            raise NotSent("refused")
        self.sock.settimeout(None)
        return self.sock

    @property
    def is_connected(self) -> bool:
        """Asked by the pool before each reuse: False means close it and dial anew."""
        guard = self._guard
        return (
            guard is not None
            and time.monotonic() - self._used_at < LONGEST_IDLE
            and guard.is_quiet()
        )

    def close(self) -> None:
        guard, self._guard = self._guard, None
        super().close()
        if guard is not None:
            guard.close()


class _PlainConnection(_Guarded):
    pass


class _TlsConnection(_Guarded, HTTPSConnection):
    """Method resolution finds the guarded ``close`` first, then HTTPSConnection."""


class _Pool(HTTPConnectionPool):
    """Carries exchanges; waits for a free connection no longer than the exchange may last."""

    def carry(self, exchange: Exchange, request: bytes, limit: int) -> Reply:
        connection = self._free_connection(exchange)
        keep = False
        try:
            reply, keep = connection.carry(exchange, request, limit)
        finally:
            if not keep:
                connection.close()
            self._put_conn(connection)
        return reply

    def _free_connection(self, exchange: Exchange) -> _Guarded:
        left = max(0.0, exchange.watch.at - time.monotonic())
        connection = None
        with contextlib.suppress(EmptyPoolError):
            connection = self._get_conn(timeout=left)
        if not isinstance(connection, _Guarded):
            raise NotSent("busy")
        return connection


class PlainPool(_Pool):
    ConnectionCls = _PlainConnection


class TlsPool(_Pool, HTTPSConnectionPool):
    ConnectionCls = _TlsConnection
