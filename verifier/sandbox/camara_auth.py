"""The authorization server of the sandbox's CAMARA operator.

Assertions are verified with PyJWT against the public half of the registered key, by rules written
apart from the product's (Identity and Consent Management r4.2): ``aud`` is the URL that was asked,
``exp`` at most 300 s after ``iat`` and after now, ``iat`` not in the future, ``jti`` once, exactly
one purpose. Flows: client credentials, JWT bearer, CIBA in poll mode. Errors: its appendix A.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from verifier.sandbox.knobs import Knobs
from verifier.sandbox.wire import Received, Reply, dump

TOKEN_PATH = "/oauth2/token"  # noqa: S105 - a path
AUTHORIZE_PATH = "/oauth2/bc-authorize"
_LONGEST = 300
_CLIENT_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_CIBA = "urn:openid:params:grant-type:ciba"


@dataclass(frozen=True, slots=True)
class Grant:
    """What an access token stands for. ``phone``: the person's, of a three-legged one."""

    scopes: frozenset[str]
    expires_at: float
    phone: str | None = field(default=None, repr=False)


class OAuthError(Exception):
    def __init__(self, code: str, status: int = 400) -> None:
        super().__init__(code)
        self.code = code
        self.status = status


@dataclass(slots=True)
class _Request:
    """A person was asked for consent. ``next_poll``: earlier is too often."""

    phone: str = field(repr=False)
    scopes: frozenset[str]
    interval: int
    next_poll: float


