"""The feed of settled verifications, in an order that never skips a row.

Ids are handed out before commit, so "greater than the last id I saw" would skip whatever commits
late. The feed is ordered by transaction instead, and shows only transactions below the oldest one
still running: everything that can ever come is then after the cursor. Limit: cursors belong to one
database cluster; after restoring a dump into another, start again from the beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, text

# What a reader of the feed sees of a settled verification.
_SEEN: Final = """
    SELECT v.xid::text AS xid, v.id, v.outcome, v.detail, v.provider, v.settled_at,
           v.data_version, u.platform, u.reference, u.status, u.locale, u.time_zone
      FROM verifier.verifications v JOIN verifier.users u ON u.id = v.user_id
"""
# Below the oldest transaction that still runs: nothing can come between any more.
_AFTER: Final = """
    (v.xid, v.id) > (CAST(:xid AS text)::xid8, :id)
    AND v.xid < pg_snapshot_xmin(pg_current_snapshot())
"""
_ORDER: Final = "ORDER BY v.xid, v.id LIMIT :limit"


def after(
    connection: Connection, xid: int | str, verification_id: int, limit: int
) -> Sequence[Row[Any]]:
    """Up to ``limit`` settled verifications after the cursor (transaction, verification id)."""
    return connection.execute(
        text(f"{_SEEN} WHERE {_AFTER} {_ORDER}"),
        {"xid": str(xid), "id": verification_id, "limit": limit},
    ).all()


def positions(
    connection: Connection, xid: int | str, verification_id: int, limit: int
) -> Row[Any] | None:
    """The last of up to ``limit`` verifications after the cursor, and their number: (xid, id,
    number). None when there is none. Reads the index alone."""
    return connection.execute(
        text(f"""
            WITH piece AS MATERIALIZED (
              SELECT v.xid, v.id FROM verifier.verifications v WHERE {_AFTER} {_ORDER})
            SELECT xid::text AS xid, id, (SELECT count(*)::int FROM piece) AS number
              FROM piece ORDER BY piece.xid DESC, piece.id DESC LIMIT 1
        """),  # noqa: S608 - constants of ours
        {"xid": str(xid), "id": verification_id, "limit": limit},
    ).one_or_none()


def between(
    connection: Connection,
    first: tuple[str, int],
    last: tuple[str, int],
    platforms: Sequence[str],
) -> Sequence[Row[Any]]:
    """The settled verifications after ``first`` up to ``last``, of these products (empty: all)."""
    return connection.execute(
        text(f"""
            {_SEEN} WHERE (v.xid, v.id) > (CAST(:xid AS text)::xid8, :id)
               AND (v.xid, v.id) <= (CAST(:to_xid AS text)::xid8, :to_id)
               AND (CAST(:platforms AS text[]) = '{{}}' OR u.platform = ANY(:platforms))
             ORDER BY v.xid, v.id
        """),
        {
            "xid": first[0],
            "id": first[1],
            "to_xid": last[0],
            "to_id": last[1],
            "platforms": list(platforms),
        },
    ).all()
