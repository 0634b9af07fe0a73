"""Queue ``remind``: plan, send and reconcile messages to people.

No task here is retried by Celery: a message is sent at most once, and what is unknown is
reconciled (``verifier.reminders``), never sent again.
"""

from __future__ import annotations

from typing import Any

from verifier.clock import parse_time
from verifier.reminders import plan as planning
from verifier.reminders import reconcile as reconciling
from verifier.reminders import send as sending
from workers.app import app
from workers.shutdown import drain_flag


@app.task(name="verifier.reminders.plan")
def plan(at: str | None = None, **_newer: Any) -> dict[str, Any]:
    """Plan today's reminders, once a business day, from ``at`` (the timetable's hour)."""
    return planning.plan_due(parse_time(at) if at else None)


@app.task(name="verifier.reminders.send")
def send(**_newer: Any) -> dict[str, Any]:
    """Send what is due, inside quiet hours' bounds."""
    return sending.send_due(drain_flag)


@app.task(name="verifier.reminders.reconcile")
def reconcile(**_newer: Any) -> dict[str, Any]:
    """Ask the gateways about messages whose outcome is unknown."""
    return reconciling.reconcile()
