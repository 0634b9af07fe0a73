"""Gateways: the operator's hold on the APIs that bring messages."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from tests.cli.conftest import PROVIDERS, Cli
from tests.cli.test_operating import SECRETS, verdicts
from verifier.reminders import standing
from verifier.store import gateways as gateway_rows
from verifier.store import providers as provider_rows
from verifier.store.engine import transaction

GATEWAYS = """
[gateways.jpush]
kind = "jpush"
key_id = "env:TEST_SECRET_ID"
key_secret = "env:TEST_SECRET_KEY"

[gateways.tencent]
kind = "jpush"
key_id = "env:TEST_SECRET_ID"
key_secret = "env:TEST_SECRET_KEY"
preference = 2
"""


@pytest.fixture
def gateways(cli: Cli, product: Path) -> None:
    """Two gateways, one with the name of a provider; a worker has registered them all."""
    (product / "verifier.toml").write_text(PROVIDERS + GATEWAYS, "utf-8")
    with transaction() as connection:
        gateway_rows.register(connection, ["jpush", "tencent"])
        provider_rows.register(connection, ["tencent", "spare"])


def suspend(gateway: str) -> None:
    with transaction() as connection:
        provider_rows.save_breaker(
            connection,
            gateway_rows.row_name(gateway),
            state="suspended",
            failures=5,
            openings=0,
            not_before=None,
            reason="AUTH",
        )


def usable(gateway: str) -> bool:
    """What the sender of reminders makes of it."""
    with transaction() as connection:
        return standing.read(connection).is_usable(gateway)


def listed(cli: Cli, noun: str) -> dict[str, dict[str, object]]:
    found = cli(noun, "list", "--json").ok().json[f"{noun}s"]
    return {row["name"]: row for row in found}


def test_a_gateway_is_paused_and_resumed(cli: Cli, gateways: None) -> None:
    said = cli("gateway", "pause", "jpush", "--reason", "contract").ok().err
    assert "`verifier gateway resume jpush`" in said
    assert not usable("jpush")
    paused = listed(cli, "gateway")["jpush"]
    assert (paused["state"], paused["available"]) == ("paused", False)
    assert "contract" in str(paused["reason"])
    assert "contract" in cli("gateway", "list").ok().out
    cli("gateway", "resume", "jpush").ok()
    assert usable("jpush")
    assert listed(cli, "gateway")["jpush"] == {
        "name": "jpush",
        "configured": True,
        "kind": "jpush",
        "preference": 1,
        "qps": 20.0,
        "state": "closed",
        "available": True,
        "reason": None,
    }


def test_a_suspended_gateway_is_used_again_after_a_resume(cli: Cli, gateways: None) -> None:
    suspend("jpush")
    assert not usable("jpush")
    assert listed(cli, "gateway")["jpush"]["state"] == "suspended"
    cli("gateway", "resume", "jpush").ok()
    assert usable("jpush")
    with transaction() as connection:
        assert gateway_rows.get_all(connection)["jpush"].failures == 0


def test_a_gateway_that_no_worker_has_registered_can_be_paused(cli: Cli, gateways: None) -> None:
    with transaction() as connection:
        connection.execute(text("DELETE FROM verifier.providers"))
    assert listed(cli, "gateway")["jpush"]["state"] == "new"
    cli("gateway", "pause", "jpush").ok()
    assert not usable("jpush")


def test_a_provider_and_a_gateway_of_one_name_have_nothing_in_common(
    cli: Cli, gateways: None
) -> None:
    cli("gateway", "pause", "tencent").ok()
    assert listed(cli, "gateway")["tencent"]["state"] == "paused"
    assert listed(cli, "provider")["tencent"]["state"] == "closed"
    cli("provider", "pause", "tencent").ok()
    cli("gateway", "resume", "tencent").ok()
    assert listed(cli, "gateway")["tencent"]["state"] == "closed"
    assert listed(cli, "provider")["tencent"]["state"] == "paused"


def test_gateways_are_not_listed_among_the_providers(cli: Cli, gateways: None) -> None:
    assert set(listed(cli, "provider")) == {"tencent", "spare"}
    assert set(listed(cli, "gateway")) == {"jpush", "tencent"}


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_an_unknown_gateway_is_exit_code_3_with_the_likely_ones(
    cli: Cli, gateways: None, command: str
) -> None:
    ran = cli("gateway", command, "jpsh")
    assert (ran.code, ran.out) == (3, "")
    assert "There is no gateway 'jpsh'" in ran.err
    assert "Did you mean 'jpush'?" in ran.err
    assert "jpush, tencent" in ran.err
    assert "Configured are" in cli("gateway", command, "zzz").err
    assert "Did you mean" not in cli("gateway", command, "zzz").err


def test_status_shows_gateways_in_a_table_of_their_own(cli: Cli, gateways: None) -> None:
    suspend("jpush")
    view = cli("status", "--json").ok().json
    assert {row["name"] for row in view["providers"]} == {"tencent", "spare"}
    assert {row["name"]: row["state"] for row in view["gateways"]} == {
        "jpush": "suspended",
        "tencent": "closed",
    }
    shown = [line.split() for line in cli("status").ok().out.splitlines()]
    heading = shown.index(["GATEWAY", "KIND", "STATE", "AVAILABLE", "REASON"])
    assert shown[heading + 1] == ["jpush", "jpush", "suspended", "no", "AUTH"]


def test_the_doctor_names_gateways_that_are_held_with_the_remedy(cli: Cli, gateways: None) -> None:
    suspend("jpush")
    cli("gateway", "pause", "tencent").ok()
    found = verdicts(cli, **SECRETS)
    assert found["gateway jpush"]["verdict"] == "fail"
    assert "AUTH" in found["gateway jpush"]["found"]
    assert "`verifier gateway resume jpush`" in found["gateway jpush"]["fix"]
    assert found["gateway tencent"]["verdict"] == "warn"
    assert "`verifier gateway resume tencent`" in found["gateway tencent"]["fix"]
    assert found["provider tencent"]["verdict"] == "ok"
    cli("gateway", "resume", "jpush").ok()
    assert verdicts(cli, **SECRETS)["gateway jpush"]["verdict"] == "ok"
