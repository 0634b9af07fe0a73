"""Rubbish in the broker, tried on real workers: none dies, none stalls, none repeats what it read.

After every kind of rubbish the *same* processes serve a real request within seconds.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.processes import LANE_QUEUES
from tests.workers import rubbish
from tests.workers.conftest import Fleet, children_of, until
from tests.workers.rubbish import ID_NUMBER, NAME, PERSON, PHONE, REFUSED, message, written
from verifier import client
from verifier.doorbell import REFUSED_KEY
from verifier.settings import broker_url

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

QUEUES = ("control", "interactive", *LANE_QUEUES.split(","))


class Victim:
    """A worker of every queue, and what was told of it before the rubbish came."""

    def __init__(self, fleet: Fleet, broker: redis.Redis) -> None:
        self.fleet = fleet
        self.broker = broker
        self.waiting = fleet.people(3)
        self._start: Callable[[], subprocess.Popen[bytes]] = lambda: fleet.worker(
            "victim", ",".join(QUEUES), 2
        )
        self.process = self._start()
        self.children = children_of(self.process.pid)

    def put(self, queue: str, *raw: bytes) -> None:
        for start in range(0, len(raw), 5_000):
            self.broker.lpush(f"vp:{queue}", *raw[start : start + 5_000])

    def serves_as_before(self, seconds: float = 20) -> None:
        """The same processes answer a request made through each of the two queues."""
        person = self.waiting.pop()
        self.put("interactive", written(message("verifier.verify_one", reference=person.reference)))
        until(lambda: client.get(person.reference).status == "verified", seconds, "a verdict")
        self.fleet.execute("DELETE FROM verifier.canaries")
        self.put("control", written(message("verifier.canary", queue="control")))
        until(lambda: self.fleet.rows("SELECT FROM verifier.canaries"), seconds, "the canary")
        assert self.process.poll() is None
        assert children_of(self.process.pid) == self.children

    def refused(self, queue: str = "control") -> int:
        return int(self.broker.hget(REFUSED_KEY, queue) or 0)

    def lines(self, event: str) -> list[dict[str, Any]]:
        found = [line for line in self.fleet.log("victim").splitlines() if event in line]
        return [json.loads(line) for line in found]

    def assert_told_nothing_personal(self) -> None:
        logged = self.fleet.everything_logged()
        for secret in (PHONE, NAME, NAME.encode().hex(), ID_NUMBER, "\\u6b27"):
            assert secret not in logged
        for traces in ("Traceback", '"level": "error"', '"level": "critical"'):
            assert traces not in logged

    def memory(self) -> int:
        """Megabytes that the worker's parent holds."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("utf-8")
        return int(status.partition("VmRSS:")[2].split()[0]) // 1024


@pytest.fixture
def broker(fleet: Fleet) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(broker_url()) as connected:
        yield connected


@pytest.fixture
def victim(fleet: Fleet, broker: redis.Redis) -> Victim:
    return Victim(fleet, broker)


def test_every_malformed_message_is_dropped_with_one_line_and_without_its_content(
    victim: Victim,
) -> None:
    """Each where it would be met alone, so that each has a line of its own."""
    expected: Counter[tuple[str, int]] = Counter()
    for raw, reason in REFUSED.values():
        victim.put("control", raw)
        expected[reason, len(raw)] += 1
        until(lambda: victim.refused() == expected.total(), 10, "the message to be refused")

    def told() -> Counter[tuple[str, int]]:
        refused = victim.lines("message refused")
        assert all(line["queue"] == "control" for line in refused)
        assert all(line["level"] == "warning" for line in refused)
        return Counter((line["reason"], line["bytes"]) for line in refused)

    assert told() == expected
    victim.serves_as_before()
    victim.assert_told_nothing_personal()


def test_nobody_can_command_a_worker_by_headers_or_by_broadcast(victim: Victim) -> None:
    """Not by time limits of a millisecond, reply queues and many retries, nor by "shut down"."""
    messages = rubbish.harmless()
    victim.put("control", *messages)
    until(lambda: len(victim.lines("celery.app.trace")) >= len(messages), 20, "all to be served")
    assert "refused" not in victim.fleet.log("victim")
    number = broker_url().rpartition("/")[2]
    order = json.dumps(
        {
            "body": rubbish.body({"method": "shutdown", "arguments": {}}),
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": {},
            "properties": {"delivery_info": {}, "body_encoding": "base64", "delivery_tag": "1"},
        }
    )
    for channel in ("celery.pidbox", "celeryev"):
        for prefix in ("vp:", ""):
            assert victim.broker.publish(f"{prefix}/{number}.{channel}", order) == 0
    victim.serves_as_before()
    victim.assert_told_nothing_personal()
    assert not [key for key in victim.broker.keys("*") if PHONE.encode() in key]


def test_a_hundred_thousand_pieces_of_rubbish_hold_nobody_up(victim: Victim) -> None:
    piece = written({**PERSON, "body": "x" * 100})
    victim.put("control", *[piece] * 100_000)
    victim.put("verify.cmcc\x06\x163", *[piece] * 1_000)  # a priority is a key of its own
    victim.serves_as_before(30)
    until(lambda: not victim.broker.exists("vp:verify.cmcc\x06\x163"), 10, "the other key")
    assert victim.refused() == 100_000
    assert len(victim.fleet.log("victim").splitlines()) < 2_000
    victim.assert_told_nothing_personal()


