"""Budgets: charged before a call, given back when it was not billed, never passed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DataError

from tests.engine.conftest import World, forget
from tests.engine.playing import MATCHED, Player
from verifier import client
from verifier.carriers.base import Answer
from verifier.errors import ConflictError, UsageError
from verifier.outcomes import Billed, Lane, Outcome
from verifier.sandbox.people import Fate
from verifier.store import claims, spending
from verifier.store.engine import transaction
from verifier.upkeep.sweep import sweep
from verifier.verification import batches
from verifier.verification import submit as submission
from verifier.verification.interactive import attend
from verifier.verification.jobs import NotCalled

Configure = Callable[..., None]


@pytest.fixture
def configure(world: World) -> Configure:
    """Prices of both providers, and a budget."""

    def write(price: str = "0.5", budget: str = "", surcharge: str = "0") -> None:
        path = Path(os.environ["VERIFIER_CONFIG"])
        text = path.read_text("utf-8").partition("\n[budget]")[0]
        lines = [
            line
            for line in text.splitlines()
            if not line.startswith(("price", "urgent", "currency"))
        ]
        prices = f"price = {price}\nurgent_surcharge = {surcharge}"
        text = "\n".join(
            f"{line}\n{prices}" if line.startswith("preference") else line for line in lines
        )
        path.write_text(f"{text}\n[budget]\n{budget}\n", "utf-8")
        forget()

    return write


def spent(world: World, scope: str) -> Decimal:
    found = world.rows("SELECT amount FROM verifier.spending WHERE scope = :scope", scope=scope)
    return Decimal(found[0].amount) if found else Decimal(0)


def month(world: World) -> str:
    now = world.one("SELECT verifier.verifier_now() AS now").now
    return spending.month_scope(now, ZoneInfo("Asia/Shanghai"))


def test_every_attempt_keeps_the_price_it_had(world: World, configure: Configure) -> None:
    configure(price="0.5")
    world.people(2)
    batch = client.submit(selection="all", caller="test", key="k").batch
    world.drain_until(lambda: client.get_batch(batch).settled == 2)
    configure(price="9")
    rows = world.rows("SELECT price, currency, billed, purpose FROM verifier.attempts")
    assert {(row.price, row.currency, row.billed, row.purpose) for row in rows} == {
        (Decimal("0.5"), "CNY", "yes", "verify")
    }


def test_an_urgent_call_carries_its_surcharge(world: World, configure: Configure) -> None:
    configure(price="0.5", surcharge="0.25")
    (person,) = world.people(1)
    opened = client.verify_one(person.reference, timeout=0)
    assert opened.verification is not None
    attend(world.runtime, opened.verification, lambda: False)
    assert world.one("SELECT price FROM verifier.attempts").price == Decimal("0.75")


def test_a_batch_stops_at_its_budget_with_a_clear_state_and_goes_on_with_more(
    world: World, configure: Configure
) -> None:
    configure(price="0.5")
    world.people(10)
    batch = client.submit(selection="all", caller="test", key="k", budget="2").batch
    scope = f"batch:{batch}"
    world.drain_until(lambda: client.get_batch(batch).settled == 4)
    world.drain()
    assert spent(world, scope) == 2
    assert client.get_batch(batch).waiting == {"budget": 6}
    assert sweep()["exhausted"] == 1
    row = world.one("SELECT * FROM verifier.batches")
    assert (row.paused_by, row.pause_reason) == ("budget", "its budget of 2 CNY is used up")
    world.later(seconds=120)
    world.drain()
    assert client.get_batch(batch).settled == 4
    batches.resume(batch, Decimal(5))
    world.drain_until(lambda: client.get_batch(batch).settled == 10)
    assert spent(world, scope) == 5
    assert len(world.rows("SELECT FROM verifier.attempts")) == 10


def test_what_is_not_billed_costs_nothing_of_a_budget(world: World, configure: Configure) -> None:
    """Unknown numbers are free at Tencent: a budget for two lets all ten through, two at a time."""
    configure(price="0.5", budget="per_month = 1")
    world.people(10, fate=Fate.UNKNOWN)
    batch = client.submit(selection="all", caller="test", key="k", budget=1).batch

    def done() -> bool:
        world.later(seconds=61)  # who found no money left looks again after a minute
        sweep()
        return client.get_batch(batch).settled == 10

    world.drain_until(done)
    assert spent(world, f"batch:{batch}") == spent(world, month(world)) == 0


def test_a_month_stops_the_lanes_and_not_a_million_rows(world: World, configure: Configure) -> None:
    configure(price="0.5", budget="per_month = 1.2")
    world.people(8)
    batch = client.submit(selection="all", caller="test", key="k").batch
    world.drain_until(lambda: client.get_batch(batch).settled == 2)
    world.drain()
    state = client.get_batch(batch)
    assert (state.settled, state.waiting) == (2, {"budget": 6})
    touched = world.rows("SELECT FROM verifier.open_verifications WHERE reason = 'budget'")
    assert touched == []
    assert world.one("SELECT not_before_reason FROM verifier.lanes WHERE lane = 'cmcc'")[0] == (
        "budget"
    )
    assert len(world.rows("SELECT FROM verifier.billed_slots")) == 2
    configure(price="0.5", budget="per_month = 10")
    world.later(seconds=61)
    world.drain_until(lambda: client.get_batch(batch).settled == 8)
    assert spent(world, month(world)) == 4


def test_a_month_counts_what_was_spent_before_the_budget_was_set(
    world: World, configure: Configure
) -> None:
    configure(price="0.5")
    world.people(3)
    batch = client.submit(selection="all", caller="test", key="k").batch
    world.drain_until(lambda: client.get_batch(batch).settled == 3)
    configure(price="0.5", budget="per_month = 100")
    assert world.runtime.config.budget.per_month == 100
    assert spent(world, month(world)) == Decimal("1.5")


def test_a_budget_is_never_passed_by_many_workers_at_once(
    world: World, configure: Configure
) -> None:
    configure(price="0.5", budget="per_month = 3")
    world.people(30)
    batch = client.submit(selection="all", caller="test", key="k").batch
    players = [Player(world.runtime) for _ in range(6)]
    barrier = threading.Barrier(len(players))

    def claim(player: Player) -> None:
        barrier.wait()
        player.claim_due(Lane.CMCC, 4)

    threads = [threading.Thread(target=claim, args=(player,)) for player in players]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    flying = sum(len(player.flying) for player in players)
    assert flying == 6
    assert spent(world, month(world)) == 3
    # One comes back unbilled, one is never made, one is lost: two may be asked for that.
    first, second = [player for player in players if player.flying][:2]
    first.hear(0, Answer(Outcome.NOT_SENT, "REFUSED", Billed.NO))
    first.record()
    second.hear(0, NotCalled.GIVEN_BACK)
    second.record()
    assert spent(world, month(world)) == 2
    world.execute(
        "UPDATE verifier.open_verifications SET lease_until = now() - interval '1 minute'"
        " WHERE state = 'claimed'"
    )
    with transaction() as connection:
        claims.release_expired(connection, "Asia/Shanghai")
    assert spent(world, month(world)) == 2  # who was lost may have been billed
    assert client.get_batch(batch).settled == 0


def test_a_batch_without_a_budget_pays_for_whom_it_joins(
    world: World, configure: Configure
) -> None:
    configure(price="0.5")
    world.people(4)
    poor = client.submit(selection="all", caller="test", key="poor", budget="0.5").batch
    rich = client.submit(selection="all", caller="test", key="rich").batch
    world.drain_until(lambda: client.get_batch(rich).settled == 4)
    assert client.get_batch(poor).done
    assert spent(world, f"batch:{poor}") == 0


@pytest.mark.parametrize("budget", [0, -1, "x", "1e99", True, float("nan"), "0.0000001"])
def test_what_is_no_amount_is_refused(world: World, budget: object) -> None:
    with pytest.raises(UsageError, match="budget must be an amount"):
        client.submit(selection="all", caller="t", key="k", budget=budget)  # type: ignore[arg-type]


def test_the_budget_belongs_to_the_request(world: World, configure: Configure) -> None:
    configure()
    world.people(1)
    first = client.submit(selection="all", caller="t", key="k", budget="5.0")
    assert client.submit(selection="all", caller="t", key="k", budget=5).batch == first.batch
    with pytest.raises(ConflictError):
        client.submit(selection="all", caller="t", key="k", budget=6)


FREE = Answer(Outcome.PROVIDER_ERROR, None, Billed.NO)


def _a_minute_later(world: World) -> None:
    world.drain()
    world.later(seconds=61)
    sweep()


def test_a_budget_given_to_a_batch_that_had_none_counts_what_it_spent(
    world: World, configure: Configure
) -> None:
    configure(price="0.5")
    world.people(10)
    batch = client.submit(selection="all", caller="test", key="k").batch
    player = Player(world.runtime)
    player.claim_due(Lane.CMCC, 2)
    while player.flying:
        player.hear(0, MATCHED)
    player.record()
    batches.pause(batch, by="operator", reason=None)
    batches.resume(batch, Decimal(2))
    for _ in range(4):
        _a_minute_later(world)
    assert client.get_batch(batch).settled == 4
    assert spent(world, f"batch:{batch}") == 2


def test_a_budget_given_to_a_batch_that_had_none_gets_back_what_was_under_way_and_free(
    world: World, configure: Configure
) -> None:
    configure(price="0.5")
    world.people(10)
    batch = client.submit(selection="all", caller="test", key="k").batch
    player = Player(world.runtime)
    player.claim_due(Lane.CMCC, 3)
    batches.resume(batch, Decimal(2))
    assert spent(world, f"batch:{batch}") == Decimal("1.5")  # they may yet be billed
    player.hear(0, MATCHED)
    while player.flying:
        player.hear(0, FREE)
    player.record()
    assert spent(world, f"batch:{batch}") == Decimal("0.5")


@pytest.mark.parametrize("end", ["cancel", "pause"])
def test_who_has_no_budget_and_leaves_lets_the_others_pay_again(
    end: str, world: World, configure: Configure
) -> None:
    configure(price="1")
    world.people(10)
    poor = client.submit(selection="all", caller="test", key="poor", budget="3").batch
    rich = client.submit(selection="all", caller="test", key="rich").batch
    if end == "cancel":
        batches.cancel(rich)
    else:
        batches.pause(rich, by="operator", reason=None)
    for _ in range(6):
        _a_minute_later(world)
    paid = world.rows("SELECT payer, price FROM verifier.attempts")
    assert [tuple(row) for row in paid] == [(poor, 1)] * 3
    assert client.get_batch(poor).paused


@pytest.mark.parametrize("cancelled", [False, True])
def test_who_is_resumed_pays_for_what_another_stopped_at(
    cancelled: bool, world: World, configure: Configure
) -> None:
    configure(price="1")
    world.people(6)
    first = client.submit(selection="all", caller="test", key="a", budget="2").batch
    second = client.submit(selection="all", caller="test", key="b", budget="3").batch
    batches.pause(second, by="operator", reason=None)
    for _ in range(3):
        _a_minute_later(world)
    assert client.get_batch(first).paused
    if cancelled:
        batches.cancel(first)
    batches.resume(second)
    for _ in range(5):
        _a_minute_later(world)
    assert [spent(world, f"batch:{batch}") for batch in (first, second)] == [2, 3]
    batches.resume(second, Decimal(100))
    for _ in range(3):
        _a_minute_later(world)
    assert client.get_batch(second).done
    assert [spent(world, f"batch:{batch}") for batch in (first, second)] == [2, 4]


def test_a_budget_configured_while_a_batch_is_half_loaded_counts_all_of_it(
    world: World, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(price="1")
    world.people(10)
    with monkeypatch.context() as killed:
        killed.setattr(submission, "LOAD_CHUNK", 5)
        killed.setattr(submission, "load", lambda batch: submission._load_chunk(batch, True))
        batch = client.submit(selection="all", caller="test", key="k").batch
    assert client.get_batch(batch).state == "loading"
    configure(price="1", budget="per_batch = 2")
    for _ in range(5):
        sweep()
        _a_minute_later(world)
    assert [tuple(row) for row in world.rows("SELECT payer, price FROM verifier.attempts")] == [
        (batch, 1)
    ] * 2
    assert client.get_batch(batch).paused


def test_no_budget_is_spent_in_another_currency(world: World, configure: Configure) -> None:
    configure(price="1")
    world.people(3)
    batch = client.submit(selection="all", caller="test", key="k", budget="3").batch
    configure(price='1\ncurrency = "USD"')
    for _ in range(3):
        _a_minute_later(world)
    assert world.rows("SELECT FROM verifier.attempts") == []
    row = world.one("SELECT paused_by, pause_reason FROM verifier.batches")
    assert tuple(row) == ("budget", "A budget is in CNY, and providers are paid in USD too.")
    configure(price="1")
    batches.resume(batch)
    for _ in range(3):
        _a_minute_later(world)
    assert client.get_batch(batch).done


def test_a_rerun_is_repeated_under_its_key_also_when_its_model_got_more_money(
    world: World, configure: Configure
) -> None:
    configure(price="1")
    world.people(3)
    model = client.submit(selection="all", caller="test", key="k", budget="1").batch
    first = batches.rerun(model, caller="test", key="again").submitted
    batches.resume(model, Decimal(2))
    repeated = batches.rerun(model, caller="test", key="again").submitted
    assert (repeated.batch, repeated.new) == (first.batch, False)


def test_a_batch_that_cannot_be_loaded_stops_no_other(
    world: World, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(price="1")
    world.people(3)
    one, other = _half_made(world, "a"), _half_made(world, "b")
    load = submission.load

    def broken(batch: int, **how: Any) -> None:
        if batch == one:
            raise DataError("numeric field overflow", None, Exception())
        load(batch, **how)

    monkeypatch.setattr(submission, "load", broken)
    assert sweep()["loaded"] == 1
    assert [client.get_batch(batch).state for batch in (one, other)] == ["loading", "open"]


def _half_made(world: World, key: str) -> int:
    """As SQL leaves it: nothing is loaded yet."""
    row = world.one("SELECT verifier.submit('test', :key, selection => 'all') AS id", key=key)
    return int(row.id)


def test_a_month_is_not_given_back_what_was_never_charged_to_it(
    world: World, configure: Configure
) -> None:
    """Calls of a worker that started before the budget was set."""
    configure(price="0.5")
    world.people(8)
    client.submit(selection="all", caller="test", key="k")
    before = Player(world.runtime)
    before.claim_due(Lane.CMCC, 3)
    configure(price="0.5", budget="per_month = 1")
    after = Player(world.runtime)
    assert spent(world, month(world)) == Decimal("1.5")  # they may yet be billed
    before.claim_due(Lane.CMCC, 1)
    while before.flying:
        before.hear(0, FREE)
    before.record()
    assert spent(world, month(world)) == 0
    world.later(minutes=10)
    after.claim_due(Lane.CMCC, 8)
    assert len(after.flying) == 2


@pytest.mark.parametrize("end", [batches.cancel, None], ids=["cancelled", "paused"])
def test_who_joined_a_batch_without_money_is_paid_for_by_the_other(
    world: World, configure: Configure, end: Callable[[int], int] | None
) -> None:
    configure(price="0.5")
    world.people(4)
    poor = client.submit(selection="all", caller="test", key="poor", budget="0.5").batch
    rich = client.submit(selection="all", caller="test", key="rich", budget="100").batch
    for _ in range(2):
        _a_minute_later(world)
    if end:
        end(poor)

    def done() -> bool:
        world.later(seconds=61)
        sweep()
        return client.get_batch(rich).done

    world.drain_until(done)
    assert spent(world, f"batch:{poor}") == Decimal("0.5")
    assert spent(world, f"batch:{rich}") == Decimal("1.5")


def test_more_money_and_answers_at_the_same_time_do_not_wait_for_each_other(
    world: World, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both lock rows of the batch and its account: always in that order."""
    configure(price="0.5")
    world.people(4)
    batch = client.submit(selection="all", caller="test", key="k", budget="50").batch
    player = Player(world.runtime)
    player.claim_due(Lane.CMCC, 4)
    while player.flying:
        player.hear(0, FREE)
    holds, more = threading.Event(), threading.Event()
    tries: list[int] = []
    really = spending.give_back

    def give_back(connection: Connection, *args: Any) -> Any:
        tries.append(1)
        holds.set()
        with transaction() as other:  # until the operator waits for a lock that we hold
            while not more.is_set() and not other.scalar(_BLOCKED):
                more.wait(0.02)
        return really(connection, *args)

    monkeypatch.setattr(spending, "give_back", give_back)
    recording = threading.Thread(target=player.record)
    recording.start()
    assert holds.wait(10)
    batches.resume(batch, Decimal(60))
    more.set()
    recording.join(30)
    assert tries == [1]  # no deadlock, and so nothing tried again
    assert spent(world, f"batch:{batch}") == 0


