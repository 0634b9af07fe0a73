"""Options that several commands share, so that they mean and read the same everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from verifier.config import Config

Command = TypeVar("Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
watch_option = click.option("--watch", is_flag=True, help="Show it again every two seconds.")
platform_option = click.option(
    "--platform", help="The product the reference belongs to; needed if several know it."
)
#: The exit code of what was done to the end, but did not all succeed.
FAILURES = 5
LANES = ("cmcc", "cucc", "ctcc", "cbn", "mvno")


def timeout_needs_wait(timeout: float | None, *, wait: bool) -> None:
    """Refuse a limit on a wait that was not asked for."""
    from verifier.errors import UsageError

    if timeout is not None and not wait:
        raise UsageError("--timeout limits a wait, and --wait is not given.", fix="Add --wait.")


def _checked_reason(_: click.Context, __: click.Parameter, reason: str | None) -> str | None:
    """A pause's reason stands in clear for months: refuse one with personal data in it."""
    from verifier.errors import UsageError
    from verifier.identity.mask import redact

    if reason is None:
        return None
    if not reason.strip() or len(reason) > 200 or not reason.isprintable():
        raise UsageError(
            "The reason must be one line of 1 to 200 printable characters.",
            fix="Say in a few words why, or leave --reason out.",
        )
    if redact(reason) != reason:
        raise UsageError(
            "The reason contains what looks like personal data.",
            fix="Say it without numbers of people; the reason is shown to every operator.",
        )
    return reason


reason_option = click.option(
    "--reason", callback=_checked_reason, help="Why, for whoever reads it next."
)


def configured_argument(
    what: str, names: Callable[[Config], Iterable[str]]
) -> Callable[[Command], Command]:
    """The argument NAME of a command about one ``what`` that must stand in the configuration."""

    def known(_: click.Context, __: click.Parameter, name: str) -> str:
        from verifier.config import config

        require_known(what, name, names(config()))
        return name

    return click.argument("name", callback=known)


def require_known(what: str, name: str, known: Iterable[str]) -> None:
    """Refuse a name that is not configured, with the likely ones. Raises NotFoundError."""
    import difflib

    from verifier.errors import NotFoundError

    names = list(known)
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=3)
    meant = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise NotFoundError(
        f"There is no {what} {name!r}.", fix=f"{meant}Configured are: {', '.join(names) or 'none'}."
    )


def operator() -> str:
    """Who gives this command: the account's name, for the record of a pause."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        import os

        return f"uid {os.getuid()}"
