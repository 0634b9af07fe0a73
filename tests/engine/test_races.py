"""What happens at the same instant: many rounds, each begun at a barrier, over a real database.

A round's participants each have threads, connections and tokens of their own, as processes would.
When a round is over, all laws of :mod:`tests.engine.playing` must hold, whoever came first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from tests.engine.conftest import World, as_row
from tests.engine.playing import MATCHED, Player, court
from verifier import client
from verifier.outcomes import Lane
from verifier.sandbox.people import SandboxPerson
from verifier.store import batches, clock, holding, loading, turns
from verifier.store.engine import transaction
from verifier.upkeep.sweep import sweep
from verifier.verification import batches as whole
from verifier.verification.calls import CallPool
from verifier.verification.drain import drain
from verifier.verification.interactive import attend
from verifier.verification.opening import request_one
from verifier.verification.submit import Request

ROUNDS = 6
CHANGED = "欧阳不同"


def race(*works: Callable[[], Any]) -> list[Any]:
    """Run ``works`` at once, begun at a barrier. Their results, or the first error."""
    barrier = threading.Barrier(len(works))

    def begin(work: Callable[[], Any]) -> Any:
        barrier.wait(10)
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result(60) for future in [pool.submit(begin, work) for work in works]]


@contextmanager
def draining(world: World) -> Iterator[None]:
    """A worker that drains all the while, like a process of its own."""
    runtime = replace(world.runtime, pool=CallPool(4))
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            drain(runtime, Lane.CMCC, over.is_set)

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        try:
            yield
        finally:
            over.set()
        working.result(30)


def settle(world: World, *made: int, at_nightfall: Callable[[], object] = lambda: None) -> None:
    """Drain, sweep and let days pass until these batches are done; then look at everything."""
    for _ in range(4):
        sweep()
        world.drain()
        sweep()
        at_nightfall()
        if all(client.get_batch(batch).done for batch in made):
            break
        world.later(days=1)
    assert [client.get_batch(batch).state for batch in made] == ["done"] * len(made)
    assert lawful()


def lawful() -> bool:
    with court() as sitting:
        broken = sitting.broken()
    assert not broken, broken
    return True


def references(people: list[SandboxPerson]) -> list[str]:
    return [person.reference for person in people]


def names(mark: str) -> Iterator[str]:
    """Keys for the rounds of a test."""
    return (f"{mark}-{number}" for number in range(ROUNDS))


def test_sweepers_at_once_release_end_and_count_everything_once(world: World) -> None:
    people = world.people(12)
    for key in names("k"):
        lost = client.submit(references(people[:6]), caller="a", key=key).batch
        unwanted = client.submit(references(people[6:]), caller="b", key=key).batch
        player = Player(world.runtime)
        while len(player.flying) < 6 and player.claim_due(Lane.CMCC, 12):
            pass
        taken = {job.user_id for job in player.flying}
        ended = len(people) - len(taken)
        world.execute(
            "UPDATE verifier.open_verifications SET lease_until = now() - interval '1 s' "
            "WHERE state = 'claimed'"
        )
        with transaction() as connection:
            holding.mark_cancelled(connection, unwanted)
            if ended:
                holding.mark_cancelled(connection, lost)
        swept = race(sweep, sweep, sweep)
        assert sum(one["released"] for one in swept) == len(taken)
        crashed = world.rows("SELECT crashes FROM verifier.open_verifications WHERE crashes > 0")
        assert {row.crashes for row in crashed} <= {1}
        settle(world, lost, unwanted)
        ends = client.get_batch(lost).outcomes, client.get_batch(unwanted).outcomes
        assert sum(sum(one.values()) for one in ends) == len(people)
        world.later(days=1)


def test_half_loaded_batches_are_loaded_once_by_sweepers_at_once(world: World) -> None:
    people = world.people(9)
    for key in names("k"):
        request = Request(selection="all")
        batch = client.submit(references(people[:4]), caller="other", key=key).batch
        made = _without_loading(key, request)
        race(sweep, sweep, lambda key=key: client.submit(selection="all", caller="a", key=key))  # type: ignore[misc]
        assert client.get_batch(made).state == "open"
        assert len(world.rows("SELECT FROM verifier.open_verifications")) == 9
        assert lawful()
        settle(world, batch, made)
        world.later(days=1)


def _without_loading(key: str, request: Request) -> int:
    """A batch whose submitter died after the snapshot and the first chunk."""
    with transaction() as connection:
        row, new = batches.create(
            connection,
            caller="a",
            key=key,
            digest=request.digest(),
            selection="{}",
            priority=2,
            deadline_hours=24,
            label=None,
            rerun_of=None,
        )
        assert new
        loading.take_snapshot(connection, row.id, "all", {})
    with transaction() as connection:
        assert loading.load_chunk(connection, row.id, 3, deadline_hours=24)
    return int(row.id)


def test_submits_of_one_key_at_once_make_one_batch(world: World) -> None:
    wanted = references(world.people(8))
    for key in names("k"):

        def ask(order: int, key: str = key) -> Any:
            return client.submit(wanted[::order], caller="a", key=key)

        with draining(world):
            made = race(lambda: ask(1), lambda: ask(-1), lambda: ask(1))
        assert sorted(one.new for one in made) == [False, False, True]
        assert {(one.batch, one.total) for one in made} == {(made[0].batch, 8)}
        settle(world, made[0].batch)
        assert client.get_batch(made[0].batch).outcomes == {"MATCHED": 8}
        world.later(days=1)
    settled = world.one("SELECT count(*) AS number FROM verifier.verifications").number
    assert settled == 8 * ROUNDS


def test_two_keys_with_the_same_users_at_once_drop_nobody(world: World) -> None:
    wanted = references(world.people(20))
    for key in names("k"):

        def ask(caller: str, order: int, key: str = key) -> int:
            return client.submit(wanted[::order], caller=caller, key=key).batch

        with draining(world):
            made = race(lambda: ask("a", 1), lambda: ask("b", -1), lambda: ask("c", 1))
        settle(world, *made)
        for batch in made:
            assert client.get_batch(batch).outcomes == {"MATCHED": 20}
        world.later(days=1)


def test_a_batch_that_joins_users_of_one_being_cancelled_keeps_them(world: World) -> None:
    people = world.people(12)
    world.sandbox.client.settings(latency_ms=5)
    for key in names("k"):
        first = client.submit(references(people), caller="a", key=key).batch
        second, third = [0], [0]

        def join(into: list[int], start: int, key: str = key) -> None:
            wanted = references(people[start::2])
            into[0] = client.submit(wanted, caller=f"b{start}", key=key).batch

        with draining(world):
            race(lambda: join(second, 0), lambda: whole.cancel(first), lambda: join(third, 1))  # noqa: B023
        settle(world, first, second[0], third[0])
        for batch in (second[0], third[0]):
            assert client.get_batch(batch).outcomes == {"MATCHED": 6}
        assert sum(client.get_batch(first).outcomes.values()) == 12
        world.later(days=1)


def test_cancelling_what_is_being_called_ends_both_batches_once(world: World) -> None:
    people = world.people(16)
    world.sandbox.client.settings(latency_ms=10)
    in_flight = 0
    for key in names("k"):
        mine = client.submit(references(people), caller="a", key=key).batch
        theirs = client.submit(references(people[::2]), caller="b", key=key).batch
        with draining(world):
            _until_claimed(world)
            race(lambda: whole.cancel(mine), sweep, lambda: whole.cancel(mine))  # noqa: B023
            in_flight += len(world.rows("SELECT FROM verifier.open_verifications"))
        settle(world, mine, theirs)
        ends = client.get_batch(mine).outcomes
        assert set(ends) <= {"MATCHED", "CANCELLED"}
        assert sum(ends.values()) == 16
        assert client.get_batch(theirs).outcomes == {"MATCHED": 8}
        world.later(days=1)
    assert in_flight, "nothing was in flight in any round"


def _until_claimed(world: World) -> None:
    for _ in range(2000):
        if world.rows("SELECT FROM verifier.open_verifications WHERE state = 'claimed'"):
            return
    raise AssertionError("nothing was claimed")


def test_after_a_pause_has_returned_nothing_of_it_is_begun(world: World) -> None:
    people = world.people(16)
    world.sandbox.client.settings(latency_ms=5)
    held = 0
    for key in names("k"):
        batch = client.submit(references(people), caller="a", key=key).batch
        with draining(world):
            _until_claimed(world)
            race(lambda: whole.pause(batch, by="op", reason=None), sweep)  # noqa: B023
            with transaction() as connection:
                paused = clock.now(connection)
            sweep()
        begun = world.one("SELECT max(started_at) AS last FROM verifier.attempts").last
        assert begun <= paused
        left = world.rows("SELECT held FROM verifier.open_verifications")
        assert {row.held for row in left} <= {True}
        held += len(left)
        race(lambda: whole.resume(batch), sweep)  # noqa: B023
        settle(world, batch)
        world.later(days=1)
    assert held, "no round was paused in time"


def test_data_that_changes_while_it_is_verified_is_never_verified_by_the_old_verdict(
    world: World,
) -> None:
    people = world.people(12)
    changed, same = people[:6], people[6:]
    asked_again = 0
    for key in names("k"):
        client.put_users(map(as_row, people))
        batch = client.submit(references(people), caller="a", key=key).batch
        with draining(world):
            _until_claimed(world)
            race(
                lambda: client.put_users({**as_row(p), "name": CHANGED} for p in changed[:3]),
                lambda: client.put_users({**as_row(p), "name": CHANGED} for p in changed[3:]),
                sweep,
            )
        settle(world, batch)
        for person in changed:
            found = world.one(
                "SELECT u.status, u.outcome, u.version, v.data_version, v.outcome AS verdict "
                "  FROM verifier.users u JOIN verifier.verifications v ON v.user_id = u.id "
                "  JOIN verifier.batch_items i ON i.verification_id = v.id AND i.batch_id = :batch "
                " WHERE u.reference = :reference",
                batch=batch,
                reference=person.reference,
            )
            if found.data_version == found.version:
                assert (found.outcome, found.verdict) == ("MISMATCHED", "MISMATCHED")
                asked_again += 1
            else:  # the old data's verdict was there before the new data
                assert (found.status, found.verdict) == ("unverified", "MATCHED")
        assert {client.get(p.reference).status for p in same} == {"verified"}
        world.later(days=1)
    assert asked_again, "no data changed in time"


def test_a_verdict_in_flight_against_an_import_in_many_rounds(world: World) -> None:
    """The closest race there is: record and import of one row begin at one barrier."""
    (person,) = world.people(1)
    first = 0
    for number in range(8 * ROUNDS):
        client.put_users([as_row(person)])
        batch = client.submit([person.reference], caller="a", key=f"k-{number}").batch
        player = Player(world.runtime)
        player.claim_due(Lane.CMCC, 1)
        assert len(player.flying) == 1
        player.hear(0, MATCHED)
        race(player.record, lambda: client.put_users([{**as_row(person), "name": CHANGED}]))
        assert client.get(person.reference).status == "unverified"
        settled = client.get_batch(batch).settled
        first += settled
        assert lawful()
        if not settled:
            player.claim_due(Lane.CMCC, 1)
            player.hear(0, replace(MATCHED))
            player.record()
            assert client.get(person.reference).status == "verified"
        world.later(days=1)
    settled = world.one("SELECT count(*) AS number FROM verifier.verifications").number
    assert settled == 8 * ROUNDS


def test_one_row_claimed_by_many_at_once_is_called_by_one(world: World) -> None:
    (person,) = world.people(1)
    for number in range(3 * ROUNDS):
        client.submit([person.reference], caller="a", key=f"k-{number}")
        (row,) = world.rows("SELECT id FROM verifier.open_verifications")
        players = [Player(world.runtime) for _ in range(4)]
        race(
            lambda: players[0].claim_due(Lane.CMCC, 1),  # noqa: B023
            lambda: players[1].claim_one(row.id),  # noqa: B023
            lambda: players[2].claim_one(row.id),  # noqa: B023
            lambda: players[3].claim_due(Lane.CMCC, 1),  # noqa: B023
        )
        (holder,) = [player for player in players if player.flying]
        assert lawful()
        holder.hear(0, MATCHED)
        holder.record()
        world.later(days=1)


def test_asking_for_one_at_once_with_a_drain_promotes_and_calls_once(world: World) -> None:
    people = world.people(6)
    one = people[3]

    def ask() -> int | None:
        verification = request_one("default", one.reference)
        assert verification is not None
        attend(replace(world.runtime, pool=CallPool(1)), verification, lambda: False)
        return verification

    for key in names("k"):
        batch = client.submit(references(people), caller="a", key=key).batch
        calls = [world.calls_about(one)]
        with draining(world):
            race(ask, ask, lambda: _bring_forward(batch))  # noqa: B023
        settle(world, batch, at_nightfall=lambda: calls.append(world.calls_about(one)))  # noqa: B023
        assert client.get_batch(batch).outcomes == {"MATCHED": 6}
        # Who asks after it has settled asks anew; two a business day are paid for, never more.
        assert calls[-1] > calls[0]
        assert all(until - since <= 2 for since, until in pairwise(calls))
        assert client.get(one.reference).status == "verified"
        world.later(days=2)


def _bring_forward(batch: int) -> int:
    with transaction() as connection:
        return turns.bring_forward(connection, batch)


def test_a_rerun_of_one_key_at_once_is_one_batch(world: World) -> None:
    people = world.people(6)
    for key in names("k"):
        batch = client.submit(references(people), caller="a", key=key).batch
        world.execute("UPDATE verifier.open_verifications SET due_at = due_at + interval '1 h'")

        def again(batch: int = batch, key: str = key) -> int:
            made = whole.rerun(batch, only="waiting", caller="op", key=key)
            return made.submitted.batch

        with draining(world):
            made = race(again, again, again)
        assert len(set(made)) == 1
        settle(world, batch, made[0])
        assert client.get_batch(batch).outcomes == {"MATCHED": 6}
        assert client.get_batch(made[0]).settled == client.get_batch(made[0]).total
        world.later(days=1)


@pytest.mark.parametrize("drains", [2])
def test_drains_at_once_call_everybody_once(world: World, drains: int) -> None:
    people = world.people(60)
    runtimes = [replace(world.runtime, pool=CallPool(4)) for _ in range(drains)]
    batch = client.submit(references(people), caller="a", key="k").batch
    race(*(lambda r=r: drain(r, Lane.CMCC, lambda: False) for r in runtimes), sweep)
    settle(world, batch)
    assert {world.calls_about(person) for person in people} == {1}
