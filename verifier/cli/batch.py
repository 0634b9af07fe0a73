"""``verifier batch``: watch, wait, pause, resume, cancel, re-run and export batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from verifier.cli import talk
from verifier.cli.lazy import Group
from verifier.cli.options import (
    FAILURES,
    json_option,
    operator,
    reason_option,
    timeout_needs_wait,
    watch_option,
)
from verifier.cli.session import needs_store, store

if TYPE_CHECKING:
    from verifier.verification.batches import Only
    from verifier.verification.submit import Priority

batch_argument = click.argument("batch", metavar="ID", type=click.IntRange(1))


@click.group(cls=Group)
def group() -> None:
    """Watch, pause, cancel, re-run, export batches."""


@group.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@json_option
@needs_store
def list_batches(limit: int, as_json: bool) -> None:
    """The latest batches, newest first."""
    from verifier.cli import batchview
    from verifier.store import batches
    from verifier.store.engine import transaction

    with transaction() as connection:
        found = [batchview.brief(row) for row in batches.listing(connection, limit)]
    if as_json:
        talk.out_json({"batches": found})
        return
    columns = ("batch", "state", "total", "settled", "caller", "label", "created_at")
    talk.table(columns, ([row[name] for name in columns] for row in found))


@group.command()
@batch_argument
@watch_option
@json_option
@needs_store
def show(batch: int, watch: bool, as_json: bool) -> None:
    """How batch ID stands, and what its users wait for."""
    from verifier.cli import batchview
    from verifier.cli.watching import watch as show_again

    def once() -> bool:
        view = batchview.detail(batch, with_costs=not watch)
        if as_json:
            talk.out_json(view)
        else:
            batchview.print_detail(view)
        return not watch or view["state"] == "done"

    show_again(once) if watch else once()


@group.command()
@batch_argument
@click.option("--timeout", type=click.FloatRange(min=0), help="Seconds. Default: for ever.")
@json_option
@click.pass_context
@needs_store
def wait(context: click.Context, batch: int, timeout: float | None, as_json: bool) -> None:
    """Wait until all users of batch ID have settled.

    Exit code: 0 when all settled MATCHED, 5 when some did not, 7 when the time was up.
    """
    from verifier.cli import waiting

    state = waiting.wait(batch, timeout)
    if as_json:
        talk.out_json(waiting.as_object(state))
    else:
        waiting.print_outcomes(state)
    if not waiting.all_matched(state):
        context.exit(FAILURES)


@group.command()
@batch_argument
@json_option
@needs_store
def cancel(batch: int, as_json: bool) -> None:
    """End what batch ID still waits for. Calls in flight finish; shared users go on for others."""
    from verifier.verification import batches

    done = _told_done(batch)
    ended = 0 if done else batches.cancel(batch)
    if as_json:
        talk.out_json({"batch": batch, "cancelled": ended})
    elif not done:
        talk.say(f"batch {batch}: {ended:,} users cancelled; calls in flight finish")


def _told_done(batch: int) -> bool:
    """Whether the batch is done, which is then said: there is nothing to change any more."""
    from verifier.verification import batches

    done = batches.is_done(batch)
    if done:
        talk.say(f"batch {batch} is done already; nothing was changed")
    return done


@group.command()
@batch_argument
@click.option(
    "--only",
    type=click.Choice(["failed", "waiting"]),
    help="failed: those that did not settle MATCHED. waiting: those still open, due at once.",
)
@click.option("--priority", type=click.Choice(["high", "normal", "low"]), default="normal")
@click.option("--key", help="Idempotency key: repeating it never submits twice. Default: random.")
@click.option("--label", help="A name for people.")
@click.option("--wait", is_flag=True, help="Wait until all have settled.")
@click.option("--timeout", type=click.FloatRange(min=0), help="With --wait: at most, in seconds.")
@json_option
@click.pass_context
def rerun(
    context: click.Context,
    batch: int,
    only: Only | None,
    priority: Priority,
    key: str | None,
    label: str | None,
    wait: bool,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Submit the users of batch ID again, as a new batch."""
    from verifier.cli import rerunning

    timeout_needs_wait(timeout, wait=wait)
    with store():
        code = rerunning.rerun(
            batch, only, priority, key, label, wait=wait, timeout=timeout, as_json=as_json
        )
    if code:
        context.exit(code)


@group.command()
@batch_argument
@reason_option
@json_option
@needs_store
def pause(batch: int, reason: str | None, as_json: bool) -> None:
    """Hold what batch ID waits for. Users that another running batch wants go on."""
    from verifier.verification import batches

    done = _told_done(batch)
    held = 0 if done else batches.pause(batch, by=operator(), reason=reason)
    if as_json:
        talk.out_json({"batch": batch, "held": held})
    elif not done:
        talk.say(f"batch {batch} is paused: {held:,} users held; calls in flight finish")


@group.command()
@batch_argument
@click.option("--budget", metavar="AMOUNT", help="What its calls may cost in all, from now on.")
@json_option
@needs_store
def resume(batch: int, budget: str | None, as_json: bool) -> None:
    """Let batch ID go on."""
    from verifier.verification import batches
    from verifier.verification.submit import money

    limit = money(budget)
    done = _told_done(batch)
    released = 0 if done else batches.resume(batch, limit)
    if as_json:
        talk.out_json({"batch": batch, "released": released})
    elif not done:
        talk.say(f"batch {batch} goes on: {released:,} users released")


@group.command()
@batch_argument
@click.argument("file", type=click.Path(allow_dash=True), default="-")
@click.option("--format", "format_", type=click.Choice(["csv", "jsonl"]), help="Default: by name.")
@needs_store
def export(batch: int, file: str, format_: str | None) -> None:
    """The result of every user of batch ID, without personal data, to FILE or standard output.

    Columns: platform, reference, outcome, detail, provider, attempts, settled_at, state, reason,
    until. In CSV, text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    from verifier.cli import exporting

    chosen = format_ or ("jsonl" if file.endswith((".jsonl", ".ndjson")) else "csv")
    rows = exporting.export(batch, file, chosen)
    talk.say(f"batch {batch}: {rows:,} users exported")
