"""What stands still or breaks in one place holds nobody else up for long."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Row

from tests.engine.conftest import World
from verifier import client
from verifier.carriers.base import Answer
from verifier.errors import StoreUnavailableError
from verifier.outcomes import Lane
from verifier.store import claims
from verifier.store import engine as engines
from verifier.store.engine import transaction
from verifier.upkeep.housekeeping import keep_house
from verifier.verification import batches as whole
from verifier.verification import submit as submission
from verifier.verification.calls import CallPool
from verifier.verification.claim import claim
from verifier.verification.interactive import attend
from verifier.verification.jobs import Called, Job
from verifier.verification.runtime import new_token


def _due(connection: Connection, limit: int) -> Sequence[Row[Any]]:
    return claims.lock_due(connection, Lane.CMCC, limit)


def test_a_fault_of_our_own_costs_its_call_and_no_thread(world: World) -> None:
    pool = CallPool(1)
    pool.ensure_running()
    (person,) = world.people(1)
    client.submit([person.reference], caller="t", key="k")
    with transaction() as connection:
        found = claim(connection, world.runtime, Lane.CMCC, 1, new_token(), _due)
    results: queue.SimpleQueue[Called] = queue.SimpleQueue()

    def broken(_job: Job) -> Answer:
        raise ValueError("13800138000")

    for _ in range(2):
        pool.submit(found.jobs[0], broken, results)
        answer = results.get(timeout=30).answer
        assert isinstance(answer, Answer)
        assert (answer.outcome, answer.detail) == ("PROVIDER_ERROR", "BUG")


def test_a_worker_frozen_in_a_claim_holds_the_others_up_for_seconds_only(world: World) -> None:
    """What it has locked (the provider's pacing) is free again when PostgreSQL ends it."""
    world.people(4)
    batch = client.submit(selection="all", caller="t", key="k").batch
    world.drain()  # the pacing row is there
    world.people(4, seed=2)
    batch = client.submit(selection="unverified", caller="t", key="k2").batch
    with frozen_transaction("1s") as connection:
        claim(connection, world.runtime, Lane.CMCC, 2, new_token(), _due)
        world.drain_until(lambda: client.get_batch(batch).settled == 4)


@contextmanager
def frozen_transaction(limit: str) -> Iterator[Connection]:
    """A transaction that is begun like every other and never goes on; ``limit`` is shortened."""
    with engines.engine().connect() as connection:
        connection.begin()
        connection.exec_driver_sql(engines._BOUNDS.format(locks=60))
        connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{limit}'")
        yield connection
        connection.invalidate()


def test_a_reader_at_the_turn_of_a_month_stops_nobody(world: World) -> None:
    """Partitions are made under a lock that everybody queues behind: it is not waited for long."""
    world.people(2)
    with engines.engine().connect() as reader, reader.begin():
        reader.exec_driver_sql("SELECT count(*) FROM verifier.changes")
        world.later(days=40)
        assert keep_house()["partitions"] == 0
        batch = client.submit(selection="all", caller="t", key="k").batch
        world.drain_until(lambda: client.get_batch(batch).settled == 2)
    assert keep_house()["partitions"] > 0


def test_who_is_held_is_not_called_by_number(world: World) -> None:
    (person,) = world.people(1)
    batch = client.submit(selection="all", caller="t", key="k").batch
    whole.pause(batch, by="me", reason=None)
    (row,) = world.rows("SELECT id FROM verifier.open_verifications")
    assert attend(world.runtime, row.id, lambda: False)["called"] == 0
    assert world.calls_about(person) == 0


def test_a_key_that_another_transaction_holds_is_not_waited_for_without_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission, "_KEY_SECONDS", 1)
    world.people(1)
    with engines.engine().connect() as foreign, foreign.begin():
        foreign.exec_driver_sql("SELECT verifier.submit('shop', 'k', selection => 'all')")
        with pytest.raises(StoreUnavailableError, match="same key"):
            client.submit(selection="all", caller="shop", key="k")
    assert client.submit(selection="all", caller="shop", key="k").total == 1