def test_sound_messages_among_rubbish_are_all_served(victim: Victim) -> None:
    sound = [written(message("verifier.canary", queue=queue)) for queue in QUEUES]
    mixed = [raw for one in sound for raw in (b"rubbish", one, b"{}", b"more")]
    victim.put("control", *mixed)
    until(
        lambda: len(victim.fleet.rows("SELECT FROM verifier.canaries")) == len(QUEUES),
        20,
        "every canary",
    )
    victim.serves_as_before()


def test_messages_of_fifty_megabytes_are_dropped_and_the_memory_given_back(
    victim: Victim,
) -> None:
    victim.serves_as_before()
    before = victim.memory()
    piece = (PHONE * 5_000_000)[: 50 * 2**20].encode()
    for _ in range(3):
        victim.broker.lpush("vp:control", piece)
    victim.serves_as_before()
    told = victim.lines("message refused")  # one line or more: some came while others were swept
    assert {(line["reason"], line["bytes"]) for line in told} == {("too large", len(piece))}
    assert victim.refused() == 3
    assert victim.memory() < before + 40
    victim.assert_told_nothing_personal()


def test_keys_of_another_type_are_removed(fleet: Fleet, broker: redis.Redis) -> None:
    """Before the worker starts, and while it runs."""

    def spoil(*, also: tuple[str, ...] = ()) -> None:
        broker.set("vp:control", PHONE)
        broker.hset("vp:interactive", "person", PHONE)
        broker.sadd("vp:verify.cmcc\x06\x169", NAME)
        broker.set("vp:unacked", PHONE)
        broker.set("vp:unacked_index", PHONE)
        broker.set(REFUSED_KEY, PHONE)
        for key in also:
            broker.set(key, PHONE)

    spoil(also=tuple(f"vp:_kombu.binding.{name}" for name in ("", "control", "interactive")))
    victim = Victim(fleet, broker)
    wanted = {b"vp:control", b"vp:interactive", b"vp:verify.cmcc\x06\x169"}
    until(lambda: not wanted & set(broker.keys()), 20, "the keys to be removed")
    victim.serves_as_before()
    spoil()
    until(lambda: not wanted & set(broker.keys()), 20, "the keys to be removed again")
    victim.serves_as_before()
    victim.assert_told_nothing_personal()


def test_poisoned_records_of_unacknowledged_messages_are_forgotten(
    fleet: Fleet, broker: redis.Redis
) -> None:
    for number, record in enumerate(
        (PHONE, NAME, "[]", json.dumps([PERSON, {}, 1]), json.dumps([[PHONE], "", "control"]))
    ):
        broker.hset("vp:unacked", f"tag-{number}", record)
        broker.zadd("vp:unacked_index", {f"tag-{number}": number})
    restorable = json.dumps([message("verifier.canary", queue="interactive"), "", "control"])
    broker.hset("vp:unacked", "sound", restorable)
    broker.zadd("vp:unacked_index", {"sound": 3})
    fleet.execute("DELETE FROM verifier.canaries")
    victim = Victim(fleet, broker)
    until(lambda: fleet.rows("SELECT FROM verifier.canaries"), 20, "the sound one to be served")
    until(lambda: not broker.exists("vp:unacked"), 20, "the others to be forgotten")
    victim.serves_as_before()
    victim.assert_told_nothing_personal()


WRONG: tuple[Any, ...] = (None, True, -1, 2**70, 1.5, "", NAME, PHONE, "\x00", [], [PERSON], PERSON)


def test_arguments_of_the_wrong_type_fail_their_task_alone(victim: Victim) -> None:
    """Every argument of every task of ours, with everything that it is not."""
    arguments = {
        "verifier.drain": ("lane",),
        "verifier.submit": (
            *("key", "caller", "references", "selection", "platform", "priority", "label"),
            "deadline_hours",
        ),
        "verifier.verify_one": ("verification", "reference", "platform", "key"),
        "verifier.canary": ("queue",),
        "verifier.audit.run": ("at",),
        "verifier.reminders.plan": ("at",),
    }
    sound: dict[str, dict[str, Any]] = {
        "verifier.submit": {"key": "wrong", "caller": NAME[:1], "references": ["nobody"]},
        "verifier.verify_one": {"reference": "nobody"},
    }
    sent = 0
    for task, names in arguments.items():
        for name in names:
            for value in WRONG:
                kwargs = {**sound.get(task, {}), name: value}
                victim.put("control", written(message(task, **kwargs)))
                sent += 1
        victim.put("control", written(message(task)))
        sent += 1
    refused_or_failed = ("raised", "succeeded", "message refused")

    def seen() -> int:
        return sum(
            any(word in line for word in refused_or_failed)
            for line in victim.fleet.log("victim").splitlines()
        )

    until(lambda: seen() >= sent, 60, "an end of each task")
    stored = victim.fleet.rows("SELECT queue FROM verifier.canaries")
    assert {row.queue for row in stored} <= set(QUEUES)
    victim.serves_as_before()
    logged = victim.fleet.everything_logged()
    for secret in (PHONE, NAME, ID_NUMBER):
        assert secret not in logged
    for row in victim.fleet.rows("SELECT caller, idempotency_key, label FROM verifier.batches"):
        assert PHONE not in str(tuple(row))
