"""Provider rows: the breaker's state, pauses, and rate limits shared by every process.

All in PostgreSQL: a wiped Redis must never make us call faster.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, text

_CHECKS: Final = "checks:"


def checks_row(name: str) -> str:
    """The row of a provider's checks: APIs of their own, whose trouble must not stop its
    verifications. Told apart by a prefix that no provider's name spells."""
    return f"{_CHECKS}{name}"


def is_of_checks(row_name: str) -> bool:
    return row_name.startswith(_CHECKS)


def of_checks(rows: Sequence[Row[Any]]) -> dict[str, Row[Any]]:
    """Of :func:`get_all`, the rows of checks, by provider."""
    return {row.name.removeprefix(_CHECKS): row for row in rows if is_of_checks(row.name)}


def register(connection: Connection, names: Iterable[str]) -> None:
    """Make sure that each of these rows is there."""
    connection.execute(
        text("""
            INSERT INTO verifier.providers (name)
            SELECT * FROM unnest(CAST(:names AS text[])) ORDER BY 1 ON CONFLICT DO NOTHING
        """),
        {"names": list(names)},
    )


def get_all(connection: Connection) -> Sequence[Row[Any]]:
    """Every provider row, with the business time."""
    return connection.execute(
        text("SELECT p.*, verifier.verifier_now() AS now FROM verifier.providers p ORDER BY name")
    ).all()


def lock(connection: Connection, name: str) -> Row[Any]:
    """One provider row, locked until commit."""
    return connection.execute(
        text("""
            SELECT p.*, verifier.verifier_now() AS now FROM verifier.providers p
             WHERE name = :name FOR UPDATE
        """),
        {"name": name},
    ).one()


def save_breaker(
    connection: Connection,
    name: str,
    *,
    state: str,
    failures: int,
    openings: int,
    not_before: datetime | None,
    reason: str | None,
) -> None:
    """Write the breaker's state and end any probe."""
    connection.execute(
        text("""
            UPDATE verifier.providers SET state = :state, failures = :failures,
                   openings = :openings, not_before = :not_before, reason = :reason,
                   probe_until = NULL
             WHERE name = :name
        """),
        {
            "name": name,
            "state": state,
            "failures": failures,
            "openings": openings,
            "not_before": not_before,
            "reason": reason,
        },
    )


def take_probe(connection: Connection, name: str, seconds: float) -> bool:
    """Claim the one call that may ask an open provider whether it is back."""
    return (
        connection.execute(
            text("""
                UPDATE verifier.providers
                   SET probe_until = clock_timestamp() + make_interval(secs => :seconds)
                 WHERE name = :name AND state = 'open' AND paused_at IS NULL
                   AND not_before <= verifier.verifier_now()
                   AND (probe_until IS NULL OR probe_until < clock_timestamp())
            """),
            {"name": name, "seconds": seconds},
        ).rowcount
        == 1
    )


def give_back_probe(connection: Connection, name: str) -> None:
    """The call that was to ask was not made: the next may."""
    connection.execute(
        text("UPDATE verifier.providers SET probe_until = NULL WHERE name = :name"), {"name": name}
    )


def pause(connection: Connection, name: str, *, by: str, reason: str | None) -> None:
    connection.execute(
        text("""
            UPDATE verifier.providers SET paused_at = coalesce(paused_at, verifier.verifier_now()),
                   paused_by = :by, pause_reason = coalesce(:reason, pause_reason)
             WHERE name = :name
        """),
        {"name": name, "by": by, "reason": reason},
    )


def resume(connection: Connection, name: str) -> None:
    """Use the provider again: ends the pause and closes its breakers; lanes look at once."""
    connection.execute(
        text("""
            UPDATE verifier.providers SET paused_at = NULL, paused_by = NULL, pause_reason = NULL,
                   state = 'closed', failures = 0, openings = 0, not_before = NULL, reason = NULL,
                   probe_until = NULL WHERE name IN (:name, :checks)
        """),
        {"name": name, "checks": checks_row(name)},
    )
    connection.execute(
        text("UPDATE verifier.lanes SET not_before = NULL, not_before_reason = NULL")
    )


@dataclass(frozen=True, slots=True)
class Reservation:
    """``count`` calls may be made: the first after ``delay`` seconds (negative: it was due in the
    past), then one per ``interval``."""

    count: int
    delay: float
    interval: float

    def at(self, place: int) -> float:
        """Seconds from now at which call ``place`` (0-based) may be made."""
        return max(0.0, self.delay + place * self.interval)


def reserve(
    connection: Connection,
    name: str,
    share: str,
    *,
    want: int,
    rate: float,
    burst: int,
    horizon: float = 1.0,
) -> Reservation:
    """Reserve up to ``want`` calls at ``rate`` a second, at most ``horizon`` seconds ahead.

    A token bucket kept as one instant (GCRA): calls are promised up to ``expires_at``, which may
    lag the clock by at most ``burst`` calls. Reserved calls that are never made are lost capacity,
    so that whatever dies or is wiped makes us slower, never faster. A new row starts empty.
    """
    wanted = {
        "name": name,
        "share": share,
        "want": want,
        "interval": 1.0 / rate,
        "lag": burst / rate,
        "horizon": horizon,
    }
    row = connection.execute(_RESERVE, wanted).one_or_none()
    if row is None:  # the first time ever
        connection.execute(
            text("""
                INSERT INTO verifier.pacing (name, share, expires_at)
                VALUES (:name, :share, clock_timestamp()) ON CONFLICT DO NOTHING
            """),
            {"name": name, "share": share},
        )
        row = connection.execute(_RESERVE, wanted).one()
    return Reservation(row.granted, row.delay, 1.0 / rate)


_RESERVE: Final = text("""
    WITH now AS MATERIALIZED (SELECT clock_timestamp() AS t), held AS MATERIALIZED (
      SELECT p.name, p.share,
             greatest(p.expires_at, now.t - make_interval(secs => :lag)) AS starts, now.t
        FROM verifier.pacing p, now WHERE p.name = :name AND p.share = :share
         FOR UPDATE OF p
    ), granted AS (
      SELECT *, greatest(0, least(:want, floor(
             extract(epoch FROM t + make_interval(secs => :horizon) - starts) / :interval
             )))::int AS count FROM held
    )
    UPDATE verifier.pacing p
       SET expires_at = g.starts + make_interval(secs => g.count * :interval)
      FROM granted g WHERE p.name = g.name AND p.share = g.share
    RETURNING g.count AS granted, extract(epoch FROM g.starts - g.t)::float8 AS delay
""")
