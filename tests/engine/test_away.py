"""PostgreSQL is away while somebody waits: what they wait for is not lost with a connection."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest

from tests.chaos.proxy import CommitCutter
from tests.engine.conftest import World, behind_proxy
from tests.processes import until
from verifier import client
from verifier.cli import waiting
from verifier.errors import StoreUnavailableError
from verifier.settings import database_url
from verifier.verification.interactive import attend


class Outage:
    """Ends the connections of this process to PostgreSQL, and refuses others until it is over."""

    def __init__(self, url: str) -> None:
        self.refused = 0
        self._url = url
        self._away = False

    def upstream(self, port: int) -> int:
        if not self._away:
            return port
        self.refused += 1
        return 1

    def begin(self) -> None:
        self._away = True
        direct = psycopg2.connect(self._url)
        with direct, direct.cursor() as cursor:
            cursor.execute("""
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()
            """)
        direct.close()

    def is_felt(self) -> None:
        until(lambda: self.refused >= 3, 20, "several looks in vain")

    def end(self) -> None:
        self._away = False


@pytest.fixture
def outage(world: World) -> Outage:
    return Outage(database_url().replace("postgresql+psycopg2://", "postgresql://"))


@pytest.fixture
def proxy(outage: Outage, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommitCutter]:
    with behind_proxy(monkeypatch, outage.upstream) as ready:
        yield ready
        outage.end()


@pytest.fixture
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.mark.parametrize(
    "wait", [lambda batch: client.wait(batch, timeout=60), lambda batch: waiting.wait(batch, 60)],
    ids=["client", "command line"],
)  # fmt: skip
def test_who_waits_for_a_batch_waits_for_the_database_too(
    world: World,
    outage: Outage,
    proxy: CommitCutter,
    elsewhere: ThreadPoolExecutor,
    wait: Callable[[int], client.BatchState],
) -> None:
    world.people(1)
    batch = client.submit(selection="all", caller="a", key="k").batch
    waited = elsewhere.submit(wait, batch)
    proxy.cut(1, 1.0, random.Random(1))
    until(lambda: not proxy.left, 20, "a connection lost in the middle of a look")
    outage.begin()
    outage.is_felt()
    assert not waited.done()
    outage.end()
    world.drain_until(lambda: client.get_batch(batch).settled == 1)
    assert waited.result(20).outcomes == {"MATCHED": 1}


def test_who_waits_for_one_person_hears_of_it_when_the_database_is_back(
    world: World, outage: Outage, proxy: CommitCutter, elsewhere: ThreadPoolExecutor
) -> None:
    (person,) = world.people(1)
    waited = elsewhere.submit(client.verify_one, person.reference, timeout=60)
    until(lambda: world.rows("SELECT FROM verifier.open_verifications"), 20, "the request")
    (opened,) = world.rows("SELECT id FROM verifier.open_verifications")
    outage.begin()
    outage.is_felt()
    assert not waited.done()
    outage.end()
    attend(world.runtime, opened.id, lambda: False)
    assert waited.result(20).status == "verified"


def test_a_database_that_stays_away_is_told_when_the_time_is_up(
    world: World, outage: Outage, proxy: CommitCutter, elsewhere: ThreadPoolExecutor
) -> None:
    (person,) = world.people(1)
    waited = elsewhere.submit(client.verify_one, person.reference, timeout=1)
    until(lambda: world.rows("SELECT FROM verifier.open_verifications"), 20, "the request")
    outage.begin()
    with pytest.raises(StoreUnavailableError, match="cannot be reached"):
        waited.result(20)
