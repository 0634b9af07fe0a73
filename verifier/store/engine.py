"""The engine of this process, and transactions on it.

An engine never crosses a fork: worker processes call :func:`reset` first thing. Parameters never
appear in error texts (``hide_parameters``), since they may be ciphertext of somebody's data.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import InterfaceError, OperationalError

from verifier.errors import StoreUnavailableError
from verifier.settings import database_url


def make_engine(url: str, *, pool_size: int = 2) -> Engine:
    """An engine for ``url`` (``postgresql+psycopg2://``) with a small pool.

    Nothing is set per session, so a PgBouncer in transaction mode may stand in between.
    """
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=2,
        pool_pre_ping=True,
        pool_timeout=10,
        hide_parameters=True,
        connect_args={
            "connect_timeout": 5,
            "application_name": "verifier",
            "keepalives_idle": 30,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        },
    )


@cache
def engine() -> Engine:
    """The engine of this process."""
    return make_engine(database_url())


def reset() -> None:
    """Forget the engine without touching its connections: they belong to the parent process."""
    if engine.cache_info().currsize:
        engine().dispose(close=False)
    engine.cache_clear()


@contextmanager
def transaction() -> Iterator[Connection]:
    """One transaction. Raises StoreUnavailableError when PostgreSQL cannot be reached.

    An OperationalError in the middle of work passes through: the caller re-reads by its token.
    """
    try:
        connection = engine().connect()
    except (OperationalError, InterfaceError) as error:
        raise unavailable(error) from error
    with connection, connection.begin():
        yield connection


def unavailable(error: BaseException) -> StoreUnavailableError:
    """The error a person sees when PostgreSQL does not answer, without the connection string."""
    reason = str(getattr(error, "orig", error)).strip().splitlines()
    return StoreUnavailableError(
        f"PostgreSQL cannot be reached: {reason[0] if reason else type(error).__name__}",
        fix="Check VERIFIER_DATABASE_URL and that the server runs; `verifier doctor` tells more.",
    )
