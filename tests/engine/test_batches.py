"""Batches: nobody is dropped, nobody is verified twice for one request, whatever comes together."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.engine.conftest import World, as_row
from verifier import client
from verifier.errors import ConflictError, NotFoundError, UsageError, WaitTimeoutError
from verifier.sandbox.people import Fate
from verifier.store import batches, holding, loading
from verifier.store.engine import transaction
from verifier.upkeep import sweep
from verifier.verification import batches as whole
from verifier.verification import submit as submission
from verifier.verification.submit import Request


def test_the_same_key_and_request_is_the_same_batch(world: World) -> None:
    references = [p.reference for p in world.people(3)]
    first = client.submit(references, caller="shop", key="k")
    again = client.submit(list(reversed(references)), caller="shop", key="k")
    assert (again.batch, again.new, first.new) == (first.batch, False, True)
    with pytest.raises(ConflictError, match="already used"):
        client.submit(references[:2], caller="shop", key="k")
    assert client.submit(references, caller="other", key="k").batch != first.batch


def test_a_user_in_two_batches_is_called_once_and_counted_in_both(world: World) -> None:
    people = world.people(4)
    first = client.submit(selection="all", caller="a", key="k").batch
    second = client.submit([p.reference for p in people[:2]], caller="b", key="k").batch
    world.drain_until(lambda: client.get_batch(first).settled == 4)
    assert client.get_batch(second).settled == 2
    assert {world.calls_about(p) for p in people} == {1}


def test_submitting_while_others_settle_drops_nobody(world: World) -> None:
    people = world.people(60)
    references = [p.reference for p in people]
    first = client.submit(references, caller="a", key="k").batch

    def submit_more(number: int) -> int:
        return client.submit(references, caller=f"c{number}", key="k").batch

    with ThreadPoolExecutor(4) as pool:
        running = pool.submit(
            world.drain_until, lambda: client.get_batch(first).settled == len(people)
        )
        more = list(pool.map(submit_more, range(4)))
        running.result()
    # Each person may be billed twice a day; what the third request wants waits for tomorrow.
    for _ in range(4):
        world.drain()
        world.later(days=1)
    for batch in (first, *more):
        world.drain_until(_settled(batch, len(people)))
        assert client.get_batch(batch).outcomes == {"MATCHED": len(people)}


def _settled(batch: int, number: int) -> Callable[[], bool]:
    return lambda: client.get_batch(batch).settled == number


def test_unknown_references_are_counted_and_listed_and_the_rest_goes_in(world: World) -> None:
    (person,) = world.people(1)
    done = client.submit([person.reference, "nobody-1", "nobody-2"], caller="a", key="k")
    assert (done.total, done.unknown_count) == (1, 2)
    assert done.unknown == (("default", "nobody-1"), ("default", "nobody-2"))


def test_a_batch_that_meets_nobody_is_done_at_once(world: World) -> None:
    done = client.submit(selection="failed", caller="a", key="k")
    assert client.wait(done.batch, timeout=20).done


def test_a_half_loaded_batch_is_finished_by_the_sweep(world: World) -> None:
    world.people(7)
    request = Request(selection="all")
    with transaction() as connection:
        row, _ = batches.create(
            connection,
            caller="a",
            key="k",
            digest=request.digest(),
            selection="{}",
            priority=2,
            deadline_hours=24,
            label=None,
            rerun_of=None,
        )
        loading.take_snapshot(connection, row.id, "all", {})
    with transaction() as connection:
        assert loading.load_chunk(connection, row.id, 3)
    assert client.get_batch(row.id).state == "loading"
    sweep.sweep()
    assert client.get_batch(row.id).state == "open"
    assert len(world.rows("SELECT FROM verifier.open_verifications")) == 7
    assert submission.submit("a", "k", request).new is False


def test_a_selection_is_a_snapshot(world: World) -> None:
    world.people(3)
    batch = client.submit(selection="unverified", caller="a", key="k").batch
    world.people(2, seed=2)
    assert client.get_batch(batch).total == 3


def test_cancelling_ends_what_waits_and_leaves_what_others_want(world: World) -> None:
    people = world.people(6)
    mine = client.submit([p.reference for p in people], caller="a", key="k").batch
    theirs = client.submit([people[0].reference], caller="b", key="k").batch
    assert whole.cancel(mine) == 6
    state = client.wait(mine, timeout=20)
    assert (state.state, state.outcomes, state.cancelled) == ("done", {"CANCELLED": 6}, True)
    world.drain_until(_settled(theirs, 1))
    assert client.get(people[0].reference).status == "verified"
    assert client.get(people[1].reference).status == "unverified"
    assert world.calls_about(people[1]) == 0
    assert client.get_batch(mine).settled == 6


def test_cancel_against_record_counts_everybody_exactly_once(world: World) -> None:
    people = world.people(40)
    world.sandbox.client.settings(latency_ms=20)
    batch = client.submit(selection="all", caller="a", key="k").batch
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(world.drain)
        while client.get_batch(batch).settled == 0:
            assert not running.done() or client.get_batch(batch).settled
        whole.cancel(batch)
        running.result()
    sweep.sweep()
    state = client.wait(batch, timeout=20)
    assert state.settled == state.total == len(people)
    assert set(state.outcomes) <= {"MATCHED", "CANCELLED"}
    settled = world.one("SELECT count(*) AS number FROM verifier.verifications").number
    assert settled == len(people)
    assert world.rows("SELECT FROM verifier.open_verifications") == []


def test_a_paused_batch_is_not_called_and_goes_on_when_resumed(world: World) -> None:
    people = world.people(3)
    batch = client.submit(selection="all", caller="a", key="k").batch
    assert whole.pause(batch, by="op", reason="test") == 3
    world.drain()
    assert client.get(people[0].reference).reason == "paused"
    assert world.calls_about(people[0]) == 0
    # Somebody else who wants the same user is not held up by our pause.
    client.submit([people[1].reference], caller="b", key="k")
    world.drain_until(lambda: client.get(people[1].reference).status == "verified")
    assert whole.resume(batch) == 2
    world.drain_until(_settled(batch, 3))


def test_a_rerun_keeps_its_link_and_takes_only_what_failed(world: World) -> None:
    world.people(2)
    world.people(2, fate=Fate.WRONG_NAME)
    batch = client.submit(selection="all", caller="a", key="k").batch
    world.drain_until(_settled(batch, 4))
    rerun = whole.rerun(batch, only="failed", caller="cli", key="again")
    assert (rerun.submitted.total, rerun.due_now) == (2, None)
    row = world.one(
        "SELECT rerun_of FROM verifier.batches WHERE id = :id", id=rerun.submitted.batch
    )
    assert row.rerun_of == batch


def test_a_rerun_of_what_waits_makes_it_due_at_once(world: World) -> None:
    world.people(2)
    batch = client.submit(selection="all", caller="a", key="k").batch
    world.execute(
        "UPDATE verifier.open_verifications SET reason = 'retry', due_at = due_at + '1 hour'"
    )
    assert client.get_batch(batch).waiting == {"retry": 2}
    rerun = whole.rerun(batch, only="waiting", caller="cli", key="again")
    assert (rerun.submitted.total, rerun.due_now) == (2, 2)
    world.drain_until(_settled(batch, 2))
    assert client.get_batch(rerun.submitted.batch).settled == 2


def test_a_cancelled_batch_is_ended_by_the_sweep_if_its_canceller_died(world: World) -> None:
    world.people(3)
    batch = client.submit(selection="all", caller="a", key="k").batch
    with transaction() as connection:
        holding.mark_cancelled(connection, batch)
    assert sweep.sweep()["cancelled"] == 3
    assert client.get_batch(batch).done


def test_what_does_not_exist_cannot_be_held_or_run_again(world: World) -> None:
    for act in (
        lambda: whole.cancel(404),
        lambda: whole.pause(404, by="op", reason=None),
        lambda: whole.resume(404),
        lambda: whole.rerun(404, caller="cli", key="k"),
    ):
        with pytest.raises(NotFoundError, match="404"):
            act()


def test_asking_about_one_batch_finishes_no_other(world: World) -> None:
    world.people(1)
    first = client.submit(selection="all", caller="a", key="k").batch
    second = client.submit(selection="all", caller="b", key="k").batch
    world.execute(
        "INSERT INTO verifier.batch_tallies (batch_id, outcome, count) "
        "SELECT id, 'MATCHED', 1 FROM verifier.batches"
    )
    with transaction() as connection:
        assert batches.finish_completed(connection, first) == 1
    assert (client.get_batch(first).state, client.get_batch(second).state) == ("done", "open")
    with transaction() as connection:
        assert batches.finish_completed(connection) == 1


def test_waiting_has_an_end(world: World) -> None:
    world.people(1)
    batch = client.submit(selection="all", caller="a", key="k").batch
    with pytest.raises(WaitTimeoutError, match="goes on"):
        client.wait(batch, timeout=0.1)
    with pytest.raises(NotFoundError):
        client.wait(999_999, timeout=0.1)


@pytest.mark.parametrize("selection", ["rerun", "audit", "everybody", ""])
def test_a_caller_may_choose_only_the_documented_selections(world: World, selection: str) -> None:
    with pytest.raises(UsageError):
        client.submit(selection=selection, caller="a", key="k")


def test_tallies_are_folded_without_changing_a_count(world: World) -> None:
    world.people(20)
    batch = client.submit(selection="all", caller="a", key="k").batch
    world.drain_until(_settled(batch, 20))
    for _ in range(20):
        world.execute(
            "INSERT INTO verifier.batch_tallies (batch_id, outcome, count) "
            "VALUES (:b, 'MATCHED', 0)",
            b=batch,
        )
    before = client.get_batch(batch).outcomes
    with transaction() as connection:
        assert batches.fold_tallies(connection) >= 19
    assert client.get_batch(batch).outcomes == before


def test_cancelling_one_batch_never_ends_what_another_joins_meanwhile(world: World) -> None:
    references = [p.reference for p in world.people(40)]
    for number in range(4):
        mine = client.submit(references, caller="a", key=f"k{number}").batch
        with transaction() as connection:
            holding.mark_cancelled(connection, mine)
        with ThreadPoolExecutor(3) as pool:
            cancellers = [pool.submit(sweep.sweep), pool.submit(sweep.sweep)]
            joined = pool.submit(client.submit, references, caller="b", key=f"k{number}").result()
            for canceller in cancellers:
                canceller.result()
        sweep.sweep()
        state = client.get_batch(mine)
        assert (state.settled, state.total, state.state) == (40, 40, "done")
        theirs = client.get_batch(joined.batch)
        assert "CANCELLED" not in theirs.outcomes
        assert sum(theirs.waiting.values()) == 40
        with transaction() as connection:
            holding.mark_cancelled(connection, joined.batch)
        sweep.sweep()
        assert client.get_batch(joined.batch).outcomes == {"CANCELLED": 40}
    ended = world.one("SELECT count(*) AS number FROM verifier.verifications").number
    assert ended == 4 * 2 * 40


def test_what_only_a_paused_batch_wants_stays_held_when_another_is_cancelled(world: World) -> None:
    references = [p.reference for p in world.people(2)]
    paused = client.submit(references, caller="a", key="k").batch
    other = client.submit(references, caller="b", key="k").batch
    with transaction() as connection:
        assert holding.pause(connection, paused, by="op", reason=None) == 0
        holding.mark_cancelled(connection, other)
    sweep.sweep()
    assert [row.held for row in world.rows("SELECT held FROM verifier.open_verifications")] == [
        True,
        True,
    ]
    third = client.submit(references[:1], caller="c", key="k").batch
    assert client.get(references[0]).reason == "new"
    with transaction() as connection:
        holding.mark_cancelled(connection, third)
    sweep.sweep()
    assert client.get(references[0]).reason == "paused"


@pytest.mark.parametrize(
    "options",
    [
        {"deadline_hours": 1e8},
        {"deadline_hours": float("nan")},
        {"deadline_hours": float("inf")},
        {"deadline_hours": -5},
        {"deadline_hours": 1.4},
        {"deadline_hours": True},
        {"deadline_hours": "13812345678"},
        {"priority": "urgent"},
        {"priority": "interactive"},
        {"priority": ["high"]},
        {"references": None, "selection": "audit"},
        {"references": None, "selection": "13812345678"},
        {"references": "13812345678"},
        {"key": "for 13812345678"},
        {"caller": "someone@example.com"},
        {"label": "11010119900307563X"},
        {"label": "x" * 300},
        {"key": "a\x00b"},
        {"references": ["13812345678"]},
        {"references": [42]},
        {"references": ["a\x00b"]},
    ],
    ids=str,
)
def test_what_would_stop_a_lane_or_leak_is_refused_and_not_quoted(
    world: World, options: dict[str, Any]
) -> None:
    request = {"references": ["u-1"], "caller": "a", "key": "k", **options}
    with pytest.raises(UsageError) as caught:
        client.submit(**request)
    for secret in ("13812345678", "someone@example.com", "11010119900307563X"):
        assert secret not in str(caught.value)
    assert world.rows("SELECT FROM verifier.batches") == []


def test_a_whole_number_of_hours_is_one_however_it_is_written(world: World) -> None:
    (person,) = world.people(1)
    asked: dict[str, Any] = {"references": [person.reference], "caller": "a", "key": "k"}
    assert client.submit(**asked, deadline_hours=24.0).new  # type: ignore[arg-type]
    assert not client.submit(**asked, deadline_hours=24).new
    with pytest.raises(ConflictError):
        client.submit(**asked, deadline_hours=25)


def test_who_is_verified_before_a_batch_is_loaded_is_not_asked_about_again(world: World) -> None:
    """A large batch takes time to load; the audit's batch had the same people, and was quicker."""
    people = world.people(4)
    late = _half_made(world, "late")
    client.submit(selection="unverified", caller="audit", key="first")
    world.drain()
    submission.load(late)
    assert {world.calls_about(person) for person in people} == {1}
    state = client.get_batch(late)
    assert (state.state, state.settled, state.outcomes) == ("done", 4, {"MATCHED": 4})


