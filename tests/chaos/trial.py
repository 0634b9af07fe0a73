"""One batch, the faults struck at it in turn, and what came of it.

The business clock moves on by itself when policy makes the rest of a batch wait (a person whose two
calls of the day were lost waits for tomorrow): nothing is forgotten, and nobody has to wait a day.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import psycopg2

from tests.chaos.checks import Judgement, judge
from tests.chaos.faults import Fault, Strike
from tests.chaos.stage import Stage
from verifier import client
from verifier.clock import business_date
from verifier.config import config
from verifier.sandbox.people import SandboxPerson, generate
from verifier.store import clock
from verifier.store.engine import transaction

#: A fault has to be struck while the batch runs, and a batch to end.
_STRIKE_SECONDS: Final = 60.0
_END_SECONDS: Final = 60.0
_SECONDS_A_USER: Final = 0.01

#: What of a batch may be done when the last fault strikes.
_LAST_PART: Final = 0.75

#: A batch without faults takes so long, and so much longer for each fault.
_LEAST_SECONDS: Final = 4.0

_POLL_SECONDS: Final = 0.05
_CHUNK: Final = 1000


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds from the strike (or the end of the outage) until the next verdict was recorded
    (``first``), and until everything that was claimed at the strike was answered (``whole``). None:
    policy made it wait, or nothing followed."""

    fault: str
    first: float | None
    whole: float | None
    noted: str


@dataclass(slots=True)
class Trial:
    """The outcome of one batch."""

    title: str
    users: int
    seconds: float
    judgement: Judgement
    recoveries: list[Recovery]
    waited: dict[str, int] = field(default_factory=dict)

    @property
    def broken(self) -> list[str]:
        return self.judgement.broken


@dataclass(slots=True)
class _Jumps:
    """How the business clock was moved on: why, and when a new business day was begun."""

    waited: dict[str, int] = field(default_factory=dict)
    days: list[float] = field(default_factory=list)
    first: datetime | None = None


def run(stage: Stage, title: str, faults: Sequence[Fault], users: int, seed: str) -> Trial:
    """Submit ``users`` people made from the seed, strike every fault once, wait, and judge."""
    dice = random.Random(f"chaos {seed}")
    people = list(generate(users, dice.getrandbits(48)))
    stage.begin(
        proxied=any(fault.proxied for fault in faults),
        users_a_second=users / (_LEAST_SECONDS * (1 + len(faults))),
    )
    _enter(stage, people)
    begun = time.monotonic()
    batch = client.submit(
        [(person.platform, person.reference) for person in people], key=seed, caller="chaos"
    ).batch
    strikes, not_struck = [], []
    for place, fault in enumerate(faults):
        wait_for = dice.uniform(0.1, 0.9) / (len(faults) - place)
        try:
            strikes.append(_strike(stage, batch, fault, users, wait_for, dice))
        except AssertionError as error:
            not_struck.append(f"{fault.name}: {error}")
    jumps = _Jumps()
    _wait(stage, batch, time.monotonic() + _END_SECONDS + users * _SECONDS_A_USER, jumps)
    stage.dismiss_relief()
    seconds = time.monotonic() - begun
    judgement = judge(stage, batch, people, strikes, jumps.days)
    judgement.broken += not_struck
    recoveries = [_recovery(stage, batch, strike, jumps.first) for strike in strikes]
    return Trial(title, users, seconds, judgement, recoveries, jumps.waited)


def _enter(stage: Stage, people: Sequence[SandboxPerson]) -> None:
    entries = [person.entry for person in people if person.entry is not None]
    for start in range(0, len(entries), _CHUNK):
        stage.sandbox.client.put(*entries[start : start + _CHUNK])
    put = client.put_users(
        {
            "reference": person.reference,
            "platform": person.platform,
            "phone": person.phone,
            "name": person.name,
            "id_number": person.id_number,
        }
        for person in people
    )
    assert put.rejected_count == 0


