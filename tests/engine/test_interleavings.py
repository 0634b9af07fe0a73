"""Any interleaving of everything that can happen to a verification keeps the promises.

A state machine plays several workers, callers and operators against real PostgreSQL, in any order
hypothesis can think of: claims, answers of every kind, crashes, leases that end, answers that come
too late, records that are repeated, changed data, new requests, cancelling, pausing, re-runs and
days that pass. Every law of :mod:`tests.engine.playing` is checked after every step; at the end all
providers answer and days pass, and then everything must end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import time, timedelta
from typing import Any, ClassVar, Final, Literal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.engine.conftest import World, as_row, forget
from tests.engine.playing import ANSWERS, MATCHED, SPENT, Court, Player, court
from verifier import client
from verifier.carriers.base import Answer
from verifier.clock import at_local, business_date, next_business_day
from verifier.config import config
from verifier.outcomes import Billed, Lane, Outcome
from verifier.store import clock, providers
from verifier.store.engine import transaction
from verifier.upkeep.sweep import sweep
from verifier.verification import batches as whole
from verifier.verification.jobs import NotCalled
from verifier.verification.opening import request_one
from verifier.verification.submit import Priority, Request, submit

#: How often everything is played, and in how many steps. ``--hypothesis-profile=long`` plays for a
#: quarter of an hour, another game each time; without it the games are always the same.
EXAMPLES: Final = settings().max_examples // 6
STEPS: Final = 40
_LONG: Final = 100

_LANES: Final = (Lane.CMCC, Lane.CTCC)
_WORKERS: Final = st.integers(0, 2)
_PLACES: Final = st.integers(0, 7)
_USERS: Final = st.integers(0, 4)

#: Names that users may change to. The last is typed in another spelling than the canonical one.
_NAMES: Final = ("欧阳不同", "司马相如", "王\N{CJK COMPATIBILITY IDEOGRAPH-F929}")


class Interleavings(RuleBasedStateMachine):
    """Three workers, five users (two of them the same person), their callers and an operator."""

    _world: ClassVar[World]
    _people: ClassVar[list[dict[str, str]]]
    _court: ClassVar[Court]
    _lanes: ClassVar[tuple[Lane, ...]] = _LANES
    _player: ClassVar[type[Player]] = Player

    def __init__(self) -> None:
        super().__init__()
        self._batches: list[int] = []
        self._overrides: dict[int, int] = {}
        self._reset()
        self._workers = [self._player(self._world.runtime) for _ in range(3)]
        self._known = self._users()
        self._spoken_of: frozenset[int] = frozenset()

    def _reset(self) -> None:
        with transaction() as connection:
            for table in (
                *("batch_tallies", "batch_items", "batches", "open_verifications"),
                *("verifications", "attempts", "billed_slots", "pacing", "lane_slots"),
                *("spending", "check_uses"),
            ):
                connection.exec_driver_sql(f"DELETE FROM verifier.{table}")  # noqa: S608
            for name in self._world.runtime.providers:
                providers.resume(connection, name)
            clock.reset(connection)
            today = business_date(clock.now(connection), config().zone)
            clock.move_to(connection, at_local(today, time(10), config().zone))
        client.put_users(self._people)
        self._world.execute(
            "UPDATE verifier.users SET version = 1, status = 'unverified', outcome = NULL, "
            "detail = NULL, checked_at = NULL, matched_at = NULL, carrier_seen_at = NULL"
        )

    def _users(self) -> dict[int, tuple[Any, ...]]:
        rows = self._world.rows("SELECT id, version, status, outcome FROM verifier.users")
        return {row.id: tuple(row) for row in rows}

    def _key(self, user: int) -> tuple[str, str]:
        row = self._people[user]
        return row["platform"], row["reference"]

    # ------------------------------------------------------------ callers

    @rule(
        users=st.sets(_USERS, min_size=1),
        again=st.booleans(),
        priority=st.sampled_from(["high", "normal", "low"]),
    )
    def submit(self, users: set[int], again: bool, priority: Priority) -> None:
        number = 0 if again else len(self._batches)
        key = "-".join(map(str, (*sorted(users), priority, number)))
        request = Request(keys=[self._key(user) for user in users], priority=priority)
        batch = submit("test", key, request).batch
        if batch not in self._batches:
            self._batches.append(batch)

    @rule(user=_USERS, key=st.sampled_from([None, "once"]))
    def ask_interactively(self, user: int, key: str | None) -> None:
        self._override("state = 'quarantined'")  # somebody's wish, like an operator's
        request_one(*self._key(user), None if key is None else f"{key}-{user}")

    @rule(user=_USERS, name=st.integers(0, len(_NAMES)), elsewhere=st.booleans())
    def change_data(self, user: int, name: int, elsewhere: bool) -> None:
        row = self._people[user]
        changed = row if name == len(_NAMES) else {**row, "name": _NAMES[name]}
        if elsewhere:
            changed = {**changed, "phone": self._people[(user + 1) % 4]["phone"]}
        client.put_users([changed])

    # ------------------------------------------------------------ operators

    @precondition(lambda self: self._batches)
    @rule(place=_PLACES, what=st.sampled_from(["cancel", "pause", "resume"]))
    def hold(self, place: int, what: str) -> None:
        batch = self._batches[place % len(self._batches)]
        if what == "cancel":
            whole.cancel(batch)
        elif what == "pause":
            whole.pause(batch, by="operator", reason=None)
        else:
            self._resume(batch)

    def _resume(self, batch: int) -> None:
        whole.resume(batch)

    @precondition(lambda self: self._batches)
    @rule(place=_PLACES, only=st.sampled_from([None, "failed", "waiting"]))
    def run_again(self, place: int, only: Literal["failed", "waiting"] | None) -> None:
        batch = self._batches[place % len(self._batches)]
        made = whole.rerun(batch, only=only, caller="op", key=f"{batch}-{len(self._batches)}")
        self._batches.append(made.submitted.batch)
        if only == "waiting":
            self._override("true")

    def _override(self, which: str) -> None:
        """An operator may have asked once more than a day's attempts allow."""
        for row in self._world.rows(f"SELECT id FROM verifier.open_verifications WHERE {which}"):  # noqa: S608
            self._overrides[row.id] = self._overrides.get(row.id, 0) + 1

    @rule()
    def resume_providers(self) -> None:
        with transaction() as connection:
            for name in self._world.runtime.providers:
                providers.resume(connection, name)

    @rule(step=st.sampled_from(["minutes", "hours", "day"]))
    def time_passes(self, step: str) -> None:
        with transaction() as connection:
            now = clock.now(connection)
            later = {
                "minutes": now + timedelta(minutes=11),
                "hours": now + timedelta(hours=5),
                "day": next_business_day(now, config().zone) + timedelta(hours=9),
            }
            clock.move_to(connection, later[step])

    @rule()
    def sweep(self) -> None:
        sweep()

    # ------------------------------------------------------------ workers

    @rule(worker=_WORKERS, lane=st.sampled_from(_LANES), want=st.integers(1, 5))
    def claim(self, worker: int, lane: Lane, want: int) -> None:
        self._workers[worker].claim_due(lane, want)

    @rule(worker=_WORKERS, lane=st.sampled_from(_LANES))
    def claim_suspect(self, worker: int, lane: Lane) -> None:
        self._workers[worker].claim_suspect(lane)

    @rule(worker=_WORKERS, place=_PLACES)
    def claim_one(self, worker: int, place: int) -> None:
        waiting = self._world.rows("SELECT id FROM verifier.open_verifications ORDER BY user_id")
        if waiting:
            self._workers[worker].claim_one(waiting[place % len(waiting)].id)

    @rule(worker=_WORKERS, place=_PLACES, answer=st.sampled_from(ANSWERS))
    def hear(self, worker: int, place: int, answer: Any) -> None:
        if self._workers[worker].flying:
            self._workers[worker].hear(place, answer)

    @rule(worker=_WORKERS, place=_PLACES, why=st.sampled_from(NotCalled))
    def give_back(self, worker: int, place: int, why: NotCalled) -> None:
        if self._workers[worker].flying:
            self._workers[worker].hear(place, why)

    @rule(worker=_WORKERS, again=st.booleans())
    def record(self, worker: int, again: bool) -> None:
        self._spoken_of = self._workers[worker].record(again=again)

    @rule(
        worker=_WORKERS,
        lane=st.sampled_from(_LANES),
        answers=st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=5),
    )
    def work(self, worker: int, lane: Lane, answers: list[Any]) -> None:
        """A worker to whom nothing happens."""
        player = self._workers[worker]
        player.claim_due(lane, len(answers))
        for answer in answers:
            if player.flying:
                player.hear(0, answer)
        self._spoken_of = player.record()

    @rule(worker=_WORKERS, lane=st.sampled_from(_LANES), answer=st.sampled_from(ANSWERS))
    def be_late(self, worker: int, lane: Lane, answer: Any) -> None:
        """A worker that stands still during a call until others have noticed."""
        player = self._workers[worker]
        if player.claim_due(lane, 1) and player.flying:
            self._end_leases(player.token)
            sweep()
            player.hear(len(player.flying) - 1, answer)
            self._spoken_of = player.record()

    @rule(worker=_WORKERS)
    def crash(self, worker: int) -> None:
        self._workers[worker].die()

    @rule(worker=_WORKERS, noticed=st.booleans())
    def lease_ends(self, worker: int, noticed: bool) -> None:
        self._end_leases(self._workers[worker].token)
        if noticed:
            sweep()

    def _end_leases(self, token: int | None = None) -> None:
        self._world.execute(
            "UPDATE verifier.open_verifications "
            "SET lease_until = clock_timestamp() - interval '1 s' "
            "WHERE state = 'claimed' AND token = coalesce(:token, token)",
            token=token,
        )
        self._world.execute(
            "UPDATE verifier.providers SET probe_until = clock_timestamp() - interval '1 s'"
            " WHERE probe_until IS NOT NULL"
        )

    # ------------------------------------------------------------ laws

    @invariant()
    def the_laws_hold(self) -> None:
        broken = self._court.broken()
        assert not broken, broken

    @invariant()
    def attempts_keep_to_the_policy(self) -> None:
        for row in self._world.rows(SPENT):
            assert row.spent <= 4 + self._overrides.get(row.id, 0), row

    @invariant()
    def no_call_in_flight_is_written_down_as_not_made(self) -> None:
        flying = [job.attempt_id for worker in self._workers for job in worker.flying]
        released = self._world.rows(
            "SELECT id FROM verifier.attempts WHERE state = 'released' AND id = ANY(:ids)",
            ids=flying,
        )
        assert released == []

    @invariant()
    def only_a_result_changes_a_user(self) -> None:
        now = self._users()
        for user, (_, version, *standing) in now.items():
            _, old_version, *old_standing = self._known[user]
            if standing != old_standing:
                fresh = version != old_version and standing == ["unverified", None]
                assert fresh or user in self._spoken_of, (user, standing)
        self._known, self._spoken_of = now, frozenset()

    # ------------------------------------------------------------ the end

    def teardown(self) -> None:
        """Providers answer, operators let everything go on, days pass: everything ends."""
        for worker in self._workers:
            worker.die()
        self._end_leases()
        for batch in self._batches:
            self._resume(batch)
        self.resume_providers()
        for _ in range(12):
            sweep()
            self._world.execute(
                "UPDATE verifier.open_verifications SET state = 'waiting', crashes = 0, "
                "reason = 'new' WHERE state = 'quarantined'"
            )
            while any(self._finish(lane) for lane in self._lanes):
                pass
            if not self._world.rows("SELECT FROM verifier.open_verifications"):
                break
            self.time_passes("day")
        sweep()
        self.the_laws_hold()
        assert self._world.rows("SELECT id, reason FROM verifier.open_verifications") == []
        unfinished = "SELECT id FROM verifier.batches WHERE state <> 'done'"
        assert self._world.rows(unfinished) == []

    def _finish(self, lane: Lane) -> int:
        player = self._workers[0]
        found = player.claim_due(lane, 10) + player.claim_suspect(lane)
        while player.flying:
            player.hear(0, MATCHED)
        player.record()
        return found


