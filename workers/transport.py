"""Kombu's Redis transport with a guard at its door: whatever stands in our keys, workers go on.

:func:`guard` puts it in the place of kombu's own for ``redis://``, ``rediss://`` and
``sentinel://`` URLs (also those of a fail-over list); other brokers are left as they are.

* A message that :mod:`workers.envelope` refuses is dropped with one warning that names the queue,
  the size and the reason, never the content. Where there is one, more are looked for at once, by
  the hundred, so that a queue full of rubbish holds nobody up.
* A key of ours that holds another type than it should (``WRONGTYPE``) is removed: nobody could
  read it, and nobody could write a message beside it.
* A record of an unacknowledged message that is none is forgotten.

What is lost with them costs time only: the work is in PostgreSQL. The broker still sends a large
message whole before it can be refused; ``proto-max-bulk-len`` of Redis is the limit to set there.
"""

from __future__ import annotations

import functools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from queue import Empty
from typing import TYPE_CHECKING, Any, ClassVar, Final

import structlog
from kombu import transport as kombu_transports
from kombu.transport import redis as kombu_redis
from redis.exceptions import ResponseError

from verifier.doorbell import REFUSED_KEY, REFUSED_SECONDS
from workers.envelope import LARGEST, Refused, renewed

_log = structlog.get_logger(__name__)

#: How long the event loop may be held up by one search for more rubbish.
_SWEEP_SECONDS: Final = 0.25
_SWEEP_MESSAGES: Final = 500

#: Takes at most ARGV[1] messages of at most ARGV[2] bytes together, oldest first; what is larger
#: than that alone is dropped unseen. Answers how many were dropped, then the messages.
_TAKE: Final = """
local taken, size, dropped = {}, 0, 0
local most = tonumber(ARGV[2])
for _ = 1, tonumber(ARGV[1]) do
    local item = redis.call('LINDEX', KEYS[1], -1)
    if not item then break end
    if #item > most then
        dropped = dropped + 1
    elseif size + #item > most then
        break
    else
        size = size + #item
        taken[#taken + 1] = item
    end
    redis.call('RPOP', KEYS[1])
end
return {dropped, taken}
"""


class _RefusedMessage(Empty):
    """Nothing to deliver: what came was refused. Kombu takes it for an empty answer."""

    def __init__(self, key: str, size: int, reason: str) -> None:
        super().__init__(reason)
        self.key = key
        self.size = size
        self.reason = reason


class _Client(kombu_redis.PrefixedStrictRedis):
    """Gives kombu messages that were made anew, or none."""

    def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        reply = super().parse_response(connection, command_name, **options)
        if command_name != "BRPOP" or not reply:
            return reply
        name, raw = reply
        key = name.decode()
        try:
            return name, renewed(raw, _queue_of(key), _Guarded.served())
        except Refused as refused:
            raise _RefusedMessage(key, len(raw), str(refused)) from None


if TYPE_CHECKING:

    class _Channel(kombu_redis.Channel):
        """What is used of kombu's channel beside its public face (kombu 5.7)."""

        keyprefix_binding_permanent: str

        def _get_client(self) -> Callable[..., Any]: ...
        def _create_client(self) -> Any: ...
        def _brpop_read(self, **options: Any) -> Any: ...
        def _queue_bind(self, exchange: str, key: str, pattern: Any, queue: str) -> None: ...
        def _q_for_pri(self, queue: str, pri: int) -> str: ...
        def _size(self, queue: str) -> int: ...

    class _KombuQoS(kombu_redis.QoS):
        def _remove_from_indices(self, delivery_tag: str, pipe: Any = None) -> Any: ...
else:
    _Channel, _KombuQoS = kombu_redis.Channel, kombu_redis.QoS


class _QoS(_KombuQoS):
    """Unacknowledged messages, of which there are hardly any: they are acknowledged early."""

    channel: _Guarded

    def restore_visible(self, *arguments: Any, **options: Any) -> None:
        with self.channel.mended():
            super().restore_visible(*arguments, **options)

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        with self.channel.conn_or_acquire(client) as connected:
            stored = connected.hget(self.unacked_key, tag)
            if stored is not None and not _is_restorable(stored):
                self._remove_from_indices(tag).execute()
                _log.warning(
                    "record of an unacknowledged message removed",
                    bytes=len(stored),
                    reason="it is none",
                )
                return
            super().restore_by_tag(tag, connected, leftmost)


