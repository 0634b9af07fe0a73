"""``verifier user``: import, show, list, find. What is shown of a person is masked, always."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from verifier.cli import talk
from verifier.cli.lazy import Group
from verifier.cli.options import FAILURES, LANES, json_option, platform_option
from verifier.cli.session import needs_store, store


@click.group(cls=Group)
def group() -> None:
    """Import users, show how they stand."""


@group.command("import")
@click.argument("file", type=click.Path(allow_dash=True))
@click.option("--format", "format_", type=click.Choice(["csv", "jsonl"]), help="Default: seen.")
@click.option("--encoding", default="utf-8", show_default=True, help="Such as gb18030.")
@click.option("--delimiter", help="Of CSV columns. Default: as in the header.")
@click.option(
    "--rejects", type=click.Path(path_type=Path, dir_okay=False), help="Default: FILE.rejects.csv."
)
@click.option("--dry-run", is_flag=True, help="Only check the rows; needs no database.")
@json_option
@click.pass_context
def import_users(
    context: click.Context,
    file: str,
    format_: str | None,
    encoding: str,
    delimiter: str | None,
    rejects: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Add and update users from FILE (- is standard input): CSV with a header, or JSONL.

    Columns: reference, phone, name, id_number, and optionally platform, email, push_token, locale,
    time_zone, bound_at, consent_at. Importing the same file again changes nothing. Rows that cannot
    be taken are listed in FILE.rejects.csv by line, field and reason; then the exit code is 5.
    """
    from contextlib import nullcontext

    from verifier.cli import importing

    if delimiter is not None:
        delimiter = _one_character(delimiter)
    options = importing.FileOptions(file, format_, encoding, delimiter, rejects)
    with importing.opened(options) as (rows, size), nullcontext() if dry_run else store():
        imported, refused = importing.run_import(rows, size, options, dry_run=dry_run)
    counts = importing.summary(imported, refused, dry_run=dry_run)
    importing.tell_rejects(refused)
    if as_json:
        talk.out_json(counts)
    elif dry_run:
        talk.out(f"{imported.rows - refused.number:,} rows can be taken")
        talk.out(f"{refused.number:,} rejected")
        talk.say("nothing was written (--dry-run)")
    else:
        for name in ("inserted", "changed", "contact_changed", "unchanged", "rejected"):
            talk.out(f"{counts[name]:>12,} {name.replace('_', ' ')}")
    if refused.number:
        context.exit(FAILURES)


def _one_character(delimiter: str) -> str:
    known = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
    if len(known) != 1 or known in '"\r\n\0':
        raise click.BadParameter("it must be one character, or 'tab'", param_hint="--delimiter")
    return known


@group.command()
@click.argument("reference")
@platform_option
@json_option
@needs_store
def show(reference: str, platform: str | None, as_json: bool) -> None:
    """How the user REFERENCE stands, what was tried, and what the person may be told."""
    from verifier.cli import userview

    reference = userview.checked(reference)
    view = userview.detail(userview.platform_of(reference, platform), reference)
    if as_json:
        talk.out_json(view)
    else:
        userview.print_detail(view)


@group.command("list")
@click.option("--status", type=click.Choice(["unverified", "verified", "failed"]))
@click.option("--outcome", help="Such as MISMATCHED.")
@click.option("--lane", type=click.Choice(LANES))
@click.option("--platform", help="Only users of this product.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@click.option("--after", type=click.IntRange(0), default=0, help="Go on after this user id.")
@json_option
@needs_store
def list_users(
    status: str | None,
    outcome: str | None,
    lane: str | None,
    platform: str | None,
    limit: int,
    after: int,
    as_json: bool,
) -> None:
    """Users, masked, oldest first."""
    from verifier.cli import userview
    from verifier.outcomes import RESULTS
    from verifier.store import users
    from verifier.store.engine import transaction

    outcome = outcome.upper() if outcome else None
    if outcome is not None and outcome not in RESULTS:
        raise click.BadParameter(f"one of {', '.join(RESULTS)}", param_hint="--outcome")
    with transaction() as connection:
        rows = users.listing(
            connection,
            status=status,
            outcome=outcome,
            lane=lane,
            platform=platform,
            limit=limit + 1,
            after=after,
        )
    more, rows = len(rows) > limit, rows[:limit]
    following = rows[-1].id if more else None
    found = userview.masked(rows)
    if as_json:
        talk.out_json({"users": found, "next": following})
        return
    userview.print_list(found)
    if following is not None:
        talk.say(f"there are more: --after {following}")


@group.command()
@click.option("--by", type=click.Choice(["phone", "id-number"]), default="phone", show_default=True)
@json_option
@needs_store
def find(by: str, as_json: bool) -> None:
    """Find users by phone or ID number, asked for on the terminal or read from standard input.

    A number never stands in the command line: other accounts could read it, and shells keep it.
    """
    from verifier.cli import userview
    from verifier.errors import NotFoundError

    found: list[dict[str, Any]] = userview.find_by(by, _ask(by))
    if as_json:
        talk.out_json({"users": found, "next": None})
    elif found:
        userview.print_list(found)
    if not found and not as_json:
        raise NotFoundError(
            "No user has this number.",
            fix="Check the number and --by; `verifier user import` adds users.",
        )


def _ask(by: str) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(f"{by} (not shown)", hide_input=True, err=True))
    return sys.stdin.readline(200).strip()
