"""The feed of settled verifications, in an order that never skips a row.

Ids are handed out before commit, so "greater than the last id I saw" would skip whatever commits
late. The feed is ordered by transaction instead, and shows only transactions below the oldest one
still running: everything that can ever come is then after the cursor. Limit: cursors belong to one
database cluster; after restoring a dump into another, start again from the beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, text


def after(connection: Connection, xid: int, verification_id: int, limit: int) -> Sequence[Row[Any]]:
    """Up to ``limit`` settled verifications after the cursor (transaction, verification id)."""
    return connection.execute(
        text("""
            SELECT v.xid::text AS xid, v.id, v.outcome, v.detail, v.provider, v.settled_at,
                   v.data_version, u.platform, u.reference, u.status, u.locale, u.time_zone
              FROM verifier.verifications v JOIN verifier.users u ON u.id = v.user_id
             WHERE (v.xid, v.id) > (CAST(:xid AS text)::xid8, :id)
               AND v.xid < pg_snapshot_xmin(pg_current_snapshot())
             ORDER BY v.xid, v.id LIMIT :limit
        """),
        {"xid": str(xid), "id": verification_id, "limit": limit},
    ).all()
