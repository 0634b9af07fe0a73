"""What is stored: the key ring that opens it, its clock, and the room for what comes."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection

from verifier.cli.checks.check import Check, fail, failed, ok, warn
from verifier.errors import ConfigError, VerifierError
from verifier.identity.keyring import KeyRing
from verifier.settings import settings
from verifier.store import clock, overview, users


def key_ring() -> Check:
    path = settings().keyring_path
    try:
        ring = KeyRing.load(path)
    except ConfigError as error:
        return failed("key ring", error)
    return ok("key ring", f"{path}, mode 0600, current key {ring.encryption_key_id}")


def content_checks(connection: Connection) -> Iterator[Check]:
    yield from _ring_fits(connection)
    yield from _business_clock(connection)
    yield _partitions(connection)


def _ring_fits(connection: Connection) -> Iterator[Check]:
    rows = users.listing(connection, limit=1)
    if not rows:
        yield ok("stored data", "no users yet")
        return
    row = rows[0]
    try:
        ring = KeyRing.load(settings().keyring_path)
    except ConfigError:
        return  # said above
    try:
        ring.decrypt("users", "phone", row.platform, row.reference, row.phone)
    except VerifierError as error:
        yield failed("stored data", error)
    else:
        yield ok("stored data", "the key ring opens it")


def _business_clock(connection: Connection) -> Iterator[Check]:
    offset = clock.offset(connection).total_seconds()
    if offset:
        yield warn(
            "business time",
            f"is moved by {offset:,.0f} seconds",
            "Only tests and the demo move it: never use such a database in production.",
        )


def _partitions(connection: Connection) -> Check:
    ahead = overview.months_ahead(connection)
    if ahead < 2:
        return fail(
            "partitions",
            "the history has none for next month",
            "The housekeeping job makes them: see that beat and a control worker run.",
        )
    return ok("partitions", f"made for {ahead} months, this one included")
