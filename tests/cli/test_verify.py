"""``verifier verify``: whom it submits, once; what its exit codes mean."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.cli.conftest import Cli
from tests.cli.settling import settle_all, workers_seen
from verifier.store.engine import transaction

Files = Callable[..., Path]


def references(file: Path) -> list[str]:
    return [row["reference"] for row in csv.DictReader(file.read_text("utf-8").splitlines())]


@pytest.fixture
def people(cli: Cli, users_file: Files) -> list[str]:
    """Six imported users."""
    file = users_file(6)
    cli("user", "import", file).ok()
    return references(file)


def test_a_key_submits_once(cli: Cli, people: list[str]) -> None:
    first = cli("verify", "submit", "--all", "--key", "k", "--json").ok().json
    again = cli("verify", "submit", "--all", "--key", "k", "--json").ok()
    assert (first["new"], first["total"]) == (True, 6)
    assert (again.json["new"], again.json["batch"]) == (False, first["batch"])
    assert "this key is known" in again.err


def test_a_key_used_for_something_else_is_a_conflict(cli: Cli, people: list[str]) -> None:
    cli("verify", "submit", "--all", "--key", "k").ok()
    ran = cli("verify", "submit", "--failed", "--key", "k")
    assert ran.code == 1
    assert "already used" in ran.err


def test_without_a_key_one_is_made_and_told(cli: Cli, people: list[str]) -> None:
    ran = cli("verify", "submit", "--ref", people[0]).ok()
    assert "repeat with --key" in ran.err
    assert ran.out == "batch 1: 1 user\n"


@pytest.mark.parametrize(
    "ways",
    [
        (), ("--all", "--ref", "x"), ("--ref", "x", "--from", "-"), ("--all", "--failed"),
        ("--all", "--unverified", "--failed"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_whom_to_verify_is_said_in_exactly_one_way(cli: Cli, ways: tuple[str, ...]) -> None:
    ran = cli("verify", "submit", *ways)
    assert ran.code == 2
    assert "exactly one way" in ran.err


def test_unknown_references_are_listed_after_the_rest_went_in(cli: Cli, people: list[str]) -> None:
    unknown = [f"ghost-{number}" for number in range(25)]
    ran = cli("verify", "submit", "--from", "-", stdin="\n".join([*people, *unknown]) + "\n")
    assert ran.code == 5
    assert "batch 1: 6 users" in ran.out
    assert "25 references name no user; the others went in" in ran.err
    assert ran.err.count("ghost-") == 20
    assert "and 5 more" in ran.err


def test_a_list_of_references_may_be_a_table_with_platforms(cli: Cli, people: list[str]) -> None:
    table = "platform,reference\n" + "".join(f"default,{name}\n" for name in people[:2])
    table += ",".join(("shop", people[2])) + "\n"
    ran = cli("verify", "submit", "--from", "-", "--json", stdin=table)
    assert ran.code == 5
    assert (ran.json["total"], ran.json["unknown_count"]) == (2, 1)
    assert ran.json["unknown"] == [{"platform": "shop", "reference": people[2]}]


def test_personal_data_in_a_list_of_references_is_refused_by_line(cli: Cli) -> None:
    ran = cli("verify", "submit", "--from", "-", stdin="ok\n13800138000\n")
    assert ran.code == 5
    assert "line 2: reference looks like a phone number" in ran.err
    assert "13800138000" not in ran.err


def test_a_file_of_users_is_imported_first(cli: Cli, users_file: Files) -> None:
    file = users_file(4, seed=9)
    ran = cli("verify", "submit", "--from", file, "--json").ok()
    assert "imported first" in ran.err
    assert "4 inserted" in ran.err
    assert ran.json["total"] == 4


def test_a_dry_run_counts_per_lane_and_names_the_providers(
    cli: Cli, people: list[str], providers: Path
) -> None:
    plan = cli("verify", "submit", "--unverified", "--dry-run", "--json").ok().json
    assert plan["total"] == 6
    by_lane = {lane["lane"]: lane["providers"] for lane in plan["lanes"]}
    assert by_lane["cmcc"] == ["tencent", "spare"]
    assert cli("batch", "list", "--json").ok().json == {"batches": []}


def test_a_dry_run_of_a_user_file_imports_nothing(cli: Cli, users_file: Files) -> None:
    cli("verify", "submit", "--from", users_file(2), "--dry-run").ok()
    assert cli("user", "list", "--json").ok().json["users"] == []


def test_waiting_ends_with_0_when_all_matched(cli: Cli, people: list[str]) -> None:
    cli("verify", "submit", "--all", "--key", "k").ok()
    assert settle_all(lambda _: "MATCHED") == 6
    ran = cli("verify", "submit", "--all", "--key", "k", "--wait", "--json").ok()
    assert ran.json["outcomes"] == {"MATCHED": 6}
    assert ran.json["state"] == "done"


def test_waiting_ends_with_5_when_some_did_not_match(cli: Cli, people: list[str]) -> None:
    cli("verify", "submit", "--all", "--key", "k").ok()
    settle_all(lambda reference: "MISMATCHED" if reference == people[0] else "MATCHED")
    ran = cli("verify", "submit", "--all", "--key", "k", "--wait")
    assert ran.code == 5
    assert "MISMATCHED  1" in ran.out


def test_waiting_ends_with_7_when_the_time_is_up(cli: Cli, people: list[str]) -> None:
    ran = cli("verify", "submit", "--all", "--wait", "--timeout", "0.1")
    assert ran.code == 7
    assert "the work goes on" in ran.err


def test_without_workers_a_warning_says_so(cli: Cli, people: list[str]) -> None:
    assert "no worker has been seen" in cli("verify", "submit", "--all").ok().err
    workers_seen("verify.cmcc")
    assert "no worker" not in cli("verify", "submit", "--all").ok().err


def test_one_user_that_has_to_wait_is_exit_code_7(cli: Cli, people: list[str]) -> None:
    ran = cli("verify", "one", people[0], "--timeout", "0.1", "--json")
    assert ran.code == 7
    assert (ran.json["state"], ran.json["reason"]) == ("waiting", "new")


def test_selections_follow_the_users_status(cli: Cli, people: list[str]) -> None:
    cli("verify", "submit", "--all").ok()
    settle_all(lambda reference: "MISMATCHED" if reference == people[0] else "MATCHED")
    assert cli("verify", "submit", "--failed", "--json").ok().json["total"] == 1
    made = len(cli("batch", "list", "--json").ok().json["batches"])
    nobody = cli("verify", "submit", "--unverified", "--json").ok()
    assert (nobody.json["total"], nobody.json["batch"]) == (0, None)
    other = cli("verify", "submit", "--all", "--platform", "shop", "--wait").ok()
    assert "nobody to verify" in other.err
    assert len(cli("batch", "list", "--json").ok().json["batches"]) == made


def test_what_is_past_its_deadline_is_listed_with_its_cause(cli: Cli, people: list[str]) -> None:
    cli("verify", "submit", "--all").ok()
    assert cli("verify", "overdue", "--json").ok().json == {"overdue": [], "next": None}
    with transaction() as connection:
        connection.execute(
            text("UPDATE verifier.open_verifications SET deadline_at = now() - interval '3 hours'")
        )
    cli("lane", "pause", "cmcc", "--reason", "contract").ok()
    found = cli("verify", "overdue", "--limit", "4", "--json").ok().json
    assert len(found["overdue"]) == 4
    assert found["next"] is not None
    assert all(10_000 < row["late_seconds"] < 12_000 for row in found["overdue"])
    causes = {row["cause"] for row in found["overdue"] if row["lane"] == "cmcc"}
    assert causes <= {"paused"}
    assert "3 h" in cli("verify", "overdue").ok().out


def test_references_that_all_name_nobody_make_no_batch(cli: Cli, people: list[str]) -> None:
    ran = cli("verify", "submit", "--ref", "nobody", "--json")
    assert ran.code == 5
    assert "1 reference names no user\n" in ran.err
    assert "nobody to verify" in ran.err
    assert ran.json["unknown"] == [{"platform": "default", "reference": "nobody"}]
    assert cli("batch", "list", "--json").ok().json == {"batches": []}


def test_a_known_key_is_resumed_although_nobody_is_left_to_verify(
    cli: Cli, people: list[str]
) -> None:
    cli("verify", "submit", "--unverified", "--key", "k").ok()
    settle_all(lambda _: "MATCHED")
    again = cli("verify", "submit", "--unverified", "--key", "k", "--json").ok().json
    assert (again["batch"], again["total"], again["new"]) == (1, 6, False)


def test_running_again_those_that_failed_of_none_makes_no_batch(
    cli: Cli, people: list[str]
) -> None:
    cli("verify", "submit", "--all").ok()
    settle_all(lambda _: "MATCHED")
    ran = cli("batch", "rerun", "1", "--only", "failed").ok()
    assert "nobody to verify" in ran.err
    assert len(cli("batch", "list", "--json").ok().json["batches"]) == 1


def test_a_dry_run_names_the_references_that_name_no_user(cli: Cli, people: list[str]) -> None:
    ran = cli("verify", "submit", "--ref", people[0], "--ref", "nobody", "--dry-run", "--json")
    assert ran.code == 5
    assert (ran.json["total"], ran.json["unknown_count"]) == (1, 1)
    assert ran.json["unknown"] == [{"platform": "default", "reference": "nobody"}]
    assert "nobody (platform default)" in ran.err


def test_unknown_references_are_a_list_whether_one_waits_or_not(
    cli: Cli, people: list[str]
) -> None:
    who = ("--ref", people[0], "--ref", "nobody", "--key", "k", "--json")
    plain = cli("verify", "submit", *who).json
    settle_all(lambda _: "MATCHED")
    waited = cli("verify", "submit", *who, "--wait").json
    for name in ("unknown", "unknown_count", "total", "batch"):
        assert waited[name] == plain[name]
    assert waited["unknown"] == [{"platform": "default", "reference": "nobody"}]


def test_a_broker_that_is_away_is_told_and_nothing_is_lost(cli: Cli, people: list[str]) -> None:
    away = {"VERIFIER_BROKER_URL": "redis://127.0.0.1:1/0"}
    with transaction() as connection:  # what a test before rang for would not be rung for again
        connection.execute(text("DELETE FROM verifier.lane_slots"))
    ran = cli("verify", "submit", "--all", **away).ok()
    assert "the broker is away: the work starts when it is back" in ran.err
    one = cli("verify", "one", people[0], "--timeout", "0.1", **away)
    assert one.code == 7
    assert "the broker is away" in one.err
    assert "broker" not in cli("verify", "submit", "--all").ok().err
