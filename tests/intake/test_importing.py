"""Importing a file: idempotent, the first of a user counts, refused rows listed without data."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.intake.people import csv_of, rows
from tests.intake.reading import opened
from verifier.errors import UsageError
from verifier.identity.errors import InvalidField
from verifier.identity.keyring import KeyRing
from verifier.intake import CHUNK, REQUIRED, Intake, Person, PutResult, importing, put_users
from verifier.intake.importing import Imported, import_rows
from verifier.intake.rejects import KEPT, Rejects
from verifier.intake.seen import SeenKeys
from verifier.store import users
from verifier.store.engine import transaction


@pytest.fixture
def intake(product: Path, keyring: KeyRing) -> Intake:
    return Intake(keyring)


def imported(
    content: str, intake: Intake, rejects_path: Path | None = None, name: str = "users.csv"
) -> tuple[Imported, Rejects, list[tuple[str, str]]]:
    keys: list[tuple[str, str]] = []

    def remember(people: list[Person]) -> None:
        keys.extend(person.key for person in people)

    done = Imported()
    with Rejects(rejects_path) as rejects:
        import_rows(opened(content, name), intake.check, intake, rejects, done, remember)
    return done, rejects, keys


def test_importing_twice_changes_nothing(intake: Intake) -> None:
    content = csv_of(list(rows(50, seed=11)))
    first, _, keys = imported(content, intake)
    again, _, _ = imported(content, intake)
    assert (first.result.inserted, first.rows, len(keys)) == (50, 50, 50)
    assert (again.result.unchanged, again.result.inserted, again.result.changed) == (50, 0, 0)


def test_whoever_another_import_adds_meanwhile_is_compared_and_the_others_go_in(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = list(rows(5, seed=27))
    look = users.lock_existing
    theirs = iter([people[2:4]])

    def looked_too_early(*args: Any, **options: Any) -> Any:
        found = look(*args, **options)
        for added in theirs:
            changed = {**added[0], "name": "欧阳修远"}
            assert imported(csv_of([changed, added[1]]), intake)[0].result.inserted == 2
        return found

    monkeypatch.setattr(users, "lock_existing", looked_too_early)
    result = imported(csv_of(people), intake)[0].result
    assert (result.inserted, result.changed, result.unchanged) == (3, 1, 1)


def test_only_committed_chunks_count_as_stored(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "CHUNK", 10)
    real, chunks = intake.put, iter([True, True, False])

    def put(people: Sequence[Person], result: PutResult) -> None:
        if not next(chunks):
            raise ConnectionError("the third chunk is not stored")
        real(people, result)

    monkeypatch.setattr(intake, "put", put)
    done = Imported()
    keys: list[Person] = []
    content = csv_of(list(rows(35, seed=28)))
    with Rejects(None) as rejects, pytest.raises(ConnectionError):
        import_rows(opened(content, "u.csv"), intake.check, intake, rejects, done, keys.extend)
    assert (done.stored, done.result.inserted, len(keys)) == (20, 20, 20)


def test_changed_identity_and_changed_contact_are_told_apart(intake: Intake) -> None:
    people = list(rows(3, seed=12))
    imported(csv_of(people), intake)
    people[0]["name"] = "欧阳修远"
    people[1]["email"] = "new@example.com"
    result = imported(csv_of(people), intake)[0].result
    assert (result.changed, result.contact_changed, result.unchanged) == (1, 1, 1)


CONTACT = {
    "email": "li.lei@example.com",
    "push_token": "token-0123456789",
    "locale": "en",
    "time_zone": "Asia/Urumqi",
    "bound_at": "2026-01-02T03:04:05.678+08:00",
    "consent_at": "2026-01-03",
}
DEFAULTS = {"locale": "zh", "time_zone": "Asia/Shanghai"}


def stored(keyring: KeyRing, reference: str, platform: str) -> dict[str, object]:
    """The contact data of a user, in clear."""
    with transaction() as connection:
        row = users.find(connection, platform, reference)
    assert row is not None
    contact = {name: row._mapping[name] for name in CONTACT}
    for name in ("email", "push_token"):
        if contact[name] is not None:
            contact[name] = keyring.decrypt("users", name, platform, reference, contact[name])
    return contact


def numbers(result: PutResult) -> tuple[int, int, int, int]:
    return result.inserted, result.changed, result.contact_changed, result.unchanged


def _as_jsonl(person: dict[str, str | None]) -> tuple[str, str]:
    return json.dumps(person), "users.jsonl"


def _as_csv(person: dict[str, str | None]) -> tuple[str, str]:
    return csv_of([{k: v or "" for k, v in person.items()}], tuple(person)), "users.csv"


@pytest.mark.parametrize("written", [_as_csv, _as_jsonl])
def test_fields_that_a_file_does_not_have_keep_what_is_stored(
    intake: Intake,
    keyring: KeyRing,
    written: Callable[[dict[str, str | None]], tuple[str, str]],
) -> None:
    person = {**next(rows(1, seed=21)), "platform": written.__name__}
    key = person["reference"], person["platform"]
    bare: dict[str, str | None] = {name: person[name] for name in (*REQUIRED, "platform")}
    for values, expected in [
        ({**bare, **CONTACT}, (1, 0, 0, 0)),
        (bare, (0, 0, 0, 1)),
        ({**bare, "locale": "en"}, (0, 0, 0, 1)),
        ({**bare, "email": CONTACT["email"], "consent_at": CONTACT["consent_at"]}, (0, 0, 0, 1)),
        ({**bare, **CONTACT}, (0, 0, 0, 1)),
    ]:
        content, name = written(values)
        assert numbers(imported(content, intake, name=name)[0].result) == expected
    full = stored(keyring, *key)
    for changed, expected in [({"name": "欧阳修远"}, (0, 1, 0, 0)), ({}, (0, 0, 0, 1))]:
        bare |= changed
        content, name = written(bare)
        assert numbers(imported(content, intake, name=name)[0].result) == expected
        assert stored(keyring, *key) == full
    content, name = written({**bare, "email": "new@example.com"})
    for expected in [(0, 0, 1, 0), (0, 0, 0, 1)]:
        assert numbers(imported(content, intake, name=name)[0].result) == expected
        assert stored(keyring, *key) == {**full, "email": "new@example.com"}
    content, name = written({**bare, **CONTACT, "email": "new@example.com"})
    assert numbers(imported(content, intake, name=name)[0].result) == (0, 0, 0, 1)


def test_a_field_that_is_there_and_empty_clears_what_is_stored(
    intake: Intake, keyring: KeyRing
) -> None:
    person = next(rows(1, seed=22))
    key = person["reference"], person["platform"]
    bare = {name: person[name] for name in (*REQUIRED, "platform")}
    put_users(keyring, [{**bare, **CONTACT}])
    expected = stored(keyring, *key)
    for field in CONTACT:
        cleared = {**bare, field: " "}
        assert numbers(put_users(keyring, [cleared])) == (0, 0, 1, 0)
        assert numbers(put_users(keyring, [cleared])) == (0, 0, 0, 1)
        expected[field] = DEFAULTS.get(field)
        assert stored(keyring, *key) == expected


def test_none_says_nothing_and_a_new_user_gets_the_defaults(
    intake: Intake, keyring: KeyRing
) -> None:
    person = next(rows(1, seed=23))
    key = person["reference"], person["platform"]
    bare = {name: person[name] for name in (*REQUIRED, "platform")}
    nothing = {**bare, **dict.fromkeys(CONTACT)}
    assert numbers(put_users(keyring, [nothing])) == (1, 0, 0, 0)
    assert stored(keyring, *key) == {**dict.fromkeys(CONTACT), **DEFAULTS}
    assert numbers(put_users(keyring, [bare])) == (0, 0, 0, 1)
    assert numbers(put_users(keyring, [{**bare, **CONTACT}])) == (0, 0, 1, 0)
    full = stored(keyring, *key)
    assert numbers(put_users(keyring, [nothing])) == (0, 0, 0, 1)
    assert stored(keyring, *key) == full


def test_rows_with_and_without_contact_may_stand_in_one_chunk(
    intake: Intake, keyring: KeyRing
) -> None:
    people = list(rows(3, seed=24))
    put_users(keyring, people)
    bare = {name: people[1][name] for name in (*REQUIRED, "platform")}
    mixed = [people[0], bare, {**people[2], "email": "new@example.com"}]
    assert numbers(put_users(keyring, mixed)) == (0, 0, 1, 2)
    assert numbers(put_users(keyring, mixed)) == (0, 0, 0, 3)


@pytest.mark.parametrize(
    "value",
    [
        "0001-01-01",
        "9999-12-31T23:59:59-12:00",
        datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))),
    ],
)
@pytest.mark.parametrize("field", ["bound_at", "consent_at"])
def test_a_date_off_the_calendar_refuses_its_row_alone(
    intake: Intake, keyring: KeyRing, field: str, value: object
) -> None:
    bad, good = rows(2, seed=25)
    result = put_users(keyring, [{**bad, field: value}, good])
    assert [(reject.row, reject.field) for reject in result.rejected] == [(1, field)]
    assert result.taken == 1


def test_dates_are_taken_from_1900_to_2200(intake: Intake) -> None:
    person = {**next(rows(1, seed=26)), "bound_at": "1900-01-01", "consent_at": "2200-12-31"}
    assert imported(csv_of([person]), intake)[0].result.taken == 1


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
        ("bound_at", "0001-01-01"),
        ("bound_at", "9999-12-31T23:59:59-12:00"),
        ("bound_at", "1899-12-31"),
        ("consent_at", "0001-01-01T00:00:00+14:00"),
        ("consent_at", "2201-01-01"),
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
        assert seen.first_lines([(("a", "bc"), 1), (("ab", "c"), 2)]) == [None, None]
        assert seen.first_lines([(("a", "bc"), 3), (("ab", "c"), 4)]) == [1, 2]
        assert seen.first_lines([(("x", "y"), 5), (("x", "y"), 6), (("a", "bc"), 7)]) == [
            None, 5, 1,
        ]  # fmt: skip
        assert seen.first_lines([]) == []


def test_keys_are_found_again_however_many_come_at_once() -> None:
    keys = [(("shop", f"u-{number}"), number) for number in range(1, 1500)]
    with SeenKeys() as seen:
        assert set(seen.first_lines(keys)) == {None}
        assert seen.first_lines(keys) == [line for _, line in keys]


def test_refused_rows_are_listed_in_their_order_whatever_was_wrong(intake: Intake) -> None:
    people = list(rows(4, seed=29))
    content = csv_of(
        [people[0], {**people[1], "phone": "123"}, people[0], {**people[2], "name": ""}]
    )
    _, rejects, _ = imported(content, intake)
    assert [(r.line, r.field) for r in rejects.first] == [
        (3, "phone"),
        (4, "reference"),
        (5, "name"),
    ]
