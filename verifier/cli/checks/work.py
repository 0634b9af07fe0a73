"""Whether the work goes on: who does it, what holds it, what comes too late."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection, Row

from verifier.cli import costs, talk
from verifier.cli.checks.check import Check, fail, ok, warn
from verifier.cli.standing import read_lanes
from verifier.cli.webhookview import NOT_READ, READ_IT, read_endpoints
from verifier.cli.workers_seen import FRESH_SECONDS, fresh_queues
from verifier.config import Config, config
from verifier.doorbell import QUEUES
from verifier.events import CELERY
from verifier.store import (
    clock,
    gateways,
    operations,
    overview,
    providers,
    spending,
    waiting,
)

#: The part of the month's budget from which there is a warning.
_NEARLY_SPENT: Final = Decimal("0.9")


def work_checks(connection: Connection) -> Iterator[Check]:
    yield _workers(connection)
    yield _quarantined(connection)
    yield _overdue(connection)
    yield from _webhooks(connection)
    current = config()
    every = providers.get_all(connection)
    own = gateways.providers_only(every)
    yield from _standing("provider", {n: row for n, row in own.items() if n in current.providers})
    yield from _of_checks(
        {
            name: row
            for name, row in providers.of_checks(every).items()
            if name in current.providers and current.providers[name].checks
        }
    )
    yield from _lanes_without(connection)
    told = gateways.get_all(connection)
    yield from _standing("gateway", {n: row for n, row in told.items() if n in current.gateways})
    yield from _budgets(connection, current)
    yield _global_stop(connection)


def _workers(connection: Connection) -> Check:
    fresh = fresh_queues(connection)
    missing = [name for name in QUEUES if name not in fresh]
    if not missing:
        return ok("workers", "every queue is served")
    return fail(
        "workers",
        f"nobody served {', '.join(missing)} in the last {talk.duration(FRESH_SECONDS)}",
        "Run the processes of the Procfile (or `verifier dev up`); beat sends the canaries.",
    )


def _quarantined(connection: Connection) -> Check:
    found = overview.quarantined(connection, 4)
    if not found:
        return ok("quarantine", "empty")
    named = ", ".join(f"{row.reference} ({row.platform})" for row in found[:3])
    return fail(
        "quarantine",
        f"three workers ended while at {named}{' and others' if len(found) > 3 else ''}",
        "Read the workers' logs of that time, then `verifier verify one REF` tries one again.",
    )


def _overdue(connection: Connection) -> Check:
    number = sum(row.overdue for row in waiting.by_lane(connection))
    if number:
        return warn(
            "deadlines",
            f"{number:,} open verifications are past theirs",
            "`verifier verify overdue` lists them, `verifier queue why` says what they wait for.",
        )
    return ok("deadlines", "nothing is overdue")


def _webhooks(connection: Connection) -> Iterator[Check]:
    """Endpoints that are not told what they should be; the others need no line each."""
    troubled = False
    for row in read_endpoints(connection):
        name, backlog = row["name"], row["waiting"] or row["dead"] or row["behind"]
        title, show = f"webhook {name}", f"`verifier webhook show {name}"
        if row["state"] == "new":
            yield warn(title, NOT_READ, READ_IT)
        elif row["state"] == "paused":
            yield warn(
                title,
                f"paused by {talk.by(row['paused_by'], row['pause_reason'])}",
                f"`verifier webhook resume {name}` ends it.",
            )
        elif row["dead"]:
            yield warn(
                title,
                f"{row['dead']:,} dead: not taken for too long",
                f"{show} --state dead` lists them; `verifier webhook retry {name}` tries again.",
            )
        elif row["state"] == "failing" or (row["state"] == "not configured" and backlog):
            yield warn(
                title,
                f"{row['state']} ({row['last_error']}); {row['waiting']:,} wait",
                f"{show}` lists them; "
                + (
                    "[callbacks] broker_url names the broker that takes them."
                    if name == CELERY
                    else f"`verifier webhook test {name}` says what it answers."
                ),
            )
        else:
            continue
        troubled = True
    if not troubled:
        yield ok("webhooks", "every endpoint takes what it is told")


def _standing(kind: str, rows: Mapping[str, Row[Any]]) -> Iterator[Check]:
    """``kind``: the word of the command that resumes them."""
    for name, row in rows.items():
        title, resume = f"{kind} {name}", f"`verifier {kind} resume {name}`"
        if row.state == "suspended":
            yield fail(
                title,
                f"suspended: it refuses our account ({row.reason})",
                f"Mend credentials or balance with the vendor, then {resume}.",
            )
        elif row.paused_at is not None:
            yield warn(
                title, f"paused by {talk.by(row.paused_by, row.pause_reason)}", f"{resume} ends it."
            )
        elif row.state == "open":
            yield warn(
                title,
                f"not asked: {row.reason}, until {talk.at(row.not_before)}",
                "It is tried again by itself; a lane's other providers go on meanwhile.",
            )
        else:
            yield ok(title, "in use")


def _lanes_without(connection: Connection) -> Iterator[Check]:
    """Lanes whose every provider is away: their people wait."""
    for lane in read_lanes(connection):
        if lane.providers and not any(provider.available for provider in lane.providers):
            named = "; ".join(f"{p.name}: {p.reason or p.state}" for p in lane.providers)
            yield fail(
                f"lane {lane.lane}",
                f"nobody can be asked ({named})",
                "`verifier queue why` says until when; add a provider of another vendor, or resume "
                "one that was paused.",
            )


def _of_checks(rows: Mapping[str, Row[Any]]) -> Iterator[Check]:
    """Checks that are not asked; the others need no line each."""
    for name, row in rows.items():
        title = f"checks of {name}"
        if row.state == "suspended":
            yield fail(
                title,
                f"suspended: the vendor refuses them to our account ({row.reason}); mismatches and "
                "unknown numbers that want one wait",
                f"Have the vendor open them, then `verifier provider resume {name}`; or take them "
                f"out of [providers.{name}] checks and restart the workers.",
            )
        elif row.state == "open":
            yield warn(
                title,
                f"not asked: {row.reason}, until {talk.at(row.not_before)}",
                "They are tried again by themselves; its verifications go on.",
            )


def _budgets(connection: Connection, current: Config) -> Iterator[Check]:
    paused = spending.paused_batches(connection)
    if paused:
        named = ", ".join(map(str, paused[:3])) + (" and others" if len(paused) > 3 else "")
        yield warn(
            "batches' budgets",
            f"{len(paused):,} stopped at theirs: {named}",
            "`verifier batch resume BATCH --budget AMOUNT` lets one go on.",
        )
    limit = current.budget.per_month
    if limit is None:
        return
    scope = spending.month_scope(clock.now(connection), current.zone)
    used = spending.spent(connection, [scope]).get(scope, Decimal(0))
    of_all = f"of {costs.amount(limit)} {current.budget.currency}"
    found = f"{costs.amount(used)} {of_all} spent or under way"
    if used < limit * _NEARLY_SPENT:
        yield ok("month's budget", found)
    else:
        yield warn(
            "month's budget",
            f"{found}: calls that no longer fit wait for the next month",
            "Raise [budget] per_month and restart the workers, if more may be spent.",
        )


def _global_stop(connection: Connection) -> Check:
    control = operations.control(connection)
    if control.stopped_at is None:
        return ok("global stop", "not set")
    return warn(
        "global stop",
        f"stopped by {talk.by(control.stopped_by, control.stop_reason)}",
        "`verifier start` ends it.",
    )
