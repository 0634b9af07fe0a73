"""``kind = "camara"`` in a configuration: what is refused, and in which words."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from pydantic import ValidationError

from tests.contract.operators import pem_of
from verifier.carriers import camara
from verifier.config.providers import kinds
from verifier.errors import ConfigError
from verifier.outcomes import Check, Lane
from verifier.transport import Transport

ROW: dict[str, Any] = {
    "kind": "camara",
    "endpoint": "https://api.operator.example/camara",
    "lanes": ["cucc"],
    "auth": "client_credentials",
    "client_id": "env:TESTS_CLIENT_ID",
    "private_key": "env:TESTS_PRIVATE_KEY",
    "token_endpoint": "https://auth.operator.example/token",
    "purpose": "FraudPreventionAndDetection",
}
CIBA = {"auth": "ciba", "authorize_endpoint": "https://auth.operator.example/bc-authorize"}
KEY = pem_of(ec.generate_private_key(ec.SECP256R1()))


def settings(**changed: Any) -> camara.Settings:
    row = {key: value for key, value in {**ROW, **changed}.items() if value is not None}
    return camara.Settings.model_validate(row)


@pytest.fixture
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTS_CLIENT_ID", "tests-client")
    monkeypatch.setenv("TESTS_PRIVATE_KEY", KEY)


def test_only_the_room_with_the_settings_is_a_kind() -> None:
    assert [kind for kind in kinds() if kind.startswith("camara")] == ["camara"]


@pytest.mark.usefixtures("_secrets")
@pytest.mark.parametrize(
    "changed", [{}, {"auth": "jwt_bearer"}, CIBA, {"checks": ["status", "recycled"], "lanes": []}]
)
def test_a_provider_is_built_for_every_flow(changed: dict[str, Any], transport: Transport) -> None:
    row = settings(**changed)
    provider = row.build("unicom", transport)
    assert (provider.name, provider.kind) == ("unicom", "camara")
    assert provider.lanes == frozenset(row.lanes)
    assert provider.checks == frozenset(row.checks)


def test_it_reaches_every_lane_and_knows_two_checks() -> None:
    assert settings(lanes=list(Lane)).reaches == frozenset(Lane)
    assert settings().supported_checks == {Check.STATUS, Check.RECYCLED}
    assert settings().vendor == "api.operator.example"
    assert settings().secrets() == ("env:TESTS_CLIENT_ID", "env:TESTS_PRIVATE_KEY")


@pytest.mark.parametrize("missing", ["endpoint", "token_endpoint", "purpose", "auth", "client_id"])
def test_what_only_the_operator_can_say_has_no_default(missing: str) -> None:
    with pytest.raises(ValidationError, match=missing):
        settings(**{missing: None})


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"auth": "ciba"}, "authorize_endpoint belongs to auth"),
        ({"authorize_endpoint": CIBA["authorize_endpoint"]}, "authorize_endpoint belongs to auth"),
        ({**CIBA, "checks": ["status"]}, "each check would send the person a message"),
        ({"checks": ["carrier"]}, "checks: cannot check carrier; it knows recycled, status"),
        ({"purpose": "dpv:FraudPreventionAndDetection"}, "purpose"),
        ({"purpose": "Fraud Prevention"}, "purpose"),
        ({"match_scope": "kyc-match:match kyc-tenure:check-tenure"}, "must be one scope"),
        ({"match_scope": "dpv:Marketing"}, "the one purpose stands in the key purpose"),
        ({"recycled_scope": ""}, "must be one scope"),
        ({"version": "0.3"}, "version"),
        ({"recycled_by": "simswap"}, "recycled_by"),
        ({"token_endpoint": "http://auth.operator.example/token"}, "must be https"),
        ({"private_key": "-----BEGIN"}, "a secret must be a reference"),
    ],
)
def test_what_cannot_be_meant_is_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        settings(**changed)


def _encrypted() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    lock = BestAvailableEncryption(b"secret")
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock).decode()


@pytest.mark.usefixtures("_secrets")
@pytest.mark.parametrize(
    "make",
    [
        lambda: "not a key",
        lambda: KEY.replace("M", "-", 1),
        _encrypted,
        lambda: pem_of(ec.generate_private_key(ec.SECP384R1())),
        lambda: pem_of(rsa.generate_private_key(65537, 1024)),  # noqa: S505 - that is the point
    ],
)
def test_a_key_that_cannot_sign_is_refused_and_not_quoted(
    make: Any, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make()
    monkeypatch.setenv("TESTS_PRIVATE_KEY", key)
    with pytest.raises(ConfigError, match="private_key is n") as raised:
        settings().build("unicom", transport)
    assert key.splitlines()[-1] not in str(raised.value)
    assert raised.value.__cause__ is None
    assert "openssl" in str(raised.value.fix)


@pytest.mark.usefixtures("_secrets")
def test_without_pyjwt_the_extra_is_named(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "jwt":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match="PyJWT") as raised:
        settings().build("unicom", transport)
    assert raised.value.fix == "pip install 'verifier[camara]'"


def test_a_missing_secret_is_named(transport: Transport, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absent"):
        settings(client_id=f"file:{tmp_path / 'absent'}").build("unicom", transport)
