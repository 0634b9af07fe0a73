"""Standard Webhooks, symmetric: HMAC-SHA256 over ``id.timestamp.body``, so that receivers can use
any library of that specification. A secret is ``whsec_`` and the base64 of 24 to 64 bytes.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"
_LEAST, _MOST = 24, 64


def new_secret() -> str:
    """A secret for an endpoint, to be given to its receiver."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def key_of(secret: str) -> bytes:
    """The key behind a secret. Raises ValueError, which never quotes it."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not _LEAST <= len(key) <= _MOST:
        raise ValueError(f"it must be {PREFIX} and the base64 of {_LEAST} to {_MOST} bytes")
    return key


def headers(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of a message; one signature a key, so that a secret can be changed.

    ``timestamp``: Unix seconds. Receivers refuse one more than five minutes off.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = (
        "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys
    )
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }
