"""The engine of this process, and transactions on it.

An engine never crosses a fork: worker processes call :func:`reset` first thing. Parameters never
appear in error texts (``hide_parameters``), since they may be ciphertext of somebody's data.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import InterfaceError, InvalidatePoolError, OperationalError

from verifier.errors import StoreUnavailableError
from verifier.settings import database_url

#: How PostgreSQL names our connections.
APPLICATION_NAME: Final = "verifier"

#: Connections that a process keeps, and how many more its threads may open for a moment.
POOL_SIZE: Final = 2
OVERFLOW: Final = 2

#: What is raised when PostgreSQL is away: in the middle of work, and at the next beginning.
AWAY: Final = (OperationalError, InterfaceError, StoreUnavailableError)

#: SQLSTATE of a lock that was waited for as long as ``lock_timeout`` allows.
LOCK_NOT_AVAILABLE: Final = "55P03"

#: A pooled connection that was used this recently is asked nothing before it is used again.
_FRESH_SECONDS: Final = 1.0


def make_engine(url: str, *, pool_size: int = POOL_SIZE, overflow: int = OVERFLOW) -> Engine:
    """An engine for ``url`` (``postgresql+psycopg2://``) with a small pool.

    Nothing is set per session, so a PgBouncer in transaction mode may stand in between.
    """
    made = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=overflow,
        pool_timeout=10,
        hide_parameters=True,
        connect_args={
            "connect_timeout": 5,
            "application_name": APPLICATION_NAME,
            "keepalives_idle": 30,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        },
    )
    _test_idle_connections(made)
    return made


def _test_idle_connections(engine: Engine) -> None:
    """Ping a pooled connection before its use if it was idle or its server has hung up.

    ``pool_pre_ping`` asks every time: for a worker that is as many transactions again as it has.
    """

    def idles(_connection: Any, record: Any) -> None:
        record.info["idle_since"] = time.monotonic()

    def is_used(connection: Any, record: Any, _proxy: Any) -> None:
        since = record.info.get("idle_since")
        if since is None:  # just made
            return
        fresh = time.monotonic() - since < _FRESH_SECONDS
        if fresh and not connection.closed and not _has_news(connection):
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error

    event.listen(engine, "checkin", idles)
    event.listen(engine, "checkout", is_used)


def _has_news(connection: Any) -> bool:
    """Whether the server has said something unasked: that it shuts down, or the end."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


_pool = (POOL_SIZE, OVERFLOW)


@cache
def engine() -> Engine:
    """The engine of this process."""
    pool_size, overflow = _pool
    return make_engine(database_url(), pool_size=pool_size, overflow=overflow)


def reset(*, single: bool = False) -> None:
    """Forget the engine without touching its connections: they belong to the parent process.

    ``single``: from now on this process has one connection. So has a worker's child: its threads
    only call, and no transaction of ours is opened inside another.
    """
    global _pool
    if engine.cache_info().currsize:
        engine().dispose(close=False)
    engine.cache_clear()
    _pool = (1, 0) if single else (POOL_SIZE, OVERFLOW)


#: A process that stands still inside a transaction (frozen, its host gone) holds locks that every
#: other worker needs: PostgreSQL ends it. Said in each transaction: a pooler may stand in between.
_BOUNDS: Final = (
    "SET LOCAL idle_in_transaction_session_timeout = '20s'; SET LOCAL lock_timeout = '{locks}s'"
)


@contextmanager
def transaction(*, patient: bool = False, locks: int = 60) -> Iterator[Connection]:
    """One transaction. Raises StoreUnavailableError when PostgreSQL cannot be reached.

    An OperationalError in the middle of work passes through: the caller re-reads by its token. One
    of :data:`LOCK_NOT_AVAILABLE` says that a lock was waited for in vain, for ``locks`` seconds.
    ``patient``: it may stand still for longer than 20 seconds, as a reader whose output somebody
    pages through; such a one takes no locks.
    """
    with _connected() as connection, connection.begin():
        if not patient:
            connection.exec_driver_sql(_BOUNDS.format(locks=locks))
        yield connection


@contextmanager
def looking() -> Iterator[Connection]:
    """For one statement that only reads: no transaction around it, so one round trip.

    Raises StoreUnavailableError when PostgreSQL cannot be reached.
    """
    with _connected() as connection:
        yield connection.execution_options(isolation_level="AUTOCOMMIT")


def _connected() -> Connection:
    try:
        return engine().connect()
    except (OperationalError, InterfaceError) as error:
        raise unavailable(error) from error


def unavailable(error: BaseException) -> StoreUnavailableError:
    """The error a person sees when PostgreSQL does not answer, without the connection string."""
    if isinstance(error, StoreUnavailableError):
        return error
    reason = str(getattr(error, "orig", error)).strip().splitlines()
    return StoreUnavailableError(
        f"PostgreSQL cannot be reached: {reason[0] if reason else type(error).__name__}",
        fix="Check VERIFIER_DATABASE_URL and that the server runs; `verifier doctor` tells more.",
    )
