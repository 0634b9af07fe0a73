"""Asking a CAMARA authorization server: signed assertions out, a token or a refusal back.

CAMARA Security and Interoperability Profile (Identity and Consent Management r4.2):
``private_key_jwt`` alone (RFC 7523), a lifetime of at most 300 s, ``aud`` the URL of the endpoint
that is asked, ``jti`` used once, exactly one purpose among the scopes.

Nothing here is about a person yet: no call of this room is billed, and a server that is away leaves
the match unasked, so its outage is ``NOT_SENT/TOKEN_…``. No token, assertion or phone number is
ever part of an answer, an exception or a log line.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlencode
from uuid import uuid4

from verifier.carriers import wire
from verifier.carriers.base import Answer
from verifier.errors import ConfigError
from verifier.outcomes import Billed, Meaning, Outcome, code_table
from verifier.transport import Reply
from verifier.transport.reply import code_of

HEADERS: Final = {
    "Content-Type": "application/x-www-form-urlencoded",
    "Accept": "application/json",
}
#: Seconds from ``iat`` to ``exp`` of an assertion; 300 is what servers must refuse beyond.
LIFETIME: Final = 120
#: ``iat`` lies so many seconds back: a server must refuse one later than its own clock.
_BACKDATED: Final = 10
_CLOCKS_DIFFER: Final = 60.0

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]{1,8192}=*")  # RFC 6750, b64token
_LIFETIME_UNSAID: Final = 60.0
_LONGEST_LIFETIME: Final = 86_400.0


class Signer:
    """Signs as one client: RS256 with an RSA key, ES256 with a P-256 key.

    Raises ConfigError when PyJWT is missing or the key cannot serve; the key is never quoted.
    """

    def __init__(self, client_id: str, private_key: str, key_id: str | None = None) -> None:
        try:
            import jwt
        except ImportError as error:
            raise ConfigError(
                "Providers of kind camara sign with PyJWT, which is not installed.",
                fix="pip install 'verifier[camara]'",
            ) from error
        self._jwt = jwt
        self.client_id = client_id
        self._key, self._algorithm = _load(private_key)
        self._headers = {"kid": key_id} if key_id else None

    def assertion(self, audience: str, subject: str | None = None, **claims: Any) -> str:
        """A fresh assertion for one request to ``audience``; its subject is the client itself if
        no other is given."""
        issued = int(time.time()) - _BACKDATED
        return self._jwt.encode(
            {
                "iss": self.client_id,
                "sub": subject or self.client_id,
                "aud": audience,
                "iat": issued,
                "exp": issued + LIFETIME,
                "jti": str(uuid4()),
                **claims,
            },
            self._key,
            algorithm=self._algorithm,
            headers=self._headers,
        )

    def form(self, audience: str, **fields: str) -> bytes:
        """The body of a request in which the client authenticates itself."""
        return encoded(
            client_assertion_type="urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            client_assertion=self.assertion(audience),
            **fields,
        )


def encoded(**fields: str) -> bytes:
    return urlencode(fields).encode("ascii")


def _load(pem: str) -> tuple[Any, str]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    fix = "Make one: openssl ecparam -name prime256v1 -genkey -noout, and register its public half."
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it needs a password
        # Without the cause: its text may quote the key.
        raise ConfigError("private_key is not an unencrypted PEM private key.", fix=fix) from None
    if isinstance(key, RSAPrivateKey) and key.key_size >= 2048:
        return key, "RS256"
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return key, "ES256"
    raise ConfigError("private_key is neither RSA (2048 bits or more) nor EC P-256.", fix=fix)


@dataclass(frozen=True, slots=True)
class Granted:
    """``lifetime`` in seconds from now."""

    token: str = field(repr=False)
    lifetime: float


@dataclass(frozen=True, slots=True)
class Refused:
    """A documented OAuth error; what it means depends on the flow."""

    error: str
    status: int
    #: Whether the server's clock and ours agree; None if it does not say.
    clocks_agree: bool | None


def read_token(reply: Reply) -> Granted | Refused | Answer:
    """What the token endpoint answered."""
    document = reply.json_object() or {}
    token = document.get("access_token")
    if reply.status != 200:
        return read_refusal(reply)
    if not isinstance(token, str) or _TOKEN.fullmatch(token) is None:
        return unusable(reply)
    kind = document.get("token_type")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        return unusable(reply)
    return Granted(token, _seconds(document.get("expires_in")))


def read_refusal(reply: Reply) -> Refused | Answer:
    """What an error of either endpoint says: an OAuth code, or what its HTTP status alone means."""
    error = code_of((reply.json_object() or {}).get("error"))
    if error is None or reply.status == 429 or reply.status >= 500:
        return unusable(reply)
    return Refused(error, reply.status, _clocks_agree(reply))


def unusable(reply: Reply) -> Answer:
    """A limit or a maintenance that the status announces; otherwise the server is as good as away:
    we hold no token and have asked nothing."""
    answer = wire.answer_to_status(reply)
    if answer.outcome is Outcome.PROVIDER_ERROR:
        return Answer(Outcome.NOT_SENT, "TOKEN_BAD_REPLY", http_status=reply.status)
    return answer


def outage(answer: Answer) -> Answer:
    """A failed exchange with the token endpoint: whatever became of it, the match was not asked."""
    if answer.detail == "VETOED":
        return answer
    reason = "TIMEOUT" if answer.outcome is Outcome.TIMEOUT else answer.detail
    return Answer(Outcome.NOT_SENT, f"TOKEN_{reason}", http_status=answer.http_status)


def refusal(table: str, refused: Refused) -> Answer:
    """A refused token as the answer of the call, by the flow's table. Free: nothing was matched."""
    return refused_as(refused, code_table(table).exact(refused.error))


def refused_as(refused: Refused, meaning: Meaning) -> Answer:
    return Answer(
        meaning.outcome,
        meaning.detail,
        billed=Billed.NO,
        code=refused.error,
        http_status=refused.status,
    )


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        return _LIFETIME_UNSAID
    return float(min(value, int(_LONGEST_LIFETIME)))


def _clocks_agree(reply: Reply) -> bool | None:
    try:
        theirs = parsedate_to_datetime(reply.headers.get("date", "")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return abs(theirs - time.time()) <= _CLOCKS_DIFFER
