"""The audit's report as text."""

from __future__ import annotations

from collections.abc import Mapping

from verifier.audit.report import Report
from verifier.cli import talk


def print_report(report: Report) -> None:
    talk.facts(
        {
            "audit": report.period,
            "state": report.state,
            "started at": report.started_at,
            "finished at": report.finished_at,
            "users": f"{report.users:,}",
            "verified": f"{report.verified:,} ({report.completion_rate:.1%})",
            "unverified": f"{report.unverified:,}",
            "failed": f"{report.failed:,}",
        }
    )
    _counted("why users failed", ("reason", "users"), report.reasons)
    _counted("who must act", ("who", "users"), report.who_must_act)
    requeued = report.requeued
    if requeued.batch is not None:
        talk.out()
        talk.out(
            f"queued again: {requeued.total:,} users in batch {requeued.batch}, "
            f"{requeued.settled:,} settled since"
        )
        _counted("for these causes", ("cause", "users"), requeued.causes)
    if report.overdue:
        talk.out()
        talk.out("past their deadline")
        talk.table(
            ("lane", "cause", "users", "oldest deadline", "who acts"),
            ((o.lane, o.cause, o.number, o.oldest_deadline, o.who_acts) for o in report.overdue),
        )
    reminders = report.reminders
    talk.out()
    because = f" ({reminders.not_planned_because})" if reminders.not_planned_because else ""
    talk.out(f"reminders planned: {reminders.planned:,}{because}")
    _counted("reminders by state", ("state", "reminders"), reminders.states)


def _counted(title: str, columns: tuple[str, str], counts: Mapping[str, int]) -> None:
    if counts:
        talk.out()
        talk.out(title)
        talk.table(columns, counts.items())
