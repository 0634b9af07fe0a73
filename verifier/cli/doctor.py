"""``verifier doctor``: every check of the installation, each fault with its remedy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from verifier.cli import talk
from verifier.cli.options import json_option

if TYPE_CHECKING:
    from verifier.cli.checks.check import Check


@click.command()
@json_option
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Check the installation. Exit code 1 when a check failed; warnings do not count."""
    from verifier.cli.checks.installation import installation_checks

    if not report(installation_checks(), as_json=as_json):
        context.exit(1)


def report(checks: Iterable[Check], *, as_json: bool) -> bool:
    """Show the checks as they are made; whether none failed."""
    found = []
    for check in checks:
        found.append(check)
        if not as_json:
            talk.out(f"{check.verdict:<5} {check.name}: {talk.printable_lines(check.found)}")
            if check.fix:
                talk.out(f"      fix: {check.fix}")
    failed = [check.name for check in found if check.verdict == "fail"]
    if as_json:
        talk.out_json(
            {
                "ok": not failed,
                "checks": [
                    {
                        "name": check.name,
                        "verdict": str(check.verdict),
                        "found": check.found,
                        "fix": check.fix,
                    }
                    for check in found
                ],
            }
        )
    elif failed:
        talk.say(f"{len(failed)} of {len(found)} checks failed")
    return not failed
