"""``verifier provider``: list, try, pause and resume the APIs that verify numbers; their cost."""

from __future__ import annotations

from typing import Any

import click

from verifier.cli import talk
from verifier.cli.lazy import Group
from verifier.cli.options import (
    FAILURES,
    configured_argument,
    json_option,
    operator,
    reason_option,
)
from verifier.cli.session import needs_store

provider_argument = configured_argument("provider", lambda configured: configured.providers)


@click.group(cls=Group)
def group() -> None:
    """Providers: list, try, cost, pause, resume."""


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
    columns = ("name", "state", "available", "reason", "until", "preference", "qps", "lanes",
               "checks")  # fmt: skip
    shown = (
        {**row, "lanes": ",".join(row["lanes"]), "checks": _checks(row["checks"])} for row in found
    )
    talk.table(columns, ([row[name] for name in columns] for row in shown))


def _checks(shown: dict[str, Any] | None) -> str:
    """Which, and how they stand if they cannot be asked."""
    if shown is None:
        return ""
    named = ",".join(shown["names"])
    return named if shown["available"] else f"{named}: {shown['reason'] or shown['state']}"


@group.command()
@provider_argument
@json_option
@click.pass_context
def probe(context: click.Context, name: str, as_json: bool) -> None:
    """Make one call to provider NAME that is documented as unbilled, and say what came back.

    Needs no database and no data of anybody. Exit code: 0 when it answered as documented, 5 when
    not.
    """
    from verifier.cli import probing

    found = probing.probe(name)
    view = probing.as_object(name, found)
    if as_json:
        talk.out_json(view)
    else:
        talk.facts((key, value) for key, value in view.items() if key != "fix")
        if not found.works:
            talk.warn(f"{name} did not answer as documented", view["fix"])
    if not found.works:
        context.exit(FAILURES)


@group.command()
@click.option("--since", metavar="DAY", help="From this day on (2026-11-01). Default: this month.")
@click.option("--until", metavar="DAY", help="Up to this day, which no longer counts.")
@json_option
@needs_store
def cost(since: str | None, until: str | None, as_json: bool) -> None:
    """What the calls to each provider cost: billed, free, and maybe (sent and not answered).

    Each call counts with the price that was configured when it was made.
    """
    from verifier.cli import costs

    view = costs.report(since, until)
    if as_json:
        talk.out_json(view)
    else:
        costs.print_report(view)


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
