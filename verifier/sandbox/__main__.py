"""``python -m verifier.sandbox serve`` and ``python -m verifier.sandbox people``."""

from __future__ import annotations

from pathlib import Path

import click

from verifier.errors import VerifierError
from verifier.outcomes import Lane
from verifier.sandbox import server
from verifier.sandbox.people import generate, write


@click.group()
def main() -> None:
    """Carriers and gateways over real HTTP, with scripted faults. For development only."""


@main.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0 takes a free one.")
@click.option("--state", type=click.Path(path_type=Path), required=True, help="State directory.")
def serve(port: int, state: Path) -> None:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT."""
    try:
        server.serve(state, port, announce=click.echo)
    except (VerifierError, OSError) as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.option("--count", type=click.IntRange(1), required=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--directory", type=click.Path(path_type=Path), required=True)
def people(count: int, seed: int, directory: Path) -> None:
    """Write users.csv, expected.csv and register.jsonl about fictional people."""
    written = write(directory, generate(count, seed, reach=frozenset(Lane)))
    click.echo(f"wrote {written} people to {directory}", err=True)


if __name__ == "__main__":
    main()
