"""The feed never skips a row and never shows one twice, whatever commits late or never."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from tests.feed import until_shown
from tests.processes import until
from verifier import client
from verifier.client import Change
from verifier.settings import database_url
from verifier.store import demo
from verifier.store.engine import make_engine, transaction

_WRITERS = 6
_TRANSACTIONS = 12

_SETTLE = text("""
    INSERT INTO verifier.verifications
           (id, user_id, data_version, lane, outcome, attempts, created_at)
    SELECT nextval('verifier.verification_ids'), :user, 1, 'cmcc', 'MATCHED', 1, now()
      FROM generate_series(1, :number)
    RETURNING id
""")


@pytest.fixture
def user(product: Path) -> Iterator[int]:
    with transaction() as connection:
        demo.wipe(connection)
        found: int = connection.execute(
            text("""
                INSERT INTO verifier.users (platform, reference, phone, name, id_number,
                            phone_index, id_number_index, identity_digest, contact_digest, lane)
                VALUES ('p', 'u-1', '', '', '', '', '', '', '', 'cmcc') RETURNING id
            """)
        ).scalar_one()
    yield found
    with transaction() as connection:
        demo.wipe(connection)


class _Reader:
    """Pages through the feed with small pages until told that everything is there."""

    def __init__(self, limit: int, cursor: str | None = None) -> None:
        self.seen: list[Change] = []
        self.cursor = cursor
        self._limit = limit

    def read(self, complete: threading.Event) -> list[int]:
        while True:
            last_round = complete.is_set()
            page = client.changes(self.cursor, limit=self._limit)
            assert len(page.changes) <= self._limit
            self.seen += page.changes
            self.cursor = page.cursor
            if last_round and not page.changes:
                return [change.verification for change in self.seen]


def _write(user: int, seed: int, gate: threading.Barrier) -> list[int]:
    """Transactions that overlap, take their ids early, and commit late, or not at all."""
    dice = random.Random(seed)
    engine = make_engine(database_url(), pool_size=4)
    committed: list[int] = []
    running: list[tuple[Connection, list[int]]] = []

    def end_one() -> None:
        connection, ids = running.pop(dice.randrange(len(running)))
        if dice.random() < 0.25:
            connection.rollback()
        else:
            connection.commit()
            committed.extend(ids)
        connection.close()

    try:
        for _ in range(_TRANSACTIONS):
            if len(running) == 4:
                end_one()
            connection = engine.connect()
            ids: list[int] = []
            for _ in range(dice.randint(1, 3)):
                ids += connection.scalars(
                    _SETTLE, {"user": user, "number": dice.randint(1, 5)}
                ).all()
                time.sleep(dice.random() * 0.004)  # so that writers interleave differently
            running.append((connection, ids))
            gate.wait(20)
        while running:
            end_one()
    finally:
        engine.dispose()
    return committed


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_reader_misses_or_repeats_a_row_whatever_order_writers_commit_in(
    user: int, seed: int
) -> None:
    complete = threading.Event()
    gate = threading.Barrier(_WRITERS)
    readers = [_Reader(limit) for limit in (1, 7, 1000)]
    with ThreadPoolExecutor(_WRITERS + len(readers)) as pool:
        reading = [pool.submit(reader.read, complete) for reader in readers]
        try:
            writing = [
                pool.submit(_write, user, seed * 100 + number, gate) for number in range(_WRITERS)
            ]
            committed = [found for writer in writing for found in writer.result(60)]
            until_shown()
        finally:
            complete.set()
        orders = [running.result(60) for running in reading]
    assert len(committed) > 50
    for order in orders:
        assert len(order) == len(set(order))
        assert set(order) == set(committed)
        assert order == orders[0]


def test_a_row_that_commits_late_comes_after_the_cursor_of_whoever_read_before(user: int) -> None:
    """The classical trap: a low id, a low transaction, committed after higher ones were read."""
    engine = make_engine(database_url())
    with engine.connect() as slow, engine.connect() as quick:
        late = slow.execute(_SETTLE, {"user": user, "number": 1}).scalar_one()
        early = quick.execute(_SETTLE, {"user": user, "number": 1}).scalar_one()
        quick.commit()
        assert late < early
        first = client.changes()
        assert first.changes == ()  # not yet: the slow one could still come before it
        slow.commit()
    engine.dispose()
    # Other tests' transactions may run in the same cluster for a moment.
    until(lambda: len(client.changes(first.cursor).changes) == 2, 10, "both rows")
    told = [change.verification for change in client.changes(first.cursor).changes]
    assert told == [late, early]


def test_a_transaction_that_is_rolled_back_holds_nobody_up_afterwards(user: int) -> None:
    engine = make_engine(database_url())
    with engine.connect() as doomed, engine.connect() as quick:
        doomed.execute(_SETTLE, {"user": user, "number": 3})
        kept = quick.execute(_SETTLE, {"user": user, "number": 1}).scalar_one()
        quick.commit()
        doomed.rollback()
    engine.dispose()
    until(lambda: client.changes().changes, 10, "the committed row")
    assert [change.verification for change in client.changes().changes] == [kept]
