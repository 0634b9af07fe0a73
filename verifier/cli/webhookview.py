"""What ``verifier webhook``, ``status`` and ``doctor`` show of endpoints and their deliveries."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row

from verifier.config import WebhookConfig, config
from verifier.events import CELERY, TEST_EVENT
from verifier.notify.webhook import Webhook, body_of
from verifier.store import deliveries
from verifier.transport import Deadline


def read_endpoints(connection: Connection) -> list[dict[str, Any]]:
    """Every endpoint that has a row, and configured ones that no worker has seen yet."""
    found = [_endpoint(row) for row in deliveries.endpoints(connection)]
    known = {row["name"] for row in found}
    found += [_unseen(name, row) for name, row in config().webhooks.items() if name not in known]
    return sorted(found, key=lambda row: str(row["name"]))


def _endpoint(row: Row[Any]) -> dict[str, Any]:
    resting = row.not_before is not None and row.not_before > row.now
    if not row.configured:
        state = "not configured"
    elif row.paused_at is not None:
        state = "paused"
    else:
        state = "failing" if row.failures else "ok"
    return {
        "name": row.name,
        "kind": "task" if row.name == CELERY else "webhook",
        "state": state,
        "events": list(row.events),
        "waiting": row.waiting,
        "dead": row.dead,
        "behind": row.behind,
        "oldest": row.oldest,
        "failures": row.failures,
        "last_error": row.last_error,
        "until": row.not_before if resting else None,
        "delivered_at": row.delivered_at,
        "paused_by": row.paused_by,
        "pause_reason": row.pause_reason,
    }


def _unseen(name: str, row: WebhookConfig) -> dict[str, Any]:
    """No notify worker has read this configuration yet."""
    return {
        "name": name,
        "kind": "webhook",
        "state": "new",
        "events": [str(event) for event in row.subscribed],
        "waiting": 0,
        "dead": 0,
        "behind": False,
        "oldest": None,
        "failures": 0,
        "last_error": None,
        "until": None,
        "delivered_at": None,
        "paused_by": None,
        "pause_reason": None,
    }


def read_deliveries(
    connection: Connection, name: str, state: str | None, limit: int
) -> list[dict[str, Any]]:
    """Deliveries of an endpoint, the newest first."""
    return [
        {
            "id": row.id,
            "webhook_id": str(row.message_id) if name == CELERY else f"msg_{row.message_id.hex}",
            "event": row.event,
            "events": row.events,
            "state": row.state,
            "tries": row.tries,
            "status": row.status,
            "error": row.error,
            "due_at": row.due_at,
            "created_at": row.created_at,
            "ended_at": row.ended_at,
        }
        for row in deliveries.listing(connection, name, state=state, limit=limit)
    ]


def send_test(name: str, row: WebhookConfig) -> dict[str, Any]:
    """Call the endpoint once. Raises ConfigError for a secret that cannot be used."""
    webhook = Webhook(name, row)
    body = body_of(TEST_EVENT, datetime.now(UTC).isoformat(), {})
    message_id = f"msg_{secrets.token_hex(16)}"
    begun = time.monotonic()
    answer = webhook.send(message_id, body, Deadline.after(row.timeout))
    return {
        "webhook": name,
        "ok": answer.error is None,
        "status": answer.status,
        "error": answer.error,
        "milliseconds": round((time.monotonic() - begun) * 1000),
        "webhook_id": message_id,
    }
