"""The client: one exchange over a kept connection, and the sorting of what went wrong.

``requests``' adapter, without a Session, looks after connections and certificates. Everything a
session adds (cookies, redirects, proxies and certificates from the environment, merging) is
unwanted here; and since three quarters of the CPU time of a call through ``requests`` and
``http.client`` go into objects that nobody looks at, the request is written and an ordinary answer
read by :mod:`.connection` and :mod:`.body` themselves (``docs/performance.md`` has the figures).

When a kept-alive connection turns out dead, three cases are told apart: noticed before use (quiet
check and idle limit in :mod:`.connection`): replaced; noticed by the first write, which delivered
nothing: NotSent, tried once more; noticed while waiting for the answer: Unanswered, never resent.
"""

from __future__ import annotations

import http.client
import logging
import os
import re
import ssl
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import requests.exceptions
import requests.utils
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random
from urllib3.util.ssl_ import create_urllib3_context

from verifier.transport.connection import PlainPool, TlsPool
from verifier.transport.deadline import Deadline
from verifier.transport.exchange import Exchange, running
from verifier.transport.faults import BadReply, NotSent, TransportFault, Unanswered
from verifier.transport.reply import Reply
from verifier.transport.watchdog import watchdog

# urllib3 logs URLs: requests at DEBUG, malformed response headers at WARNING.
for _name in ("urllib3.connection", "urllib3.connectionpool"):
    logging.getLogger(_name).setLevel(logging.ERROR)

_RETRY_BLIPS = Retrying(
    stop=stop_after_attempt(2),
    wait=wait_random(0, 0.05),
    retry=retry_if_exception(lambda error: isinstance(error, NotSent) and error.is_blip),
    reraise=True,
)


class Transport:
    """Pooled connections to a few hosts, shared by the threads of a process.

    ``threads`` is how many exchanges may be under way at once; more callers wait, within their
    deadline. ``ca_file`` replaces the public certificate authorities; OSError when it cannot be
    used. After a fork the child starts with an empty pool of its own.
    """

    def __init__(
        self,
        *,
        threads: int,
        connect_timeout: float,
        max_body: int = 64 * 1024,
        ca_file: str | None = None,
    ) -> None:
        self._threads = threads
        self._connect_timeout = connect_timeout
        self._max_body = max_body
        self._ca_file = ca_file
        self._adapter = _Adapter(threads, ca_file)
        if ca_file is not None:
            self._adapter.load_authorities()
        _transports.add(self)

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        deadline: Deadline,
        before_send: Callable[[], bool] | None = None,
    ) -> Reply:
        """One exchange, ended by ``deadline``. Raises NotSent, Unanswered or BadReply.

        ``before_send`` is asked when the connection stands, right before the first byte is
        written; answering False ends the call as NotSent("vetoed"). It looks at a clock or a flag
        and does no I/O: an OSError of its own would be taken for one of the connection.
        A blip before the first byte (see :attr:`NotSent.is_blip`) is tried once more, at once.
        """
        origin, path = _split(url)
        data = _request(method, origin, path, headers, body)
        try:
            return self._once(origin, data, deadline, before_send)
        except NotSent as fault:
            failed = [fault]

        # The policy is asked only after a failure: as a wrapper it costs each call 30 µs.
        def attempt() -> Reply:
            if failed:
                raise failed.pop()
            return self._once(origin, data, deadline, before_send)

        return _RETRY_BLIPS(attempt)

    def close(self) -> None:
        """Close the idle connections. Exchanges under way are not disturbed."""
        self._adapter.close()

    def _once(
        self,
        origin: str,
        data: bytes,
        deadline: Deadline,
        before_send: Callable[[], bool] | None,
    ) -> Reply:
        if deadline.expired:
            raise NotSent("deadline")
        exchange = Exchange(deadline.at, self._connect_timeout, before_send)
        fault: TransportFault | None = None
        reply: Reply | None = None
        dog = watchdog()
        dog.start(exchange.watch)
        running.exchange = exchange
        try:
            reply = self._adapter.pool(origin).carry(exchange, data, self._max_body)
        except TransportFault as error:
            fault = error
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
            fault = _sort(error, exchange.written)
        finally:
            running.exchange = None
            dog.end(exchange.watch)
        # Raised here, outside the handlers, so that no fault drags along an exception of another
        # library, with its URL, or the frames that hold the request.
        if exchange.watch.fired or (fault is not None and deadline.expired):
            fault = Unanswered("deadline") if exchange.written else NotSent("deadline")
        if fault is not None:
            raise fault.with_traceback(None)
        assert reply is not None  # noqa: S101 - no fault means a reply
        return reply

    def _renew_after_fork(self) -> None:
        # The parent's connections are dropped, not closed: closing would say goodbye on them.
        self._adapter = _Adapter(self._threads, self._ca_file)


