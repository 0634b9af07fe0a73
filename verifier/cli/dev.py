"""``verifier dev``: the whole stack on this machine."""

from __future__ import annotations

import click

from verifier.cli.lazy import Group


@click.group(cls=Group)
def group() -> None:
    """Run the whole stack on this machine."""


@group.command()
@click.option("--without-sandbox", is_flag=True, help="Use the providers that are configured.")
def up(without_sandbox: bool) -> None:
    """PostgreSQL, Valkey, sandbox, workers and beat, in the foreground; Ctrl-C stops them."""
    from verifier.cli.session import quiet_logging
    from verifier.local.stack import up as run_stack
    from verifier.settings import settings

    quiet_logging()
    run_stack(settings().home, with_sandbox=not without_sandbox)
