"""``verifier verify``: submit users for verification, one or a million; list what is overdue."""

from __future__ import annotations

from typing import Any

import click

from verifier.cli import talk
from verifier.cli.lazy import Group
from verifier.cli.options import FAILURES, json_option, platform_option, timeout_needs_wait
from verifier.cli.session import needs_store, store

TIMED_OUT = 7


@click.group(cls=Group)
def group() -> None:
    """Submit users for verification."""


@group.command()
@click.option("--all", is_flag=True, help="Every user.")
@click.option("--unverified", is_flag=True, help="Users never verified.")
@click.option("--failed", is_flag=True, help="Users whose check failed.")
@click.option("--ref", "references", multiple=True, metavar="REF", help="This user; repeatable.")
@click.option(
    "--from",
    "file",
    type=click.Path(allow_dash=True),
    help="References, one a line, or a CSV/JSONL with a reference column; a file that also has "
    "phone, name and id_number is imported first. - is standard input.",
)
@click.option("--platform", help="Only this product's users; the product of the references.")
@click.option("--priority", type=click.Choice(["high", "normal", "low"]), default="normal")
@click.option("--key", help="Idempotency key: repeating it never submits twice. Default: random.")
@click.option("--caller", default="cli", show_default=True, help="Whom the key belongs to.")
@click.option("--label", help="A name for people.")
@click.option("--deadline-hours", type=click.IntRange(1, 8760), help="Default: configured.")
@click.option("--budget", metavar="AMOUNT", help="What its calls may cost. Default: configured.")
@click.option("--encoding", default="utf-8", help="Of the file.")
@click.option("--dry-run", is_flag=True, help="Count per lane, who would be asked, the cost.")
@click.option("--wait", is_flag=True, help="Wait until all have settled.")
@click.option("--timeout", type=click.FloatRange(min=0), help="With --wait: at most, in seconds.")
@json_option
@click.pass_context
def submit(context: click.Context, /, **options: Any) -> None:
    """Submit users; each is verified once, whoever else asked for them too.

    Exit code with --wait: 0 when all settled MATCHED, 5 when some did not, 7 when the time was up.
    Without: 5 when references named no user or rows of the file were rejected, after the rest went
    in. When nobody is to be verified no batch is made.
    """
    from verifier.cli import submitting

    selection = _selection(options)
    timeout_needs_wait(options["timeout"], wait=options["wait"])
    with store():
        code = submitting.submit(selection=selection, **options)
    if code:
        context.exit(code)


def _selection(options: dict[str, Any]) -> str | None:
    """Takes the flags of the selections out of the options; at most one way may be given."""
    from verifier.errors import UsageError

    named = [name for name in ("all", "unverified", "failed") if options.pop(name)]
    if len(named) + bool(options["references"]) + (options["file"] is not None) != 1:
        raise UsageError(
            "Say whom to verify, in exactly one way.",
            fix="Use one of --all, --unverified, --failed, --ref REF, --from FILE.",
        )
    return named[0] if named else None


@group.command()
@click.argument("reference")
@platform_option
@click.option(
    "--timeout", type=click.FloatRange(min=0), default=10.0, show_default=True, help="Seconds."
)
@json_option
@click.pass_context
@needs_store
def one(
    context: click.Context, reference: str, platform: str | None, timeout: float, as_json: bool
) -> None:
    """Verify one user now, ahead of all batches.

    Exit code: 0 MATCHED, 5 settled otherwise, 7 when the user has to wait (the work goes on).
    """
    from dataclasses import asdict

    from verifier import client
    from verifier.cli import submitting, userview, workers_seen
    from verifier.store import users
    from verifier.store.engine import transaction

    reference = userview.checked(reference)
    platform = userview.platform_of(reference, platform)
    with transaction() as connection:
        workers_seen.warn_if_none(connection)
    state = client.verify_one(reference, platform=platform, timeout=timeout)
    submitting.warn_if_broker_away()
    with transaction() as connection:
        user = users.find(connection, platform, reference)
        latest = users.settled_of(connection, user.id, limit=1) if user is not None else []
    settled = state.state == "settled"
    outcome = latest[0].outcome if settled and latest else None
    view = {**asdict(state), "settled_as": outcome}
    if as_json:
        talk.out_json(view)
    else:
        talk.facts((k.replace("_", " "), v) for k, v in view.items() if v is not None)
    if not settled:
        context.exit(TIMED_OUT)
    if outcome != "MATCHED":
        context.exit(FAILURES)


@group.command()
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@click.option("--after", type=click.IntRange(0), default=0, help="Go on after this verification.")
@json_option
@needs_store
def overdue(limit: int, after: int, as_json: bool) -> None:
    """Open verifications past their deadline, with their cause. They are never failed for it."""
    from verifier.store import waiting
    from verifier.store.engine import transaction

    with transaction() as connection:
        rows = waiting.overdue(connection, limit + 1, after)
    found = [
        {
            "verification": row.id,
            "platform": row.platform,
            "reference": row.reference,
            "lane": row.lane,
            "state": row.state,
            "cause": row.cause,
            "until": row.until,
            "deadline_at": row.deadline_at,
            "escalated_at": row.escalated_at,
            "late_seconds": int((row.now - row.deadline_at).total_seconds()),
            "attempts": row.attempts,
        }
        for row in rows[:limit]
    ]
    following = rows[limit - 1].id if len(rows) > limit else None
    if as_json:
        talk.out_json({"overdue": found, "next": following})
        return
    columns = (
        "reference",
        "platform",
        "lane",
        "cause",
        "until",
        "deadline_at",
        "late",
        "escalated_at",
        "attempts",
    )
    shown = ({**row, "late": talk.duration(row["late_seconds"])} for row in found)
    talk.table(columns, ([row[name] for name in columns] for row in shown))
    if following is not None:
        talk.say(f"there are more: --after {following}")
