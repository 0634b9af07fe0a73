"""Importing a file: idempotent, the first of a user counts, refused rows listed without data."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.intake.people import csv_of, rows
from tests.intake.reading import opened
from verifier.errors import UsageError
from verifier.identity.errors import InvalidField
from verifier.identity.keyring import KeyRing
from verifier.intake import CHUNK, Intake, Person
from verifier.intake.importing import Imported, import_rows
from verifier.intake.rejects import KEPT, Rejects
from verifier.intake.seen import SeenKeys
from verifier.store import users
from verifier.store.engine import transaction


@pytest.fixture
def intake(product: Path, keyring: KeyRing) -> Intake:
    return Intake(keyring)


def imported(
    content: str, intake: Intake, rejects_path: Path | None = None
) -> tuple[Imported, Rejects, list[tuple[str, str]]]:
    keys: list[tuple[str, str]] = []

    def remember(people: list[Person]) -> None:
        keys.extend(person.key for person in people)

    done = Imported()
    with Rejects(rejects_path) as rejects:
        import_rows(opened(content), intake.check, intake, rejects, done, remember)
    return done, rejects, keys


def test_importing_twice_changes_nothing(intake: Intake) -> None:
    content = csv_of(list(rows(50, seed=11)))
    first, _, keys = imported(content, intake)
    again, _, _ = imported(content, intake)
    assert (first.result.inserted, first.rows, len(keys)) == (50, 50, 50)
    assert (again.result.unchanged, again.result.inserted, again.result.changed) == (50, 0, 0)


def test_changed_identity_and_changed_contact_are_told_apart(intake: Intake) -> None:
    people = list(rows(3, seed=12))
    imported(csv_of(people), intake)
    people[0]["name"] = "欧阳修远"
    people[1]["email"] = "new@example.com"
    result = imported(csv_of(people), intake)[0].result
    assert (result.changed, result.contact_changed, result.unchanged) == (1, 1, 1)


def test_the_first_row_of_a_user_counts_and_later_ones_name_its_line(intake: Intake) -> None:
    people = list(rows(3, seed=13))
    people.append({**people[1], "name": "欧阳修远"})
    done, rejects, _ = imported(csv_of(people), intake)
    assert done.result.inserted == 3
    (reject,) = rejects.first
    assert (reject.line, reject.field, reject.code) == (5, "reference", "duplicate")
    assert reject.reason.endswith("(line 3)")


def test_a_user_whose_first_row_was_refused_is_taken_from_a_later_one(intake: Intake) -> None:
    people = list(rows(1, seed=14))
    wrong = {**people[0], "phone": "123"}
    done, rejects, _ = imported(csv_of([wrong, *people]), intake)
    assert (done.result.inserted, rejects.number) == (1, 1)


def test_duplicates_are_found_across_chunks(intake: Intake) -> None:
    people = list(rows(CHUNK + 1, seed=15))
    people.append(people[0])
    done, rejects, _ = imported(csv_of(people), intake)
    assert done.result.inserted == CHUNK + 1
    assert rejects.first[0].reason.endswith("(line 2)")


def test_checking_alone_writes_nothing(intake: Intake) -> None:
    done = Imported()
    with Rejects(None) as rejects, transaction() as connection:
        before = len(users.listing(connection, limit=10_000))
        content = csv_of(list(rows(5, seed=16)))
        import_rows(opened(content), intake.check, None, rejects, done, lambda _: None)
        assert len(users.listing(connection, limit=10_000)) == before
    assert done.rows == 5


@pytest.mark.parametrize("reference", ["=cmd|'/c calc'!A1", "@SUM(1)", "+1", "-1"])
def test_formula_looking_references_are_stored_as_they_are(intake: Intake, reference: str) -> None:
    person = {**next(rows(1, seed=17)), "reference": reference}
    done, rejects, keys = imported(csv_of([person]), intake)
    assert rejects.number == 0
    assert keys == [(person["platform"], reference)]
    assert done.result.taken == 1


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("reference", "a\0b"),
        ("phone", "138\0"),
        ("name", "张\0三"),
        ("id_number", "\0"),
        ("platform", "a\0"),
        ("email", "a\0@example.com"),
        ("push_token", "\0" * 20),
        ("locale", "\0"),
        ("time_zone", "Asia/\0"),
        ("time_zone", "../../etc/passwd"),
        ("bound_at", "\0"),
        ("bound_at", "9999-99-99"),
        ("consent_at", "x" * 100_000),
        ("name", "x" * 100_000),
        ("reference", "x" * 100_000),
    ],
)
def test_hostile_values_are_refused_by_their_field(intake: Intake, column: str, value: str) -> None:
    person = {**next(rows(1, seed=18)), column: value}
    _, rejects, _ = imported(csv_of([person]), intake)
    assert [reject.field for reject in rejects.first] == [column]


def test_the_list_of_refused_rows_is_private_and_has_no_values(
    intake: Intake, tmp_path: Path
) -> None:
    path = tmp_path / "users.csv.rejects.csv"
    person = {**next(rows(1, seed=19)), "id_number": "11010519491231002Y"}
    imported(csv_of([person]), intake, path)
    text = path.read_text("utf-8")
    assert text.splitlines()[0] == "line,field,code,reason"
    assert text.splitlines()[1].startswith("2,id_number,")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not any(person[name] in text for name in ("phone", "name", "id_number", "reference"))


def test_a_run_without_refusals_removes_the_list_of_an_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    with Rejects(path) as rejects:
        rejects.add(2, InvalidField("phone", "empty"))
    assert path.exists()
    with Rejects(path):
        pass
    assert not path.exists()


def test_an_existing_list_keeps_no_wider_mode(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("line,field,code,reason\n", "utf-8")
    path.chmod(0o644)
    with Rejects(path) as rejects:
        rejects.add(2, InvalidField("phone", "empty"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_no_list_of_refused_rows_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "precious.csv"
    path.write_text("mine\n", "utf-8")
    with pytest.raises(UsageError, match="is not a list of rejected rows"), Rejects(path):
        pass
    assert path.read_text("utf-8") == "mine\n"


def test_a_million_refusals_are_counted_but_not_kept() -> None:
    with Rejects(None) as rejects:
        fault = InvalidField("phone", "empty")
        for line in range(1_000):
            rejects.add(line, fault)
    assert (rejects.number, len(rejects.first)) == (1_000, KEPT)


def test_keys_are_told_apart_exactly() -> None:
    with SeenKeys() as seen:
        assert seen.first(("a", "bc"), 1) is None
        assert seen.first(("ab", "c"), 2) is None
        assert seen.first(("a", "bc"), 3) == 1
        assert seen.first(("ab", "c"), 4) == 2
