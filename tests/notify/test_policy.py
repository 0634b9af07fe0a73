"""What an answer means, and when to try again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.notify.policy import (
    DELIVERY_WAIT,
    ENDPOINT_WAIT,
    Again,
    Answer,
    HeldBack,
    Taken,
    judge,
)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_good_status_is_delivered(status: int) -> None:
    assert judge(Answer(status), tries=1, failures=9, chance=0.5) == Taken()


def test_what_was_held_back_was_not_tried() -> None:
    assert judge(Answer(error="vetoed", held_back=True), tries=1, failures=0, chance=0.5) == (
        HeldBack()
    )


def test_only_410_pauses() -> None:
    def reason(status: int) -> str | None:
        found = judge(Answer(status, "status"), tries=1, failures=0, chance=0.5)
        assert isinstance(found, Again)
        return found.pause_reason

    assert [status for status in range(300, 600) if reason(status)] == [410]


@given(st.integers(1, 500), st.integers(0, 500), st.floats(0, 1))
def test_waits_grow_with_jitter_and_are_bounded(tries: int, failures: int, chance: float) -> None:
    found = judge(Answer(500, "status 500"), tries=tries, failures=failures, chance=chance)
    assert isinstance(found, Again)
    assert DELIVERY_WAIT[0] * 0.75 <= found.delivery_seconds <= DELIVERY_WAIT[1] * 1.25
    assert ENDPOINT_WAIT[0] * 0.75 <= found.endpoint_seconds <= ENDPOINT_WAIT[1] * 1.25
    more = judge(Answer(500, "x"), tries=tries + 1, failures=failures + 1, chance=chance)
    assert isinstance(more, Again)
    assert more.delivery_seconds >= found.delivery_seconds
    assert more.endpoint_seconds >= found.endpoint_seconds


def test_a_busy_receiver_is_left_alone_for_as_long_as_it_asks_but_not_for_ever() -> None:
    found = judge(Answer(429, "status 429", 120.0), tries=1, failures=0, chance=0.5)
    assert found == Again("status 429", 120.0, 120.0)
    found = judge(Answer(503, "status 503", 86_400.0), tries=1, failures=0, chance=0.5)
    assert found == Again("status 503", 3600.0, 3600.0)
