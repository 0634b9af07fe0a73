"""What a drain promises, over a real database and real HTTP."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Row

from tests.engine.conftest import World, as_row, forget, in_background
from tests.engine.playing import Player
from verifier import client
from verifier.carriers.base import Answer
from verifier.clock import business_date
from verifier.identity.keyring import DecryptionError, KeyRing
from verifier.outcomes import Billed, Lane, Outcome
from verifier.sandbox.people import Fate
from verifier.store import billing, claims, lanes, providers, records, turns
from verifier.store.engine import transaction
from verifier.verification.claim import close_lane
from verifier.verification.route import NoneAvailable
from verifier.verification.runtime import new_token

ZONE = ZoneInfo("Asia/Shanghai")


def _submit(world: World, key: str = "k") -> int:
    return client.submit(selection="all", caller="test", key=key).batch


def test_every_person_gets_the_true_verdict(world: World) -> None:
    good = world.people(6)
    wrong = world.people(3, fate=Fate.WRONG_NAME)
    unknown = world.people(2, fate=Fate.UNKNOWN)
    refused = world.people(1, fate=Fate.REFUSED_NAME)
    batch = _submit(world)
    world.drain_until(lambda: client.get_batch(batch).settled == 12)
    for people, status, outcome in (
        (good, "verified", "MATCHED"),
        (wrong, "failed", "MISMATCHED"),
        (unknown, "failed", "NO_RECORD"),
        (refused, "failed", "INVALID_INPUT"),
    ):
        for person in people:
            state = client.get(person.reference)
            assert (state.status, state.outcome, state.state) == (status, outcome, "settled")
            assert state.guidance
    assert client.wait(batch, timeout=20).state == "done"


def test_a_call_is_written_down_before_it_is_made_and_completed_after(world: World) -> None:
    (person,) = world.people(1)
    _submit(world)
    world.drain()
    attempt = world.one("SELECT * FROM verifier.attempts")
    assert attempt.state == "completed"
    assert (attempt.outcome, attempt.billed, attempt.provider) == ("MATCHED", "yes", "first")
    assert attempt.request_id
    assert attempt.started_at <= attempt.completed_at
    assert world.calls_about(person) == 1


def test_no_record_earns_one_try_elsewhere_and_no_more(world: World) -> None:
    (person,) = world.people(1, fate=Fate.UNKNOWN)
    batch = _submit(world)
    world.drain_until(lambda: client.get_batch(batch).settled == 1)
    asked = [row.provider for row in world.rows("SELECT provider FROM verifier.attempts")]
    assert sorted(asked) == ["first", "second"]
    assert client.get(person.reference).outcome == "NO_RECORD"


def test_a_name_is_tried_once_as_it_was_typed_before_it_is_called_a_mismatch(world: World) -> None:
    (first, second) = world.people(2)
    assert first.entry is not None
    typed = "王\N{CJK COMPATIBILITY IDEOGRAPH-F929}"  # canonically equal to 王朗
    world.sandbox.client.put(replace(first.entry, name=typed))
    client.put_users([{**as_row(first), "name": typed}, {**as_row(second), "name": typed}])
    batch = _submit(world)
    world.drain_until(lambda: client.get_batch(batch).settled == 2)
    assert client.get(first.reference).outcome == "MATCHED"
    assert client.get(second.reference).outcome == "MISMATCHED"
    assert [world.calls_about(p) for p in (first, second)] == [2, 2]


@pytest.mark.parametrize("lane", [Lane.CBN, Lane.MVNO])
def test_a_number_no_provider_supports_settles_without_a_call(world: World, lane: Lane) -> None:
    (person,) = world.people(1, lane=lane)
    _submit(world)
    world.drain(lane)
    state = client.get(person.reference)
    assert (state.status, state.outcome) == ("failed", "UNSUPPORTED_NUMBER")
    assert world.rows("SELECT * FROM verifier.attempts") == []
    assert world.calls_about(person) == 0


def test_maintenance_is_a_waiting_state_of_the_provider_and_never_a_failure(world: World) -> None:
    people = world.people(12)
    world.sandbox.client.fault("tencent", "maintenance")
    batch = _submit(world)
    for _ in range(4):
        world.drain()
    states = {client.get(p.reference).status for p in people}
    assert states == {"unverified"}
    state = client.get(people[0].reference)
    assert (state.state, state.reason) == ("waiting", "maintenance")
    assert state.until is not None
    assert state.guidance is not None
    calls = _calls(world)
    # Both providers were asked until their breakers opened, and then nobody any more.
    for _ in range(3):
        world.drain()
    assert _calls(world) == calls
    world.sandbox.client.lift()
    world.later(hours=2)
    world.drain_until(lambda: client.get_batch(batch).settled == 12)
    assert {client.get(p.reference).status for p in people} == {"verified"}


def _calls(world: World) -> int:
    return int(world.one("SELECT count(*) AS number FROM verifier.attempts").number)


def test_a_provider_that_comes_back_is_asked_by_one_probe_first(world: World) -> None:
    world.people(8)
    _submit(world)
    with transaction() as connection:
        providers.register(connection, ["first", "second"])
    world.execute("UPDATE verifier.providers SET paused_at = now() WHERE name = 'second'")
    world.sandbox.client.fault("tencent", "maintenance")
    world.drain()
    before = _calls(world)
    world.later(hours=2)
    world.drain()
    assert _calls(world) == before + 1
    assert world.one("SELECT state FROM verifier.providers WHERE name = 'first'").state == "open"


def test_a_provider_that_cannot_be_made_stops_no_other(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its secret is not there: what only it could answer waits, and is not told anything."""
    path = Path(os.environ["VERIFIER_CONFIG"])
    broken = """
[providers.broken]
kind = "tencent"
secret_id = "env:NOBODY_HAS_SET_THIS"
secret_key = "env:NOR_THIS"
lanes = ["cmcc", "ctcc"]
preference = 1
"""
    text = path.read_text("utf-8")
    path.write_text(text.replace('"cucc", "ctcc"', '"cucc"') + broken, "utf-8")
    forget()
    (mobile,), (telecom,) = world.people(1), world.people(1, lane=Lane.CTCC)
    _submit(world)
    for lane in (Lane.CMCC, Lane.CTCC):
        world.drain(lane)
    assert client.get(mobile.reference).status == "verified"
    waiting = client.get(telecom.reference)
    assert (waiting.status, waiting.reason) == ("unverified", "provider_suspended")
    assert "NOBODY_HAS_SET_THIS" in capsys.readouterr().out
    path.write_text(text, "utf-8")
    forget()
    world.later(minutes=2)
    world.drain(Lane.CTCC)
    assert client.get(telecom.reference).status == "verified"


