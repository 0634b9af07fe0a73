"""Server-side signature checks, recomputed from the request as it was received.

Written apart from the product's signing code on purpose: two implementations that agree are worth
more than one that agrees with itself. Sources: Tencent Cloud API 3.0 "TC3-HMAC-SHA256" (signature
v3), Alibaba Cloud "Request syntax and signature method V3" (ACS3-HMAC-SHA256), JPush REST API
(HTTP Basic).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import parse_qsl, quote

from verifier.sandbox.wire import Received

_TC3 = re.compile(
    r"TC3-HMAC-SHA256 Credential=([^/,]+)/(\d{4}-\d{2}-\d{2})/([a-z0-9]+)/tc3_request, ?"
    r"SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})"
)
_ACS3 = re.compile(
    r"ACS3-HMAC-SHA256 Credential=([^,]+), ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})"
)
TC3_SKEW = 300.0  # seconds; more is AuthFailure.SignatureExpire
ACS3_SKEW = 900.0  # seconds; more is InvalidTimeStamp.Expired


class SignatureRefused(Exception):
    """The vendor's code for the refusal."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode("utf-8"), "sha256")


@lru_cache(maxsize=8)
def _tc3_key(secret_key: str, day: str, service: str) -> bytes:
    return _hmac(_hmac(_hmac(f"TC3{secret_key}".encode(), day), service), "tc3_request")


def check_tc3(received: Received, secret_id: str, secret_key: str, service: str) -> None:
    """Raises :class:`SignatureRefused` with an ``AuthFailure.*`` code unless it holds."""
    headers = received.headers
    match = _TC3.fullmatch(headers.get("Authorization", ""))
    timestamp = headers.get("X-TC-Timestamp", "")
    if match is None or not timestamp.isdigit() or not 1 <= len(timestamp) <= 12:
        raise SignatureRefused("AuthFailure.InvalidAuthorization")
    identifier, day, signed_service, names, signature = match.groups()
    signed = names.split(";")
    if not {"content-type", "host"} <= set(signed) or signed != sorted(signed):
        raise SignatureRefused("AuthFailure.InvalidAuthorization")
    if identifier != secret_id:
        raise SignatureRefused("AuthFailure.SecretIdNotFound")
    if abs(received.at - int(timestamp)) > TC3_SKEW:
        raise SignatureRefused("AuthFailure.SignatureExpire")
    if day != datetime.fromtimestamp(int(timestamp), UTC).strftime("%Y-%m-%d"):
        raise SignatureRefused("AuthFailure.SignatureFailure")
    # The document lower-cases the values of signed headers, and trims them.
    canonical = "".join(f"{name}:{headers.get(name, '').strip().lower()}\n" for name in signed)
    request = (
        f"{received.method}\n{received.path}\n{received.query}\n{canonical}\n{names}\n"
        f"{hashlib.sha256(received.body).hexdigest()}"
    )
    scope = f"{day}/{signed_service}/tc3_request"
    text = f"TC3-HMAC-SHA256\n{timestamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    expected = _hmac(_tc3_key(secret_key, day, signed_service), text).hex()
    if signed_service != service or not hmac.compare_digest(expected, signature):
        raise SignatureRefused("AuthFailure.SignatureFailure")


def check_acs3(received: Received, key_id: str, key_secret: str) -> None:
    """Raises :class:`SignatureRefused` with Alibaba Cloud's gateway code unless it holds.

    A nonce used twice is not this function's business: it needs memory.
    """
    headers = received.headers
    match = _ACS3.fullmatch(headers.get("Authorization", ""))
    if match is None:
        raise SignatureRefused("IncompleteSignature")
    identifier, names, signature = match.groups()
    if identifier != key_id:
        raise SignatureRefused("InvalidAccessKeyId.NotFound")
    if abs(received.at - _acs_date(headers)) > ACS3_SKEW:
        raise SignatureRefused("InvalidTimeStamp.Expired")
    payload = hashlib.sha256(received.body).hexdigest()
    if headers.get("x-acs-content-sha256", "") != payload:
        raise SignatureRefused("SignatureDoesNotMatch")
    signed = names.split(";")
    must = {name.lower() for name in headers if name.lower().startswith("x-acs-")} | {"host"}
    if not must <= set(signed) or signed != sorted(signed):
        raise SignatureRefused("SignatureDoesNotMatch")
    canonical = "".join(f"{name}:{headers.get(name, '').strip()}\n" for name in signed)
    request = (
        f"{received.method}\n{received.path}\n{_canonical_query(received.query)}\n{canonical}\n"
        f"{names}\n{payload}"
    )
    text = f"ACS3-HMAC-SHA256\n{hashlib.sha256(request.encode()).hexdigest()}"
    if not hmac.compare_digest(_hmac(key_secret.encode(), text).hex(), signature):
        raise SignatureRefused("SignatureDoesNotMatch")


def _acs_date(headers: Mapping[str, str]) -> float:
    try:
        # The Z is matched as a letter; the zone is added, because %z would also take +08:00.
        date = datetime.strptime(headers.get("x-acs-date", "") + "+0000", "%Y-%m-%dT%H:%M:%SZ%z")
    except ValueError:
        raise SignatureRefused("InvalidTimeStamp.Format") from None
    return date.timestamp()


def _canonical_query(query: str) -> str:
    pairs = sorted(parse_qsl(query, keep_blank_values=True))
    return "&".join(f"{quote(key, safe='~')}={quote(value, safe='~')}" for key, value in pairs)


def basic_credentials_hold(received: Received, user: str, password: str) -> bool:
    """Whether the Authorization header is HTTP Basic with these credentials."""
    scheme, _, token = received.headers.get("Authorization", "").partition(" ")
    try:
        given = base64.b64decode(token, validate=True)
    except (binascii.Error, ValueError):
        return False
    return scheme.lower() == "basic" and hmac.compare_digest(given, f"{user}:{password}".encode())
