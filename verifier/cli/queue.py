"""``verifier queue``: what waits, why, and until when."""

from __future__ import annotations

import click

from verifier.cli import talk
from verifier.cli.lazy import Group
from verifier.cli.options import LANES, json_option
from verifier.cli.session import needs_store


@click.group(cls=Group)
def group() -> None:
    """What waits, why, and until when."""


@group.command()
@click.argument("lane", metavar="[LANE]", type=click.Choice(LANES), required=False)
@json_option
@needs_store
def why(lane: str | None, as_json: bool) -> None:
    """Why work waits, per lane (or in LANE): cause, until when, remedy.

    LANE is cmcc, cucc, ctcc, cbn or mvno.
    """
    from verifier.cli.standing import read_lanes
    from verifier.cli.why import as_object
    from verifier.store.engine import transaction

    with transaction() as connection:
        found = [as_object(row) for row in read_lanes(connection) if lane in (None, row.lane)]
    if as_json:
        talk.out_json({"lanes": found})
        return
    for row in found:
        _print(dict(row), all_of_it=lane is not None)


def _print(row: dict[str, object], *, all_of_it: bool) -> None:
    until = f", until {talk.cell(row['until'])}" if row["until"] else ""
    talk.out(f"{row['lane']}: {row['open']:,} open: {talk.printable(str(row['text']))}{until}")
    if row["fix"]:
        talk.out(f"  fix: {row['fix']}")
    for title, columns in (
        ("waits_for", ("state", "reason", "users", "due", "overdue", "until")),
        ("providers", ("name", "state", "available", "reason", "until")),
    ):
        rows = row[title]
        if isinstance(rows, list) and rows and (all_of_it or title == "waits_for"):
            talk.table(columns, ([item[name] for name in columns] for item in rows))
    talk.out()
