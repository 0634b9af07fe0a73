from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest

from tests.identity.people import TODAY
from verifier.identity.errors import REASONS, InvalidField
from verifier.identity.id_number import parse_id_number
from verifier.identity.names import canonical_name, parse_name
from verifier.identity.phone import parse_phone
from verifier.identity.reference import check_platform, check_reference


def test_only_declared_reasons_can_be_given() -> None:
    with pytest.raises(KeyError):
        InvalidField("phone", "bad_mood")


def test_a_refusal_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(InvalidField("phone", "landline")))  # noqa: S301
    assert (error.field, error.code) == ("phone", "landline")
    assert error.reason == REASONS["phone"]["landline"]


@pytest.mark.parametrize("value", [None, 13800138000, b"13800138000"])
@pytest.mark.parametrize(
    ("field", "read"),
    [
        ("phone", parse_phone),
        ("name", canonical_name),
        ("name", parse_name),
        ("id_number", lambda value: parse_id_number(value, TODAY)),
        ("reference", check_reference),
        ("platform", check_platform),
    ],
)
def test_what_is_not_text_is_refused_as_such(
    field: str, read: Callable[[Any], object], value: object
) -> None:
    with pytest.raises(InvalidField) as caught:
        read(value)
    assert (caught.value.field, caught.value.code) == (field, "not_text")
