"""``verifier provider``: list, pause and resume the APIs that verify numbers."""

from __future__ import annotations

import click

from verifier.cli import talk
from verifier.cli.lazy import Group
from verifier.cli.options import configured_argument, json_option, operator, reason_option
from verifier.cli.session import needs_store

provider_argument = configured_argument("provider", lambda configured: configured.providers)


@click.group(cls=Group)
def group() -> None:
    """Providers: list, pause, resume."""


@group.command("list")
@json_option
@needs_store
def list_providers(as_json: bool) -> None:
    """Every provider: its lanes, its state, and until when it is not asked."""
    from verifier.cli.standing import read_providers
    from verifier.store.engine import transaction

    with transaction() as connection:
        found = read_providers(connection)
    if as_json:
        talk.out_json({"providers": found})
        return
    columns = ("name", "state", "available", "reason", "until", "preference", "qps", "lanes")
    shown = ({**row, "lanes": ",".join(row["lanes"])} for row in found)
    talk.table(columns, ([row[name] for name in columns] for row in shown))


@group.command()
@provider_argument
@reason_option
@needs_store
def pause(name: str, reason: str | None) -> None:
    """Ask provider NAME nothing more, until it is resumed. Calls in flight finish."""
    from verifier.store import providers
    from verifier.store.engine import transaction

    with transaction() as connection:
        providers.register(connection, [name])
        providers.pause(connection, name, by=operator(), reason=reason)
    talk.say(f"provider {name} is paused; `verifier provider resume {name}` ends it")


@group.command()
@provider_argument
@needs_store
def resume(name: str) -> None:
    """Use provider NAME again, at once: ends a pause, a suspension, an open breaker."""
    from verifier.store import providers
    from verifier.store.engine import transaction
    from verifier.verification.ring import ring_lanes

    with transaction() as connection:
        providers.register(connection, [name])
        providers.resume(connection, name)
    ring_lanes()
    talk.say(f"provider {name} is used again")
