"""ACS3-HMAC-SHA256, the signature of Alibaba Cloud's OpenAPI (version 3).

There is no derived key: the secret signs directly. Each request needs a nonce of its own, also when
the same request is tried again; Alibaba refuses a timestamp more than fifteen minutes off.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import quote

ALGORITHM = "ACS3-HMAC-SHA256"


def headers(
    *,
    access_key_id: str,
    access_key_secret: str,
    host: str,
    action: str,
    version: str,
    body: bytes,
    content_type: str,
    timestamp: int,
    nonce: str,
    query: Mapping[str, str] | None = None,
    method: str = "POST",
    path: str = "/",
) -> dict[str, str]:
    """All headers of the request that the signature covers, and ``Authorization``.

    Every one must be sent exactly as returned. ``query`` is for parameters in the URL, which must
    then be written by :func:`canonical_query`; personal data belongs into the body.
    """
    signed = {
        "content-type": content_type,
        "host": host,
        "x-acs-action": action,
        "x-acs-content-sha256": sha256(body).hexdigest(),
        "x-acs-date": datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "x-acs-signature-nonce": nonce,
        "x-acs-version": version,
    }  # in the order of the names, which the canonical form asks for
    names = ";".join(signed)
    lines = "".join(f"{name}:{value.strip()}\n" for name, value in signed.items())
    request = (
        f"{method}\n{path}\n{canonical_query(query or {})}\n{lines}\n{names}\n"
        f"{signed['x-acs-content-sha256']}"
    )
    text = f"{ALGORITHM}\n{sha256(request.encode()).hexdigest()}"
    signature = hmac.digest(access_key_secret.encode(), text.encode(), "sha256").hex()
    return signed | {
        "Authorization": f"{ALGORITHM} Credential={access_key_id},"
        f"SignedHeaders={names},Signature={signature}"
    }


def canonical_query(query: Mapping[str, str]) -> str:
    """Names in order, RFC 3986 encoding: also the form in which the query must be sent."""
    return "&".join(f"{name}={quote(query[name], safe='~')}" for name in sorted(query))


def form(fields: Mapping[str, str]) -> bytes:
    """A body of type ``application/x-www-form-urlencoded``."""
    return "&".join(
        f"{quote(k, safe='~')}={quote(v, safe='~')}" for k, v in fields.items()
    ).encode()
