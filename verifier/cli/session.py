"""What a command needs around it to use the store: servers for its length, and readable errors.

Where no database is configured and no local stack runs, the embedded servers are started for this
one command (and migrated: nobody else could have done it). A configured database is never migrated
unasked.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import ParamSpec, TypeVar

#: Whether the embedded servers were started for this command.
_own_servers = False

P = ParamSpec("P")
R = TypeVar("R")

#: PostgreSQL's codes for "this table, schema, column or function is not there".
_NOT_MIGRATED = ("42P01", "3F000", "42703", "42883")
#: And for "permission denied".
NOT_ALLOWED = "42501"

NO_RIGHTS = "The account of VERIFIER_DATABASE_URL may not use the verifier's tables."
USE_THE_OWNER = (
    "Use the URL of the account that owns them. A service with a role of its own calls "
    "verifier.submit and reads the views of results instead: docs/contract.md."
)


def needs_store(command: Callable[P, R]) -> Callable[P, R]:
    """The command runs with the store at hand, and its database errors are told as ours."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with store():
            return command(*args, **kwargs)

    return run


@contextmanager
def store() -> Iterator[None]:
    """The store for the length of the context. Raises VerifierError for what PostgreSQL refuses."""
    from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError

    from verifier.errors import ConfigError

    quiet_logging()
    with ExitStack() as stack:
        stack.enter_context(_servers())
        try:
            yield
        except ProgrammingError as error:
            code = getattr(error.orig, "pgcode", None)
            if code == NOT_ALLOWED:
                raise ConfigError(NO_RIGHTS, fix=USE_THE_OWNER) from None
            if code not in _NOT_MIGRATED:
                raise
            raise ConfigError(
                "The database does not have this version's tables.",
                fix="Run `verifier db upgrade`.",
            ) from None
        except (OperationalError, InterfaceError) as error:
            from verifier.store.engine import unavailable

            raise unavailable(error) from None


def quiet_logging() -> None:
    """The rooms below log; an operator sees warnings only, unless the environment says otherwise.

    Without this, structlog writes to standard output, into the data.
    """
    from verifier.telemetry import configure_logging

    show_fault = sys.excepthook
    configure_logging("cli")
    sys.excepthook = show_fault
    if "VERIFIER_LOG_LEVEL" not in os.environ:
        logging.getLogger().setLevel(logging.WARNING)


def own_servers() -> bool:
    """Whether the embedded servers were started for this command: no worker can reach them."""
    return _own_servers


@contextmanager
def _servers() -> Iterator[None]:
    from verifier.settings import running_endpoints, settings

    if settings().database_url or running_endpoints() is not None:
        yield
        return
    from verifier.local.servers import servers_for_command

    global _own_servers
    with servers_for_command(settings().home):
        from verifier.store.engine import engine

        _prepare()
        _own_servers = True
        try:
            yield
        finally:
            _own_servers = False
            engine().dispose()
            engine.cache_clear()


def _prepare() -> None:
    """Bring embedded servers to where a stack's start would have brought them."""
    from verifier.settings import database_url, settings
    from verifier.store import schema

    schema.upgrade(database_url())
    keyring = settings().keyring_path
    if settings().keyring is None and not keyring.exists() and _is_empty():
        from verifier.identity.keyring import KeyRing

        KeyRing.create(keyring)


def _is_empty() -> bool:
    """Without users nothing is encrypted, so a new key ring cannot take a lost one's place."""
    from verifier.store import users
    from verifier.store.engine import transaction

    with transaction() as connection:
        return not users.listing(connection, limit=1)
