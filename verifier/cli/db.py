"""``verifier db``: bring the database to this version, and check that it is there."""

from __future__ import annotations

import click

from verifier.cli import talk
from verifier.cli.lazy import Group
from verifier.cli.options import json_option
from verifier.cli.session import needs_store


@click.group(cls=Group)
def group() -> None:
    """Migrate and check the database."""


@group.command()
@needs_store
def upgrade() -> None:
    """Migrate the database to this version. Safe to repeat, and from two places at once."""
    from verifier.settings import database_url
    from verifier.store import schema

    before = schema.current(database_url())
    schema.upgrade(database_url())
    head = schema.head()
    if before == head:
        talk.say(f"the database is at {head} already")
    else:
        talk.say(f"migrated from {before or 'nothing'} to {head}")


@group.command()
@click.argument("role")
@needs_store
def grant(role: str) -> None:
    """Let the database role ROLE submit and read results by SQL, and nothing else."""
    from verifier.settings import database_url
    from verifier.store import schema

    schema.grant(database_url(), role)
    talk.say(f"{talk.printable(role)} may call verifier.submit and read the views of results")


@group.command()
@json_option
@click.pass_context
@needs_store
def check(context: click.Context, as_json: bool) -> None:
    """Whether the database has the tables of this version, exactly. Exit code 1 when not."""
    from verifier.settings import database_url
    from verifier.store import schema

    current, head = schema.current(database_url()), schema.head()
    differences = schema.differences(database_url()) if current == head else []
    if as_json:
        talk.out_json({"current": current, "needed": head, "differences": differences})
    elif current != head:
        talk.error(
            f"the database is at {current or 'nothing'}, this version needs {head}",
            "Run `verifier db upgrade`.",
        )
    elif differences:
        talk.error("the tables differ from those of this version")
        for difference in differences:
            talk.out(talk.printable(difference))
    else:
        talk.out(f"the database is at {head}, with exactly its tables")
    if current != head or differences:
        context.exit(1)
