from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.identity.people import id_numbers, phones
from verifier.identity.errors import REASONS, InvalidField
from verifier.identity.reference import check_platform, check_reference

CHECKS = [("reference", check_reference), ("platform", check_platform)]


@pytest.mark.parametrize(
    "text",
    [
        "u-1",
        "1",
        "x" * 128,
        "用户甲",
        "2026-05-11/000001",
        "550e8400-e29b-41d4-a716-446655440000",
        "1234567890123456789",  # a snowflake of 19 digits
        "123456789012345678",  # of 18, with no date in it
        "3213800138000",  # eleven digits inside a longer number
    ],
)
def test_an_id_of_the_callers_own_is_kept(text: str) -> None:
    assert check_reference(text) == text
    assert check_platform(text) == text


REFUSED = [
    ("", "empty"),
    (" \t", "empty"),
    ("x" * 129, "too_long"),
    ("a\x00b", "control_character"),
    ("a\u202eb", "control_character"),
    ("a\ud800", "control_character"),
    ("13800138000", "looks_like_phone"),
    ("+86 138 0013 8000", "looks_like_phone"),
    ("138-0013-8000", "looks_like_phone"),
    ("wx_13800138000", "looks_like_phone"),
    ("１３８００１３８０００", "looks_like_phone"),
    ("11010519491231002X", "looks_like_id_number"),
    ("id:11010519491231002x", "looks_like_id_number"),
    ("110105 19491231 002X", "looks_like_id_number"),
]


@pytest.mark.parametrize(("field", "check"), CHECKS)
@pytest.mark.parametrize(("text", "code"), REFUSED)
def test_personal_data_and_rubbish_are_refused(
    field: str, check: Callable[[str], str], text: str, code: str
) -> None:
    with pytest.raises(InvalidField) as caught:
        check(text)
    assert (caught.value.field, caught.value.code) == (field, code)


@pytest.mark.parametrize(("field", "check"), CHECKS)
def test_every_reason_for_refusing_can_happen(field: str, check: object) -> None:
    # Only an import can tell that a reference comes twice.
    assert {code for _, code in REFUSED} == set(REASONS[field]) - {"not_text", "duplicate"}


@given(phones | id_numbers, st.sampled_from(["", "user_", "user:", "u "]))
def test_a_phone_or_id_number_never_becomes_a_reference(value: str, prefix: str) -> None:
    with pytest.raises(InvalidField):
        check_reference(prefix + value)


@given(st.uuids())
def test_uuids_are_welcome_in_both_spellings(value: uuid.UUID) -> None:
    # A UUID whose random hexadecimal digits are all decimal may fall to the sieve; 1 in 10^5.
    for text in (str(value), value.hex):
        if not text.isdigit():
            assert check_reference(text) == text


@given(st.text(max_size=140))
def test_checking_is_idempotent(text: str) -> None:
    try:
        value = check_reference(text)
    except InvalidField:
        return
    assert check_reference(value) == value
    assert 1 <= len(value) <= 128
    value.encode()
