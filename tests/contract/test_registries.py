"""A configuration becomes providers and gateways, or an error that says how to mend it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from verifier.carriers import registry as carriers
from verifier.config import Config
from verifier.gateways import registry as gateways
from verifier.gateways.base import Channel
from verifier.outcomes import Lane


def _config(provider: dict[str, Any] | None = None) -> Config:
    return Config.model_validate(
        {
            "providers": {
                "all": {
                    "kind": "tencent",
                    "secret_id": "env:TESTS_SECRET_ID",
                    "secret_key": "env:TESTS_SECRET_KEY",
                    "lanes": ["cmcc", "cucc"],
                    **(provider or {}),
                }
            },
            "gateways": {
                "push": {
                    "kind": "jpush",
                    "key_id": "env:TESTS_SECRET_ID",
                    "key_secret": "env:TESTS_SECRET_KEY",
                },
                "sms": {
                    "kind": "aliyun_sms",
                    "key_id": "env:TESTS_SECRET_ID",
                    "key_secret": "env:TESTS_SECRET_KEY",
                    "sign_name": "某某科技",
                    "templates": {"mismatched.zh": "SMS_1"},
                },
            },
        }
    )


@pytest.fixture
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTS_SECRET_ID", "id")
    monkeypatch.setenv("TESTS_SECRET_KEY", "key")


@pytest.mark.usefixtures("_secrets")
def test_providers_and_gateways_are_built_by_name() -> None:
    providers, faults = carriers.build(_config())
    assert faults == {}
    assert providers["all"].name == "all"
    assert providers["all"].lanes == frozenset({Lane.CMCC, Lane.CUCC})
    reached = gateways.build(_config(), threads=2)
    assert {name: gateway.channel for name, gateway in reached.items()} == {
        "push": Channel.PUSH,
        "sms": Channel.SMS,
    }
    for provider in providers.values():
        provider.close()
    for gateway in reached.values():
        gateway.close()


def test_a_detailed_mode_that_the_action_lacks_is_refused() -> None:
    with pytest.raises(ValidationError, match="PhoneVerificationCMCC knows no detailed mode"):
        _config({"action": "PhoneVerificationCMCC", "lanes": ["cmcc"], "detailed": True})


def test_lanes_that_an_action_cannot_reach_are_refused() -> None:
    with pytest.raises(
        ValidationError, match="lanes: cannot verify cbn, mvno numbers; it reaches cmcc"
    ):
        _config({"lanes": ["cbn", "cmcc", "mvno"]})


def test_a_provider_that_would_never_be_asked_is_refused() -> None:
    with pytest.raises(ValidationError, match="neither lanes nor checks"):
        _config({"lanes": []})


def test_a_missing_secret_is_named(tmp_path: Path) -> None:
    missing = {"secret_id": f"file:{tmp_path / 'absent'}"}
    built, faults = carriers.build(_config(missing))
    assert built == {}
    assert "absent" in str(faults["all"])
