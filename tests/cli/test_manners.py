"""The command line's manners: instant help, hints, exit codes, clean streams, no tracebacks."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from sqlalchemy import make_url, text

from tests.cli.conftest import PROGRAM, Cli
from tests.servers import scratch_directory
from verifier.cli.root import cli as root
from verifier.store.engine import transaction

HEAVY = ("celery", "sqlalchemy", "pydantic", "requests", "rich", "structlog", "alembic", "redis")


def commands(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(command)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, (*path, name))
    else:
        yield path, command


ALL = dict(commands(root))


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['verifier', '--help']\n"
        "from verifier.cli import main\n"
        "try: main()\n"
        f"finally: print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.strip() == "[]"


def test_help_answers_in_a_third_of_a_second() -> None:
    """Of processor time: the wall's depends on who else is at work here."""

    def seconds() -> float:
        process = subprocess.Popen([*PROGRAM, "--help"], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_utime + usage.ru_stime

    assert min(seconds() for _ in range(5)) < 0.3


def test_modules_of_commands_load_nothing_heavy_before_the_command_runs() -> None:
    places = sorted(
        {".".join(str(c.callback.__module__).split(".")) for c in ALL.values() if c.callback}
    )
    script = (
        f"import importlib, sys\nfor name in {places!r}: importlib.import_module(name)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_says_what_it_does(path: tuple[str, ...]) -> None:
    command = ALL[path]
    assert command.help
    assert len(command.get_short_help_str(200)) > 10
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.help:
            plain = parameter.type
            assert (
                isinstance(plain, click.Choice)
                or parameter.show_default
                or parameter.name in ("count",)
            ), parameter.name


@pytest.mark.parametrize(
    "path", [p for p in ALL if p[-1] in ("list", "show", "find", "why", "status", "doctor", "check",
                                         "overdue", "one", "wait", "submit", "import", "rerun")],
    ids=" ".join,
)  # fmt: skip
def test_every_read_has_json(path: tuple[str, ...]) -> None:
    assert any("--json" in parameter.opts for parameter in ALL[path].params)


def test_no_option_takes_personal_data() -> None:
    taken = {
        option.lstrip("-")
        for command in ALL.values()
        for parameter in command.params
        for option in parameter.opts
    }
    assert not taken & {"phone", "name-of", "id-number", "id_number", "email", "push-token"}


def test_a_mistyped_command_is_answered_with_the_likely_one(anywhere: Cli) -> None:
    ran = anywhere("usr")
    assert (ran.code, ran.out) == (2, "")
    assert "Did you mean 'user'" in ran.err
    assert "'import'" in anywhere("user", "imprt").err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--nonsense",),
        ("user", "show"),
        ("batch", "show", "x"),
        ("batch", "show", "0"),
        ("lane", "pause", "mars"),
        ("user", "import", "/does/not/exist"),
        ("user", "list", "--limit", "0"),
        ("audit", "show", "yesterday"),
        ("verify", "submit", "--priority", "now"),
        ("verify", "submit", "--all", "--timeout", "3"),
        ("batch", "rerun", "1", "--timeout", "3"),
        ("sandbox", "people", "--count", "1", "--out", "/proc/nowhere"),
        ("sandbox", "serve", "--state", "/proc/nowhere", "--people", "1"),
        ("sandbox", "serve", "--state", "/proc/nowhere"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2_with_a_hint(anywhere: Cli, arguments: tuple[str, ...]) -> None:
    ran = anywhere(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert "fix: " in ran.err


@pytest.mark.parametrize("command", [("status",), ("keys", "init"), ("dev", "up")], ids=" ".join)
def test_a_home_that_cannot_be_written_is_named(anywhere: Cli, command: tuple[str, ...]) -> None:
    # /proc takes no directory, not even of root's.
    env = {"VERIFIER_HOME": "/proc/nowhere", "VERIFIER_KEYRING": "/proc/nowhere/keyring.json"}
    ran = anywhere(*command, **env)
    assert ran.code == 1
    assert "/proc/nowhere" in ran.err
    assert "fix: Set VERIFIER_" in ran.err


def test_a_wrong_lane_or_night_is_told_under_its_name(anywhere: Cli) -> None:
    assert "'LANE'" in anywhere("lane", "pause", "mars").err
    assert "LANE]'" in anywhere("queue", "why", "mars").err
    assert "NIGHT]'" in anywhere("audit", "show", "yesterday").err


def test_the_version_is_told(anywhere: Cli) -> None:
    assert re.fullmatch(r"verifier \d+\.\d+\.\d+\n", anywhere("--version").ok().out)


def test_a_database_that_is_away_is_told_without_its_password(anywhere: Cli) -> None:
    ran = anywhere(
        "status", VERIFIER_DATABASE_URL="postgresql://someone:hunter2@127.0.0.1:1/nothing"
    )
    assert ran.code == 1
    assert "error: PostgreSQL cannot be reached" in ran.err
    assert "fix: " in ran.err
    assert "hunter2" not in ran.err


def test_a_database_without_tables_names_the_command_that_makes_them(
    cli: Cli, product: Path
) -> None:
    url = os.environ["VERIFIER_DATABASE_URL"].rpartition("/")[0] + "/postgres"
    file = product / "users.csv"
    file.write_text("reference,phone,name,id_number\n", "utf-8")
    with transaction() as connection:
        owner = connection.scalar(text("SELECT current_user"))
    for command in (
        ("user", "import", file), ("status",), ("batch", "list"), ("db", "grant", owner),
    ):  # fmt: skip
        ran = cli(*command, VERIFIER_DATABASE_URL=url)
        assert ran.code == 1
        assert "verifier db upgrade" in ran.err


def test_an_account_without_rights_is_told_so(cli: Cli) -> None:
    url = make_url(os.environ["VERIFIER_DATABASE_URL"])
    role = f"lowly_{uuid.uuid4().hex}"
    with transaction() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN PASSWORD 's'")
    lowly = url.set(username=role, password="s").render_as_string(hide_password=False)
    try:
        for command in (("status",), ("webhook", "list"), ("user", "list")):
            ran = cli(*command, VERIFIER_DATABASE_URL=lowly)
            assert ran.code == 1
            assert "may not use the verifier's tables" in ran.err
            assert "fix: Use the URL of the account that owns them." in ran.err
        checks = cli("doctor", "--json", VERIFIER_DATABASE_URL=lowly).json["checks"]
        (found,) = (check for check in checks if check["name"] == "migrations")
        assert "may not use" in found["found"]
        assert found["fix"].startswith("Use the URL")
    finally:
        with transaction() as connection:
            connection.exec_driver_sql(f"DROP ROLE {role}")


def test_a_url_of_another_database_is_refused(anywhere: Cli) -> None:
    ran = anywhere("status", VERIFIER_DATABASE_URL="mysql://somewhere/x")
    assert ran.code == 1
    assert "not a PostgreSQL URL" in ran.err


def test_a_reader_that_leaves_early_is_no_error_worth_words(home: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "provider", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    words = process.stderr.read()
    process.stderr.close()
    assert process.wait(30) == 128 + signal.SIGPIPE
    assert words == b""


def test_control_c_is_one_line_and_code_130(cli: Cli, users_file: Callable[..., Path]) -> None:
    cli("user", "import", users_file(1)).ok()
    cli("verify", "submit", "--all").ok()
    process = subprocess.Popen(
        [*PROGRAM, "batch", "wait", "1", "--timeout", "50"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _until_it_polls(process.pid)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    assert [line for line in err.splitlines() if line] == [
        "interrupted; the work goes on: `verifier batch wait 1` waits again",
    ]


def _until_it_polls(pid: int) -> None:
    """Until the process has the database open and rests between two looks.

    Not while it starts: an interrupt that Python happens to raise in a finaliser is ignored.
    """
    deadline = time.monotonic() + 30
    used = -1
    while time.monotonic() < deadline:
        before, used = used, _processor_time(pid)
        descriptors = Path(f"/proc/{pid}/fd")
        if used == before and any("socket" in _target(d) for d in descriptors.iterdir()):
            return
        time.sleep(0.15)
    raise AssertionError("it never connected")


def _processor_time(pid: int) -> int:
    """Clock ticks that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:
        return ""


def test_output_has_no_colour_where_it_is_not_wanted(anywhere: Cli) -> None:
    assert "\x1b" not in anywhere("usr").err
    assert "\x1b" not in anywhere("usr", NO_COLOR="1").err


def test_a_terminal_sees_a_bar_and_a_log_does_not(
    home: Path, users_file: Callable[..., Path]
) -> None:
    file = users_file(30)
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [*PROGRAM, "user", "import", str(file), "--dry-run"],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
        timeout=60,
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # a terminal whose other end is closed
        while data := os.read(ours, 4096):
            shown += data
    os.close(ours)
    assert done.returncode == 0
    assert b"30 rows can be taken" in done.stdout
    assert b"checking" in shown
    assert b"\x1b" not in done.stdout


def test_without_configured_servers_a_command_brings_its_own(
    home: Path, users_file: Callable[..., Path]
) -> None:
    """The embedded ones, migrated, with a new key ring; the data is there for the next command."""
    place = scratch_directory() / f"verifier-cli-{uuid.uuid4().hex}"
    env = {**os.environ, "VERIFIER_HOME": str(place)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *arguments], env=env, capture_output=True, text=True, timeout=90
        )

    try:
        first = run("user", "import", str(users_file(3)))
        assert (first.returncode, first.stderr) == (0, "")
        assert "3 inserted" in first.stdout
        assert "3 unchanged" in run("user", "import", str(users_file(3))).stdout
        assert run("db", "check").returncode == 0
    finally:
        shutil.rmtree(place, ignore_errors=True)