def test_refused_credentials_suspend_the_provider_until_an_operator_resumes(world: World) -> None:
    people = world.people(4)
    world.sandbox.client.fault("tencent", "auth")
    batch = _submit(world)
    for _ in range(3):
        world.drain()
    world.sandbox.client.lift()
    world.later(days=1)
    world.drain()
    state = client.get(people[0].reference)
    assert (state.status, state.reason) == ("unverified", "provider_suspended")
    with transaction() as connection:
        for name in ("first", "second"):
            providers.resume(connection, name)
    world.drain_until(lambda: client.get_batch(batch).settled == 4)


def test_an_unanswered_call_is_repeated_once_a_day_and_counted_as_maybe_billed(
    world: World,
) -> None:
    (person,) = world.people(1)
    world.sandbox.client.fault("tencent", "reset")
    batch = _submit(world)
    for _ in range(6):
        world.drain()
        world.later(minutes=15)
    billed = [row.billed for row in world.rows("SELECT billed FROM verifier.attempts")]
    assert billed == ["maybe", "maybe"]
    state = client.get(person.reference)
    assert (state.status, state.state, state.reason) == ("unverified", "waiting", "next_day")
    world.sandbox.client.lift()
    world.later(days=1)
    world.drain_until(lambda: client.get_batch(batch).settled == 1)
    assert client.get(person.reference).status == "verified"


