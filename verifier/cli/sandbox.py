"""``verifier sandbox``: carriers and gateways over real HTTP, and people to try them with."""

from __future__ import annotations

from pathlib import Path

import click

from verifier.cli import talk
from verifier.cli.lazy import Group
from verifier.errors import UsageError


@click.group(cls=Group)
def group() -> None:
    """Carriers and gateways to try things with."""


@group.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0 takes a free one.")
@click.option(
    "--state", type=click.Path(path_type=Path, file_okay=False), required=True, help="Directory."
)
@click.option("--people", type=click.IntRange(1), help="First make so many fictional people.")
@click.option("--seed", type=int, default=1, show_default=True, help="With --people.")
def serve(port: int, state: Path, people: int | None, seed: int) -> None:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT."""
    from verifier.errors import ConfigError, VerifierError

    try:
        from verifier.sandbox.server import serve as serve_sandbox
    except ImportError as error:
        raise ConfigError(
            f"The sandbox needs {error.name}, which is not installed.",
            fix="pip install 'verifier[sandbox]'",
        ) from None

    if people is not None:
        _write(state, people, seed, option="--state")
    try:
        serve_sandbox(state, port, announce=talk.out)
    except OSError as error:
        if error.filename is not None:
            raise _unwritable(state, error, "--state") from None
        raise VerifierError(
            f"Port {port} cannot be listened on ({error.strerror}).", fix="Choose another --port."
        ) from None


@group.command()
@click.option("--count", type=click.IntRange(1), required=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same people.")
@click.option(
    "--out",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("people"),
    show_default=True,
)
def people(count: int, seed: int, directory: Path) -> None:
    """Write users.csv, expected.csv and register.jsonl about people who do not exist.

    A sandbox that runs in this VERIFIER_HOME learns about them at once.
    """
    from verifier.settings import running_endpoints

    _write(directory, count, seed, option="--out")
    running = running_endpoints()
    if running is not None and running.sandbox_url is not None:
        _teach(running.sandbox_url, directory / "register.jsonl")
        talk.say(f"the sandbox at {running.sandbox_url} knows them now")
    else:
        talk.say(
            "no running sandbox was told; start one with "
            f"`verifier sandbox serve --state {directory}`"
        )


def _teach(url: str, register: Path) -> None:
    """Tell a running sandbox what is in a register file, a few thousand lines at a time."""
    import json
    from itertools import islice

    from verifier.sandbox.client import SandboxClient
    from verifier.sandbox.register import parse_entry

    sandbox = SandboxClient(url)
    with register.open(encoding="utf-8") as lines:
        while chunk := list(islice(lines, 2000)):
            sandbox.put(*(parse_entry(json.loads(line)) for line in chunk))


def _unwritable(directory: Path, error: OSError, option: str) -> UsageError:
    return UsageError(
        f"The directory {directory} cannot be written ({error.strerror}).",
        fix=f"Name a directory of your own with {option} DIR.",
    )


def _write(directory: Path, count: int, seed: int, *, option: str) -> None:
    """Make the people. Raises UsageError where the directory, of that option, is not writable."""
    from verifier.outcomes import Lane
    from verifier.sandbox.people import generate, write

    try:
        # What must come out with the configuration of `verifier dev up`, which reaches every lane.
        number = write(directory, generate(count, seed, reach=frozenset(Lane)))
    except OSError as error:
        raise _unwritable(directory, error, option) from None
    talk.say(f"wrote {number:,} fictional people to {directory}")