_BLOCKED = text("SELECT count(*) FROM pg_locks WHERE NOT granted")


def test_who_is_run_again_for_a_batch_still_has_its_budget(
    world: World, configure: Configure
) -> None:
    configure(price="0.5")
    world.people(6)
    batch = client.submit(selection="all", caller="test", key="k", budget="1").batch
    world.drain_until(lambda: client.get_batch(batch).settled == 2)
    again = batches.rerun(batch, only="waiting", caller="operator", key="again")
    for _ in range(3):
        _a_minute_later(world)
    rows = world.rows("SELECT payer, price FROM verifier.attempts")
    of_old = sum(row.price for row in rows if row.payer == batch)
    of_new = sum(row.price for row in rows if row.payer == again.submitted.batch)
    assert of_old <= 1
    assert of_new <= 1
    assert sum(row.price for row in rows) == of_old + of_new


def test_money_that_comes_back_late_lets_the_batch_go_on(
    world: World, configure: Configure
) -> None:
    configure(price="0.5")
    world.people(4)
    batch = client.submit(selection="all", caller="test", key="k", budget="0.5").batch
    slow = Player(world.runtime)
    slow.claim_due(Lane.CMCC, 4)
    assert len(slow.flying) == 1
    world.execute(
        "UPDATE verifier.open_verifications SET lease_until = now() - interval '1 s'"
        " WHERE state = 'claimed'"
    )
    sweep()
    sweep()
    assert world.one("SELECT paused_by FROM verifier.batches").paused_by == "budget"
    slow.hear(0, Answer(Outcome.NOT_SENT, "REFUSED", Billed.NO))
    slow.record()
    for _ in range(3):
        _a_minute_later(world)
    assert client.get_batch(batch).settled == 1
    assert spent(world, f"batch:{batch}") == Decimal("0.5")


def test_a_batch_is_not_resumed_with_less_than_it_spent(world: World, configure: Configure) -> None:
    configure(price="0.5")
    world.people(4)
    batch = client.submit(selection="all", caller="test", key="k", budget="1").batch
    world.drain_until(lambda: client.get_batch(batch).settled == 2)
    for budget in (None, Decimal(1), Decimal("0.5")):
        with pytest.raises(UsageError, match="it would stop at once"):
            batches.resume(batch, budget)
    assert world.one("SELECT budget FROM verifier.batches").budget == 1
