"""The feed of settled verifications shows what no running transaction of the cluster is older than.

Other tests use the same cluster at the same time, so a row that was just committed may be shown
only a moment later.
"""

from __future__ import annotations

from sqlalchemy import text

from tests.processes import until
from verifier.store.engine import transaction


def until_shown() -> None:
    """Wait until everything that settled stands in the feed."""
    until(_all_shown, 60, "the transactions of other tests to end")


def _all_shown() -> bool:
    with transaction() as connection:
        shown: bool = connection.execute(
            text("""
                SELECT NOT EXISTS (SELECT FROM verifier.verifications
                                    WHERE xid >= pg_snapshot_xmin(pg_current_snapshot()))
            """)
        ).scalar_one()
    return shown