def test_exhausted_work_ends_unresolved_after_seven_days_and_the_user_stays(world: World) -> None:
    (person,) = world.people(1)
    world.sandbox.client.fault("tencent", "garbage")
    batch = _submit(world)
    for _ in range(40):
        world.drain()
        world.later(hours=6)
        if client.get_batch(batch).settled:
            break
    assert client.get_batch(batch).outcomes == {"UNRESOLVED": 1}
    state = client.get(person.reference)
    assert (state.status, state.outcome) == ("unverified", None)
    days = world.rows("SELECT DISTINCT started_at::date FROM verifier.attempts")
    assert len(days) <= 8


def test_at_most_two_results_a_person_and_day_are_billed(world: World) -> None:
    (person,) = world.people(1)
    for day_try in range(4):
        _submit(world, key=f"try-{day_try}")
        world.drain()
    assert world.calls_about(person) == 2
    state = client.get(person.reference)
    assert (state.state, state.reason) == ("waiting", "daily_cap")
    world.later(days=1)
    world.drain()
    assert world.calls_about(person) == 3


def test_a_verdict_for_old_data_never_verifies_new_data(world: World) -> None:
    (person,) = world.people(1)
    world.sandbox.client.fault("tencent", "slow", ms=800, count=1)
    batch = _submit(world)
    running = in_background(world.drain)
    assert _wait_for_claim(world)
    result = client.put_users([{**as_row(person), "name": "欧阳不同"}])
    assert result.changed == 1
    running.join(timeout=10)
    state = client.get(person.reference)
    assert state.status == "unverified"
    assert state.reason in ("data_changed", "new")
    world.drain_until(lambda: client.get_batch(batch).settled == 1)
    assert client.get(person.reference).outcome == "MISMATCHED"
    versions = [
        row.data_version for row in world.rows("SELECT data_version FROM verifier.attempts")
    ]
    assert sorted(versions) == [1, 2]


def _wait_for_claim(world: World) -> bool:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if world.rows("SELECT FROM verifier.open_verifications WHERE state = 'claimed'"):
            return True
    return False


def _claim_first(lease: float) -> tuple[int, Row[Any], int, datetime]:
    """Claim the first due row as a worker would: (token, row, attempt id, started)."""
    token = new_token()
    with transaction() as connection:
        row = claims.lock_due(connection, Lane.CMCC, 1)[0]
        billing.take_billed_slots(
            connection, [(row.id, bytes(row.id_number_index))], business_date(row.now, ZONE)
        )
        attempt = claims.NewAttempt(row.id, row.user_id, row.version, "first", Lane.CMCC)
        ((attempt_id, started),) = claims.write_claims(
            connection, [attempt], token=token, lease_seconds=lease
        ).values()
    return token, row, attempt_id, started


def _matched(row: Row[Any], attempt_id: int, started: datetime) -> records.CompletedAttempt:
    return records.CompletedAttempt(
        attempt_id, started, row.id, "first", Outcome.MATCHED, None, Billed.YES
    )


def test_a_worker_that_lost_its_lease_settles_nothing_but_its_paid_answer_is_used(
    world: World,
) -> None:
    (person,) = world.people(1)
    batch = _submit(world)
    token, row, attempt_id, started = _claim_first(lease=0)
    with transaction() as connection:
        assert claims.release_expired(connection, "Asia/Shanghai") == 1
    late = records.Flush(token, attempts=[_matched(row, attempt_id, started)])
    late.settled.append(
        records.Settled(row.id, row.user_id, row.version, "MATCHED", None, "first", 1)
    )
    for _ in range(2):
        with transaction() as connection:
            recorded = records.record(connection, late, "Asia/Shanghai")
        assert (recorded.settled, recorded.lost) == ({}, 1)
    assert client.get(person.reference).status == "unverified"
    world.drain_until(lambda: client.get_batch(batch).settled == 1)
    assert client.get(person.reference).status == "verified"
    assert world.calls_about(person) == 0  # decided from the answer that was already paid for


