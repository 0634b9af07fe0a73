"""An operator that speaks CAMARA: with a token that is simply there, and with one that is asked for
at an authorization server which always grants it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import ClassVar

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.contract.cases.common import ProviderCase
from tests.transport.scripted import ScriptedServer, always, answer
from verifier.carriers.base import Answer
from verifier.carriers.camara import Camara
from verifier.carriers.camara_auth import Signer
from verifier.carriers.camara_tokens import ClientCredentials, Server, Tokens
from verifier.outcomes import Check, Lane
from verifier.transport import Transport


class StaticTokens:
    """A token that is simply there, so that the operator sees nothing but the call itself."""

    prompts = False

    def __init__(self, *, three_legged: bool = False) -> None:
        self.three_legged = three_legged

    def token(self, *_: object) -> str | Answer:
        return "tests-secret-key"  # among SECRETS: it must not be seen

    def renews(self, scope: str, token: str) -> bool:
        return False


class AuthorizationServer:
    """Grants the token of every request. It runs as long as the tests do."""

    endpoint: ClassVar[str]
    _KEY = ec.generate_private_key(ec.SECP256R1())
    _GRANT: ClassVar = {
        "access_token": "tests-secret-key",
        "token_type": "Bearer",
        "expires_in": 3600,
    }

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[None]:
        with ScriptedServer(always(answer(json.dumps(cls._GRANT).encode()))) as server:
            cls.endpoint = server.endpoint
            yield

    @classmethod
    def tokens(cls, transport: Transport) -> Tokens:
        """A shared token, not yet asked for."""
        pem = cls._KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        signer = Signer("tests-client", pem.decode(), "key-1")
        return ClientCredentials(
            Server(f"{cls.endpoint}/token", "FraudPreventionAndDetection", signer, transport)
        )


def camara(endpoint: str, transport: Transport, tokens: Tokens | None = None) -> Camara:
    return Camara(
        name="camara",
        lanes=frozenset(Lane),
        checks=frozenset({Check.STATUS, Check.RECYCLED}),
        endpoint=endpoint,
        tokens=tokens or StaticTokens(),
        transport=transport,
    )


_STATIC = ProviderCase(
    "camara.kyc-match",
    camara,
    json.dumps({"idDocumentMatch": "true", "nameMatch": "true"}).encode(),
    carrier=None,  # the operator is known beforehand and does not name itself
    check=Check.STATUS,
    checked=b'{"voiceSmsIn":"active","voiceSmsOut":"active","dataService":"throttled"}',
    probed=b'{"status":404,"code":"IDENTIFIER_NOT_FOUND","message":"not ours"}',
    probed_status="404 Not Found",
    code=b'"true"',
)

CASES = [
    _STATIC,
    replace(
        _STATIC,
        name="camara.client-credentials",
        build=lambda endpoint, transport: camara(
            endpoint, transport, AuthorizationServer.tokens(transport)
        ),
    ),
]
