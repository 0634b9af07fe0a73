"""Waiting at the terminal: a bar that keeps its width, and why nothing moves."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from tests.cli.conftest import Cli
from tests.cli.settling import settle_all, workers_seen
from verifier.cli import progress
from verifier.cli.bar import Bar
from verifier.cli.progress import Progress
from verifier.cli.waiting import Standstill
from verifier.store.engine import transaction

Files = Callable[..., Path]


@pytest.fixture
def batch(cli: Cli, users_file: Files) -> int:
    """A batch of six users."""
    cli("user", "import", users_file(6)).ok()
    number = cli("verify", "submit", "--all", "--json").ok().json["batch"]
    assert isinstance(number, int)
    return number


def noted(standstill: Standstill, settled: int) -> str:
    with transaction() as connection:
        return standstill.note(connection, settled)


def test_nothing_is_said_while_users_settle(batch: int) -> None:
    standstill = Standstill(batch, patience=0.0)
    assert [noted(standstill, settled) for settled in (0, 1, 2)] == ["", "", ""]


def test_a_standstill_says_what_the_others_wait_for_and_until_when(cli: Cli, batch: int) -> None:
    standstill = Standstill(batch, patience=0.0)
    noted(standstill, 0)
    assert noted(standstill, 0) == "waits for: 6 new; no worker has been seen lately"
    workers_seen("verify.cmcc")
    cli("stop").ok()
    assert noted(standstill, 0) == "waits for: 6 paused"
    cli("start").ok()
    with transaction() as connection:
        connection.exec_driver_sql(
            "UPDATE verifier.open_verifications SET reason = 'maintenance', "
            "due_at = '2099-01-01 00:00:00+08'"
        )
    assert noted(standstill, 0) == "waits for: 6 maintenance until 2099-01-01 00:00:00+08:00"
    assert noted(standstill, 1) == "", "somebody settled"


def test_a_standstill_is_looked_up_once_in_a_while_only(cli: Cli, batch: int) -> None:
    standstill = Standstill(batch, patience=3600.0)
    noted(standstill, 0)
    assert noted(standstill, 0) == "", "it has not lasted long"


def test_a_log_has_the_reason_in_its_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.0)
    with Progress("batch 1") as shown:
        shown.update(1, "1 of 4 settled", 4, "waits for: 3 new")
    assert capsys.readouterr().err == "batch 1: 1 of 4 settled (25%); waits for: 3 new\n"


def test_the_bar_keeps_its_width_whatever_there_is_to_say() -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=100, force_terminal=True, color_system=None)
    bar = Bar("batch 1234", 1_000_000, console)
    bar.update(500_000, ["500,000 of 1,000,000 settled " + "1,000 MISMATCHED, " * 9, "why"], None)
    bar.start()
    bar.stop()
    lines = screen.getvalue().splitlines()
    bars = [line for line in lines if "━" in line]
    assert bars
    # Half of it is done, and the bar is 40 wide; without colours the rest is blank.
    assert all(line.count("━") + line.count("╸") >= 20 for line in bars)
    assert any("500,000 of 1,000,000" in line for line in lines)
    assert any("why" in line for line in lines)


def test_the_end_of_a_wait_is_told(cli: Cli, batch: int) -> None:
    settle_all(lambda _: "MATCHED")
    ran = cli("batch", "wait", str(batch), "--timeout", "10").ok()
    assert "done: 6 of 6 settled" in ran.err
    again = cli("verify", "submit", "--all", "--wait", "--timeout", "0")
    assert again.code == 7
    assert "done:" not in again.err
