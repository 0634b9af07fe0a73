"""Any interleaving, with prices, budgets and checks, keeps the promises about money as well.

The game of :mod:`tests.engine.test_interleavings` with four providers that cost something: no
budget is ever passed, every account is what its calls may cost, caps hold, a carrier that is looked
up moves the number, and in the end, with money enough, everything ends.
"""

from __future__ import annotations

from decimal import Decimal
from itertools import chain, zip_longest
from typing import Any, ClassVar, Final

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from tests.engine.conftest import World
from tests.engine.playing import ANSWERS, Player
from tests.engine.test_interleavings import EXAMPLES, Interleavings, play
from verifier.carriers.base import Answer
from verifier.errors import UsageError
from verifier.outcomes import Billed, Check, Fact, Lane, Outcome
from verifier.verification import batches as whole
from verifier.verification.jobs import NotCalled
from verifier.verification.submit import Request, submit

_CAP: Final = 6
_CONFIG: Final = """
[providers.first]
kind = "tencent"
secret_id = "file:{state}/tencent_secret_id"
secret_key = "file:{state}/tencent_secret_key"
lanes = ["cmcc", "cucc", "ctcc"]
qps = 500
price = 0.5

[providers.second]
kind = "tencent"
action = "PhoneVerificationCMCC"
secret_id = "file:{state}/tencent_secret_id"
secret_key = "file:{state}/tencent_secret_key"
lanes = ["cmcc"]
qps = 500
price = 0.3
urgent_surcharge = 0.2

[providers.checker]
kind = "tencent"
secret_id = "file:{state}/tencent_secret_id"
secret_key = "file:{state}/tencent_secret_key"
checks = ["status", "recycled"]
check_prices = {{ status = 0.1, recycled = 0.2 }}
qps = 500

[providers.looker]
kind = "aliyun_dytns"
key_id = "file:{state}/aliyun_key_id"
key_secret = "file:{state}/aliyun_key_secret"
auth_code = "file:{state}/dytns_auth_code"
checks = ["carrier"]
check_prices = {{ carrier = 0.05 }}
qps = 500

[checks.status]
lanes = ["cmcc", "cucc", "ctcc"]
daily_cap = {cap}

[checks.recycled]
daily_cap = {cap}

[checks.carrier]
daily_cap = {cap}

[budget]
per_month = {month}
"""


def _found(fact: Fact, carrier: Lane | None = None, billed: Billed = Billed.YES) -> Answer:
    return Answer(Outcome.CHECKED, None, billed, fact=fact, carrier=carrier)


_TROUBLES: Final = [a for a in ANSWERS if not a.outcome.is_answer or a.detail == "PARAM"]
_FACTS: Final = {
    Check.STATUS: [
        *map(_found, (Fact.ACTIVE, Fact.CANCELLED, Fact.SUSPENDED, Fact.NOT_IN_NETWORK)),
        _found(Fact.UNKNOWN, billed=Billed.NO),
    ],
    Check.RECYCLED: [
        *map(_found, (Fact.SAME_HOLDER, Fact.CHANGED_HANDS)),
        _found(Fact.UNKNOWN, billed=Billed.NO),
    ],
    Check.CARRIER: [
        _found(Fact.UNKNOWN, billed=Billed.NO),
        *(_found(Fact.CARRIER, lane) for lane in (Lane.CUCC, Lane.CTCC, Lane.CMCC, Lane.CBN)),
    ],
}
#: What may be said to a check: every fact, and between them every trouble.
_SAID: Final = {
    check: [
        answer
        for answer in chain.from_iterable(
            zip_longest(facts * (1 + len(_TROUBLES) // len(facts)), _TROUBLES)
        )
        if answer is not None
    ]
    for check, facts in _FACTS.items()
}


class CheckedPlayer(Player):
    """Its verifications are answered as the game says, its checks by the next of all answers."""

    turn: int = 0
    kindly: bool = False

    def hear(self, place: int, answer: Answer | NotCalled) -> None:
        job = self.flying[place % len(self.flying)]
        if job.check is not None and isinstance(answer, Answer):
            said = _SAID[job.check]
            answer = said[0 if self.kindly else self.turn % len(said)]
            self.turn += 1
        super().hear(place, answer)


class Paid(Interleavings):
    """Nothing is free, and an operator gives a little at a time."""

    _lanes = (Lane.CMCC, Lane.CTCC, Lane.CUCC, Lane.CBN)
    _player = CheckedPlayer
    _month: ClassVar[Decimal]

    @rule(
        users=st.sets(st.integers(0, 4), min_size=1),
        budget=st.sampled_from(["0.5", "1.2", "3"]),
    )
    def submit_with_a_budget(self, users: set[int], budget: str) -> None:
        request = Request(keys=[self._key(u) for u in sorted(users)], budget=Decimal(budget))
        batch = submit("test", f"paid-{len(self._batches)}", request).batch
        self._batches.append(batch)

    @precondition(lambda self: self._batches)
    @rule(place=st.integers(0, 7), budget=st.sampled_from(["1", "2.5", "10"]))
    def give_more(self, place: int, budget: str) -> None:
        batch = self._batches[place % len(self._batches)]
        if (self._budget(batch) or 0) < Decimal(budget):
            self._resume(batch, Decimal(budget))

    def _budget(self, batch: int) -> Decimal | None:
        row = self._world.one("SELECT budget FROM verifier.batches WHERE id = :id", id=batch)
        budget: Decimal | None = row.budget
        return budget

    def _resume(self, batch: int, budget: Decimal | None = None) -> None:
        try:
            whole.resume(batch, budget)
        except UsageError:  # all of it is spent
            assert self._budget(batch) is not None or budget is not None

    @rule(
        worker=st.integers(0, 2),
        turn=st.integers(0, 40),
        lane=st.sampled_from(_lanes),
        answers=st.lists(st.sampled_from(ANSWERS[1:4]), min_size=1, max_size=5),
    )
    def work_on_what_owes_checks(
        self, worker: int, turn: int, lane: Lane, answers: list[Any]
    ) -> None:
        player = self._workers[worker]
        assert isinstance(player, CheckedPlayer)
        player.turn = turn
        self.work(worker, lane, answers)

    @invariant()
    def no_month_passes_its_budget(self) -> None:
        spent = "SELECT FROM verifier.spending WHERE scope LIKE 'month:%' AND amount > :month"
        assert self._world.rows(spent, month=self._month) == []

    @invariant()
    def no_cap_is_passed(self) -> None:
        used = self._world.rows("SELECT FROM verifier.check_uses WHERE used > :cap", cap=_CAP)
        assert used == []

    def teardown(self) -> None:
        for player in self._workers:
            assert isinstance(player, CheckedPlayer)
            player.kindly = True
        for batch in self._batches:
            if self._budget(batch) is not None:
                whole.resume(batch, Decimal(10_000))
        super().teardown()


class Poor(Paid):
    """The month's money is soon gone: then nothing ends, but nothing is passed either."""

    _month = Decimal("1.7")

    def teardown(self) -> None:
        self.the_laws_hold()


class Rich(Paid):
    _month = Decimal(10_000)


@pytest.mark.timeout(120 + 20 * EXAMPLES)
@pytest.mark.parametrize("game", [Rich, Poor])
def test_every_interleaving_keeps_every_promise_about_money(game: type[Paid], world: World) -> None:
    def configure(text: str) -> str:
        engine = text.partition("[providers")[0]
        state = world.sandbox.state
        return engine + _CONFIG.format(state=state, cap=_CAP, month=game._month)

    play(world, game, configure)
