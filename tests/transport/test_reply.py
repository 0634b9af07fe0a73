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
    return Reply(200, {name.replace("_", "-"): value for name, value in headers.items()}, body)


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


def test_a_reply_shows_neither_headers_nor_body() -> None:
    shown = repr(_reply(b'{"Phone":"13800138000"}', Cookie="secret"))
    assert "13800138000" not in shown
    assert "secret" not in shown
