"""Nothing personal and no secret leaves through a log."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from verifier.telemetry import configure_logging, redact

PHONE, ID_NUMBER, EMAIL = "13800138000", "11010119900307775X", "li.lei@mail.example.cn"


@pytest.fixture
def log(home: Path) -> Iterator[io.StringIO]:
    """What a configured process writes, as JSON; the process is put back afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, sys.excepthook, threading.excepthook
    stream = io.StringIO()
    configure_logging("test", stream=stream)
    yield stream
    root.handlers[:], root.level, sys.excepthook, threading.excepthook = before
    logging.captureWarnings(False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"phone {PHONE}", "phone [number]"),
        ("+86 138-0013-8000.", "[number]."),
        ("8613800138000", "[number]"),
        ("tel13800138000x", "tel[number]x"),
        ("１３８００１３８０００", "[number]"),
        (f"id {ID_NUMBER.lower()}", "id [number]"),
        ("110101 19900307 7758", "[number]"),
        (f"to {EMAIL}, twice", "to [e-mail], twice"),
        ("GET https://a.example/v1?phone=1&x=2 done", "GET https://a.example/v1?[query] done"),
        ("redis://:hunter2@127.0.0.1:6379/0", "redis://[secret]@127.0.0.1:6379/0"),
        ("postgresql://u:hunter2@db/d", "postgresql://[secret]@db/d"),
        ("secret_key=0123abcdef0123, next", "secret_key=[secret], next"),
        ("{'password': 'hunter2', 'x': 1}", "{'password': '[secret]', 'x': 1}"),
        ("Authorization: Bearer abc.def-0123", "Authorization: Bearer [secret]"),
        ("138.1234.5678 and 138_1234_5678", "[number] and [number]"),
        ("138/1234/5678, (138) 1234-5678", "[number], ([number]"),
        ("110101.19900307.775X or 110101_19900307_7758", "[number] or [number]"),
        ("worker@13812345678 and beat@138.1234.5678", "worker@[number] and beat@[number]"),
        ("celery@host-13812345678.example.org", "celery@host-[number].example.org"),
        (f"control@{ID_NUMBER}", "control@[number]"),
        ("at 0x13812345678", "at 0x[number]"),
        ("in 0.13812345678s", "in 0.[number]s"),
        (
            "00000000-0000-0000-0000-138123456789",
            "[number]-0000-0000-0000-[number]",
        ),
        ("x?a?b=1", "x?a?[query]"),
        # What an operator needs stays.
        ("batch 0f8fad5b-d9cb-469f-a165-13812345678f", None),
        ("worker@ip-10-0-12-138.example.org", None),
        ("batch 0f8fad5b-d9cb-469f-a165-708677289501", None),
        ("2026-11-21 20:57:31,123", None),
        ("at 0x7f0123456789", None),
        ("succeeded in 0.012345678901s: None", None),
        ("worker@host.example.org ready.", None),
        ("127.0.0.1:54321 claimed 500 of 100000", None),
    ],
)
def test_what_looks_personal_or_secret_is_replaced(text: str, expected: str | None) -> None:
    assert redact(text) == (text if expected is None else expected)


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "1 ",
        "1-",
        "1.",
        "138.",
        "138_1234_",
        "://",
        "://:",
        ":",
        "a@",
        "a?",
        "?=",
        "0x1",
        "f",
        "worker@1",
        "worker@",
        "86 ",
        "0f8fad5b-",
        "token ",
        "secret",
        " ",
        "basic ",
        "1.1s",
    ],
)
@pytest.mark.timeout(20)
def test_redacting_a_hostile_text_takes_no_time(piece: str) -> None:
    for start in ("", "://", "token", "worker@", "x?"):
        redact(start + piece * 20_000)


def test_a_number_at_the_cut_of_a_long_text_is_not_shown() -> None:
    for place in range(3_980, 4_010, 3):
        text = "x" * (place - 1) + " " + PHONE + " " + "x" * 40_000
        assert PHONE not in redact(text)
        assert PHONE[:8] not in redact(text)


def records(log: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_every_value_of_a_record_is_looked_at(log: io.StringIO) -> None:
    structlog.contextvars.bind_contextvars(caller=PHONE)
    structlog.get_logger("x").info(
        "calling %s",
        PHONE,
        number=int(PHONE),
        nested={"list": [ID_NUMBER], "secret_key": "k", PHONE: 1},
        error=ValueError(EMAIL),
        user_id=1234567,
        token="0123abcd",
        claimed=500,
    )
    assert not any(part in log.getvalue() for part in (PHONE, ID_NUMBER, EMAIL, "0123abcd"))
    (record,) = records(log)
    assert record["component"] == "test"
    assert (record["user_id"], record["claimed"]) == (1234567, 500)


def test_the_standard_librarys_records_and_tracebacks_are_redacted(log: io.StringIO) -> None:
    for name in ("celery.app.trace", "sqlalchemy.pool", "anything"):
        try:
            raise ValueError(f"no answer for {PHONE}")
        except ValueError:
            logging.getLogger(name).exception("failed for %s", ID_NUMBER)
    assert len(records(log)) == 3
    assert all("no answer for [number]" in str(row["exception"]) for row in records(log))
    assert PHONE not in log.getvalue()
    assert ID_NUMBER not in log.getvalue()


def test_an_uncaught_exception_of_a_thread_is_redacted(log: io.StringIO) -> None:
    def fail() -> None:
        raise ValueError(PHONE)

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    (record,) = records(log)
    assert "ValueError: [number]" in str(record["exception"])


def test_a_record_that_cannot_be_formatted_does_not_show_its_arguments(log: io.StringIO) -> None:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "%d", (PHONE,), None)
    logging.getLogger().handlers[0].handle(record)  # pytest's own handler would raise
    assert "could not be written" in log.getvalue()
    assert PHONE not in log.getvalue()


def test_loggers_that_carry_urls_or_statements_stay_quiet_at_debug(
    log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    logging.getLogger().setLevel(logging.DEBUG)
    for name in ("urllib3.connectionpool", "urllib3.util.retry", "sqlalchemy.engine.Engine"):
        logging.getLogger(name).info("GET /path?x=1")
    assert log.getvalue() == ""