def test_who_is_verified_and_then_changed_before_a_batch_is_loaded_is_asked_again(
    world: World,
) -> None:
    (person,) = world.people(1)
    late = _half_made(world, "late")
    client.submit(selection="unverified", caller="audit", key="first")
    world.drain()
    (other,) = world.people(1, seed=2)
    client.put_users([{**as_row(other), "reference": person.reference}])
    submission.load(late)
    world.drain()
    assert client.get_batch(late).outcomes == {"MATCHED": 1}
    assert world.calls_about(other) == 1


def _half_made(world: World, key: str) -> int:
    """A batch of everybody unverified, as it stands when its maker dies after the snapshot."""
    with transaction() as connection:
        row, _ = batches.create(
            connection,
            caller="t",
            key=key,
            digest=b"x" * 32,
            selection="{}",
            priority=2,
            deadline_hours=24,
            label=None,
            rerun_of=None,
        )
        loading.take_snapshot(connection, row.id, "unverified", {})
    return int(row.id)


def test_an_answer_that_is_not_in_the_history_is_asked_for_again_and_only_that_one(
    world: World,
) -> None:
    kept, lost = world.people(2)
    late = _half_made(world, "late")
    client.submit(selection="unverified", caller="audit", key="first")
    world.drain()
    world.execute(
        "DELETE FROM verifier.verifications v USING verifier.users u "
        "WHERE u.id = v.user_id AND u.reference = :reference",
        reference=lost.reference,
    )
    submission.load(late)
    assert client.get_batch(late).settled == 1
    world.drain()
    assert (world.calls_about(kept), world.calls_about(lost)) == (1, 2)
    state = client.get_batch(late)
    assert (state.state, state.outcomes) == ("done", {"MATCHED": 2})
    assert world.rows("SELECT id FROM verifier.verifications GROUP BY id HAVING count(*) > 1") == []


def test_a_sweep_leaves_a_batch_that_somebody_loads_to_them(world: World) -> None:
    world.people(2)
    stuck = _half_made(world, "stuck")
    other = _half_made(world, "other")
    with transaction() as connection:
        assert batches.lock(connection, stuck) is not None
        assert sweep.sweep()["loaded"] == 2
        states = {row.id: row.state for row in world.rows("SELECT id, state FROM verifier.batches")}
    assert states == {stuck: "loading", other: "open"}
