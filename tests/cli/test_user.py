"""``verifier user``: nothing is taken twice, nothing personal is shown."""

from __future__ import annotations

import csv
import os
import stat
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.cli.conftest import PROGRAM, Cli
from tests.intake.people import csv_of, rows
from verifier.identity.id_number import check_digit
from verifier.store import clock
from verifier.store.engine import transaction

Files = Callable[..., Path]


def test_an_import_reports_what_it_did_and_can_be_repeated(cli: Cli, users_file: Files) -> None:
    file = users_file(20)
    first = cli("user", "import", file, "--json").ok().json
    assert first["inserted"] == first["rows"] == 20
    assert first["rejected"] == 0
    assert first["rejects_file"] is None
    again = cli("user", "import", file).ok()
    assert "20 unchanged" in again.out
    assert not Path(f"{file}.rejects.csv").exists()


def test_refused_rows_are_exit_code_5_and_stand_in_a_private_list(
    cli: Cli, users_file: Files
) -> None:
    file = users_file(3)
    lines = file.read_text("utf-8").splitlines()
    lines[2] = lines[2].replace(lines[2].split(",")[1], "12345")
    file.write_text("\n".join(lines) + "\n", "utf-8")
    ran = cli("user", "import", file)
    assert ran.code == 5
    assert "2 inserted" in ran.out
    assert "1 rejected" in ran.out
    rejects = Path(f"{file}.rejects.csv")
    (row,) = csv.DictReader(rejects.read_text("utf-8").splitlines())
    assert (row["line"], row["field"]) == ("3", "phone")
    assert stat.S_IMODE(rejects.stat().st_mode) == 0o600
    assert "12345" not in rejects.read_text("utf-8") + ran.out + ran.err


def test_standard_input_is_imported_in_either_format(cli: Cli) -> None:
    import json

    people = [{**row, "platform": "default"} for row in rows(4, seed=2)]
    assert cli("user", "import", "-", "--json", stdin=csv_of(people)).ok().json["inserted"] == 4
    jsonl = "".join(json.dumps(person) + "\n" for person in people)
    assert cli("user", "import", "-", "--json", stdin=jsonl).ok().json["unchanged"] == 4


def test_a_dry_run_checks_without_any_database(anywhere: Cli, users_file: Files) -> None:
    ran = anywhere("user", "import", users_file(5), "--dry-run").ok()
    assert "5 rows can be taken" in ran.out
    assert "nothing was written" in ran.err


def test_a_wrong_header_is_a_usage_error_that_names_the_column(
    anywhere: Cli, tmp_path: Path
) -> None:
    file = tmp_path / "u.csv"
    file.write_text("reference,phone_number,name,id_number\n", "utf-8")
    ran = anywhere("user", "import", file, "--dry-run")
    assert ran.code == 2
    assert "no column phone" in ran.err
    assert "'phone_number' for phone" in ran.err


def test_unknown_columns_are_named_once_and_ignored(anywhere: Cli, tmp_path: Path) -> None:
    file = tmp_path / "u.csv"
    people = [{**row, "shoe_size": "42"} for row in rows(3)]
    file.write_text(csv_of(people, ("reference", "phone", "name", "id_number", "shoe_size")))
    ran = anywhere("user", "import", file, "--dry-run").ok()
    assert ran.err.count("shoe_size") == 1


def test_hostile_files_end_in_a_clear_error(anywhere: Cli, tmp_path: Path) -> None:
    for number, content in enumerate(
        (b"", b"\n\n", b"\0\0\0\0", b"PK\x03\x04", b"x" * 1_000_000, b"\xff\xfe\0", b"[]")
    ):
        file = tmp_path / f"{number}"
        file.write_bytes(content)
        ran = anywhere("user", "import", file, "--dry-run")
        assert ran.code == 2, content[:10]
        assert ran.err.startswith("error: ")


def test_a_directory_and_an_unreadable_delimiter_are_usage_errors(
    anywhere: Cli, tmp_path: Path
) -> None:
    assert anywhere("user", "import", tmp_path, "--dry-run").code == 2
    assert anywhere("user", "import", "-", "--delimiter", "ab").code == 2


def test_an_import_without_a_key_ring_says_how_to_make_one(cli: Cli, users_file: Files) -> None:
    os.unlink(os.environ["VERIFIER_KEYRING"])
    ran = cli("user", "import", users_file(1))
    assert ran.code == 1
    assert "verifier keys init" in ran.err


def test_a_user_is_shown_masked_with_what_may_be_said(cli: Cli, users_file: Files) -> None:
    file = users_file(1)
    (person,) = csv.DictReader(file.read_text("utf-8").splitlines())
    cli("user", "import", file).ok()
    cli("verify", "submit", "--all").ok()
    text = cli("user", "show", person["reference"]).ok().out
    view = cli("user", "show", person["reference"], "--json").ok().json
    for shown in (text, str(view)):
        assert not any(person[name] in shown for name in ("phone", "name", "id_number"))
    assert view["phone"] == f"{person['phone'][:3]}****{person['phone'][-4:]}"
    assert (view["status"], view["state"], view["reason"]) == ("unverified", "waiting", "new")
    assert view["guidance"]
    assert view["deadline_at"].endswith("+08:00")
    assert view["attempts"] == view["verifications"] == []