def play(world: World, game: type[Interleavings], configure: Callable[[str], str]) -> None:
    """Play ``game`` with the providers that ``configure`` makes of the configuration's text."""
    path = world.home.parent / "verifier.toml"
    text = path.read_text("utf-8").replace("lease_seconds = 12", "lease_seconds = 600")
    path.write_text(configure(text), "utf-8")
    forget()
    mine = [*world.people(3), *world.people(1, lane=Lane.CTCC)]
    rows = [{**as_row(person), "platform": "default"} for person in mine]
    twin = replace(mine[0], reference="twin")
    rows.append({**as_row(twin), "platform": "other"})
    client.put_users(rows)
    bounds = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        derandomize=EXAMPLES < _LONG,
        suppress_health_check=list(HealthCheck),
    )
    with court() as sitting:
        here = type("Here", (game,), {"_world": world, "_people": rows, "_court": sitting})
        run_state_machine_as_test(here, settings=bounds)


@pytest.mark.timeout(120 + 10 * EXAMPLES)
def test_every_interleaving_keeps_every_promise(world: World) -> None:
    play(world, Interleavings, lambda text: text)


# ---------------------------------------------------------------- by name


def _player(world: World) -> Player:
    return Player(world.runtime)


def _lease_ends(world: World) -> None:
    world.execute("UPDATE verifier.open_verifications SET lease_until = now() - interval '1 s'")
    sweep()


