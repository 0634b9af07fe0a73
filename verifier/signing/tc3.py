"""TC3-HMAC-SHA256, the signature of Tencent Cloud's API 3.0, for POST requests to ``/``.

The signing key is derived from the secret, the UTC date and the service by three HMACs, so it is
kept for as long as the date lasts. Tencent refuses a timestamp more than five minutes off.
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256

ALGORITHM = "TC3-HMAC-SHA256"
SIGNED_HEADERS = "content-type;host"


def authorization(
    *,
    secret_id: str,
    secret_key: str,
    service: str,
    host: str,
    content_type: str,
    body: bytes,
    timestamp: int,
) -> str:
    """The ``Authorization`` header of ``POST /`` with this body.

    ``host`` and ``content_type`` must be sent exactly as given here; ``timestamp`` (Unix seconds)
    as ``X-TC-Timestamp``.
    """
    date = _date(timestamp // 86_400)
    request = (
        f"POST\n/\n\ncontent-type:{content_type}\nhost:{host}\n\n"
        f"{SIGNED_HEADERS}\n{sha256(body).hexdigest()}"
    )
    scope = f"{date}/{service}/tc3_request"
    text = f"{ALGORITHM}\n{timestamp}\n{scope}\n{sha256(request.encode()).hexdigest()}"
    signature = hmac.digest(_signing_key(secret_key, date, service), text.encode(), "sha256").hex()
    return (
        f"{ALGORITHM} Credential={secret_id}/{scope}, "
        f"SignedHeaders={SIGNED_HEADERS}, Signature={signature}"
    )


@lru_cache(maxsize=4)
def _date(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")


@lru_cache(maxsize=32)
def _signing_key(secret_key: str, date: str, service: str) -> bytes:
    key = f"TC3{secret_key}".encode()
    for part in (date, service, "tc3_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
