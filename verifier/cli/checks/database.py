"""The PostgreSQL server: its version, its clock, its room for connections, its migrations."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from verifier.cli import talk
from verifier.cli.checks import budget
from verifier.cli.checks.check import Check, fail, ok, warn
from verifier.cli.session import NO_RIGHTS, NOT_ALLOWED, USE_THE_OWNER
from verifier.settings import database_url
from verifier.store import overview, schema

_OLDEST_SERVER: Final = 140_000
_MOST_CLOCK_SECONDS: Final = 5.0


def server_checks(connection: Connection) -> Iterator[Check]:
    before = datetime.now(UTC)
    row = overview.server(connection)
    after = datetime.now(UTC)
    version = f"PostgreSQL {row.version // 10_000}.{row.version % 10_000}"
    if row.version < _OLDEST_SERVER:
        yield fail("database", f"{version} is too old", "Upgrade it to PostgreSQL 14 or newer.")
    else:
        yield ok("database", version)
    apart = max((before - row.clock).total_seconds(), (row.clock - after).total_seconds(), 0.0)
    if apart > _MOST_CLOCK_SECONDS:
        yield warn(
            "clock",
            f"this host and the database are {apart:.0f} seconds apart",
            "Run NTP on both. Leases use the database's clock alone, signatures this host's.",
        )
    else:
        yield ok("clock", "this host and the database agree")
    yield _connections(connection)


def _connections(connection: Connection) -> Check:
    row = overview.connections(connection)
    room = budget.Budget(row.allowed, row.others)
    needs = budget.told()
    if overview.pooled(connection, row.pid):
        return ok(
            "connections",
            f"through a pooler, which has {row.ours} open of at most {room.room} left by others; "
            f"towards it {needs}. Its own limits cannot be seen from here",
        )
    found = (
        f"{needs}; PostgreSQL allows {row.allowed}, others have {row.others} of them: "
        f"{room.room} are ours, {row.ours} of these are open now"
    )
    if room.fits:
        return ok("connections", f"{found}. Enough for {talk.counted(room.hosts, 'host')}")
    if room.suffices:
        lack = f"Enough for one host; two, as while deploying, need {budget.WANTED}"
    else:
        least = budget.PER_HOST + budget.PER_CLIENT
        lack = f"Not enough for one host and one command, which need {least}"
    return (warn if room.suffices else fail)(
        "connections",
        f"{found}. {lack}",
        "Raise max_connections (or the limit of the role or database), or put PgBouncer in "
        "between: docs/operations.md.",
    )


def migrations() -> Check:
    try:
        current, head = schema.current(database_url()), schema.head()
    except SQLAlchemyError as error:
        if getattr(getattr(error, "orig", None), "pgcode", None) == NOT_ALLOWED:
            return fail("migrations", NO_RIGHTS, USE_THE_OWNER)
        return fail(
            "migrations",
            f"cannot be read ({type(error).__name__})",
            "Run `verifier db check`; PostgreSQL's own log says more.",
        )
    if current == head:
        return ok("migrations", f"at {head}")
    return fail(
        "migrations", f"at {current or 'nothing'}, {head} is needed", "Run `verifier db upgrade`."
    )
