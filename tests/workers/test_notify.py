"""Results go back, with real processes: hanging endpoints beside a batch, a killed dispatcher."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.conftest import forget
from tests.notify.receiving import Receiver
from tests.processes import kill_group
from tests.workers.conftest import Fleet, until
from verifier import client
from verifier.local import process as local_process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def shop(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with Receiver() as receiver:
        _configure("shop", receiver, monkeypatch)
        yield receiver


@pytest.fixture
def hanging(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with Receiver(status="hang") as receiver:
        _configure("aaa", receiver, monkeypatch)
        yield receiver


def _configure(name: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"SECRET_OF_{name}", receiver.secret)
    with Path(os.environ["VERIFIER_CONFIG"]).open("a", encoding="utf-8") as file:
        file.write(
            f'\n[webhooks.{name}]\nurl = "{receiver.url}"\nsecret = "env:SECRET_OF_{name}"\n'
            "timeout = 1\nmax_events = 20\n"
        )
    forget()


def _told_once_each(receiver: Receiver, batch: int) -> None:
    references = [row["reference"] for row in receiver.verifications]
    assert len(references) == len(set(references))
    done = [message.data["batch"] for message in receiver.of("batch.done")]
    assert done.count(batch) == 1  # beside the night's audit, if its hour has come


@pytest.fixture
def told(tmp_path: Path, fleet: Fleet) -> Iterator[Path]:
    """Another application's worker; the file in which its task writes what it was told."""
    path, log = tmp_path / "told.jsonl", tmp_path / "shop.log"
    with log.open("ab") as output:
        worker = local_process.spawn(
            [
                *(sys.executable, "-m", "celery", "-A", "tests.workers.foreign_shop", "worker"),
                *("-Q", "shop", "-P", "solo", "--without-gossip", "--without-mingle"),
            ],
            death_signal=signal.SIGKILL,
            output=output,
            env={**os.environ, "SHOP_TOLD": str(path)},
            cwd=Path(__file__).parents[2],
        )
    yield path
    kill_group(worker)


def test_a_hanging_endpoint_slows_no_batch_and_others_hear_of_it(
    fleet: Fleet, shop: Receiver, hanging: Receiver, told: Path
) -> None:
    people = fleet.people(120)
    fleet.worker()
    fleet.control()
    fleet.worker("notify", "notify", 1)
    # Registered before anything settles: an endpoint is told what settles from then on.
    fleet.beat()
    until(lambda: len(fleet.rows("SELECT FROM verifier.endpoints")) == 3, 30, "the endpoints' rows")
    batch = client.submit(
        selection="all", caller="t", key="k", notify="shop.on_verified", notify_queue="shop"
    ).batch
    fleet.finish(batch, 60)
    until(lambda: len(shop.verifications) == len(people), 30, "every settled verification")
    until(
        lambda: batch in [message.data["batch"] for message in shop.of("batch.done")],
        30,
        "the end of the batch",
    )
    _told_once_each(shop, batch)
    until(told.exists, 30, "the other application's task")
    (line,) = told.read_text("utf-8").splitlines()
    heard = json.loads(line)
    assert (heard["batch"], heard["outcomes"]) == (batch, {"MATCHED": 120})
    assert hanging.calls
    assert hanging.most_at_once == 1
    logged = fleet.everything_logged()
    assert shop.url not in logged
    assert shop.secret not in logged


def test_a_killed_dispatcher_costs_its_lease_and_no_event(fleet: Fleet, shop: Receiver) -> None:
    people = fleet.people(50)
    notify = fleet.worker("notify", "notify", 1)
    beat = fleet.beat()
    until(
        lambda: fleet.rows("SELECT FROM verifier.endpoints WHERE name = 'shop'"), 30, "the endpoint"
    )
    shop.status = "hang"
    fleet.worker()
    batch = client.submit(selection="all", caller="t", key="k").batch
    fleet.finish(batch)
    until(lambda: shop.calls, 30, "a call under way")
    kill_group(notify)
    leased = fleet.rows("SELECT FROM verifier.deliveries WHERE state = 'leased'")
    shop.status = 200
    second: subprocess.Popen[bytes] = fleet.worker("notify2", "notify", 1)
    fleet.control()
    until(lambda: len(shop.verifications) == len(people), 60, "every settled verification")
    until(
        lambda: batch in [message.data["batch"] for message in shop.of("batch.done")],
        30,
        "the end of the batch",
    )
    _told_once_each(shop, batch)
    assert len(leased) <= 1
    assert second.poll() is None
    assert beat.poll() is None
    until(
        lambda: not fleet.rows("SELECT FROM verifier.deliveries WHERE state <> 'delivered'"),
        20,
        "an empty outbox",
    )
