"""``verifier status``: the whole at a glance."""

from __future__ import annotations

import click

from verifier.cli import talk
from verifier.cli.options import json_option, watch_option
from verifier.cli.session import needs_store


@click.command()
@watch_option
@json_option
@needs_store
def status(watch: bool, as_json: bool) -> None:
    """Users, open work, providers, gateways, workers, the last audit, today's reminders."""
    from verifier.cli import statusview
    from verifier.cli.watching import watch as show_again

    def once() -> bool:
        view = statusview.read()
        if as_json:
            talk.out_json(view)
        else:
            statusview.print_view(view)
        return not watch

    show_again(once) if watch else once()
