"""``verifier demo``: the whole system at work, start to end."""

from __future__ import annotations

import click


@click.command()
@click.option("--people", type=click.IntRange(1, 1_000_000), help="How many. Default: the demo's.")
@click.pass_context
def demo(context: click.Context, people: int | None) -> None:
    """See the whole system at work on this machine, with people who do not exist."""
    from verifier.cli.session import quiet_logging
    from verifier.local import demo as local_demo

    quiet_logging()
    code = local_demo.run() if people is None else local_demo.run(people)
    if code:
        context.exit(code)
