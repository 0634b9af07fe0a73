"""A connection that ends at a COMMIT: whichever commit of a drain it is, done or not."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import pytest
from sqlalchemy.exc import OperationalError

from tests.chaos.proxy import CommitCutter
from tests.engine.conftest import World, behind_proxy
from verifier import client
from verifier.sandbox.people import Fate


class _Script(random.Random):
    """Strikes at one COMMIT, counted from 0, and loses either its answer or the COMMIT."""

    def __init__(self, at: int, *, answer: bool) -> None:
        super().__init__()
        self._numbers = [1.0] * at + [0.0, 1.0 if answer else 0.0]

    def random(self) -> float:
        return self._numbers.pop(0)


@pytest.fixture
def cutter(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommitCutter]:
    with behind_proxy(monkeypatch) as ready:
        yield ready


@pytest.mark.parametrize("answer", [True, False], ids=["answer lost", "commit lost"])
@pytest.mark.parametrize("at", range(6))
def test_nothing_stays_claimed_and_nobody_is_called_twice(
    world: World, cutter: CommitCutter, at: int, answer: bool
) -> None:
    people = world.people(12) + world.people(3, fate=Fate.WRONG_NAME)
    batch = client.submit(selection="all", caller="t", key="k").batch
    _ = world.runtime  # made here, so that its commits are not counted
    cutter.cut(1, 0.5, _Script(at, answer=answer))
    with contextlib.suppress(OperationalError):
        world.drain()
    assert (cutter.left, cutter.answers_lost, cutter.commits_lost) == (0, answer, not answer)
    held = world.rows("SELECT FROM verifier.lane_slots WHERE state = 'held'")
    claimed = world.rows("SELECT FROM verifier.open_verifications WHERE state = 'claimed'")
    assert (held, claimed) == ([], [])
    world.drain_until(lambda: client.get_batch(batch).settled == len(people))
    for person in people:
        assert client.get(person.reference).outcome == person.expected.outcome
        assert world.calls_about(person) == 1
    assert world.rows("SELECT FROM verifier.attempts WHERE state IN ('started', 'lost')") == []