class _Guarded(_Channel):
    """A channel that takes nothing on trust."""

    QoS = _QoS

    #: The names of the tasks that may be run here; :func:`guard` sets it.
    served: ClassVar[Callable[[], frozenset[str]]] = frozenset

    def _get_client(self) -> Callable[..., Any]:
        super()._get_client()  # refuses a version of redis-py that it cannot use
        return functools.partial(_Client, global_keyprefix=self.global_keyprefix)

    def _brpop_read(self, **options: Any) -> Any:
        try:
            with self.mended():
                return super()._brpop_read(**options)
            raise Empty
        except _RefusedMessage as refused:
            queue = _queue_of(refused.key)
            _log.warning("message refused", queue=queue, bytes=refused.size, reason=refused.reason)
            self._remember(queue, 1 + self._sweep(refused.key))
            raise

    def _queue_bind(self, exchange: str, key: str, pattern: Any, queue: str) -> None:
        tables = (self.keyprefix_queue, self.keyprefix_binding_permanent)
        bindings = {table % (exchange,): b"set" for table in tables}
        with self.mended(bindings):
            super()._queue_bind(exchange, key, pattern, queue)
            return
        super()._queue_bind(exchange, key, pattern, queue)

    def _size(self, queue: str) -> int:
        with self.mended(self._lists(queue)):
            return super()._size(queue)
        return 0

    @contextmanager
    def mended(self, more: dict[str, bytes] | None = None) -> Iterator[None]:
        """Ends quietly when Redis complains about a key's type, after removing the key."""
        try:
            yield
        except ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
            self._remove_misfits({**self._types_of_keys(), **(more or {})})

    def _types_of_keys(self) -> dict[str, bytes]:
        types = {self.unacked_key: b"hash", self.unacked_index_key: b"zset"}
        for queue in self.active_queues:
            types.update(self._lists(queue))
        return types

    def _lists(self, queue: str) -> dict[str, bytes]:
        return {self._q_for_pri(queue, step): b"list" for step in self.priority_steps}

    def _remove_misfits(self, types: dict[str, bytes]) -> None:
        with self.conn_or_acquire() as client:
            for key, expected in types.items():
                # Kombu's client puts its prefix before the keys of the commands it uses itself: of
                # DEL it does, of TYPE (and HINCRBY, EXPIRE below) it does not.
                found = client.type(self.global_keyprefix + key)
                if found not in (expected, b"none"):
                    client.delete(key)
                    _log.warning(
                        "key removed", key=key, reason="it held another type", type=found.decode()
                    )

    def _sweep(self, key: str) -> int:
        """Drop what is rubbish at the old end of a queue; returns how much there was."""
        end = time.monotonic() + _SWEEP_SECONDS
        queue = _queue_of(key)
        reasons: Counter[str] = Counter()
        with self.conn_or_acquire() as client:
            while time.monotonic() < end:
                large, taken = self._take(
                    keys=[key], args=[_SWEEP_MESSAGES, LARGEST], client=client
                )
                reasons["too large"] += large
                sound = [raw for raw in taken if self._is_sound(raw, queue, reasons)]
                if sound:
                    # Where they were, and in the same order. They are lost if we are killed here.
                    client.rpush(key, *reversed(sound))
                if sound or not (large or taken):
                    break
        if dropped := reasons.total():
            _log.warning("more messages refused", queue=queue, number=dropped, reasons=+reasons)
        return dropped

    @staticmethod
    def _is_sound(raw: bytes, queue: str, reasons: Counter[str]) -> bool:
        try:
            renewed(raw, queue, _Guarded.served())
        except Refused as refused:
            reasons[str(refused)] += 1
            return False
        return True

    @cached_property
    def _take(self) -> Any:
        return self._create_client().register_script(_TAKE)

    def _remember(self, queue: str, number: int) -> None:
        """For ``verifier doctor``. Best effort: a count is not worth a connection."""
        with self.conn_or_acquire() as client:
            try:
                # Whole keys: no prefix is put before them.
                client.hincrby(REFUSED_KEY, queue, number)
                client.expire(REFUSED_KEY, REFUSED_SECONDS)
            except ResponseError:
                _log.debug("refusals not counted", queue=queue)


class _GuardedSentinel(_Guarded, kombu_redis.SentinelChannel):
    """The same where the server is found through Sentinel."""


class Transport(kombu_redis.Transport):
    Channel = _Guarded


class SentinelTransport(kombu_redis.SentinelTransport):
    Channel = _GuardedSentinel


def guard(served: Callable[[], frozenset[str]]) -> None:
    """From now on every Redis connection of kombu in this process is guarded.

    ``served``: the names of the tasks that may be run, asked once, at the first message.
    """
    _Guarded.served = functools.cache(served)
    kombu_transports.TRANSPORT_ALIASES.update(
        redis=f"{__name__}:Transport",
        rediss=f"{__name__}:Transport",
        sentinel=f"{__name__}:SentinelTransport",
    )


def _queue_of(key: str) -> str:
    """A queue has a key for itself, and one for each priority."""
    return key.rsplit(kombu_redis.Channel.sep, 1)[0]


def _is_restorable(stored: bytes) -> bool:
    try:
        message, exchange, routing_key = json.loads(stored)
    except (ValueError, TypeError, RecursionError):
        return False
    return isinstance(message, dict) and isinstance(exchange, str) and isinstance(routing_key, str)