def test_a_lost_call_counts_as_maybe_billed_in_the_evidence_and_in_the_policy(world: World) -> None:
    world.people(1)
    _submit(world)
    _claim_first(lease=0)
    with transaction() as connection:
        claims.release_expired(connection, "Asia/Shanghai")
    attempt = world.one("SELECT state, billed FROM verifier.attempts")
    assert (attempt.state, attempt.billed) == ("lost", "maybe")
    (entry,) = world.one("SELECT history FROM verifier.open_verifications").history
    assert (entry["o"], entry["d"], entry["b"], entry["p"]) == ("TIMEOUT", "LOST", "maybe", "first")


def test_a_flush_that_is_repeated_frees_no_slot_of_another_call(world: World) -> None:
    world.people(1)
    _submit(world)
    token, row, attempt_id, started = _claim_first(lease=60)
    with transaction() as connection:  # a second call about the same person, maybe billed
        billing.take_billed_slots(
            connection, [(row.id, bytes(row.id_number_index))], business_date(row.now, ZONE)
        )
    free = _matched(row, attempt_id, started)._replace(outcome=Outcome.NOT_SENT, billed=Billed.NO)
    for _ in range(3):
        with transaction() as connection:
            records.record(connection, records.Flush(token, attempts=[free]), "Asia/Shanghai")
    assert world.one("SELECT count(*) AS number FROM verifier.billed_slots").number == 1


def test_a_row_present_at_three_crashes_is_quarantined_and_said_so(world: World) -> None:
    (person,) = world.people(1)
    batch = _submit(world)
    for crash in range(3):
        with transaction() as connection:
            rows = (
                claims.lock_due(connection, Lane.CMCC, 1)
                if crash < 2
                else claims.lock_suspect(connection, Lane.CMCC)
            )
            row = rows[0]
            claims.write_claims(
                connection,
                [claims.NewAttempt(row.id, row.user_id, row.version, "first", Lane.CMCC)],
                token=new_token(),
                lease_seconds=0,
            )
        with transaction() as connection:
            assert claims.release_expired(connection, "Asia/Shanghai") == 1
    state = client.get(person.reference)
    assert (state.state, state.reason) == ("waiting", "quarantined")
    world.drain()
    assert world.calls_about(person) == 0
    with transaction() as connection:
        assert turns.bring_forward(connection, batch) == 1
    world.later(days=1)
    world.drain_until(lambda: client.get_batch(batch).settled == 1)


def test_a_drain_that_is_told_to_stop_leaves_nothing_claimed(world: World) -> None:
    world.people(30)
    world.sandbox.client.settings(latency_ms=150)
    _submit(world)
    seen: list[bool] = []

    def stopping() -> bool:
        seen.append(True)
        return len(seen) > 6

    world.drain(stopping=stopping)
    states = {row.state for row in world.rows("SELECT state FROM verifier.open_verifications")}
    assert states == {"waiting"}
    unfinished = world.rows("SELECT FROM verifier.attempts WHERE state = 'started'")
    assert unfinished == []
    slots = world.one("SELECT count(*) AS number FROM verifier.billed_slots").number
    completed = world.rows("SELECT FROM verifier.attempts WHERE state = 'completed'")
    assert slots == len(completed)


def test_a_lane_has_no_more_drains_than_slots(world: World) -> None:
    world.people(1)
    _submit(world)
    assert world.runtime.config.engine.slots_per_lane == 2
    with transaction() as connection:
        assert lanes.take_slot(connection, Lane.CMCC, 1, 60) is not None
        assert lanes.take_slot(connection, Lane.CMCC, 2, 60) is not None
    assert world.drain()["skipped"] == "no free slot"


def test_calls_keep_to_the_rate_of_the_provider(world: World) -> None:
    world.people(40)
    path = world.home.parent / "verifier.toml"
    path.write_text(path.read_text("utf-8").replace("qps = 500", "qps = 20"), "utf-8")
    forget()
    _submit(world)
    world.drain()
    times = sorted(entry["at"] for entry in world.sandbox.client.call_log(limit=1000))
    assert len(times) >= 20
    # 90 % of 20 a second for batches: in any second at most 18 and the small burst.
    for index, start in enumerate(times):
        assert sum(1 for t in times[index:] if t < start + 1) <= 22


