"""Opening a TCP connection in bounded time, name resolution included.

``getaddrinfo`` cannot be interrupted and may take half a minute when name servers are away, so it
runs in a thread of its own, one for each name however many callers wait; the callers stop waiting
when their time is up. Addresses share the time that is left, so that a dead first address does not
starve a living second one.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

from verifier.transport.faults import NotSent

Address = tuple[Any, ...]  # as the socket module has it: differs by family
SocketOptions = Sequence[tuple[int, int, int | bytes]]


class _Lookup:
    """One name being resolved, and everyone who waits for it."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.found: list[tuple[socket.AddressFamily, Address]] = []


_lookups: dict[tuple[str, int], _Lookup] = {}
_lock = threading.Lock()


def resolve(host: str, port: int, until: float) -> list[tuple[socket.AddressFamily, Address]]:
    """The addresses of a name. Raises NotSent("dns") when there are none by ``until``."""
    if _is_literal(host):
        return _look_up(host, port)
    key = (host, port)
    with _lock:
        lookup = _lookups.get(key)
        if lookup is None:
            lookup = _lookups[key] = _Lookup()
            threading.Thread(
                target=_fill, args=(key, lookup), name="transport-resolver", daemon=True
            ).start()
    lookup.done.wait(max(0.0, until - time.monotonic()))
    if not lookup.found:
        raise NotSent("dns")
    return lookup.found


def dial(host: str, port: int, until: float, options: SocketOptions) -> socket.socket:
    """A connected socket. Raises NotSent: ``dns``, ``refused`` or ``connect_timeout``."""
    addresses = resolve(host, port, until)
    reason = "connect_timeout"
    for tried, (family, address) in enumerate(addresses):
        left = until - time.monotonic()
        if left <= 0:
            reason = "connect_timeout"
            break
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            for option in options:
                sock.setsockopt(*option)
            sock.settimeout(left / (len(addresses) - tried))
            sock.connect(address)
        except TimeoutError:
            reason = "connect_timeout"
        except OSError:
            reason = "refused"  # or unreachable: in either case nobody took the connection
        else:
            return sock
        sock.close()
    raise NotSent(reason)


def _is_literal(host: str) -> bool:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return True
    return False


def _fill(key: tuple[str, int], lookup: _Lookup) -> None:
    try:
        lookup.found = _look_up(*key)
    finally:
        with _lock:
            if _lookups.get(key) is lookup:
                del _lookups[key]
        lookup.done.set()


def _look_up(host: str, port: int) -> list[tuple[socket.AddressFamily, Address]]:
    try:
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # UnicodeError: a label that cannot be a host name
        return []
    return [(row[0], row[4]) for row in rows]


def _renew_after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    _lookups.clear()


os.register_at_fork(after_in_child=_renew_after_fork)
