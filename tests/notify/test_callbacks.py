"""A Celery task named by the caller: sent once the batch is done, to another application."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import redis

from tests.notify.conftest import Office
from verifier import answerbell, client, doorbell
from verifier.errors import ConflictError, UsageError
from verifier.settings import broker_url

#: Whole keys; an application whose queues have no prefix would name them so.
OWN_KEYS = (doorbell.REFUSED_KEY, answerbell.key_of(7), f"{doorbell.KEY_PREFIX}control")


def _messages(queue: str, prefix: str = "vp:") -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(headers, kwargs) of every message in a queue."""
    with redis.Redis.from_url(broker_url()) as broker:
        stored: list[Any] = broker.lrange(f"{prefix}{queue}", 0, -1)
    documents = [json.loads(one) for one in stored]
    return [(d["headers"], json.loads(base64.b64decode(d["body"]))[1]) for d in documents]


def test_the_task_is_sent_when_the_batch_is_done_with_what_became_of_it(office: Office) -> None:
    office.configure()
    batch = office.batch(3, notify="shop.tasks.on_verified", notify_queue="shop")
    office.dispatch()
    assert _messages("shop") == []
    office.settle(lambda _: "MISMATCHED")
    office.dispatch()
    ((headers, arguments),) = _messages("shop")
    (row,) = office.deliveries("celery")
    assert headers["task"] == "shop.tasks.on_verified"
    assert headers["id"] == str(row.message_id)
    assert arguments["batch"] == batch
    assert (arguments["caller"], arguments["key"]) == ("t", "k1")
    assert (arguments["total"], arguments["outcomes"]) == (3, {"MISMATCHED": 3})
    office.dispatch()
    assert len(_messages("shop")) == 1


def test_a_broker_that_is_away_is_waited_for(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWAY", "redis://127.0.0.1:1/0")
    office.table("callbacks", {"broker_url": "env:AWAY"})
    office.batch(1, notify="shop.done")
    office.settle()
    for _ in range(2):
        office.dispatch()
        office.later(minutes=10)
    (row,) = office.deliveries("celery")
    assert (row.state, row.tries, row.error) == ("waiting", 2, "broker")
    monkeypatch.setenv("AWAY", broker_url())
    office.table("callbacks", {"broker_url": "env:AWAY", "key_prefix": ""})
    office.dispatch()
    ((headers, _),) = _messages("celery", prefix="")  # Celery's own default queue
    assert headers["id"] == str(row.message_id)


def test_an_empty_batch_and_a_cancelled_one_are_told_too(office: Office) -> None:
    office.configure()
    empty = client.submit(["nobody"], caller="t", key="none", notify="shop.done").batch
    from verifier.verification import batches

    cancelled = office.batch(2, notify="shop.done")
    batches.cancel(cancelled)
    office.settle()
    office.dispatch()
    told = {arguments["batch"]: arguments for _, arguments in _messages("celery")}
    assert set(told) == {empty, cancelled}
    assert told[cancelled]["cancelled"] is True
    assert told[empty]["unknown"] == 1


def test_the_same_key_with_another_task_is_another_request(office: Office) -> None:
    client.submit(["nobody"], caller="t", key="k", notify="shop.done")
    client.submit(["nobody"], caller="t", key="k", notify="shop.done", notify_queue="celery")
    with pytest.raises(ConflictError):
        client.submit(["nobody"], caller="t", key="k", notify="shop.undone")
    with pytest.raises(ConflictError):
        client.submit(["nobody"], caller="t", key="k")


@pytest.mark.parametrize(
    ("task", "queue"),
    [
        ("verifier.sweep", "shop"),
        ("verifier.submit", None),
        ("celery.backend_cleanup", "shop"),
        ("workers.app.x", "shop"),
        ("", "shop"),
        ("shop done", "shop"),
        ("shop\n.done", "shop"),
        ("x" * 201, "shop"),
        (7, "shop"),
        ("shop.done", ""),
        ("shop.done", "unacked"),
        ("shop.done", "unacked_index"),
        ("shop.done", "_kombu.binding.control"),
        ("shop.done", "celery.pidbox"),
        ("shop.done", "shop\x06\x163"),
        ("shop.done", "verify.new"),
        *(("shop.done", key) for key in OWN_KEYS),
        *(("shop.done", key.removeprefix(doorbell.KEY_PREFIX)) for key in OWN_KEYS),
        *(("shop.done", queue) for queue in doorbell.QUEUES),
        (None, "shop"),
    ],
)
def test_nobody_can_make_us_ring_ourselves(office: Office, task: Any, queue: Any) -> None:
    with pytest.raises(UsageError):
        client.submit(["nobody"], caller="t", key="k", notify=task, notify_queue=queue)
    assert office.rows("SELECT FROM verifier.batches") == []