def test_what_a_paused_drain_gives_back_is_not_what_it_claimed_anew(world: World) -> None:
    """A drain that stood still beyond its lease meets its own row again, under its own token."""
    (person,) = world.people(1)
    batch = client.submit(selection="all", caller="t", key="k").batch
    drain = _player(world)
    drain.claim_due(Lane.CMCC, 1)
    _lease_ends(world)
    drain.claim_due(Lane.CMCC, 1)
    assert len(drain.flying) == 2
    drain.hear(0, NotCalled.GIVEN_BACK)  # the old one: its lease would end before the call
    drain.record()
    states = [row.state for row in world.rows("SELECT state FROM verifier.attempts ORDER BY id")]
    assert states == ["lost", "started"]
    drain.hear(0, MATCHED)
    drain.record()
    assert client.get_batch(batch).outcomes == {"MATCHED": 1}
    assert client.get(person.reference).status == "verified"


@pytest.mark.parametrize("together", [True, False])
def test_two_answers_to_one_row_of_a_paused_drain_make_one_verdict(
    world: World, together: bool
) -> None:
    world.people(1)
    batch = client.submit(selection="all", caller="t", key="k").batch
    drain = _player(world)
    drain.claim_due(Lane.CMCC, 1)
    _lease_ends(world)
    drain.claim_due(Lane.CMCC, 1)
    drain.hear(0, MATCHED if together else Answer(Outcome.TIMEOUT, None, Billed.MAYBE))
    if not together:  # the first call's answer is late: it must not give back the second's claim
        drain.record()
        assert world.one("SELECT state FROM verifier.open_verifications").state == "claimed"
    drain.hear(0, MATCHED)
    drain.record()
    assert client.get_batch(batch).outcomes == {"MATCHED": 1}
    assert {row.state for row in world.rows("SELECT state FROM verifier.attempts")} == {"completed"}


