from __future__ import annotations

import csv
import time
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from tests.outcome_map import declared_details
from tests.sandbox.signed import tencent, verify
from verifier.identity.id_number import parse_id_number
from verifier.identity.names import canonical_name
from verifier.identity.phone import lane_of, parse_phone
from verifier.identity.reference import check_platform, check_reference
from verifier.outcomes import Lane, Outcome, code_table
from verifier.sandbox.judge import Found, rule
from verifier.sandbox.people import (
    EXPECTED_COLUMNS,
    USER_COLUMNS,
    SandboxPerson,
    generate,
    write,
)
from verifier.sandbox.segments import COVERED, PREFIXES
from verifier.sandbox.server import SandboxServer
from verifier.sandbox.tencent_answers import RESULTS as CODES

TODAY = date(2026, 6, 1)
RESULT = code_table("tencent.faceid.PhoneVerification*.Result")
DETAIL = code_table("tencent.faceid.PhoneVerification.ResultDetail")


@pytest.fixture(scope="module")
def people() -> list[SandboxPerson]:
    return list(generate(20_000, seed=1))


def test_a_seed_always_makes_the_same_people_and_another_makes_others() -> None:
    assert list(generate(300, 5)) == list(generate(300, 5))
    assert list(generate(300, 5)) == list(generate(900, 5))[:300]
    assert not {p.phone for p in generate(300, 5)} & {p.phone for p in generate(300, 6)}


def test_phones_id_numbers_and_references_are_unique(people: list[SandboxPerson]) -> None:
    for column in ("phone", "id_number", "reference"):
        assert len({getattr(person, column) for person in people}) == len(people)
    registered = [person.entry.id_number for person in people if person.entry]
    assert len(set(registered)) == len(registered)


def test_everybody_passes_the_products_own_parsing_rules(people: list[SandboxPerson]) -> None:
    for person in people:
        assert parse_phone(person.phone).national == person.phone
        assert canonical_name(person.name) == person.name
        assert parse_id_number(person.id_number, TODAY).value == person.id_number
        assert check_reference(person.reference) == person.reference
        assert check_platform(person.platform) == person.platform
        bound, consent = map(datetime.fromisoformat, (person.bound_at, person.consent_at))
        assert bound < consent < datetime(2026, 1, 1, tzinfo=UTC)
        assert not person.email or person.email.endswith("@example.com")
        assert not person.push_token or person.push_token.startswith("sandbox-")


def test_the_vendors_segments_agree_with_the_products_lanes() -> None:
    for prefix, lane in PREFIXES.items():
        assert lane_of(prefix + "0000000") is lane, prefix


def test_the_vendor_rules_what_the_expectation_says(people: list[SandboxPerson]) -> None:
    for person in people:
        ruling = rule(
            person.entry,
            phone=person.phone,
            name=person.name,
            id_number=person.id_number,
            only=None,
            today=TODAY,
            settle_days=3,
        )
        lane = lane_of(person.phone)
        if lane in COVERED:
            result, told = CODES[ruling.found]
            assert RESULT.exact(result) == person.expected
            detailed = DETAIL.exact(told) if told else person.expected
            assert detailed == person.expected_detailed
        else:
            assert ruling.found is Found.SEGMENT
            detail = {Lane.CBN: "BROADNET", Lane.MVNO: "MVNO"}[lane]
            assert (person.expected.outcome, person.expected.detail) == (
                Outcome.UNSUPPORTED_NUMBER,
                detail,
            )
        for meaning in (person.expected, person.expected_detailed):
            assert meaning.outcome.is_result
            assert meaning.detail in (None, *declared_details()[meaning.outcome])


def test_the_mix_is_realistic(people: list[SandboxPerson]) -> None:
    outcomes = Counter(person.expected.outcome for person in people)
    share = {outcome: count / len(people) for outcome, count in outcomes.items()}
    assert share[Outcome.MATCHED] == pytest.approx(0.75, abs=0.02)
    assert share[Outcome.MISMATCHED] == pytest.approx(0.15, abs=0.02)
    assert share[Outcome.UNSUPPORTED_NUMBER] == pytest.approx(0.04, abs=0.01)
    assert {p.expected_detailed.detail for p in people if p.expected.outcome == "MISMATCHED"} == {
        "NAME",
        "ID",
        "NAME_AND_ID",
    }
    assert {p.expected.detail for p in people if p.expected.outcome == "INVALID_INPUT"} == {
        "PHONE",
        "ID",
        "NAME",
    }
    assert sum(bool(p.push_token) for p in people) / len(people) == pytest.approx(0.7, abs=0.02)
    assert sum(p.locale == "zh" for p in people) / len(people) == pytest.approx(0.9, abs=0.02)
    ported = [p for p in people if p.entry and p.entry.carrier is not lane_of(p.phone)]
    assert len(ported) / len(people) == pytest.approx(0.03, abs=0.01)
    names = "".join(person.name for person in people)
    assert {"·", "䶮", "𬱖"} <= set(names)
    assert {lane_of(person.phone) for person in people} == set(Lane)
    assert {person.id_number[:2] for person in people} >= {"11", "44", "81", "82", "83", "91"}


def test_the_files_say_the_same_and_the_sandbox_answers_as_expected(tmp_path: Path) -> None:
    people = list(generate(120, seed=9))
    assert write(tmp_path, people) == 120
    with (tmp_path / "users.csv").open(encoding="utf-8", newline="") as file:
        users = list(csv.DictReader(file))
    with (tmp_path / "expected.csv").open(encoding="utf-8", newline="") as file:
        expected = {row["reference"]: row for row in csv.DictReader(file)}
    assert tuple(users[0]) == USER_COLUMNS
    assert tuple(next(iter(expected.values()))) == EXPECTED_COLUMNS
    with SandboxServer(tmp_path) as server:
        for user in users:
            want = expected[user["reference"]]
            answer = verify(server, user["phone"], user["name"], user["id_number"], VerifyMode="1")
            basic = RESULT.exact(answer["Result"])
            assert basic.outcome == want["outcome"]
            if lane_of(user["phone"]) in COVERED:
                detail = answer["ResultDetail"]
                full = DETAIL.exact(detail) if detail else basic
                unnamed = "UNSPECIFIED" if basic.outcome == "MISMATCHED" else ""
                assert (basic.detail or unnamed) == want["detail"]
                assert (full.detail or "") == want["detail_detailed"]
        assert server.client.stats()["most_calls_per_phone"] == 1


def test_people_are_made_faster_than_an_import_reads_them() -> None:
    started = time.process_time()
    assert sum(1 for _ in generate(10_000, 2)) == 10_000
    assert time.process_time() - started < 5  # about 0.7 s where it was measured


def test_rare_characters_survive_the_wire(tmp_path: Path) -> None:
    person = next(
        p for p in generate(20_000, 1) if "𬱖" in p.name and p.expected.outcome == "MATCHED"
    )
    write(tmp_path, [person])
    with SandboxServer(tmp_path) as server:
        ask = {"Phone": person.phone, "Name": person.name, "IdCard": person.id_number}
        assert tencent(server, ask).json()["Response"]["Result"] == "0"
