"""Looking for people in what a system leaves behind: every form that a value can hide in."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis

#: Shorter pieces of base64 would be found by chance.
_LEAST_CORE = 10


def disguises(value: str) -> Iterator[bytes]:
    """``value`` as text, escaped, in hexadecimal, in base64 at any offset, and hashed unkeyed."""
    for encoding in ("utf-8", "utf-16-le", "utf-16-be", "gb18030"):
        raw = value.encode(encoding)
        yield raw
        yield raw.hex().encode()
        yield raw.hex().upper().encode()
        for offset in range(3):
            padded = base64.b64encode(b"\0" * offset + raw)
            # Only characters made of nothing but the value.
            core = padded[(offset * 8 + 5) // 6 : (offset + len(raw)) * 8 // 6]
            if len(core) >= _LEAST_CORE:
                yield core
                yield core.translate(bytes.maketrans(b"+/", b"-_"))
    yield json.dumps(value).strip('"').encode()
    yield quote(value).encode()
    yield value[::-1].encode()
    for name in ("md5", "sha1", "sha256", "sha512"):
        digest = hashlib.new(name, value.encode(), usedforsecurity=False)
        yield digest.hexdigest().encode()
        yield base64.b64encode(digest.digest())[:-2]


class Secrets:
    """Values that must not be found anywhere, in any of their disguises."""

    def __init__(self, values: Iterable[str]) -> None:
        self._sought = {form: value for value in values for form in disguises(value)}
        assert len(self._sought) > 1000

    def found_in(self, haystack: bytes) -> list[tuple[str, bytes]]:
        """(value, its surroundings) of each one found."""
        found = []
        for form, value in self._sought.items():
            place = haystack.find(form)
            if place >= 0:
                found.append((value, haystack[max(0, place - 80) : place + len(form) + 80]))
        return found


@contextmanager
def watching_processes() -> Iterator[set[bytes]]:
    """Collects command lines and environments of every process of this machine, again and again."""
    seen: set[bytes] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.25):
            for folder in Path("/proc").iterdir():
                if not folder.name.isdigit() or int(folder.name) == os.getpid():
                    continue
                for name in ("cmdline", "environ"):
                    with suppress(OSError):
                        seen.add((folder / name).read_bytes())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


@contextmanager
def watching_broker(url: str) -> Iterator[list[bytes]]:
    """Collects every command that reaches this database of the broker."""
    number = int(url.rpartition("/")[2])
    seen: list[bytes] = []
    listening = threading.Event()
    client: Any = redis.Redis.from_url(url, socket_timeout=None)  # it listens for long

    def listen(monitor: Any) -> None:
        listening.set()
        with suppress(redis.exceptions.RedisError, OSError, ValueError):
            seen.extend(
                command["command"].encode("utf-8", "surrogateescape")
                for command in monitor.listen()
                if command["db"] == number
            )

    with client.monitor() as monitor:
        thread = threading.Thread(target=listen, args=(monitor,))
        thread.start()
        listening.wait(5)
        try:
            yield seen
        finally:
            monitor.connection.disconnect()
            thread.join(5)
    client.close()


def everything_stored(broker: Any) -> bytes:
    """Every key of a Valkey database: its name, its serialized form, and its values read."""
    parts: list[bytes] = []
    for key in broker.keys("*"):
        parts += [key, broker.dump(key) or b""]
        match broker.type(key):
            case b"string":
                parts.append(broker.get(key) or b"")
            case b"list":
                parts += broker.lrange(key, 0, -1)
            case b"set":
                parts += broker.smembers(key)
            case b"hash":
                parts += [part for pair in broker.hgetall(key).items() for part in pair]
            case b"zset":
                parts += broker.zrange(key, 0, -1)
            case b"none":
                continue  # somebody has just taken it
            case other:
                raise AssertionError(f"a key of type {other!r} is not looked into")
    return b"\n".join(parts)
