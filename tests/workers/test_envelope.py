"""What a message is made of when Celery sees it. No processes, no broker."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.rubbish import NAME, PHONE, REFUSED, body, harmless, message, written
from workers.envelope import Refused, renewed

CONTRACT = Path(__file__).parent.parent.parent / "docs" / "contract.md"

TASKS = frozenset({"verifier.canary", "verifier.sweep"})


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_message_of_ours_is_refused_with_its_reason(name: str) -> None:
    raw, reason = REFUSED[name]
    with pytest.raises(Refused) as caught:
        renewed(raw, "control", TASKS)
    assert str(caught.value) == reason
    # A parser's error quotes what it could not read: it must not stand in a traceback.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_nothing_goes_on_but_task_id_arguments_and_expiry() -> None:
    for raw in harmless():
        given_id = json.loads(raw)["headers"]["id"]
        made = json.loads(renewed(raw, "control", TASKS))
        assert made["headers"] == {
            "lang": "py",
            "task": "verifier.canary",
            "id": given_id,
            "root_id": given_id,
        }
        assert json.loads(base64.b64decode(made["body"])) == [[], {"queue": "control"}, {}]
        assert made["properties"]["delivery_info"] == {"exchange": "", "routing_key": "control"}
        assert PHONE not in str(made)
        assert NAME not in str(made)


def test_the_smallest_message_is_a_task_an_id_and_a_body() -> None:
    smallest = {
        "body": json.dumps([[], {"lane": "cmcc"}, None]),
        "content-type": "application/json",
        "headers": {"task": "verifier.sweep", "id": "1"},
    }
    made = json.loads(renewed(written(smallest), "control", TASKS))
    assert json.loads(base64.b64decode(made["body"]))[1] == {"lane": "cmcc"}


@pytest.mark.parametrize(
    ("expires", "utc"),
    [
        ("2026-11-21T08:00:00+08:00", "2026-11-21T00:00:00+00:00"),
        ("2026-11-21T00:00:00", "2026-11-21T00:00:00+00:00"),
        ("2026-11-21T00:00:00Z", "2026-11-21T00:00:00+00:00"),
        ("9999-12-31T23:59:59+00:00", "9999-12-31T23:59:59+00:00"),
    ],
)
def test_when_a_message_expires_is_kept_in_utc(expires: str, utc: str) -> None:
    whole = message()
    whole["headers"]["expires"] = expires
    assert json.loads(renewed(written(whole), "control", TASKS))["headers"]["expires"] == utc


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.binary())
def test_no_bytes_whatever_do_anything_but_be_refused(raw: bytes) -> None:
    with pytest.raises(Refused):
        renewed(raw, "control", TASKS)


@given(
    st.sampled_from(["body", "headers", "properties", "content-type", "content-encoding"]),
    _json,
    st.sampled_from(["", "id", "task", "expires", "eta", "compression", "body_encoding"]),
)
def test_any_part_may_be_anything(part: str, value: Any, inner: str) -> None:
    whole = message()
    if inner and isinstance(whole[part], dict):
        whole[part][inner] = value
    else:
        whole[part] = value
    _refused_or_made(json.dumps(whole).encode())


@given(_json, _json, _json)
def test_a_body_may_be_anything(first: Any, second: Any, third: Any) -> None:
    whole = message()
    whole["body"] = body([first, second, third])
    _refused_or_made(json.dumps(whole).encode())


def _refused_or_made(raw: bytes) -> None:
    try:
        made = renewed(raw, "control", TASKS)
    except Refused:
        return
    assert renewed(made, "control", TASKS)


def test_the_message_in_the_contract_is_one() -> None:
    block = next(
        block
        for block in CONTRACT.read_text("utf-8").split("```json\n")[1:]
        if "body_encoding" in block
    ).partition("```")[0]
    fresh = json.loads(renewed(block.encode(), "control", {"verifier.submit"}))
    _, arguments, _ = json.loads(base64.b64decode(fresh["body"]))
    assert arguments == {"key": "autumn", "caller": "shop", "references": ["u-1"]}