def _strike(
    stage: Stage, batch: int, fault: Fault, users: int, wait_for: float, dice: random.Random
) -> Strike:
    """Strike when calls are in flight and ``wait_for`` of what is still to be done is done.

    The last part of the batch is left out: something must be left to be struck.
    """
    end = time.monotonic() + _STRIKE_SECONDS
    before = _settled(stage, batch)
    threshold = before + wait_for * max(0.0, _LAST_PART * users - before)
    while True:
        settled = _settled(stage, batch)
        claimed = stage.rows("SELECT id FROM verifier.open_verifications WHERE state = 'claimed'")
        if settled >= threshold and claimed:
            break
        assert settled < users, "the batch was done before it could strike"
        assert time.monotonic() < end, f"{settled} of {users} settled: too slow to strike"
        time.sleep(_POLL_SECONDS)
    now = stage.business_now()
    strike = Strike(fault.title, now, now, [row.id for row in claimed])
    fault.strike(stage, dice, strike)
    if fault.outage:
        strike.at = stage.business_now()
    return strike


def _settled(stage: Stage, batch: int) -> int:
    return int(
        stage.one(
            'SELECT coalesce(sum("count"), 0) AS number FROM verifier.batch_tallies '
            "WHERE batch_id = %s",
            batch,
        ).number
    )


def _wait(stage: Stage, batch: int, end: float, jumps: _Jumps) -> None:
    """Until the batch is done, or the time is up: then the judge finds who is missing."""
    while time.monotonic() < end:
        with contextlib.suppress(psycopg2.OperationalError):
            if stage.one("SELECT state FROM verifier.batches WHERE id = %s", batch).state == "done":
                return
            _move_on(stage, jumps)
        time.sleep(2 * _POLL_SECONDS)


def _move_on(stage: Stage, jumps: _Jumps) -> None:
    """When everything that is left waits by policy, let the business clock reach its due time."""
    left = stage.one(
        """
        SELECT verifier.verifier_now() AS now, count(*) AS number, min(o.reason) AS reason,
               bool_or(o.state = 'claimed') AS claimed,
               min(greatest(o.due_at, l.not_before)) FILTER (WHERE o.state = 'waiting') AS due
          FROM verifier.open_verifications o JOIN verifier.lanes l USING (lane)
        """
    )
    if left.claimed or left.due is None or (left.due - left.now).total_seconds() < 1:
        return
    jumps.waited[left.reason] = jumps.waited.get(left.reason, 0) + left.number
    jumps.first = jumps.first or left.now
    zone = config().zone
    if business_date(left.now, zone) != business_date(left.due, zone):
        jumps.days.append(time.time())
    with transaction() as connection:
        clock.move_to(connection, left.due)


def _recovery(stage: Stage, batch: int, strike: Strike, jumped: datetime | None) -> Recovery:
    """Verdicts after the clock was moved on say nothing about seconds, and are left out."""
    until = jumped or stage.business_now()
    first = stage.one(
        """
        SELECT min(v.settled_at) AS at FROM verifier.verifications v
          JOIN verifier.batch_items i ON i.verification_id = v.id
         WHERE i.batch_id = %s AND v.settled_at > %s AND v.settled_at <= %s
        """,
        batch,
        strike.at,
        until,
    ).at
    whole = stage.one(
        """
        SELECT max(answered) AS at FROM (
          SELECT coalesce(min(a.completed_at), min(v.settled_at)) AS answered
            FROM unnest(%s) AS claimed (id)
            LEFT JOIN verifier.attempts a ON a.verification_id = claimed.id
                  AND a.state = 'completed' AND a.completed_at BETWEEN %s AND %s
            LEFT JOIN verifier.verifications v ON v.id = claimed.id AND v.settled_at <= %s
           GROUP BY claimed.id) AS each
        """,
        strike.in_flight,
        strike.began,
        until,
        until,
    ).at

    def since(instant: datetime | None) -> float | None:
        return None if instant is None else max(0.0, (instant - strike.at).total_seconds())

    return Recovery(strike.fault, since(first), since(whole), strike.noted)
