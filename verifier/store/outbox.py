"""Filling the outbox: the deliveries that each endpoint is to be told.

Settled verifications reach it without any cost where they settle: the commit-safe feed
(:mod:`.changes`) is cut into deliveries afterwards, in one transaction with moving the endpoint's
cursor. Everything else is written down in the transaction that makes it true; the end of a batch
by :mod:`.batches`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from verifier.events import Event
from verifier.store import changes


def cut_settled(connection: Connection, most_waiting: int) -> int:
    """Cut one piece of the feed for every endpoint that wants it. Returns how many were cut.

    An endpoint that is paused, or has ``most_waiting`` pieces not delivered yet, is left alone:
    what it was not told yet stays in the feed. Somebody else's transaction at an endpoint is not
    waited for.
    """
    wanting = connection.execute(
        text("""
            SELECT e.name, e.max_events, e.cursor_xid::text AS xid, e.cursor_id AS id
              FROM verifier.endpoints e
             WHERE e.configured AND e.paused_at IS NULL AND :settled = ANY(e.events)
               AND (SELECT count(*) FROM verifier.deliveries d
                     WHERE d.endpoint = e.name AND d.state IN ('waiting', 'leased')
                       AND d.event = :settled) < :most
             ORDER BY e.name FOR NO KEY UPDATE OF e SKIP LOCKED
        """),
        {"settled": Event.SETTLED, "most": most_waiting},
    ).all()
    cut = 0
    for endpoint in wanting:
        piece = changes.positions(connection, endpoint.xid, endpoint.id, endpoint.max_events)
        if piece is None:
            continue
        connection.execute(
            text("""
                WITH moved AS (
                  UPDATE verifier.endpoints
                     SET cursor_xid = CAST(:to_xid AS text)::xid8, cursor_id = :to_id
                   WHERE name = :name)
                INSERT INTO verifier.deliveries (endpoint, event, payload, events)
                VALUES (:name, :event, CAST(:payload AS jsonb), :number)
            """),
            {
                "name": endpoint.name,
                "to_xid": piece.xid,
                "to_id": piece.id,
                "event": Event.SETTLED,
                "payload": json.dumps(
                    {"after": [endpoint.xid, endpoint.id], "to": [piece.xid, piece.id]}
                ),
                "number": piece.number,
            },
        )
        cut += 1
    return cut


def add_overdue(connection: Connection, late: Sequence[Mapping[str, Any]]) -> None:
    """Tell every endpoint that wants it that these verifications passed their deadline."""
    wanting = connection.execute(
        text("""
            SELECT name, max_events FROM verifier.endpoints
             WHERE configured AND :overdue = ANY(events) ORDER BY name
        """),
        {"overdue": Event.OVERDUE},
    ).all()
    for endpoint in wanting:
        for start in range(0, len(late), endpoint.max_events):
            piece = [dict(row) for row in late[start : start + endpoint.max_events]]
            connection.execute(
                text("""
                    INSERT INTO verifier.deliveries (endpoint, event, payload, events)
                    VALUES (:name, :event, CAST(:payload AS jsonb), :number)
                """),
                {
                    "name": endpoint.name,
                    "event": Event.OVERDUE,
                    "payload": json.dumps({"late": piece}),
                    "number": len(piece),
                },
            )
