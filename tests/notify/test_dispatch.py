"""Dispatchers: several at once, killed, frozen; endpoints that hang beside ones that work."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import structlog.testing
from sqlalchemy import text

from tests.notify.conftest import Office
from tests.processes import until
from verifier.notify import content
from verifier.notify import dispatch as dispatching
from verifier.notify.policy import Answer
from verifier.notify.webhook import Webhook
from verifier.store import deliveries, outbox
from verifier.store.engine import transaction
from verifier.upkeep.sweep import sweep


def _lease(token: int, seconds: float = 30.0, *names: str) -> list[int]:
    with transaction() as connection:
        rows = deliveries.lease(
            connection,
            token=token,
            lease_seconds=dict.fromkeys(names or ("shop",), seconds),
            limit=8,
            limit_failing=4,
        )
    return [row.id for row in rows]


def test_many_dispatchers_at_once_never_call_an_endpoint_twice_at_once(office: Office) -> None:
    shop = office.receiver(max_events=1, events=["verification.settled"])
    mill = office.receiver("mill", max_events=3)
    office.batch(24)
    office.settle()
    with ThreadPoolExecutor(4) as pool:
        for running in [pool.submit(office.dispatch) for _ in range(8)]:
            running.result(30)
    office.dispatch()
    assert (shop.most_at_once, mill.most_at_once) == (1, 1)
    assert set((shop.calls + mill.calls).values()) == {1}
    assert len(shop.verifications) == len(mill.verifications) == 24


def test_leasing_is_one_delivery_an_endpoint_whoever_comes(office: Office) -> None:
    office.receiver(max_events=1, events=["verification.settled"])
    office.batch(6)
    office.settle()
    with transaction() as connection:
        while outbox.cut_settled(connection, 20):
            pass
    barrier = threading.Barrier(6)

    def race(token: int) -> list[int]:
        barrier.wait()
        return _lease(token)

    with ThreadPoolExecutor(6) as pool:
        leased = list(pool.map(race, range(1, 7)))
    assert sorted(map(len, leased)) == [0, 0, 0, 0, 0, 1]
    assert _lease(9) == []


def test_what_a_dead_dispatcher_held_is_sent_when_its_lease_ends(office: Office) -> None:
    shop = office.receiver(events=["batch.done"])
    office.batch(1)
    office.settle()
    (held,) = _lease(1, seconds=0.6)
    assert office.dispatch() == {}
    until(lambda: office.dispatch(), 20, "the lease to end")
    assert len(shop.messages) == 1
    with transaction() as connection:  # its late word changes nothing
        assert not deliveries.delivered(connection, held, token=1)
        late = deliveries.failed(
            connection,
            held,
            token=1,
            error="late",
            status=None,
            again_seconds=1,
            endpoint_seconds=1,
            give_up_hours=1,
        )
    assert late is None
    (row,) = office.deliveries()
    assert (row.state, row.tries) == ("delivered", 2)


def test_endpoints_that_hang_harm_nobody(office: Office) -> None:
    """More of them than there are threads, after they failed once: the one that works is told all
    the same, while they hang."""
    hanging = [
        office.receiver(f"hang{number}", timeout=30, events=["batch.done"])
        for number in range(dispatching.THREADS + 2)
    ]
    for one in hanging:
        one.statuses, one.status = [500], "hang"
    shop = office.receiver("zzz", max_events=2)
    office.batch(2, seed=1)
    office.settle()
    until(lambda: office.dispatch() and shop.verifications, 20, "the first events")
    assert all(one.calls.total() == 1 for one in hanging)
    office.later(seconds=60)  # every endpoint may be called again
    office.batch(8, seed=2)
    office.settle()
    runner = threading.Thread(target=office.dispatch)
    runner.start()
    until(lambda: len(shop.verifications) == 10, 25, "the others' events while ten hang")
    assert runner.is_alive()
    assert all(one.calls.total() <= 2 for one in hanging)  # and none of them has ended
    for one in hanging:
        one.server.stopping.set()
    runner.join(30)
    assert all(one.most_at_once == 1 for one in hanging)


def test_a_delivery_that_cannot_be_prepared_harms_no_other(office: Office) -> None:
    shop = office.receiver(events=["batch.done"])
    mill = office.receiver("mill", events=["batch.done"])
    for seed in (1, 2):
        office.batch(1, seed=seed)
        office.settle()
    poisoned, _ = office.deliveries()
    with transaction() as connection:
        connection.execute(
            text("UPDATE verifier.deliveries SET payload = :payload WHERE id = :id"),
            {"payload": '{"name": "13800138000"}', "id": poisoned.id},
        )
    with structlog.testing.capture_logs() as logs:
        assert office.dispatch() == {"again": 1, "delivered": 2}
        office.later(seconds=2)
        office.dispatch()
    assert (len(shop.messages), len(mill.messages)) == (1, 2)
    found, sound = office.deliveries()
    assert (found.state, found.error, found.tries) == ("waiting", "content", 1)
    assert (sound.state, sound.tries) == ("delivered", 1)
    (line,) = [entry for entry in logs if entry["event"] == "delivery cannot be told"]
    assert (line["delivery"], line["type"]) == (poisoned.id, "KeyError")


def test_a_call_that_breaks_leaves_the_others_recorded(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = office.receiver(events=["batch.done"])
    mill = office.receiver("mill", events=["batch.done"])
    send = Webhook.send

    def broken(self: Webhook, *arguments: Any) -> Answer:
        if self.name == "mill":
            raise RuntimeError("13800138000")
        return send(self, *arguments)

    monkeypatch.setattr(Webhook, "send", broken)
    office.batch(1)
    office.settle()
    with structlog.testing.capture_logs() as logs:
        assert office.dispatch() == {"again": 1, "delivered": 1}
    assert (len(shop.messages), len(mill.messages)) == (1, 0)
    assert [row.error for row in office.deliveries("mill")] == ["content"]
    assert "RuntimeError" in str(logs)
    assert "13800138000" not in str(logs)


def test_an_event_that_nobody_knows_is_no_overdue_one(office: Office) -> None:
    unknown: Any = SimpleNamespace(event="user.forgotten", payload={"late": []})
    with transaction() as connection, pytest.raises(ValueError, match=r"user\.forgotten"):
        content.data_of(connection, unknown, [])


def test_the_feed_is_not_cut_again_and_again_while_a_call_hangs(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = office.receiver(timeout=1.5)
    shop.status = "hang"
    office.batch(1)
    office.settle()
    cuts = []
    cut_settled = outbox.cut_settled

    def counted(*arguments: Any) -> int:
        cuts.append(cut_settled(*arguments))
        return cuts[-1]

    monkeypatch.setattr(outbox, "cut_settled", counted)
    office.dispatch()
    assert cuts == [1, 0, 0]  # at first, what was left then, and after the call


def test_cutting_twice_at_once_tells_nobody_twice(office: Office) -> None:
    office.receiver(max_events=2, events=["verification.settled"])
    office.batch(12)
    office.settle()
    barrier = threading.Barrier(4)

    def cut_once() -> int:
        with transaction() as connection:
            return outbox.cut_settled(connection, 20)

    def cut(_: int) -> None:
        barrier.wait()
        for _ in range(6):
            cut_once()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(cut, range(4)))
    while cut_once():  # whoever found another at it left it to them
        pass
    assert sum(row.events for row in office.deliveries()) == 12


def test_a_dispatcher_that_stands_still_holds_up_nobody_who_has_something_to_tell(
    office: Office,
) -> None:
    office.receiver()
    office.batch(2, seed=1, deadline_hours=1)
    office.settle()
    with transaction() as connection:
        outbox.cut_settled(connection, 20)
        leased = deliveries.lease(
            connection, token=1, lease_seconds={"shop": 30.0}, limit=8, limit_failing=4
        )
        assert leased  # and here it is frozen, its locks in hand
        office.batch(2, seed=2, deadline_hours=1)
        office.later(hours=2)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(sweep).result(10)["escalated"] == 2
            pool.submit(office.settle, shown=False).result(10)
    assert {row.event for row in office.deliveries()} == {
        "verification.settled", "verification.overdue", "batch.done",
    }  # fmt: skip


def test_after_a_restore_into_another_cluster_the_feed_goes_on(office: Office) -> None:
    shop = office.receiver()
    with transaction() as connection:
        connection.execute(
            text("UPDATE verifier.endpoints SET cursor_xid = '4611686018427387904'::xid8")
        )
    office.configure()
    office.batch(2)
    office.settle()
    office.dispatch()
    assert len(shop.verifications) == 2
