"""What ``verifier status`` shows, read in one transaction."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import Connection

from verifier.cli import talk
from verifier.cli.standing import read_gateways, read_lanes, read_providers
from verifier.cli.webhookview import read_endpoints
from verifier.cli.why import LaneStanding, why
from verifier.clock import business_date
from verifier.config import config
from verifier.store import clock, jobs, operations, reminders, users
from verifier.store.engine import transaction


def read() -> dict[str, Any]:
    """The whole, as ``status --json`` shows it."""
    with transaction() as connection:
        now = clock.now(connection)
        control = operations.control(connection)
        return {
            "now": now,
            "stopped_at": control.stopped_at,
            "stopped_by": control.stopped_by,
            "stop_reason": control.stop_reason,
            "users": _users(connection),
            "lanes": [_lane(lane) for lane in read_lanes(connection)],
            "providers": read_providers(connection),
            "gateways": read_gateways(connection),
            "webhooks": _webhooks(connection),
            "workers": [
                {"queue": row.queue, "host": row.host, "seconds_ago": round(row.seconds, 1)}
                for row in operations.canaries(connection)
            ],
            "last_audit": _audit(connection),
            "reminders_today": _reminders(connection, now),
        }


def _users(connection: Connection) -> dict[str, Any]:
    by_status: Counter[str] = Counter(unverified=0, verified=0, failed=0)
    outcomes: Counter[str] = Counter()
    for row in users.counts(connection):
        by_status[row.status] += row.number
        if row.outcome is not None:
            outcomes[row.outcome] += row.number
    return {"total": by_status.total(), **by_status, "outcomes": dict(outcomes.most_common())}


def _lane(lane: LaneStanding) -> dict[str, Any]:
    found = why(lane)
    reasons: Counter[str] = Counter()
    for group in lane.groups:
        reasons[group.cause if group.state == "waiting" else group.state] += group.users
    return {
        "lane": lane.lane,
        "open": reasons.total(),
        "due": sum(group.due for group in lane.groups),
        "overdue": sum(group.overdue for group in lane.groups),
        "reasons": dict(reasons.most_common()),
        "cause": found.cause,
        "until": found.until,
    }


_WEBHOOK = ("name", "state", "waiting", "dead", "behind", "last_error")


def _webhooks(connection: Connection) -> list[dict[str, Any]]:
    """The endpoint of callers' tasks only when there is something to say of it."""
    return [
        {name: row[name] for name in _WEBHOOK}
        for row in read_endpoints(connection)
        if row["kind"] == "webhook" or row["waiting"] or row["dead"] or row["state"] != "ok"
    ]


def _audit(connection: Connection) -> dict[str, Any] | None:
    latest = jobs.latest(connection, "audit")
    if not latest:
        return None
    return {
        "period": latest[0].period,
        "state": latest[0].state,
        "started_at": latest[0].started_at,
        "finished_at": latest[0].finished_at,
    }


def _reminders(connection: Connection, now: Any) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for row in reminders.counts(connection, business_date(now, config().zone)):
        counts[row.state] += row.number
    return dict(counts)


_LANE = ("lane", "open", "due", "overdue", "cause", "until", "reasons")
_PROVIDER = ("provider", "state", "available", "reason", "until")
_GATEWAY = ("gateway", "kind", "state", "available", "reason")


def print_view(view: dict[str, Any]) -> None:
    talk.facts({"business time": view["now"]})
    if view["stopped_at"] is not None:
        stopped = talk.by(view["stopped_by"], view["stop_reason"])
        talk.out(f"STOPPED by {stopped}; `verifier start` ends it")
    people = view["users"]
    statuses = [(name, people[name]) for name in ("verified", "failed", "unverified", "total")]
    outcomes = [(f"of these {outcome}", number) for outcome, number in people["outcomes"].items()]
    talk.out()
    talk.table(("users", "number"), [(name, f"{n:,}") for name, n in statuses + outcomes])
    talk.out()
    shown = ({**lane, "reasons": _counted(lane["reasons"])} for lane in view["lanes"])
    talk.table(_LANE, ([lane[name] for name in _LANE] for lane in shown))
    for columns, rows in ((_PROVIDER, view["providers"]), (_GATEWAY, view["gateways"])):
        if rows:
            talk.out()
            talk.table(columns, ([row["name"], *map(row.get, columns[1:])] for row in rows))
    if view["webhooks"]:
        talk.out()
        rows = ([row[name] for name in _WEBHOOK] for row in view["webhooks"])
        talk.table(("webhook", *_WEBHOOK[1:]), rows)
    talk.out()
    if view["workers"]:
        seen = ((w["queue"], w["host"], talk.duration(w["seconds_ago"])) for w in view["workers"])
        talk.table(("queue", "worker's host", "seen before"), seen)
    else:
        talk.out("no worker has ever been seen")
    audit = view["last_audit"]
    talk.out()
    talk.facts(
        {
            "last audit": f"{audit['period']} ({audit['state']})" if audit else "none yet",
            "reminders today": _counted(view["reminders_today"]) or "none",
        }
    )


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counts.items())
