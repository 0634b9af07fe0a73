"""Providers, lanes, the global stop, ``queue why``, ``status`` and ``doctor``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from sqlalchemy import text

from tests.cli.conftest import Cli
from tests.cli.settling import workers_seen
from verifier.doorbell import QUEUES, REFUSED_KEY
from verifier.settings import broker_url
from verifier.store import overview
from verifier.store import providers as provider_rows
from verifier.store.engine import transaction

Files = Callable[..., Path]
SECRETS = {"TEST_SECRET_ID": "id", "TEST_SECRET_KEY": "hunter2"}


def cause_of(cli: Cli, lane: str) -> dict[str, object]:
    (found,) = cli("queue", "why", lane, "--json").ok().json["lanes"]
    assert isinstance(found, dict)
    return found


def test_a_provider_is_paused_and_resumed(cli: Cli, providers: Path) -> None:
    cli("provider", "pause", "tencent", "--reason", "invoice").ok()
    by_name = {p["name"]: p for p in cli("provider", "list", "--json").ok().json["providers"]}
    assert by_name["tencent"]["state"] == "paused"
    assert "invoice" in by_name["tencent"]["reason"]
    assert by_name["spare"] == {
        "name": "spare",
        "configured": True,
        "lanes": ["cmcc"],
        "preference": 2,
        "qps": 20.0,
        "state": "new",
        "available": True,
        "reason": None,
        "until": None,
        "checks": None,
    }
    cli("provider", "resume", "tencent").ok()
    assert "closed" in cli("provider", "list").ok().out


def test_an_unknown_provider_is_exit_code_3_and_the_known_are_named(
    cli: Cli, providers: Path
) -> None:
    for command in ("pause", "resume"):
        ran = cli("provider", command, "tencnet")
        assert ran.code == 3
        assert "tencent, spare" in ran.err


def test_the_cause_of_waiting_is_told_with_its_remedy(
    cli: Cli, users_file: Files, providers: Path
) -> None:
    cli("user", "import", users_file(30)).ok()
    cli("verify", "submit", "--all").ok()
    assert cause_of(cli, "cmcc")["cause"] == "no_worker"
    workers_seen("verify.cmcc", "verify.cucc")
    assert cause_of(cli, "cmcc")["cause"] == "working"
    cli("provider", "pause", "tencent").ok()
    assert cause_of(cli, "cmcc")["cause"] == "working", "the spare provider is still there"
    assert cause_of(cli, "cucc")["fix"] == "`verifier provider resume tencent`"
    cli("lane", "pause", "cmcc", "--reason", "contract").ok()
    paused = cause_of(cli, "cmcc")
    assert paused["cause"] == "paused"
    assert "contract" in str(paused["text"])
    cli("stop", "--reason", "drill").ok()
    stopped = cause_of(cli, "cmcc")
    assert (stopped["cause"], stopped["fix"]) == ("stopped", "`verifier start`")
    cli("start").ok()
    cli("lane", "resume", "cmcc").ok()
    assert cause_of(cli, "cmcc")["cause"] == "working"
    assert "cmcc: " in cli("queue", "why").ok().out


def test_every_command_tells_the_same_cause(cli: Cli, users_file: Files, providers: Path) -> None:
    cli("user", "import", users_file(3)).ok()
    batch = str(cli("verify", "submit", "--all", "--json").ok().json["batch"])
    with transaction() as connection:
        connection.execute(
            text("UPDATE verifier.open_verifications SET deadline_at = now() - interval '1 hour'")
        )
    cli("stop", "--reason", "drill").ok()
    late = cli("verify", "overdue", "--json").ok().json["overdue"]
    assert {(row["cause"], row["until"]) for row in late} == {("paused", None)}
    user = cli("user", "show", late[0]["reference"], "--json").ok().json
    assert (user["reason"], user["until"]) == ("paused", None)
    shown = cli("batch", "show", batch, "--json").ok().json
    assert shown["waiting"] == {"paused": 3}
    assert [(w["reason"], w["users"]) for w in shown["waits_for"]] == [("paused", 3)]
    exported = cli("batch", "export", batch, "--format", "jsonl").ok().out.splitlines()
    assert {json.loads(line)["reason"] for line in exported} == {"paused"}
    lanes = cli("queue", "why", "--json").ok().json["lanes"]
    assert {w["reason"] for lane in lanes for w in lane["waits_for"]} == {"paused"}
    status = cli("status", "--json").ok().json["lanes"]
    assert sum(lane["reasons"].get("paused", 0) for lane in status) == 3


def test_status_counts_and_names_what_is_stopped(
    cli: Cli, users_file: Files, providers: Path
) -> None:
    cli("user", "import", users_file(7)).ok()
    cli("verify", "submit", "--all").ok()
    cli("stop", "--reason", "drill").ok()
    workers_seen("control")
    view = cli("status", "--json").ok().json
    assert set(view) == {
        "now", "stopped_at", "stopped_by", "stop_reason", "users", "lanes", "providers", "gateways",
        "webhooks", "workers", "last_audit", "reminders_today",
    }  # fmt: skip
    assert view["users"]["unverified"] == view["users"]["total"] == 7
    assert sum(lane["open"] for lane in view["lanes"]) == 7
    assert view["stop_reason"] == "drill"
    assert view["workers"][0]["queue"] == "control"
    assert view["last_audit"] is None
    assert "STOPPED" in cli("status").ok().out


def verdicts(cli: Cli, **env: str) -> dict[str, dict[str, str]]:
    ran = cli("doctor", "--json", **env)
    assert ran.code == (0 if ran.json["ok"] else 1)
    return {check["name"]: check for check in ran.json["checks"]}


def test_the_doctor_finds_a_sound_installation_sound(cli: Cli, providers: Path) -> None:
    workers_seen(*QUEUES)
    found = verdicts(cli, **SECRETS)
    assert {check["verdict"] for check in found.values()} <= {"ok", "warn"}
    assert [name for name, check in found.items() if check["verdict"] == "warn"] == [
        "lanes", "gateways",
    ]  # fmt: skip
    assert "nobody is reminded" in found["gateways"]["found"]
    assert found["database URL"]["found"] == found["broker URL"]["found"] == "configured"
    assert cli("doctor", **SECRETS).code == 0


def test_the_doctor_adds_up_the_connections(cli: Cli, providers: Path) -> None:
    found = verdicts(cli, **SECRETS)["connections"]
    assert found["verdict"] == "ok"
    assert (
        "a host of the Procfile opens at most 6 (worker 2, interactive 1, control 2"
        in found["found"]
    )
    assert "PostgreSQL allows " in found["found"]


@pytest.mark.parametrize(
    ("free", "verdict", "told"),
    [
        (15, "warn", "Enough for one host; two, as while deploying, need 20"),
        (4, "fail", "Not enough for one host and one command, which need 10"),
    ],
)
def test_the_doctor_says_when_connections_are_too_few(
    cli: Cli, providers: Path, free: int, verdict: str, told: str
) -> None:
    with transaction() as connection:
        database = connection.execute(text("SELECT current_database()")).scalar_one()
        allowed = overview.connections(connection).others + free
        connection.exec_driver_sql(f"ALTER DATABASE {database} CONNECTION LIMIT {allowed}")
    try:
        found = verdicts(cli, **SECRETS)["connections"]
    finally:
        with transaction() as connection:
            connection.exec_driver_sql(f"ALTER DATABASE {database} CONNECTION LIMIT -1")
    assert found["verdict"] == verdict
    assert f"PostgreSQL allows {allowed}, others have " in found["found"]
    assert told in found["found"]
    assert "docs/operations.md" in found["fix"]


def test_a_second_pause_without_a_reason_keeps_the_first(
    cli: Cli, users_file: Files, providers: Path
) -> None:
    cli("user", "import", users_file(1)).ok()
    batch = str(cli("verify", "submit", "--all", "--json").ok().json["batch"])
    paused = (
        ("provider", "pause", "tencent"),
        ("lane", "pause", "cmcc"),
        ("batch", "pause", batch),
    )
    for command in (*paused, ("stop",)):
        cli(*command, "--reason", "the first reason").ok()
        cli(*command).ok()
    shown = cli("status", "--json").ok().json
    assert shown["stop_reason"] == "the first reason"
    assert cli("batch", "show", batch, "--json").ok().json["pause_reason"] == "the first reason"
    with transaction() as connection:
        reasons = connection.scalars(
            text("""
                SELECT pause_reason FROM verifier.providers WHERE paused_at IS NOT NULL
                 UNION ALL
                SELECT pause_reason FROM verifier.lanes WHERE paused_at IS NOT NULL
            """)
        ).all()
    assert reasons == ["the first reason"] * 2
    cli("start").ok()


def test_the_doctor_counts_what_workers_refused(cli: Cli, providers: Path) -> None:
    workers_seen(*QUEUES)
    with redis.Redis.from_url(broker_url()) as broker:
        broker.hset(REFUSED_KEY, mapping={"control": 3, "from-a-stranger": 9})
        found = verdicts(cli, **SECRETS)["messages"]
        assert found["verdict"] == "warn"
        assert found["found"].endswith(": 3 in control")
        broker.hset(REFUSED_KEY, "control", "13800138000x")
        assert "messages" not in verdicts(cli, **SECRETS)
        broker.set(REFUSED_KEY, "no hash")
        assert verdicts(cli, **SECRETS)["broker"]["verdict"] == "ok"


def test_the_doctor_names_each_fault_with_its_remedy(
    cli: Cli, users_file: Files, providers: Path
) -> None:
    cli("user", "import", users_file(2)).ok()
    cli("verify", "submit", "--all").ok()
    with transaction() as connection:
        provider_rows.register(connection, ["tencent"])
        connection.execute(
            text("""
                UPDATE verifier.open_verifications
                   SET state = 'quarantined', reason = 'quarantined',
                       deadline_at = now() - interval '1 day'
            """)
        )
        connection.execute(
            text("UPDATE verifier.providers SET state = 'suspended', reason = 'ARREARS'")
        )
    os.chmod(os.environ["VERIFIER_KEYRING"], 0o644)
    found = verdicts(cli, VERIFIER_BROKER_URL="redis://:hunter2@127.0.0.1:1/0")
    failed = {name for name, check in found.items() if check["verdict"] == "fail"}
    assert failed == {
        "secrets of provider tencent", "secrets of provider spare", "key ring", "broker",
        "workers", "quarantine", "provider tencent", "lane cucc", "lane ctcc",
    }  # fmt: skip
    assert found["deadlines"]["verdict"] == "warn"
    assert all(found[name]["fix"] for name in failed)
    assert "hunter2" not in str(found)


def test_the_doctor_of_a_database_that_is_away_says_so_and_goes_on(anywhere: Cli) -> None:
    found = verdicts(anywhere, VERIFIER_DATABASE_URL="postgresql://x:hunter2@127.0.0.1:1/x")
    assert found["database"]["verdict"] == "fail"
    assert found["key ring"]["verdict"] == "fail"
    assert "hunter2" not in str(found)


def test_the_doctor_of_a_new_database_names_the_migration(cli: Cli) -> None:
    url = os.environ["VERIFIER_DATABASE_URL"].rpartition("/")[0] + "/postgres"
    found = verdicts(cli, VERIFIER_DATABASE_URL=url)
    assert found["migrations"]["verdict"] == "fail"
    assert "verifier db upgrade" in found["migrations"]["fix"]


def test_an_audit_and_its_report(cli: Cli, users_file: Files, providers: Path) -> None:
    assert cli("audit", "show").code == 3
    cli("user", "import", users_file(3)).ok()
    counts = cli("audit", "run", "--json").ok().json
    assert counts
    report = cli("audit", "show", "--json").ok().json
    assert (report["users"], report["unverified"], report["state"]) == (3, 3, "done")
    assert "unverified" in cli("audit", "show").ok().out
    again = cli("audit", "run", "--json").ok()
    assert again.json["skipped"]
    assert cli("audit", "run", "--now").ok()
    missing = cli("audit", "show", "2001-01-01")
    assert missing.code == 3
    assert f"fix: The latest were {report['period']} run 2, {report['period']};" in missing.err


def test_reminders_are_planned_sent_and_listed(cli: Cli) -> None:
    assert cli("reminder", "plan", "--now", "--json").ok().json["planned"] == 0
    assert cli("reminder", "send", "--json").ok().json == {}
    assert cli("reminder", "list", "--json").ok().json == {"reminders": []}
    assert "STATE" in cli("reminder", "list", "--state", "sent", "--day", "2026-01-01").ok().out


def test_an_end_of_a_stop_that_was_not_changes_nothing(cli: Cli) -> None:
    assert "was not stopped" in cli("start").ok().err
    cli("stop").ok()
    assert "the work goes on" in cli("start").ok().err


def test_a_reason_of_nothing_is_refused(cli: Cli) -> None:
    for command in (("lane", "pause", "cmcc"), ("stop",)):
        ran = cli(*command, "--reason", " ")
        assert ran.code == 2
        assert "fix: " in ran.err