class AuthorizationServer:
    """One registered client. Times are seconds since the epoch, as requests carry them."""

    def __init__(self, client_id: str, private_key: str) -> None:
        self._client_id = client_id
        self._public_key: Any = load_pem_private_key(private_key.encode(), None).public_key()
        self._used: dict[str, float] = {}
        self._grants: dict[str, Grant] = {}
        self._requests: dict[str, _Request] = {}
        self.knobs = Knobs()

    def grant_of(self, received: Received) -> Grant | None:
        """What the request's bearer token stands for; None when there is none that holds."""
        scheme, _, token = received.headers.get("Authorization", "").partition(" ")
        grant = self._grants.get(token) if scheme.lower() == "bearer" else None
        return grant if grant is not None and received.at < grant.expires_at else None

    def answer(self, received: Received) -> Reply:
        try:
            form = _form(received)
            if received.path == AUTHORIZE_PATH:
                return self._authorize(received, form)
            return self._token(received, form)
        except OAuthError as error:
            return oauth_error(error.code, error.status)

    def _token(self, received: Received, form: Mapping[str, str]) -> Reply:
        match form.get("grant_type"):
            case "client_credentials":
                self._authenticate(received, form)
                return self._issue(received, _scopes(form.get("scope")), None)
            case grant_type if grant_type == _JWT_BEARER:
                return self._by_assertion(received, form)
            case grant_type if grant_type == _CIBA:
                self._authenticate(received, form)
                return self._poll(received, form)
        raise OAuthError("unsupported_grant_type")

    def _by_assertion(self, received: Received, form: Mapping[str, str]) -> Reply:
        if "scope" in form:
            raise OAuthError("invalid_request")
        claims = self._verified(received, form.get("assertion", ""), "invalid_grant")
        if self.knobs.consent != "given":
            raise OAuthError("invalid_grant")
        return self._issue(received, _scopes(claims.get("scope")), _phone_of(claims["sub"]))

    def _authorize(self, received: Received, form: Mapping[str, str]) -> Reply:
        self._authenticate(received, form)
        scopes = _scopes(form.get("scope"))
        if "openid" not in scopes:
            raise OAuthError("invalid_request")
        if self.knobs.consent == "unknown":
            raise OAuthError("unknown_user_id")
        phone = _phone_of(form.get("login_hint", ""))
        identifier, interval = secrets.token_urlsafe(24), self.knobs.poll_seconds
        self._requests[identifier] = _Request(phone, scopes - {"openid"}, interval, received.at)
        document = {"auth_req_id": identifier, "expires_in": 120, "interval": interval}
        return Reply(200, dump(document), code="auth_req_id")

    def _poll(self, received: Received, form: Mapping[str, str]) -> Reply:
        identifier = form.get("auth_req_id", "")
        request = self._requests.get(identifier)
        if request is None:
            raise OAuthError("invalid_grant")
        early = received.at < request.next_poll
        if early:
            request.interval += 5
        request.next_poll = received.at + request.interval * 0.9  # clients' timers may be early
        if early:
            raise OAuthError("slow_down")
        if self.knobs.consent == "pending":
            raise OAuthError("authorization_pending")
        del self._requests[identifier]
        if self.knobs.consent != "given":
            raise OAuthError("access_denied")
        return self._issue(received, request.scopes, request.phone)

    def _issue(self, received: Received, scopes: frozenset[str], phone: str | None) -> Reply:
        now, seconds = received.at, self.knobs.token_seconds
        self._grants = {t: g for t, g in self._grants.items() if g.expires_at > now}
        token = secrets.token_urlsafe(32)
        self._grants[token] = Grant(scopes, now + seconds, phone)
        document = {"access_token": token, "token_type": "Bearer", "expires_in": seconds}
        return Reply(200, dump(document), headers={"Cache-Control": "no-store"}, code="token")

    def _authenticate(self, received: Received, form: Mapping[str, str]) -> None:
        if form.get("client_assertion_type") != _CLIENT_ASSERTION:
            raise OAuthError("invalid_client", 401)
        claims = self._verified(received, form.get("client_assertion", ""), "invalid_client")
        if claims["sub"] != self._client_id:
            raise OAuthError("invalid_client", 401)

    def _verified(self, received: Received, assertion: str, stale: str) -> dict[str, Any]:
        """The claims of an assertion. ``stale``: the code for one that is not valid now."""
        unknown = OAuthError("invalid_client", 401)
        try:
            claims = jwt.decode(
                assertion,
                self._public_key,
                algorithms=["ES256"],
                audience=f"http://{received.headers.get('Host', '')}{received.path}",
                issuer=self._client_id,
                # The times are judged below, by the moment at which the request arrived.
                options={
                    "require": ["iss", "sub", "aud", "exp", "iat", "jti"],
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidTokenError:
            raise unknown from None
        now, issued, expires = received.at, claims["iat"], claims["exp"]
        if not isinstance(issued, int) or not isinstance(expires, int):
            raise unknown
        if (
            issued > now
            or expires <= now
            or expires > now + _LONGEST
            or expires - issued > _LONGEST
        ):
            raise OAuthError(stale, 401 if stale == "invalid_client" else 400)
        self._used = {jti: until for jti, until in self._used.items() if until > now}
        if claims["jti"] in self._used:
            raise unknown
        self._used[claims["jti"]] = expires
        return claims


def oauth_error(code: str, status: int = 400) -> Reply:
    document = {"error": code, "error_description": f"Refused: {code}."}
    return Reply(status, dump(document), headers={"Cache-Control": "no-store"}, code=code)


def _form(received: Received) -> dict[str, str]:
    """The parameters; one given twice is refused (RFC 6749)."""
    fields = parse_qs(received.body.decode("utf-8", "replace"), keep_blank_values=True)
    if received.method != "POST" or any(len(values) > 1 for values in fields.values()):
        raise OAuthError("invalid_request")
    return {name: values[0] for name, values in fields.items()}


def _scopes(text: object) -> frozenset[str]:
    scopes = frozenset(text.split()) if isinstance(text, str) else frozenset()
    if sum(scope.startswith("dpv:") for scope in scopes) != 1 or len(scopes) < 2:
        raise OAuthError("invalid_scope")
    return scopes


def _phone_of(hint: object) -> str:
    """The national number of ``tel:+86…``."""
    if not isinstance(hint, str) or not hint.startswith("tel:+86"):
        raise OAuthError("unknown_user_id")
    return hint.removeprefix("tel:+86")
