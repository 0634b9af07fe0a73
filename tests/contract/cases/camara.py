"""An operator that speaks CAMARA, without the tokens."""

from __future__ import annotations

import json

from tests.contract.cases.common import ProviderCase
from verifier.carriers.base import Answer
from verifier.carriers.camara import Camara
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


def camara(endpoint: str, transport: Transport) -> Camara:
    return Camara(
        name="camara",
        lanes=frozenset(Lane),
        checks=frozenset({Check.STATUS, Check.RECYCLED}),
        endpoint=endpoint,
        tokens=StaticTokens(),
        transport=transport,
    )


CAMARA = ProviderCase(
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
