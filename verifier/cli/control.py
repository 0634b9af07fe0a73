"""``verifier stop`` and ``verifier start``: the global stop."""

from __future__ import annotations

import click

from verifier.cli import talk
from verifier.cli.options import operator, reason_option
from verifier.cli.session import needs_store


@click.command()
@reason_option
@needs_store
def stop(reason: str | None) -> None:
    """Claim and send nothing more, anywhere, until `verifier start`. What is in flight finishes.

    Submitting still works: what is submitted waits.
    """
    from verifier.store import operations
    from verifier.store.engine import transaction

    with transaction() as connection:
        operations.stop(connection, by=operator(), reason=reason)
    talk.say("everything is stopped; `verifier start` ends it")


@click.command()
@needs_store
def start() -> None:
    """End the global stop."""
    from verifier.store import operations
    from verifier.store.engine import transaction
    from verifier.verification.ring import ring_lanes

    with transaction() as connection:
        was_stopped = operations.start(connection)
    ring_lanes()
    talk.say("the work goes on" if was_stopped else "it was not stopped; nothing was changed")
