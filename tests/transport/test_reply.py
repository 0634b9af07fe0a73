"""Reading a reply trusts nothing in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.transport import Reply
from verifier.transport.reply import code_of, identifier_of


def _reply(body: bytes = b"", **headers: str) -> Reply:
    return Reply(
        200, {name.replace("_", "-").lower(): value for name, value in headers.items()}, body
    )


@given(st.binary(max_size=200))
def test_any_body_is_an_object_or_nothing(body: bytes) -> None:
    value = _reply(body).json_object()
    assert value is None or isinstance(value, dict)


def test_a_byte_order_mark_is_no_obstacle() -> None:
    assert _reply(b'\xef\xbb\xbf{"a":1}').json_object() == {"a": 1}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("999999999", 86_400.0),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("٧", None),
        ("9" * 400, None),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0),
        ("Fri, 99 Dec 1999 23:59:59 GMT", None),
    ],
)
def test_retry_after_is_seconds_of_at_most_a_day(text: str, seconds: float | None) -> None:
    assert _reply(Retry_After=text).retry_after() == seconds


def test_retry_after_may_be_a_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=120), usegmt=True)
    wait = _reply(Retry_After=soon).retry_after()
    assert wait is not None
    assert 100 < wait <= 120


@given(st.one_of(st.text(max_size=80), st.integers(), st.booleans(), st.none(), st.binary()))
def test_codes_and_identifiers_are_printable_ascii_or_nothing(value: object) -> None:
    for read in (code_of(value), identifier_of(value)):
        assert read is None or (read.isascii() and read.isprintable() and 0 < len(read) <= 128)


@pytest.mark.parametrize("text", ["the phone 13800138000 is bad", "a\nb", "", "x" * 65, "王小明"])
def test_free_text_is_no_code(text: str) -> None:
    assert code_of(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "13800138000",
        "+8613800138000",
        "008613800138000",
        "013800138000",
        "86-138-0013-8000",
        "138.0013.8000",
        "138_0013_8000",
        "isv.13800138000",
        "x13800138000y",
        "0x13800138000",
        "request-13800138000-7",
        "138 0013 8000",
        "11010519491231002X",
        "11010519491231002x",
        "110101199003077758",
        "110105-19491231-002X",
        "id:110101199003077758",
        "00000000-0000-0000-0000-13800138000f",
    ],
)
def test_what_looks_like_a_phone_or_an_identity_number_is_no_code_and_no_identifier(
    text: str,
) -> None:
    assert code_of(text) is None
    assert identifier_of(text) is None
    if text.isdecimal():
        assert identifier_of(int(text)) is None or text.startswith("0")


@pytest.mark.parametrize(
    "text",
    [
        "0f8fad5b-d9cb-469f-a165-708677289501",
        "0F8FAD5B-D9CB-469F-A165-708677289501",
        "0f8fad5b-d9cb-469f-a165-13800138000f",
        "8103a4c628a0b98974ec1949-711261d4-5f17-4d2f-a855-5e5a8909b26e",
        "a13800138000b13800138000c13800138000",
        "d41d8cd98f00b204e9800998ecf8427e",
        "9006197469364984^0",
        "58547255718250497",
        "181002870085469241",
        "1380013800013800138",
        "1732222651123",
        "20261121205731",
    ],
)
def test_vendors_usual_identifiers_are_kept(text: str) -> None:
    assert identifier_of(text) == text


@pytest.mark.parametrize("text", ["0", "-1", "1011", "isv.DAY_LIMIT_CONTROL", "MK:0001", "OK"])
def test_vendors_usual_codes_are_kept(text: str) -> None:
    assert code_of(text) == text


def test_a_reply_shows_neither_headers_nor_body() -> None:
    shown = repr(_reply(b'{"Phone":"13800138000"}', Cookie="secret"))
    assert "13800138000" not in shown
    assert "secret" not in shown
