"""Every check of ``verifier doctor``, in the order in which one needs the other."""

from __future__ import annotations

from collections.abc import Iterator

from verifier.cli.checks.broker import broker_checks
from verifier.cli.checks.check import Check, Verdict, failed
from verifier.cli.checks.configuration import configuration_checks
from verifier.cli.checks.contents import content_checks, key_ring
from verifier.cli.checks.database import migrations, server_checks
from verifier.cli.checks.work import work_checks
from verifier.errors import ConfigError, StoreUnavailableError
from verifier.store.engine import transaction


def installation_checks() -> Iterator[Check]:
    """Everything of ``verifier doctor``."""
    yield from configuration_checks()
    yield key_ring()
    yield from broker_checks()
    try:
        with transaction() as connection:
            yield from server_checks(connection)
    except ConfigError:
        return  # said above: there is no database to look at
    except StoreUnavailableError as error:
        yield failed("database", error)
        return
    migrated = migrations()
    yield migrated
    if migrated.verdict is Verdict.OK:
        with transaction() as connection:
            yield from content_checks(connection)
            yield from work_checks(connection)
