"""``verifier reminder``: plan, send and list the messages to people."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from verifier.cli import talk
from verifier.cli.lazy import Group
from verifier.cli.options import json_option
from verifier.cli.session import needs_store

_STATES = ("planned", "sending", "sent", "rejected", "unknown", "skipped")
#: Counts of a slice that show that messages were worked on, so that there may be more.
_WORKED = ("sent", "rejected", "unknown", "skipped")


@click.group(cls=Group)
def group() -> None:
    """Reminders: plan, send, list."""


@group.command()
@click.option("--now", is_flag=True, help="Also before the time of the timetable.")
@json_option
@needs_store
def plan(now: bool, as_json: bool) -> None:
    """Write down whom to remind today. Once a day: repeating it adds nothing."""
    from verifier.clock import business_date
    from verifier.config import config
    from verifier.reminders import plan as planning
    from verifier.store import clock
    from verifier.store.engine import transaction

    if now:
        with transaction() as connection:
            today = business_date(clock.now(connection), config().zone)
        _show(planning.plan_once(today), as_json)
    else:
        _show(planning.plan_due(), as_json)


@group.command()
@json_option
@needs_store
def send(as_json: bool) -> None:
    """Send what is due now, within people's hours; no message twice. Ctrl-C stops in between."""
    from collections import Counter

    from verifier.reminders.send import send_due

    total: Counter[str] = Counter()
    while True:
        counts = send_due(lambda: False)
        if isinstance(counts.get("skipped"), str):
            _show(counts, as_json)
            return
        total.update(counts)
        if not any(counts.get(name) for name in _WORKED):
            break
    _show(dict(total), as_json)


def _show(counts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        talk.out_json(counts)
    elif counts:
        talk.facts((name.replace("_", " "), value) for name, value in counts.items())
    else:
        talk.say("nothing is due")


@group.command("list")
@click.option("--state", type=click.Choice(_STATES))
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="YYYY-MM-DD")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
@needs_store
def list_reminders(state: str | None, day: datetime | None, limit: int, as_json: bool) -> None:
    """Reminders, newest first: to whom (by reference), about what, what became of it."""
    from verifier.store import reminders
    from verifier.store.engine import transaction

    with transaction() as connection:
        rows = reminders.listing(
            connection, state=state, day=day.date() if day is not None else None, limit=limit
        )
    if as_json:
        talk.out_json({"reminders": [dict(row._mapping) for row in rows]})
        return
    columns = (
        "reference", "platform", "day", "step", "channel", "outcome", "state", "reason", "due_at",
        "gateway",
    )  # fmt: skip
    talk.table(columns, ([getattr(row, name) for name in columns] for row in rows))
