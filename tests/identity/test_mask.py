from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.identity.people import id_numbers, names, phones
from verifier.identity.mask import (
    mask_email,
    mask_id_number,
    mask_name,
    mask_phone,
    mask_token,
    redact,
)

MASKS = [mask_phone, mask_name, mask_id_number, mask_email, mask_token]


def test_masks_look_as_people_expect() -> None:
    assert mask_phone("13800138000") == "138****8000"
    assert mask_name("张三") == "张*"
    assert mask_name("阿卜杜·热西提") == "阿***"
    assert mask_id_number("11010519491231002X") == "11**************2X"
    assert mask_email("alice@example.com") == "a***@example.com"
    assert mask_email("a@example.com") == "***@example.com"
    assert mask_token("0123456789abcdef") == "0123***"


@given(phones)
def test_a_masked_phone_hides_its_middle(phone: str) -> None:
    assert mask_phone(phone) == f"{phone[:3]}****{phone[7:]}"


@given(id_numbers)
def test_a_masked_id_number_hides_area_birth_date_and_sequence(value: str) -> None:
    masked = mask_id_number(value)
    assert masked[2:16] == "*" * 14
    assert len(masked) == 18


@given(names)
def test_a_masked_name_shows_one_character(name: str) -> None:
    assert mask_name(name).strip("*") == name[0]


@given(st.text(max_size=40), st.sampled_from(MASKS))
def test_a_mask_never_raises_and_never_shows_the_whole(text: str, mask: object) -> None:
    assert callable(mask)
    masked = mask(text)
    assert "*" in masked
    if text and "*" not in text:
        assert text not in masked


@given(phones | id_numbers, st.text(st.characters(exclude_categories=["Nd"]), max_size=20))
def test_redacted_text_holds_no_number(value: str, around: str) -> None:
    redacted = redact(f"{around} {value} {around}")
    assert value not in redacted
    assert value[4:10] not in redacted


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("phone=13800138000,", "phone=138****8000,"),
        ("手机13800138000号", "手机138****8000号"),
        ("+86 138-0013-8000", "138****8000"),
        ("138 0013 8000", "138****8000"),
        ("id 11010519491231002X.", "id 11**************2X."),
        ("110105 19491231 002x", "11**************2x"),
        ("x13800138000y", "x138****8000y"),
        ("１３８００１３８０００", "１３***"),
        ("13800138000110105194912310", "13***"),
        ("1234567", "12***"),
        ("mail alice.b@mail.example.com now", "mail a***@mail.example.com now"),
        ("postgresql://app:s3cret@db.internal:5432/v", "postgresql://***@db.internal:5432/v"),
        ("redis://:p@ss@127.0.0.1/0", "redis://***@127.0.0.1/0"),
        ("(app, 13800138000)", "(app, 138****8000)"),
        ("138.1234.5678 and 138_1234_5678", "138****5678 and 138****5678"),
        ("138/1234/5678, (138) 1234-5678", "138****5678, (138****5678"),
        (
            "110105.19491231.002X or 110105_19491231_002x",
            "11**************2X or 11**************2x",
        ),
        ("worker@13812345678", "worker@138****5678"),
        ("to a@13812345678.example.com", "to ***@138****5678.example.com"),
        ("at 0x13812345678", "at 0x138****5678"),
        ("00000000-0000-0000-0000-138123456789", "00***-0000-0000-0000-13***"),
        ("'张三\\n13800138000'", "'张三\\n138****8000'"),
    ],
)
def test_personal_data_and_passwords_are_redacted(text: str, redacted: str) -> None:
    assert redact(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "2026-05-11T10:11:12.123456Z attempt 12345 took 0.123 s",
        "at 2026-05-11 10:11 batch 550e8400-e29b-41d4-a716-446655440000 done",
        "batch 550e8400-e29b-41d4-a716-13812345678f",
        "digest d41d8cd98f00b204e9800998ecf8427e",
        "http://127.0.0.1:8080/health answered 200",
        "",
    ],
)
def test_what_an_operator_needs_stays(text: str) -> None:
    assert redact(text) == text


@given(st.text(st.sampled_from("0123456789Xx +-@._:/()a张１*\n"), max_size=120))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@pytest.mark.parametrize(
    "piece",
    ["a", "a.", "1 ", "1-", "://", "a@", "0123456", "f", "86 ", "138.", "138_1234_", "a@138."],
)
@pytest.mark.timeout(10)
def test_redacting_takes_linear_time(piece: str) -> None:
    redact(piece * 100_000)