_transports: weakref.WeakSet[Transport] = weakref.WeakSet()


def _renew_after_fork() -> None:
    for transport in list(_transports):
        transport._renew_after_fork()


os.register_at_fork(after_in_child=_renew_after_fork)


class _Adapter(HTTPAdapter):
    """``HTTPAdapter`` with our pools, one per origin, looked up once."""

    def __init__(self, threads: int, ca_file: str | None) -> None:
        self._ca_file = ca_file
        self._pools: dict[str, PlainPool | TlsPool] = {}
        self._context: ssl.SSLContext | None = None
        self._lock = threading.Lock()
        super().__init__(max_retries=0, pool_maxsize=threads, pool_block=True)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}

    def pool(self, origin: str) -> PlainPool | TlsPool:
        """The pool of ``https://host:port``."""
        pool = self._pools.get(origin)
        if pool is None:
            with self._lock:  # two threads must not make two pools of one host
                pool = self._pools[origin] = self._pool_for(origin)
        return pool

    def load_authorities(self) -> ssl.SSLContext:
        """The TLS context of all pools; what it costs (~15 ms) is paid once, when first needed.

        It is part of the pool manager's key: another context would be another pool.
        """
        if self._context is None:
            context = create_urllib3_context()
            context.load_verify_locations(self._ca_file or requests.utils.DEFAULT_CA_BUNDLE_PATH)
            self._context = context
        return self._context

    def _pool_for(self, origin: str) -> PlainPool | TlsPool:
        parts = urlsplit(origin)
        context = None
        if parts.scheme == "https":
            context = self.load_authorities()
        pool = self.poolmanager.connection_from_host(
            parts.hostname,
            parts.port,
            parts.scheme,
            pool_kwargs={"ssl_context": context, "cert_reqs": "CERT_REQUIRED"} if context else None,
        )
        if not isinstance(pool, PlainPool | TlsPool):
            raise TypeError("the pool manager made a pool of another kind")
        return pool


_DEFAULTS: Final = {"User-Agent": "verifier", "Accept-Encoding": "identity"}
_SPLIT: Final = re.compile(r"(https?://[!-\"$-.0->@-~]+)(/[!-\"$-~]*)?")


def _split(url: str) -> tuple[str, str]:
    """Origin and path of an absolute URL. Raises ValueError without quoting it."""
    match = _SPLIT.fullmatch(url)
    if match is None:
        raise ValueError("the URL is not an absolute one of printable ASCII")
    return match[1], match[2] or "/"


def _request(method: str, origin: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """The bytes of a request. Raises ValueError for a header that would break out of its line."""
    given = {name.lower() for name in headers}
    fields = {name: value for name, value in _DEFAULTS.items() if name.lower() not in given}
    if "host" not in given:
        fields["Host"] = origin.partition("://")[2]
    fields.update(headers)
    if body or method != "GET":
        fields["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    if head.count("\n") != len(fields) or head.count("\r") != len(fields) or "\0" in head:
        raise ValueError("a header holds a line break")
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


def _sort(error: BaseException, written: bool) -> TransportFault:
    """The fault behind an exception of urllib3, http.client or the socket."""
    causes = list(_causes(error))
    if not written:
        if any(isinstance(c, TimeoutError) for c in causes):
            return NotSent("connect_timeout")
        tls = (ssl.SSLError, urllib3.exceptions.SSLError)
        return NotSent("tls" if any(isinstance(c, tls) for c in causes) else "refused")
    lost = (ConnectionError, http.client.IncompleteRead)  # RemoteDisconnected is a ConnectionError
    if any(isinstance(c, lost) for c in causes):
        return Unanswered("lost")
    if any(isinstance(c, http.client.HTTPException) for c in causes):
        return BadReply("garbage")
    return Unanswered("lost")


def _causes(error: BaseException) -> list[BaseException]:
    """The exception and those wrapped in it, which urllib3 keeps as arguments."""
    found: list[BaseException] = []
    queue: list[Any] = [error]
    while queue and len(found) < 10:
        item = queue.pop(0)
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            queue += [*item.args, getattr(item, "reason", None)]
    return found