def test_a_changed_number_is_verified_in_the_lane_it_has_now(world: World) -> None:
    (old,) = world.people(1)
    (other,) = world.people(1, lane=Lane.CTCC)
    batch = client.submit([old.reference], caller="test", key="k").batch
    client.put_users([{**as_row(other), "reference": old.reference}])
    world.drain(Lane.CMCC)
    world.drain_until(lambda: client.get_batch(batch).settled == 1, Lane.CTCC)
    assert client.get(old.reference).status == "verified"


def test_data_that_cannot_be_decrypted_is_quarantined_and_nobody_is_settled(world: World) -> None:
    good, bad = world.people(2)
    batch = _submit(world)
    world.execute(
        "UPDATE verifier.users SET id_number = overlay(id_number placing '\\x00' from 20) "
        "WHERE reference = :reference",
        reference=bad.reference,
    )
    world.drain_until(lambda: client.get(good.reference).status == "verified")
    state = client.get(bad.reference)
    assert (state.status, state.reason) == ("unverified", "quarantined")
    assert client.get_batch(batch).settled == 1
    assert world.calls_about(bad) == 0
    released = world.one(
        "SELECT count(*) AS number FROM verifier.attempts WHERE state = 'released'"
    )
    assert released.number == 1
    assert world.one("SELECT count(*) AS number FROM verifier.billed_slots").number == 1


def test_a_worker_with_another_key_ring_does_not_begin(world: World) -> None:
    world.people(1)
    _submit(world)
    (world.home / "keyring.json").unlink()
    KeyRing.create(world.home / "keyring.json")
    forget()
    with pytest.raises(DecryptionError):
        world.drain()
    assert world.rows("SELECT FROM verifier.attempts") == []


def test_a_provider_resumed_during_a_drain_is_not_shut_out_again(world: World) -> None:
    world.people(1)
    _submit(world)
    with transaction() as connection:
        close_lane(connection, world.runtime, Lane.CMCC, NoneAvailable(None, "provider_down"))
    assert world.one("SELECT not_before FROM verifier.lanes WHERE lane = 'cmcc'").not_before is None


def test_a_worker_whose_database_was_made_anew_settles_nobody_as_unsupported(world: World) -> None:
    (person,) = world.people(1)
    assert world.runtime.providers
    world.execute("DELETE FROM verifier.providers")
    batch = _submit(world)
    world.drain_until(lambda: client.get_batch(batch).settled == 1)
    assert client.get(person.reference).outcome == "MATCHED"


def test_a_provider_that_closes_is_not_asked_again_and_again(world: World) -> None:
    """What was claimed ahead for it goes to the other: it hears a dozen calls, not hundreds."""
    path = Path(os.environ["VERIFIER_CONFIG"])
    path.write_text(path.read_text("utf-8").replace("chunk = 8", "chunk = 300"), "utf-8")
    forget()
    world.people(150)
    world.sandbox.client.fault("tencent", "maintenance", action="PhoneVerification")
    batch = _submit(world)
    world.drain_until(lambda: client.get_batch(batch).settled == 150)
    asked = world.sandbox.client.stats()["totals"]["tencent PhoneVerification"]
    assert sum(asked.values()) <= 8 + 2 * world.runtime.pool.threads
    assert client.get_batch(batch).outcomes == {"MATCHED": 150}


def test_a_provider_that_refuses_every_parameter_is_left_alone_and_nobody_fails(
    world: World,
) -> None:
    """Our own mistake about one provider: the other does the work, and the breaker says so."""
    world.people(40)
    provider = world.runtime.providers["first"]
    refused = Answer(Outcome.INVALID_INPUT, "PARAM", Billed.NO)
    batch = _submit(world)
    player = Player(world.runtime)
    player.claim_due(Lane.CMCC, 8)
    assert {job.provider for job in player.flying} == {provider.name}
    while player.flying:
        player.hear(0, refused)
    player.record()
    row = world.one("SELECT state, reason FROM verifier.providers WHERE name = 'first'")
    assert tuple(row) == ("open", "provider_down")
    assert client.get_batch(batch).settled == 0
    player.claim_due(Lane.CMCC, 8)
    assert {job.provider for job in player.flying} == {"second"}