def test_a_late_free_answer_frees_the_slot_of_its_own_day(world: World) -> None:
    world.people(1)
    client.submit(selection="all", caller="t", key="k")
    slow, quick = _player(world), _player(world)
    slow.claim_due(Lane.CMCC, 1)
    yesterday = world.one("SELECT day FROM verifier.billed_slots").day
    _lease_ends(world)
    world.later(days=1)
    quick.claim_due(Lane.CMCC, 1)
    quick.hear(0, Answer(Outcome.TIMEOUT, None, Billed.MAYBE))
    quick.record()
    world.later(minutes=11)
    quick.claim_due(Lane.CMCC, 1)
    slow.hear(0, Answer(Outcome.NOT_SENT, "REFUSED", Billed.NO))
    slow.record()
    left = [row.day for row in world.rows("SELECT day FROM verifier.billed_slots")]
    assert left == [yesterday + timedelta(days=1)] * 2


def test_a_crash_does_not_buy_another_attempt_on_the_same_day(world: World) -> None:
    world.people(1)
    client.submit(selection="all", caller="t", key="k")
    worker = _player(world)
    for _ in range(3):
        worker.claim_due(Lane.CMCC, 1)
        worker.hear(0, Answer(Outcome.PROVIDER_ERROR, None, Billed.NO))
        worker.record()
        world.later(minutes=11)
    worker.claim_due(Lane.CMCC, 1)
    worker.die()
    _lease_ends(world)
    worker.claim_due(Lane.CMCC, 1)
    assert worker.flying == []
    assert world.one("SELECT reason FROM verifier.open_verifications").reason == "next_day"


def test_an_outage_between_two_spellings_of_a_name_is_no_mismatch(world: World) -> None:
    (person,) = world.people(1)
    client.put_users([{**as_row(person), "name": _NAMES[-1]}])
    client.submit(selection="all", caller="t", key="k")
    world.runtime  # noqa: B018 - the providers' rows
    world.execute("UPDATE verifier.providers SET paused_at = now() WHERE name = 'second'")
    worker = _player(world)
    for answer in (ANSWERS[1], Answer(Outcome.TIMEOUT, None, Billed.MAYBE)):
        worker.claim_due(Lane.CMCC, 1)
        worker.hear(0, answer)
        worker.record()
        world.later(minutes=11)
    worker.claim_due(Lane.CMCC, 1)
    worker.record()
    assert client.get(person.reference).status == "unverified"
