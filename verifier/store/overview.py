"""What operators look at, over all users: read-only, for the command line and reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, text

from verifier.store.engine import APPLICATION_NAME


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


def connections(connection: Connection) -> Row[Any]:
    """Connections of the server. ``allowed``: how many we may have at most, by the server, this
    database or this account; ``others``: how many somebody else has; ``ours``; ``pid``: the process
    of the server that answered."""
    return connection.execute(
        text("""
            SELECT least(
                     current_setting('max_connections')::int
                     - current_setting('superuser_reserved_connections')::int
                     - coalesce(current_setting('reserved_connections', true)::int, 0),
                     (SELECT nullif(datconnlimit, -1) FROM pg_database
                       WHERE datname = current_database()),
                     (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user)
                   ) AS allowed,
                   count(*) FILTER (WHERE NOT mine)::int AS others,
                   count(*) FILTER (WHERE mine)::int AS ours,
                   pg_backend_pid() AS pid
              FROM (SELECT usename = current_user AND datname = current_database()
                           AND application_name = :name AS mine
                      FROM pg_stat_activity WHERE usename IS NOT NULL) AS open
        """),
        {"name": APPLICATION_NAME},
    ).one()


def pooled(connection: Connection, pid: int) -> bool:
    """Whether a connection pooler stands in between: the process that greeted us is another than
    ``pid``, which answered."""
    greeted: int = connection.connection.driver_connection.info.backend_pid  # type: ignore[union-attr]
    return greeted != pid


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
