from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.identity.people import TODAY, bodies, id_numbers
from verifier.identity.errors import REASONS, InvalidField
from verifier.identity.id_number import IdKind, check_digit, parse_id_number


def complete(body: str) -> str:
    return body + check_digit(body)


@pytest.mark.parametrize(
    "text",
    [
        "11010519491231002X",
        "11010519491231002x",
        " 11010519491231002X ",
        "110105 19491231 002X",
        "１１０１０５１９４９１２３１００２Ｘ",
        "110105\u200b19491231002x",
    ],
)
def test_every_usual_spelling_gives_the_same_number(text: str) -> None:
    # The example of GB 11643-1999.
    number = parse_id_number(text, TODAY)
    assert number.value == "11010519491231002X"
    assert number.kind is IdKind.RESIDENT
    assert number.province == "北京"
    assert number.birth_date == date(1949, 12, 31)
    assert number.birth_decade == 1940


@pytest.mark.parametrize(
    ("value", "kind", "province"),
    [
        (complete("81000019940823002"), IdKind.HMT_PERMIT, "香港"),
        (complete("82000019900101001"), IdKind.HMT_PERMIT, "澳门"),
        (complete("83000019920130002"), IdKind.HMT_PERMIT, "台湾"),
        ("932682198501010017", IdKind.FOREIGN_PERMANENT, "江苏"),
        (complete("65010120000229001"), IdKind.RESIDENT, "新疆"),
    ],
)
def test_the_document_is_recognised(value: str, kind: IdKind, province: str) -> None:
    number = parse_id_number(value, TODAY)
    assert (number.kind, number.province) == (kind, province)


def test_an_unknown_area_code_refuses_nobody() -> None:
    for area in ("000000", "441922", "990101", "660000"):
        assert parse_id_number(complete(f"{area}19800101001"), TODAY).value.startswith(area)
    assert parse_id_number(complete("66000019800101001"), TODAY).province is None


REFUSED = [
    ("", "empty"),
    (" - ", "empty"),
    ("1" * 65, "too_long"),
    ("11010519491231\x00002X", "control_character"),
    ("身份证号", "malformed"),
    ("11010519491231X02X", "malformed"),
    ("1.10105E+17", "scientific_notation"),
    ("110105491231002", "fifteen_digits"),
    ("1101051949123100", "wrong_length"),
    ("110105194912310021", "check_digit"),
    (complete("11010519490229002"), "birth_date"),
    (complete("11010500000101002"), "birth_date"),
    (complete("11010520260512002"), "birth_date_future"),
    (complete("11010519050511002"), "age"),
    ("USA110000123456", "unsupported_document"),
    ("usa 110000123456", "unsupported_document"),
    ("H12345678", "unsupported_document"),
]


@pytest.mark.parametrize(("text", "code"), REFUSED)
def test_what_is_no_id_number_is_refused_with_the_reason(text: str, code: str) -> None:
    with pytest.raises(InvalidField) as caught:
        parse_id_number(text, TODAY)
    assert (caught.value.field, caught.value.code) == ("id_number", code)
    assert caught.value.__cause__ is None


def test_every_reason_for_refusing_an_id_number_can_happen() -> None:
    assert {code for _, code in REFUSED} == set(REASONS["id_number"]) - {"not_text"}


def test_age_runs_from_the_day_of_birth_to_the_day_before_the_121st_birthday() -> None:
    newborn = complete("11010520260511001")
    assert parse_id_number(newborn, TODAY).birth_date == TODAY
    assert parse_id_number(complete("11010519050512001"), TODAY).birth_decade == 1900
    with pytest.raises(InvalidField, match="120 years"):
        parse_id_number(complete("11010519050511001"), TODAY)


@given(id_numbers)
def test_a_well_formed_number_is_accepted_as_it_is(value: str) -> None:
    assert parse_id_number(value, TODAY).value == value
    assert parse_id_number(value.lower(), TODAY).value == value


@given(id_numbers, st.integers(0, 16), st.integers(1, 9))
def test_every_single_wrong_digit_is_caught(value: str, place: int, change: int) -> None:
    wrong = str((int(value[place]) + change) % 10)
    with pytest.raises(InvalidField) as caught:
        parse_id_number(value[:place] + wrong + value[place + 1 :], TODAY)
    assert caught.value.code == "check_digit"


@given(id_numbers, st.integers(0, 15))
def test_every_swap_of_neighbours_is_caught(value: str, place: int) -> None:
    swapped = value[:place] + value[place + 1] + value[place] + value[place + 2 :]
    if swapped == value:
        return
    with pytest.raises(InvalidField) as caught:
        parse_id_number(swapped, TODAY)
    assert caught.value.code == "check_digit"


@given(bodies)
def test_the_check_digit_is_mod_11_2_of_iso_7064(body: str) -> None:
    # The pure recurrence of the standard, another way to compute the same digit.
    product = 0
    for digit in body:
        product = (product + int(digit)) * 2 % 11
    assert check_digit(body) == "0123456789X"[(12 - product) % 11]


@pytest.mark.parametrize("body", ["", "1" * 16, "1" * 18, "1101051949123100X", "１" * 17])
def test_a_check_digit_needs_seventeen_digits(body: str) -> None:
    with pytest.raises(ValueError, match="17 digits"):
        check_digit(body)


def test_an_id_number_does_not_show_itself() -> None:
    shown = repr(parse_id_number("11010519491231002X", TODAY))
    assert "1949" not in shown
    assert "110105" not in shown
