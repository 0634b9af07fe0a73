"""What ``verifier webhook``, ``status`` and ``doctor`` show of endpoints and their deliveries."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Row

from verifier.config import WebhookConfig, config
from verifier.events import CELERY, TEST_EVENT
from verifier.notify.webhook import Webhook, body_of
from verifier.store import deliveries, endpoints
from verifier.transport import Deadline

#: What is shown of an endpoint, in this order; so of one whose configuration no worker has read.
_UNSEEN: Final[dict[str, Any]] = {
    "name": None,
    "kind": "webhook",
    "state": "new",
    "events": None,
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


NOT_READ: Final = "configured, but no notify worker has read it yet"
READ_IT: Final = "Restart the notify worker (`verifier dev up` anew)."

#: The words of ``webhook test`` for what is no answer of the receiver: what it means, what to do.
_WORDS: Final = {
    "dns": ("the name of its host cannot be resolved", "Check the host in url."),
    "refused": (
        "nobody listens there",
        "Check host and port in url, and that the receiver and the way to it are up.",
    ),
    "connect_timeout": (
        "no connection within connect_timeout",
        "Check host and port in url, and the firewalls on the way.",
    ),
    "tls": (
        "its certificate was not accepted, or it speaks no TLS",
        "Check its name and its dates; for an authority of your own, set ca_file.",
    ),
    "deadline": (
        "no answer within timeout",
        "The receiver should answer first and work afterwards; or raise timeout.",
    ),
    "lost": (
        "the connection ended before the answer",
        "The receiver's log, or that of a proxy before it, says why.",
    ),
    "reset": (
        "the connection ended before anything was sent",
        "The receiver's log, or that of a proxy before it, says why.",
    ),
    "busy": ("another call to it was under way", "Try again."),
    "redirect": ("it redirects, which is never followed", "Put the final address into url."),
    "oversize": ("its answer is too long", "Answer with a status and no body."),
    "garbage": ("what came back is not HTTP", "Check scheme and port in url."),
    "encoding": ("its answer is compressed", "Answer with a status and no body."),
}
_REFUSALS: Final = (401, 403)


def meaning(error: str, status: int | None) -> tuple[str, str]:
    """What a failed test means, and what to do about it."""
    if error in _WORDS:
        return _WORDS[error]
    if status in _REFUSALS:
        return (
            "the receiver refused the signature",
            "Is its secret the same as here, and its clock right?",
        )
    if status == 404:
        return "there is nothing at this address", "Check the path in url."
    return "only 2xx counts as taken", "The receiver's log says why it answered so."


def read_endpoints(connection: Connection) -> list[dict[str, Any]]:
    """Every endpoint that has a row, and configured ones that no worker has seen yet."""
    found = [_endpoint(row) for row in endpoints.listing(connection)]
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
    found = {key: row._mapping.get(key, default) for key, default in _UNSEEN.items()}
    return found | {
        "kind": "task" if row.name == CELERY else "webhook",
        "state": state,
        "until": row.not_before if resting else None,
    }


def _unseen(name: str, row: WebhookConfig) -> dict[str, Any]:
    return {**_UNSEEN, "name": name, "events": [str(event) for event in row.subscribed]}


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
