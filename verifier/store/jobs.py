"""Jobs that run once per period: the unique row is the guard, whatever the beats do.

A run holds a lease, so that one that was killed is taken over; finishing it is fenced by token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, text


def begin(
    connection: Connection, job: str, period: str, *, token: int, lease_seconds: float
) -> bool:
    """Whether this caller runs ``job`` for ``period``: nobody has finished it or is at it."""
    return (
        connection.execute(
            text("""
                INSERT INTO verifier.job_runs AS r (job, period, token, lease_until)
                VALUES (:job, :period, :token,
                        clock_timestamp() + make_interval(secs => :lease))
                ON CONFLICT (job, period) DO UPDATE
                   SET token = excluded.token, lease_until = excluded.lease_until
                 WHERE r.state = 'running' AND r.lease_until < clock_timestamp()
                RETURNING 1
            """),
            {"job": job, "period": period, "token": token, "lease": lease_seconds},
        ).scalar_one_or_none()
        is not None
    )


def advance(
    connection: Connection,
    job: str,
    period: str,
    *,
    token: int,
    lease_seconds: float,
    counts: Mapping[str, Any],
) -> bool:
    """Write the counts so far and prolong the lease; False when the run is no longer ours."""
    return (
        connection.execute(
            text("""
                UPDATE verifier.job_runs
                   SET counts = CAST(:counts AS jsonb),
                       lease_until = clock_timestamp() + make_interval(secs => :lease)
                 WHERE job = :job AND period = :period AND token = :token AND state = 'running'
            """),
            {
                "job": job,
                "period": period,
                "token": token,
                "lease": lease_seconds,
                "counts": json.dumps(counts),
            },
        ).rowcount
        == 1
    )


def finish(
    connection: Connection, job: str, period: str, *, token: int, counts: Mapping[str, Any]
) -> bool:
    """Write the counts and end the run, if it is still ours."""
    return (
        connection.execute(
            text("""
                UPDATE verifier.job_runs
                   SET state = 'done', finished_at = verifier.verifier_now(), lease_until = NULL,
                       counts = CAST(:counts AS jsonb)
                 WHERE job = :job AND period = :period AND token = :token AND state = 'running'
            """),
            {"job": job, "period": period, "token": token, "counts": json.dumps(counts)},
        ).rowcount
        == 1
    )


def latest(connection: Connection, job: str, limit: int = 1) -> Sequence[Row[Any]]:
    """The latest runs of a job, newest period first."""
    return connection.execute(
        text("""
            SELECT * FROM verifier.job_runs WHERE job = :job
             ORDER BY started_at DESC, period DESC LIMIT :limit
        """),
        {"job": job, "limit": limit},
    ).all()


def get(connection: Connection, job: str, period: str) -> Row[Any] | None:
    """One run."""
    return connection.execute(
        text("SELECT * FROM verifier.job_runs WHERE job = :job AND period = :period"),
        {"job": job, "period": period},
    ).one_or_none()


def forget_before(connection: Connection, days: int) -> int:
    """Remove finished runs and billed slots older than ``days``. Returns how many rows."""
    runs = connection.execute(
        text("""
            DELETE FROM verifier.job_runs WHERE state = 'done'
               AND finished_at < (SELECT verifier.verifier_now()) - make_interval(days => :days)
        """),
        {"days": days},
    ).rowcount
    slots = connection.execute(
        text("""
            DELETE FROM verifier.billed_slots
             WHERE day < CAST((SELECT verifier.verifier_now()) AS date) - 2
        """)
    ).rowcount
    return runs + slots