def test_an_unknown_user_is_exit_code_3(cli: Cli) -> None:
    ran = cli("user", "show", "nobody")
    assert ran.code == 3
    assert "fix: " in ran.err


def test_the_platform_is_needed_only_where_several_know_the_reference(cli: Cli) -> None:
    person = {**next(rows(1)), "platform": "shop", "reference": "u-1"}
    cli("user", "import", "-", stdin=csv_of([person])).ok()
    assert "shop" in cli("user", "show", "u-1").ok().out
    wrong = cli("user", "show", "u-1", "--platform", "video")
    assert wrong.code == 3
    assert "--platform shop" in wrong.err
    cli("user", "import", "-", stdin=csv_of([{**person, "platform": "video"}])).ok()
    several = cli("user", "show", "u-1")
    assert several.code == 2
    assert "--platform shop or --platform video" in several.err
    cli("user", "show", "u-1", "--platform", "video").ok()


def test_a_number_as_a_reference_is_refused_with_the_right_way(cli: Cli) -> None:
    ran = cli("user", "show", "13800138000")
    assert ran.code == 2
    assert "verifier user find" in ran.err
    assert "13800138000" not in ran.err


def test_a_list_is_masked_filtered_and_goes_on_where_it_stopped(
    cli: Cli, users_file: Files
) -> None:
    file = users_file(5)
    cli("user", "import", file).ok()
    page = cli("user", "list", "--limit", "3", "--json").ok().json
    rest = cli("user", "list", "--after", str(page["next"]), "--json").ok().json
    assert [len(page["users"]), len(rest["users"]), rest["next"]] == [3, 2, None]
    assert cli("user", "list", "--status", "verified", "--json").ok().json["users"] == []
    assert cli("user", "list", "--outcome", "nonsense").code == 2
    assert "****" in cli("user", "list").ok().out


def test_a_person_is_found_by_a_number_that_is_no_argument(cli: Cli, users_file: Files) -> None:
    file = users_file(3)
    person = list(csv.DictReader(file.read_text("utf-8").splitlines()))[1]
    cli("user", "import", file).ok()
    by_phone = cli("user", "find", "--json", stdin=person["phone"] + "\n").ok().json
    assert [user["reference"] for user in by_phone["users"]] == [person["reference"]]
    by_id = cli("user", "find", "--by", "id-number", stdin=person["id_number"]).ok()
    assert person["reference"] in by_id.out
    assert person["id_number"] not in by_id.out
    assert cli("user", "find", stdin="13900000000\n").code == 3
    assert cli("user", "find", stdin="not a number\n").code == 2


def test_an_id_number_is_judged_by_the_business_day(cli: Cli) -> None:
    body = "11010120350101002"  # born in 2035
    number = body + check_digit(body) + "\n"
    assert cli("user", "find", "--by", "id-number", stdin=number).code == 2
    try:
        with transaction() as connection:
            clock.move_to(connection, datetime(2040, 1, 1, tzinfo=UTC))
        assert cli("user", "find", "--by", "id-number", stdin=number).code == 3
    finally:
        with transaction() as connection:
            clock.reset(connection)


def test_importing_twenty_thousand_rows_takes_no_more_memory_than_a_chunk(
    cli: Cli, tmp_path: Path
) -> None:
    def peak(number: int) -> int:
        file = tmp_path / f"{number}.csv"
        with file.open("w", encoding="utf-8") as text:
            text.write("reference,phone,name,id_number,ballast\n")
            for row in rows(number, seed=number):
                text.write(",".join(row[c] for c in ("reference", "phone", "name", "id_number")))
                text.write("," + "x" * 2000 + "\n")
        process = subprocess.Popen(
            [*PROGRAM, "user", "import", str(file)], stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_maxrss * 1024

    one_chunk, file_bytes = peak(5_000), 20_000 * 2_000
    assert peak(20_000) - one_chunk < file_bytes / 4


def test_errors_about_users_say_what_is_wrong_and_how_to_mend_it(
    cli: Cli, users_file: Files
) -> None:
    file = users_file(1)
    ran = cli("user", "import", file, "--rejects", file / "rejects.csv")
    assert ran.code == 2
    assert "cannot be written (Not a directory)" in ran.err
    unknown = cli("user", "show", "nobody")
    assert unknown.code == 3
    assert "on any platform" in unknown.err
    assert "on platform 'shop'" in cli("user", "show", "nobody", "--platform", "shop").err
    for missing in (
        cli("user", "import", "/does/not/exist"),
        cli("verify", "submit", "--from", "/does/not/exist"),
        cli("user", "find"),
        cli("user", "find", stdin="13800138000"),
    ):
        assert missing.code in (2, 3)
        assert "fix: " in missing.err
