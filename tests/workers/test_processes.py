"""Promises about processes, tried with processes: kill -9, SIGTERM, lost messages, two beats."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from celery import Celery

from tests.workers.conftest import Fleet, children_of, until
from verifier import client
from verifier.clock import at_local, business_date, parse_time
from verifier.config import config
from verifier.local.processes import ROOT_IS_FINE
from verifier.sandbox.people import Fate, SandboxPerson
from verifier.settings import broker_url
from verifier.store import clock, jobs
from verifier.store.engine import transaction

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def _everybody(fleet: Fleet, number: int) -> list[SandboxPerson]:
    wrong = fleet.people(number // 10, fate=Fate.WRONG_NAME)
    unknown = fleet.people(number // 20, fate=Fate.UNKNOWN)
    return fleet.people(number - len(wrong) - len(unknown)) + wrong + unknown


def _assert_true_verdicts(people: list[SandboxPerson]) -> None:
    for person in people:
        assert client.get(person.reference).outcome == person.expected.outcome


def test_killed_children_and_a_killed_worker_lose_nothing(fleet: Fleet) -> None:
    people = _everybody(fleet, 200)
    fleet.sandbox.client.settings(latency_ms=40)
    worker = fleet.worker()
    fleet.control()
    fleet.beat()
    batch = client.submit(selection="all", caller="t", key="k").batch
    until(lambda: client.get_batch(batch).settled > 20, 30, "the first verdicts")
    os.kill(children_of(worker.pid)[0], signal.SIGKILL)
    until(lambda: client.get_batch(batch).settled > 60, 40, "more verdicts")
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait(30)
    fleet.worker("second")
    fleet.finish(batch)
    _assert_true_verdicts(people)
    assert fleet.sandbox.client.stats()["most_billed_per_person"] <= 2
    # A person without a record is asked about at two providers, everybody else at one.
    repeated = sum(
        fleet.calls_about(p) > (2 if p.expected.outcome == "NO_RECORD" else 1) for p in people
    )
    assert repeated <= 4 * 2 * 4  # two kills, two children, what was claimed ahead
    attempts = fleet.one("SELECT count(*) AS number FROM verifier.attempts WHERE state = 'started'")
    assert attempts.number == 0


@pytest.mark.parametrize("whole_group", [False, True])
def test_a_worker_told_to_stop_leaves_within_seconds_with_nothing_claimed(
    fleet: Fleet, whole_group: bool
) -> None:
    fleet.people(150)
    fleet.sandbox.client.settings(latency_ms=150)
    worker = fleet.worker()
    batch = client.submit(selection="all", caller="t", key="k").batch
    until(lambda: client.get_batch(batch).settled > 5, 30, "the first verdicts")
    (os.killpg if whole_group else os.kill)(worker.pid, signal.SIGTERM)
    assert worker.wait(15) == 0
    assert fleet.rows("SELECT FROM verifier.open_verifications WHERE state = 'claimed'") == []
    assert fleet.rows("SELECT FROM verifier.attempts WHERE state = 'started'") == []
    assert fleet.rows("SELECT FROM verifier.lane_slots WHERE state = 'held'") == []
    assert client.get_batch(batch).settled < 150
    assert fleet.sandbox.client.stats()["most_calls_per_phone"] == 1


def test_wiping_the_broker_costs_time_only(fleet: Fleet) -> None:
    people = _everybody(fleet, 60)
    batch = client.submit(selection="all", caller="t", key="k").batch
    with redis.Redis.from_url(broker_url()) as broker:
        broker.flushdb()  # the rings are lost before any worker is there
        fleet.worker()
        fleet.control()
        fleet.beat()
        until(lambda: client.get_batch(batch).settled > 5, 40, "verdicts after the first wipe")
        broker.flushdb()
    fleet.finish(batch)
    _assert_true_verdicts(people)


def test_other_services_submit_and_verify_through_celery(fleet: Fleet) -> None:
    one, *more = fleet.people(4)
    fleet.worker("all", f"control,interactive,{','.join(_lane_queues())}", 2)
    foreign = Celery("somebody-else", broker=broker_url(), set_as_current=False)
    foreign.conf.broker_transport_options = {"global_keyprefix": "vp:"}
    for _ in range(2):  # the documented way: repeat it, the key makes it one batch
        foreign.send_task(
            "verifier.submit",
            kwargs={"key": "k", "caller": "shop", "references": [p.reference for p in more]},
            queue="control",
        )
    foreign.send_task(
        "verifier.verify_one",
        kwargs={"reference": one.reference, "key": "one", "from_the_future": True},
        queue="interactive",
    )
    foreign.send_task("verifier.nonsense", kwargs={}, queue="control")
    foreign.send_task("verifier.submit", kwargs={"key": 7, "references": "x"}, queue="control")
    until(lambda: client.get(one.reference).status == "verified", 30, "the interactive verdict")
    until(lambda: {client.get(p.reference).status for p in more} == {"verified"}, 30, "the batch")
    batches = fleet.rows("SELECT FROM verifier.batches WHERE caller = 'shop'")
    assert len(batches) == 1
    assert fleet.sandbox.client.stats()["most_calls_per_phone"] == 1
    with redis.Redis.from_url(broker_url()) as broker:
        stored = b"".join(_dump(broker, key) for key in broker.keys("*"))
    for person in (one, *more):
        assert person.phone.encode() not in stored
        assert person.name.encode() not in stored


def _lane_queues() -> list[str]:
    return [f"verify.{lane}" for lane in ("cmcc", "cucc", "ctcc", "cbn", "mvno")]


def _dump(broker: redis.Redis, key: bytes) -> bytes:
    return broker.dump(key) or b""


def test_verify_one_is_heard_of_through_a_worker(fleet: Fleet) -> None:
    people = fleet.people(6)
    fleet.worker("interactive", "interactive", 1)
    client.verify_one(people[0].reference, timeout=10)  # the first one starts the process
    for person in people[1:]:
        assert client.verify_one(person.reference, timeout=10).status == "verified"


def test_two_beats_and_many_ticks_make_one_audit_a_night(fleet: Fleet) -> None:
    fleet.people(3)
    fleet.control()
    fleet.worker()
    fleet.beat()
    fleet.celery("beat2", "beat", "--pidfile=")
    with transaction() as connection:
        zone = config().zone
        day = business_date(clock.now(connection), zone)
        clock.move_to(connection, at_local(day, parse_time("02:01"), zone))
    night = day.isoformat()

    def audited() -> bool:
        with transaction() as connection:
            row = jobs.get(connection, "audit", night)
        return row is not None and row.state == "done"

    until(audited, 60, "the audit")
    until(
        lambda: fleet.rows("SELECT FROM verifier.users WHERE status = 'verified'") and True,
        40,
        "the audit's batch",
    )
    made = fleet.rows("SELECT FROM verifier.batches WHERE caller = 'audit'")
    assert len(made) == 1
    assert len(fleet.rows("SELECT FROM verifier.job_runs WHERE job = 'audit'")) == 1
    assert fleet.sandbox.client.stats()["most_calls_per_phone"] == 1


def test_without_a_beat_the_control_worker_keeps_things_going(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = fleet.people(3)
    # A batch whose ring was lost, and no beat that would sweep.
    client.submit(selection="all", caller="t", key="k")
    with redis.Redis.from_url(broker_url()) as broker:
        broker.flushdb()
    fleet.control()
    fleet.worker()
    until(
        lambda: {client.get(p.reference).status for p in people} == {"verified"},
        60,
        "the second metronome's sweep",
    )


@pytest.mark.parametrize("role", ["worker", "beat"])
def test_with_a_wrong_configuration_nothing_begins(
    fleet: Fleet, role: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[engine]\nthreds = 3\n", "utf-8")
    monkeypatch.setenv("VERIFIER_CONFIG", str(wrong))
    ended = _refused_start(role)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: The configuration file {wrong} is wrong:\n")
    assert "did you mean 'threads'?\nfix: Mend the keys above" in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout


def test_without_the_keys_only_who_needs_none_begins(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VERIFIER_KEYRING", str(tmp_path / "absent.json"))
    ended = _refused_start("worker")
    assert ended.returncode == 1
    assert str(tmp_path / "absent.json") in ended.stderr.splitlines()[0]
    assert [line.split(":")[0] for line in ended.stderr.splitlines()] == ["error", "fix"]
    fleet.worker("notify", "notify", 1)


def test_a_worker_begins_while_the_database_is_away(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERIFIER_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/nothing")
    fleet.worker()
    fleet.beat()


def _refused_start(role: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "celery", "--quiet", "-A", "workers.app", role]
    environment = {"PYTHONWARNINGS": ROOT_IS_FINE, "VERIFIER_LOG_LEVEL": "INFO"}
    return subprocess.run(
        [*command, *(["-c", "1"] if role == "worker" else ["--pidfile="])],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )
