"""``verifier webhook``: the services that are told results, and what waits to be told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from verifier.cli import talk
from verifier.cli.lazy import Group
from verifier.cli.options import FAILURES, json_option, operator, reason_option, require_known
from verifier.cli.session import needs_store

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

_STATES = ("waiting", "leased", "delivered", "dead")


@click.group(cls=Group)
def group() -> None:
    """Webhooks and callers' tasks: list, show, pause, resume, retry, test."""


@group.command("list")
@json_option
@needs_store
def list_webhooks(as_json: bool) -> None:
    """Every endpoint: its state, its backlog, and what it answered last.

    The endpoint celery is for tasks that callers named.
    """
    from verifier.cli.webhookview import read_endpoints
    from verifier.store.engine import transaction

    with transaction() as connection:
        found = read_endpoints(connection)
    if as_json:
        talk.out_json({"webhooks": found})
        return
    columns = ("name", "state", "waiting", "dead", "behind", "oldest", "failures", "last_error",
               "until", "delivered_at")  # fmt: skip
    talk.table(columns, ([row[name] for name in columns] for row in found))


@group.command()
@click.argument("name")
@click.option("--state", type=click.Choice(_STATES), help="Only these deliveries.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@json_option
@needs_store
def show(name: str, state: str | None, limit: int, as_json: bool) -> None:
    """One endpoint and its latest deliveries. The ids in what was sent begin with msg_."""
    from verifier.cli.webhookview import read_deliveries, read_endpoints
    from verifier.store.engine import transaction

    with transaction() as connection:
        _require(connection, name)
        (found,) = (row for row in read_endpoints(connection) if row["name"] == name)
        rows = read_deliveries(connection, name, state, limit)
    if as_json:
        talk.out_json({**found, "deliveries": rows})
        return
    shown = {**found, "events": ", ".join(found["events"])}
    talk.facts((key.replace("_", " "), value) for key, value in shown.items())
    talk.out()
    columns = ("id", "webhook_id", "event", "events", "state", "tries", "error", "due_at",
               "ended_at")  # fmt: skip
    talk.table(columns, ([row[key] for key in columns] for row in rows))


@group.command()
@click.argument("name")
@reason_option
@needs_store
def pause(name: str, reason: str | None) -> None:
    """Tell endpoint NAME nothing more, until it is resumed. Nothing is lost meanwhile."""
    from verifier.store import endpoints
    from verifier.store.engine import transaction

    with transaction() as connection:
        _require(connection, name)
        endpoints.pause(connection, name, by=operator(), reason=reason)
    talk.say(f"webhook {name} is paused; `verifier webhook resume {name}` ends it")


@group.command()
@click.argument("name")
@needs_store
def resume(name: str) -> None:
    """Tell endpoint NAME again, at once, from where it was left."""
    from verifier.store import endpoints
    from verifier.store.engine import transaction

    with transaction() as connection:
        _require(connection, name)
        endpoints.resume(connection, name)
    talk.say(f"webhook {name} is told again")


@group.command()
@click.argument("name")
@click.option("--id", "delivery", type=click.IntRange(1), help="Only this delivery.")
@json_option
@needs_store
def retry(name: str, delivery: int | None, as_json: bool) -> None:
    """Send what waits for endpoint NAME now, and what is dead once more."""
    from verifier.errors import NotFoundError
    from verifier.store import deliveries
    from verifier.store.engine import transaction

    with transaction() as connection:
        paused = _require(connection, name).paused_at is not None
        due = deliveries.retry(connection, name, delivery)
    if delivery is not None and not due:
        raise NotFoundError(
            f"Nothing of id {delivery} waits for webhook {name}.",
            fix=f"`verifier webhook show {name}` lists what there is.",
        )
    if as_json:
        talk.out_json({"webhook": name, "due": due})
    else:
        talk.say(f"{due:,} due now")
    if paused:
        talk.say(
            f"webhook {name} is paused: nothing goes out until `verifier webhook resume {name}`"
        )


@group.command()
@click.argument("name")
@json_option
@click.pass_context
def test(context: click.Context, name: str, as_json: bool) -> None:
    """Send endpoint NAME a signed event of type webhook.test, and say what came back.

    Needs no database. Exit code: 0 it answered 2xx, 5 it did not.
    """
    from verifier.cli.webhookview import meaning, send_test
    from verifier.config import config
    from verifier.errors import UsageError
    from verifier.events import CELERY

    if name == CELERY:
        raise UsageError(
            f"{CELERY} stands for the tasks that callers named; it cannot be tested.",
            fix=f"`verifier webhook show {CELERY}` lists what waits for them; [callbacks] "
            "broker_url names the broker that takes them.",
        )
    require_known("webhook", name, config().webhooks)
    found = send_test(name, config().webhooks[name])
    if as_json:
        talk.out_json(found)
    else:
        talk.facts((key.replace("_", " "), value) for key, value in found.items())
    if not found["ok"]:
        what, fix = meaning(found["error"], found["status"])
        talk.error(f"webhook {name} was not told ({found['error']}): {what}", fix)
        context.exit(FAILURES)


@group.command()
def secret() -> None:
    """Make a secret for an endpoint: for its receiver, and for a file of mode 0600 here."""
    from verifier.signing.webhooks import new_secret

    talk.out(new_secret())


def _require(connection: Connection, name: str) -> Row[Any]:
    """The endpoint's row. Raises NotFoundError."""
    from verifier.cli.webhookview import NOT_READ, READ_IT
    from verifier.config import config
    from verifier.errors import NotFoundError
    from verifier.store import endpoints

    rows = {row.name: row for row in endpoints.listing(connection)}
    if name not in rows and name in config().webhooks:
        raise NotFoundError(f"Webhook {name!r} is {NOT_READ}.", fix=READ_IT)
    require_known("webhook", name, rows)
    return rows[name]
