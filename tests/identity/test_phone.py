from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.identity.people import phones
from verifier.identity.errors import REASONS, InvalidField
from verifier.identity.phone import lane_of, parse_phone
from verifier.outcomes import Lane


def refusal(text: str) -> str:
    with pytest.raises(InvalidField) as caught:
        parse_phone(text)
    assert caught.value.field == "phone"
    return caught.value.code


@pytest.mark.parametrize(
    "text",
    [
        "13800138000",
        " 13800138000\n",
        "１３８００１３８０００",
        "＋８６　１３８　００１３　８０００",
        "+8613800138000",
        "+86 138-0013-8000",
        "0086 138 0013 8000",
        "8613800138000",
        "013800138000",
        "(+86)13800138000",
        "+86 (0) 138 0013 8000",
        "138\u200b0013\u200b8000",
        "\u202d13800138000\u202c",
        "\ufeff13800138000",
        "138–0013—8000",
        "138.0013.8000",
        "tel:+86-138-0013-8000",
    ],
)
def test_every_usual_spelling_gives_the_same_number(text: str) -> None:
    phone = parse_phone(text)
    assert (phone.national, phone.lane) == ("13800138000", Lane.CMCC)


REFUSED = [
    ("", "empty"),
    (" \u3000 ", "empty"),
    ("138 0013\x008000", "control_character"),
    ("1" * 65, "too_long"),
    ("电话13800138000", "malformed"),
    ("13800138OO0", "malformed"),
    ("1380013800②", "malformed"),
    ("12800138000", "malformed"),
    ("1.39E+10", "scientific_notation"),
    ("13800138000/13900139000", "several_numbers"),
    ("13800138000;13900139000", "several_numbers"),
    ("13800138000 13900139000", "several_numbers"),
    ("13800138000 ext 5", "extension"),
    ("13800138000转5", "extension"),
    ("13800138000 分机 12", "extension"),
    ("13800138000x5", "extension"),
    ("13800138000;ext=5", "extension"),
    ("13800138000#5", "extension"),
    ("13800138000,,5", "extension"),
    ("+852 9123 4567", "hong_kong_number"),
    ("85291234567", "hong_kong_number"),
    ("+853 6612 3456", "macao_number"),
    ("+886 912 345 678", "taiwan_number"),
    ("886912345678", "taiwan_number"),
    ("+1 415 555 2671", "foreign_number"),
    ("+44 7700 900123", "foreign_number"),
    ("1440013800012", "iot_number"),
    ("1064812345678", "iot_number"),
    ("10086", "short_number"),
    ("95588", "short_number"),
    ("106912345678", "short_number"),
    ("400 123 4567", "short_number"),
    ("010-62345678", "landline"),
    ("+86 10 6234 5678", "landline"),
    ("0755-12345678", "landline"),
    ("021 1234 5678", "landline"),
    ("1380013800", "wrong_length"),
    ("138001380000", "wrong_length"),
    ("14400138000", "unassigned_segment"),
    ("16190000000", "unassigned_segment"),
    ("19400000000", "unassigned_segment"),
]


@pytest.mark.parametrize(("text", "code"), REFUSED)
def test_what_is_no_mainland_mobile_number_is_refused_with_what_it_is(text: str, code: str) -> None:
    assert refusal(text) == code


def test_every_reason_for_refusing_a_phone_can_happen() -> None:
    # not_text needs a caller that ignores the types; it is tested below for every field.
    assert {code for _, code in REFUSED} == set(REASONS["phone"]) - {"not_text"}


@pytest.mark.parametrize("prefix", ["141", "146", "148", "149", "1741", "1745", "1749"])
def test_live_segments_that_phonenumbers_calls_invalid_are_accepted(prefix: str) -> None:
    import phonenumbers

    number = prefix.ljust(11, "0")
    assert not phonenumbers.is_valid_number(phonenumbers.parse(number, "CN"))
    assert parse_phone(number).national == number


@pytest.mark.parametrize(
    ("prefix", "lane"),
    [
        ("1340", Lane.CMCC),
        ("1349", Lane.CTCC),
        ("192", Lane.CBN),
        ("1610", Lane.CBN),
        ("162", Lane.MVNO),
        ("165", Lane.MVNO),
        ("167", Lane.MVNO),
        ("170", Lane.MVNO),
        ("171", Lane.MVNO),
        ("141", Lane.CTCC),
        ("146", Lane.CUCC),
        ("148", Lane.CMCC),
        ("174", Lane.CTCC),
        ("186", Lane.CUCC),
        ("198", Lane.CMCC),
    ],
)
def test_the_longest_segment_decides_the_lane(prefix: str, lane: Lane) -> None:
    number = prefix.ljust(11, "7")
    assert lane_of(number) is lane
    assert parse_phone(number).lane is lane
    assert parse_phone(f"+86 {number}").lane is lane


@pytest.mark.parametrize(
    "text", ["", "1380", "138001380001", "１３８００１３８０００", "1380013800x"]
)
def test_only_a_national_number_has_a_lane(text: str) -> None:
    with pytest.raises(InvalidField) as caught:
        lane_of(text)
    assert caught.value.code == "malformed"


def test_the_segment_table_is_consistent() -> None:
    rows = tomllib.loads(
        resources.files("verifier").joinpath("data/segments.toml").read_text("utf-8")
    )
    segments = [segment for lane in Lane for segment in rows[lane.value]]
    assert len(segments) == len(set(segments))
    assert all(s.isdigit() and len(s) in {3, 4} and "13" <= s[:2] <= "19" for s in segments)


@given(st.integers(0, 9999).map("{:04d}1234567".format))
def test_a_number_has_a_lane_exactly_when_it_parses(number: str) -> None:
    assert outcome_of(lane_of, number) == outcome_of(lambda text: parse_phone(text).lane, number)


def outcome_of(read: Callable[[str], Lane], number: str) -> Lane | None:
    try:
        return read(number)
    except InvalidField:
        return None


@given(
    phones,
    st.sampled_from(["", "+86", "0086", "86", "0", "+86-", "(+86) "]),
    st.sampled_from(["", " ", "-", "\u200b", "\u3000"]),
)
def test_a_decorated_number_parses_to_itself(number: str, prefix: str, separator: str) -> None:
    text = prefix + separator.join((number[:3], number[3:7], number[7:]))
    assert parse_phone(text) == parse_phone(number)


@given(st.text(max_size=80) | st.text("0123456789+-() extEXT转/;１", max_size=30))
def test_what_parses_is_eleven_digits_that_parse_to_themselves(text: str) -> None:
    try:
        phone = parse_phone(text)
    except InvalidField:
        return
    assert re.fullmatch(r"1[3-9][0-9]{9}", phone.national)
    assert parse_phone(phone.national) == phone


@pytest.mark.parametrize(("text", "code"), REFUSED)
def test_a_refusal_never_quotes_the_number(text: str, code: str) -> None:
    with pytest.raises(InvalidField) as caught:
        parse_phone(text)
    # phonenumbers' own errors quote the text; they must not be chained.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    if len(text) > 4:
        assert text not in str(caught.value)


def test_a_phone_does_not_show_itself() -> None:
    assert "138" not in repr(parse_phone("13800138000"))


def test_plain_numbers_never_load_phonenumbers() -> None:
    code = (
        "import sys; from verifier.identity.phone import parse_phone; parse_phone('13800138000');"
        "sys.exit('phonenumbers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
