"""An operator that speaks CAMARA: its server that grants tokens and the one that is asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.contract.cases.common import PERSON
from tests.transport.scripted import Peer
from verifier.carriers.base import Answer
from verifier.carriers.camara import Camara
from verifier.carriers.camara_auth import Signer
from verifier.carriers.camara_tokens import Server, Tokens
from verifier.outcomes import Check, Lane
from verifier.transport import Deadline, Transport

MATCH = "/kyc-match/v0.4/match"
MATCHED = {"idDocumentMatch": "true", "nameMatch": "true"}
UNAUTHENTICATED = {"status": 401, "code": "UNAUTHENTICATED", "message": ""}
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def pem_of(key: Any) -> str:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem.decode()


KEY = ec.generate_private_key(ec.SECP256R1())
SIGNER = Signer("tests-client", pem_of(KEY), "key-1")


class Operator:
    """An operator's two servers on one port. ``tokens`` and ``answers`` are what comes next, and
    the last one for ever."""

    def __init__(self, httpserver: HTTPServer) -> None:
        self.url = httpserver.url_for("").rstrip("/")
        self.forms: list[dict[str, str]] = []
        self.bearers: list[str] = []
        self.expired = ""
        self.consents: list[dict[str, str]] = []
        self.tokens: list[Callable[[], Response]] = [lambda: granted("token-1")]
        self.consent: Callable[[], Response] = lambda: reply({"auth_req_id": "r-1", "interval": 2})
        self.answers: list[tuple[int, object]] = [(200, MATCHED)]
        self.lock = threading.Lock()
        httpserver.expect_request("/token", method="POST").respond_with_handler(self._token)
        httpserver.expect_request("/bc", method="POST").respond_with_handler(self._consent)
        for path in (MATCH, "/number-recycling/v0.2/check"):
            httpserver.expect_request(path, method="POST").respond_with_handler(self._match)

    def server(self, transport: Transport) -> Server:
        return Server(f"{self.url}/token", "FraudPreventionAndDetection", SIGNER, transport)

    def provider(self, tokens: Tokens, transport: Transport) -> Camara:
        return Camara(
            name="camara",
            lanes=frozenset(Lane),
            checks=frozenset({Check.RECYCLED}),
            endpoint=self.url,
            tokens=tokens,
            transport=transport,
        )

    def _token(self, request: Request) -> Response:
        with self.lock:
            self.forms.append(dict(request.form))
            make = self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]
        return make()

    def _consent(self, request: Request) -> Response:
        self.consents.append(dict(request.form))
        return self.consent()

    def _match(self, request: Request) -> Response:
        with self.lock:
            self.bearers.append(request.headers["Authorization"].removeprefix("Bearer "))
            if self.bearers[-1] == self.expired:
                return reply(UNAUTHENTICATED, 401)
            status, document = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return reply(document, status)


def reply(document: object, status: int = 200, **headers: str) -> Response:
    return Response(
        json.dumps(document), status=status, content_type="application/json", headers=headers
    )


def granted(token: str, seconds: object = 3600) -> Response:
    return reply({"access_token": token, "token_type": "Bearer", "expires_in": seconds})


def refused(error: str, status: int = 400, **headers: str) -> Response:
    return reply({"error": error, "error_description": "说明"}, status, **headers)


def verify(provider: Camara, seconds: float = 5) -> Answer:
    return provider.verify(PERSON, "attempt-1", Deadline.after(seconds))


def claims_of(assertion: str, audience: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(
        assertion, KEY.public_key(), algorithms=["ES256"], audience=audience
    )
    return claims


def hang_after_the_request(peer: Peer) -> None:
    peer.read_request()
    peer.hang()
