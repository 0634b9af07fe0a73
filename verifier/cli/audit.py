"""``verifier audit``: run the nightly self-audit, show what it found."""

from __future__ import annotations

from datetime import datetime

import click

from verifier.cli import talk
from verifier.cli.lazy import Group
from verifier.cli.options import json_option
from verifier.cli.session import needs_store


@click.group(cls=Group)
def group() -> None:
    """The nightly self-audit: run it, show its report."""


@group.command()
@click.option("--now", is_flag=True, help="Also when tonight's audit is done: one more.")
@json_option
@needs_store
def run(now: bool, as_json: bool) -> None:
    """Audit tonight: count, queue again what is due, plan the day's reminders.

    Exit code 10 while another process is at it.
    """
    from verifier.audit import nightly

    counts = nightly.run(force=now)
    if as_json:
        talk.out_json(counts)
    else:
        talk.facts((name.replace("_", " "), value) for name, value in counts.items())
    if "skipped" in counts:
        talk.say("tonight's audit was done before; --now runs another")


@group.command()
@click.argument("night", metavar="[NIGHT]", type=click.DateTime(["%Y-%m-%d"]), required=False)
@json_option
@needs_store
def show(night: datetime | None, as_json: bool) -> None:
    """The report of the latest audit, or of NIGHT (YYYY-MM-DD)."""
    from dataclasses import asdict

    from verifier.audit import report
    from verifier.cli import auditview

    found = report.show(night.date() if night is not None else None)
    if as_json:
        talk.out_json(asdict(found))
    else:
        auditview.print_report(found)
