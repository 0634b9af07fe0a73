"""Plans for bulk statements that look rows up by key."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, text

_BY_KEY: Final = text("""
    SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
           set_config('enable_seqscan', 'off', true), set_config('enable_material', 'off', true)
""")


def by_key(connection: Connection) -> None:
    """Until the end of the transaction, join by looking up each key.

    A claim or a flush touches some hundred rows of tables that may hold millions and are never
    still. Where statistics are old or absent the planner rather reads a whole table or index for
    it; with this the cost of a row is the same in the first minute and after years.
    """
    connection.execute(_BY_KEY)
