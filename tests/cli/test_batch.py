"""``verifier batch``: what operators do to a batch, and what leaves the house."""

from __future__ import annotations

import csv
import io
import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.cli.settling import settle_all
from tests.intake.people import csv_of, rows
from verifier.cli.batchview import _PRIORITY_NAMES
from verifier.cli.exporting import harmless
from verifier.verification.submit import PRIORITIES

Files = Callable[..., Path]
FORMULA = "=cmd|'/c calc'!A1"


@pytest.fixture
def batch(cli: Cli) -> str:
    """A batch of five users, one of whose references a spreadsheet would execute."""
    people = [{**row, "platform": "default"} for row in rows(5, seed=3)]
    people[0]["reference"] = FORMULA
    cli("user", "import", "-", stdin=csv_of(people)).ok()
    return str(cli("verify", "submit", "--all", "--label", "five", "--json").ok().json["batch"])


def test_a_batch_is_listed_and_shown_with_what_it_waits_for(cli: Cli, batch: str) -> None:
    (row,) = cli("batch", "list", "--json").ok().json["batches"]
    assert (row["label"], row["total"], row["settled"], row["state"]) == ("five", 5, 0, "open")
    view = cli("batch", "show", batch, "--json").ok().json
    assert view["waits_for"][0]["reason"] == "new"
    assert view["waits_for"][0]["users"] == 5
    assert "five" in cli("batch", "show", batch).ok().out


def test_an_unknown_batch_is_exit_code_3_everywhere(cli: Cli) -> None:
    for command in ("show", "wait", "cancel", "pause", "resume", "export", "rerun"):
        assert cli("batch", command, "404").code == 3, command


def test_a_paused_batch_waits_and_goes_on(cli: Cli, batch: str) -> None:
    assert cli("batch", "pause", batch, "--reason", "audit", "--json").ok().json["held"] == 5
    view = cli("batch", "show", batch, "--json").ok().json
    assert (view["paused"], view["pause_reason"], view["waiting"]) == (True, "audit", {"paused": 5})
    assert cli("batch", "resume", batch, "--json").ok().json["released"] == 5
    assert cli("batch", "show", batch, "--json").ok().json["paused"] is False


def test_a_reason_with_personal_data_is_refused(cli: Cli, batch: str) -> None:
    ran = cli("batch", "pause", batch, "--reason", "call 13800138000")
    assert ran.code == 2
    assert "13800138000" not in ran.err


def test_a_cancelled_batch_ends_and_nobody_is_failed_for_it(cli: Cli, batch: str) -> None:
    assert cli("batch", "cancel", batch, "--json").ok().json["cancelled"] == 5
    ran = cli("batch", "wait", batch, "--timeout", "10", "--json")
    assert ran.code == 5
    assert ran.json["outcomes"] == {"CANCELLED": 5}
    listed = cli("user", "list", "--status", "failed", "--json").ok().json
    assert listed["users"] == []


def test_a_batch_is_run_again_whole_or_in_part(cli: Cli, batch: str) -> None:
    settle_all(lambda reference: "MISMATCHED" if reference == FORMULA else "MATCHED")
    cli("batch", "wait", batch, "--timeout", "10")
    failed = cli("batch", "rerun", batch, "--only", "failed", "--json").ok().json
    assert failed["total"] == 1
    view = cli("batch", "show", str(failed["batch"]), "--json").ok().json
    assert view["rerun_of"] == int(batch)
    assert cli("batch", "rerun", batch, "--json").ok().json["total"] == 5


def test_what_waits_is_run_again_at_once(cli: Cli, batch: str) -> None:
    again = cli("batch", "rerun", batch, "--only", "waiting", "--json").ok()
    assert again.json["total"] == 5
    assert "5 users are due now" in again.err


def test_an_export_has_every_user_and_nothing_to_execute(cli: Cli, batch: str) -> None:
    settle_all(lambda reference: "MISMATCHED" if reference == FORMULA else "MATCHED")
    ran = cli("batch", "export", batch).ok()
    found = list(csv.DictReader(io.StringIO(ran.out)))
    assert len(found) == 5
    assert "5 users exported" in ran.err
    by_reference = {row["reference"]: row for row in found}
    assert by_reference["'" + FORMULA]["outcome"] == "MISMATCHED"
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in found for cell in row.values())
    assert all(row["settled_at"].endswith("+08:00") for row in found)


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"])
def test_no_cell_begins_like_a_formula(sign: str) -> None:
    assert harmless(f"{sign}1+1") == f"'{sign}1+1"
    assert harmless(f"1{sign}1") == f"1{sign}1"


def test_an_export_to_a_file_is_private_and_whole(cli: Cli, batch: str, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    cli("batch", "export", batch, file).ok()
    found = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert {row["reference"] for row in found} >= {FORMULA}
    assert {(row["state"], row["outcome"], row["reason"]) for row in found} == {
        ("waiting", None, "new")
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.glob(".out*")) == []
    assert cli("batch", "export", batch, "/nowhere/out.csv").code == 2


def test_watching_a_finished_batch_shows_it_once(cli: Cli, batch: str) -> None:
    settle_all(lambda _: "MATCHED")
    cli("batch", "wait", batch, "--timeout", "10").ok()
    assert cli("batch", "show", batch, "--watch", "--json").ok().json["state"] == "done"


def test_priorities_have_the_names_they_are_submitted_with() -> None:
    assert {name: number for number, name in _PRIORITY_NAMES.items()} == PRIORITIES


def test_a_label_cannot_drive_the_terminal(cli: Cli, batch: str) -> None:
    ran = cli("verify", "submit", "--all", "--label", "\x1b[31mred")
    assert ran.code == 2
    assert "\x1b" not in ran.err + cli("batch", "list").ok().out


def test_a_batch_that_is_done_is_left_as_it_is(cli: Cli, batch: str) -> None:
    settle_all(lambda _: "MATCHED")
    for command, counted in (("pause", "held"), ("cancel", "cancelled"), ("resume", "released")):
        ran = cli("batch", command, batch, "--json").ok()
        assert ran.json[counted] == 0
        assert "is done already" in ran.err
    view = cli("batch", "show", batch, "--json").ok().json
    assert (view["state"], view["paused"], view["cancelled"]) == ("done", False, False)


def test_errors_about_batches_say_how_to_mend_them(cli: Cli, batch: str) -> None:
    assert "fix: " in cli("batch", "wait", "999").err
    assert "fix: " in cli("batch", "export", batch, "/nowhere/out.csv").err
