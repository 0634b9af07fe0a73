"""``verifier gateway``: list, pause and resume the APIs that bring reminders to people."""

from __future__ import annotations

import click

from verifier.cli import talk
from verifier.cli.lazy import Group
from verifier.cli.options import configured_argument, json_option, operator, reason_option
from verifier.cli.session import needs_store

gateway_argument = configured_argument("gateway", lambda configured: configured.gateways)


@click.group(cls=Group)
def group() -> None:
    """Gateways of messages: list, pause, resume."""


@group.command("list")
@json_option
@needs_store
def list_gateways(as_json: bool) -> None:
    """Every gateway: its kind, its state, and why it is not used."""
    from verifier.cli.standing import read_gateways
    from verifier.store.engine import transaction

    with transaction() as connection:
        found = read_gateways(connection)
    if as_json:
        talk.out_json({"gateways": found})
        return
    columns = ("name", "kind", "state", "available", "reason", "preference", "qps")
    talk.table(columns, ([row[name] for name in columns] for row in found))


@group.command()
@gateway_argument
@reason_option
@needs_store
def pause(name: str, reason: str | None) -> None:
    """Send nothing more through gateway NAME, until it is resumed. Messages under way finish."""
    from verifier.store import gateways, providers
    from verifier.store.engine import transaction

    with transaction() as connection:
        gateways.register(connection, [name])
        providers.pause(connection, gateways.row_name(name), by=operator(), reason=reason)
    talk.say(f"gateway {name} is paused; `verifier gateway resume {name}` ends it")


@group.command()
@gateway_argument
@needs_store
def resume(name: str) -> None:
    """Use gateway NAME again: ends a pause or a suspension.

    What waited for it leaves within minutes, in the hours at which people may be reached.
    """
    from verifier.store import gateways, providers
    from verifier.store.engine import transaction

    with transaction() as connection:
        gateways.register(connection, [name])
        providers.resume(connection, gateways.row_name(name))
    talk.say(f"gateway {name} is used again")
