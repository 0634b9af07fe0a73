"""The answer bell: heard by all who wait, and never waited at for longer than its socket allows."""

from __future__ import annotations

import time
from pathlib import Path

from verifier.answerbell import LONGEST_WAIT, AnswerBell
from verifier.settings import broker_url


def test_a_bell_is_heard_by_whoever_waits_and_whoever_comes_later(product: Path) -> None:
    bell = AnswerBell(broker_url())
    assert not bell.wait(71, 0.05)
    bell.ring(71)
    assert bell.wait(71, 0.4)
    assert bell.wait(71, 0.4)
    assert not bell.wait(72, 0.05)


def test_a_long_wait_is_cut_short_and_is_no_fault_of_the_broker(product: Path) -> None:
    bell = AnswerBell(broker_url())
    begun = time.monotonic()
    assert not bell.wait(73, 5.0)
    assert LONGEST_WAIT <= time.monotonic() - begun < 5
    bell.ring(73)
    assert bell.wait(73, 0.4)


def test_a_broker_that_is_away_is_left_alone(product: Path) -> None:
    bell = AnswerBell("redis://127.0.0.1:1/0")
    bell.ring(74)
    begun = time.monotonic()
    assert not bell.wait(74, 0.1)
    assert time.monotonic() - begun >= 0.1
