"""What operators look at, over all users: read-only, for the command line and reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, text


def quarantined(connection: Connection, limit: int) -> Sequence[Row[Any]]:
    """Open verifications that were present at three crashes: (platform, reference, lane)."""
    return connection.execute(
        text("""
            SELECT u.platform, u.reference, o.lane
              FROM verifier.open_verifications o JOIN verifier.users u ON u.id = o.user_id
             WHERE o.state = 'quarantined' ORDER BY o.id LIMIT :limit
        """),
        {"limit": limit},
    ).all()


def server(connection: Connection) -> Row[Any]:
    """(version as a number, raw clock). Needs no table of ours."""
    return connection.execute(
        text("""
            SELECT current_setting('server_version_num')::int AS version, clock_timestamp() AS clock
        """)
    ).one()


def months_ahead(connection: Connection) -> int:
    """For how many months, from this one on, every history table has its partition."""
    missing: int | None = connection.execute(
        text("""
            SELECT min(m) FROM generate_series(0, 12) AS m
             CROSS JOIN (VALUES ('verifications'), ('attempts')) AS t (name)
             WHERE to_regclass(format('verifier.%s_%s', t.name, to_char(
                     verifier.verifier_now() AT TIME ZONE 'UTC' + make_interval(months => m),
                     'YYYY_MM'))) IS NULL
        """)
    ).scalar_one()
    return 13 if missing is None else missing


def platforms_of(connection: Connection, reference: str, limit: int = 5) -> list[str]:
    """Platforms that have a user of this reference.

    Walks the unique index from platform to platform: few index look-ups, also with millions of
    users.
    """
    return list(
        connection.scalars(
            text("""
                WITH RECURSIVE known AS (
                  SELECT min(platform) AS platform FROM verifier.users
                  UNION ALL
                  SELECT (SELECT min(u.platform) FROM verifier.users u
                           WHERE u.platform > k.platform)
                    FROM known k WHERE k.platform IS NOT NULL)
                SELECT k.platform FROM known k
                  JOIN verifier.users u ON u.platform = k.platform AND u.reference = :reference
                 ORDER BY k.platform LIMIT :limit
            """),
            {"reference": reference, "limit": limit},
        )
    )
