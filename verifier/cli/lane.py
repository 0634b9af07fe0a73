"""``verifier lane``: list, pause and resume the lanes (the carriers' queues)."""

from __future__ import annotations

import click

from verifier.cli import talk
from verifier.cli.lazy import Group
from verifier.cli.options import LANES, json_option, operator, reason_option
from verifier.cli.session import needs_store

lane_argument = click.argument("lane", metavar="LANE", type=click.Choice(LANES))


@click.group(cls=Group)
def group() -> None:
    """Lanes: list, pause, resume."""


@group.command("list")
@json_option
@needs_store
def list_lanes(as_json: bool) -> None:
    """Every lane: what is open, what is due, and what holds it."""
    from verifier.cli.standing import read_lanes
    from verifier.cli.why import as_object
    from verifier.store.engine import transaction

    with transaction() as connection:
        found = [as_object(lane) for lane in read_lanes(connection)]
    if as_json:
        talk.out_json({"lanes": found})
        return
    columns = ("lane", "open", "due", "overdue", "draining", "cause", "until")
    talk.table(columns, ([row[name] for name in columns] for row in found))


@group.command()
@lane_argument
@reason_option
@needs_store
def pause(lane: str, reason: str | None) -> None:
    """Start nothing more in LANE, until it is resumed. Calls in flight finish.

    LANE is cmcc, cucc, ctcc, cbn or mvno.
    """
    from verifier.outcomes import Lane
    from verifier.store import lanes
    from verifier.store.engine import transaction

    with transaction() as connection:
        lanes.pause(connection, Lane(lane), by=operator(), reason=reason)
    talk.say(f"lane {lane} is paused; `verifier lane resume {lane}` ends it")


@group.command()
@lane_argument
@needs_store
def resume(lane: str) -> None:
    """Work on LANE again, at once, also if it waited for a provider.

    LANE is cmcc, cucc, ctcc, cbn or mvno.
    """
    from verifier.outcomes import Lane
    from verifier.store import lanes
    from verifier.store.engine import transaction
    from verifier.verification.ring import ring_lanes

    with transaction() as connection:
        lanes.resume(connection, Lane(lane))
    ring_lanes()
    talk.say(f"lane {lane} goes on")
