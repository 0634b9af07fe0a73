"""The faults. Each is struck once, at a batch in flight, and says what it put at risk.

Every number a fault needs comes from the dice it is given, hence from the seed. When a fault
returns, the outage is over: what was killed has been started again, as a supervisor does, and what
was frozen runs. (The beat is the exception: nobody starts it again while the batch runs.)
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import redis

from tests.chaos.stage import WORKER_PROCESSES, Stage, freeze, thaw
from tests.processes import children_of, kill_group
from verifier.config import config
from verifier.local.server import EmbeddedServer

#: A worker told to stop finishes the calls in flight, at most their deadline, and leaves.
_LEAVING_SECONDS: Final = 10.0


@dataclass(slots=True)
class Strike:
    """A fault that was struck.

    ``began``: business time when it struck; ``at``: the same or, after an outage, its end.
    ``in_flight``: the verifications that were claimed then. ``processes``: how many worker
    processes may have lost what they had claimed. ``noted``: what else is worth telling.
    ``broken``: promises that failed meanwhile.
    """

    fault: str
    began: datetime
    at: datetime
    in_flight: list[int]
    processes: int = 0
    noted: str = ""
    broken: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fault:
    """``name``: for the command line; ``title``: for the table. ``outage``: nothing can recover
    before the strike is over. ``proxied``: the processes must reach PostgreSQL by the proxy."""

    name: str
    title: str
    strike: Callable[[Stage, random.Random, Strike], None]
    outage: bool = False
    proxied: bool = False


def _kill_child(stage: Stage, dice: random.Random, strike: Strike) -> None:
    os.kill(dice.choice(children_of(stage.worker.pid)), signal.SIGKILL)
    strike.processes = 1


def _kill_worker(stage: Stage, _dice: random.Random, strike: Strike) -> None:
    kill_group(stage.worker)
    strike.processes = WORKER_PROCESSES
    stage.start_worker()


def _kill_beat(stage: Stage, _dice: random.Random, _strike: Strike) -> None:
    kill_group(stage.beat)


def _kill_sweeper(stage: Stage, dice: random.Random, _strike: Strike) -> None:
    kill_group(stage.control)
    time.sleep(dice.uniform(0, 2))
    stage.start_control()


def _terminate_worker(stage: Stage, _dice: random.Random, strike: Strike) -> None:
    _leave(stage, strike, os.kill)


def _terminate_group(stage: Stage, _dice: random.Random, strike: Strike) -> None:
    _leave(stage, strike, os.killpg)


def _leave(stage: Stage, strike: Strike, tell: Callable[[int, int], None]) -> None:
    bound = max(row.timeout for row in config().providers.values()) + _LEAVING_SECONDS
    begun = time.monotonic()
    tell(stage.worker.pid, signal.SIGTERM)
    try:
        status = stage.worker.wait(bound)
    except subprocess.TimeoutExpired:
        strike.broken.append(f"the worker was still there {bound:g} s after SIGTERM")
        strike.processes = WORKER_PROCESSES
        kill_group(stage.worker)
    else:
        if status != 0:
            strike.broken.append(f"the worker left a SIGTERM with status {status}")
        strike.noted = f"left {time.monotonic() - begun:.1f} s after the signal"
        for what, sql in _LEFT_BEHIND.items():
            number = stage.one(sql).number
            if number:
                strike.broken.append(f"the worker left {number} {what} behind")
    stage.start_worker()


_LEFT_BEHIND: Final = {
    "claimed verifications": """
        SELECT count(*) AS number FROM verifier.open_verifications WHERE state = 'claimed'""",
    "started attempts": """
        SELECT count(*) AS number FROM verifier.attempts WHERE state = 'started'""",
    "held slots": """
        SELECT count(*) AS number FROM verifier.lane_slots
         WHERE state = 'held' AND expires_at > clock_timestamp()""",
}


def _freeze_worker(stage: Stage, dice: random.Random, strike: Strike) -> None:
    """Beyond the lease: another worker has taken its work over by the time it comes back."""
    os.killpg(stage.worker.pid, signal.SIGSTOP)
    over = time.monotonic() + _beyond_the_lease(dice)
    stage.start_relief()
    time.sleep(max(0.0, over - time.monotonic()))
    os.killpg(stage.worker.pid, signal.SIGCONT)
    strike.processes = WORKER_PROCESSES


def _wipe_valkey(stage: Stage, _dice: random.Random, _strike: Strike) -> None:
    with redis.Redis.from_url(stage.servers.valkey.url) as broker:
        broker.flushall()


def _restart_valkey(stage: Stage, dice: random.Random, _strike: Strike) -> None:
    _restart(stage.servers.valkey, dice)


def _freeze_valkey(stage: Stage, dice: random.Random, _strike: Strike) -> None:
    frozen = freeze(stage.servers.valkey)
    time.sleep(dice.uniform(4, 8))
    thaw(frozen)


def _restart_postgres(stage: Stage, dice: random.Random, strike: Strike) -> None:
    _restart(stage.servers.postgres, dice)
    strike.processes = WORKER_PROCESSES


def _crash_postgres(stage: Stage, dice: random.Random, strike: Strike) -> None:
    """Immediate shutdown, or ``kill -9`` of the postmaster: it has to recover from its log."""
    server = stage.servers.postgres
    assert server.process is not None
    if dice.random() < 0.5:
        server.kill()
    else:
        server.process.kill()
    server.process.wait(30)
    server.restart()
    strike.processes = WORKER_PROCESSES


def _freeze_postgres(stage: Stage, dice: random.Random, strike: Strike) -> None:
    frozen = freeze(stage.servers.postgres)
    time.sleep(_beyond_the_lease(dice))
    thaw(frozen)
    strike.processes = WORKER_PROCESSES


def _cut_commits(stage: Stage, dice: random.Random, strike: Strike) -> None:
    """Connections end at a COMMIT: before it arrived, or after it was done."""
    times = dice.randint(8, 14)
    stage.cutter.cut(times, 0.25, dice)
    end = time.monotonic() + 15
    while stage.cutter.left and time.monotonic() < end:
        time.sleep(0.02)
    stage.cutter.calm()
    strike.processes = WORKER_PROCESSES


def _restart(server: EmbeddedServer, dice: random.Random) -> None:
    assert server.process is not None
    server.ask_to_stop()
    server.process.wait(30)
    time.sleep(dice.uniform(0, 2))
    server.restart()


def _beyond_the_lease(dice: random.Random) -> float:
    return config().engine.lease_seconds + dice.uniform(0.5, 2.5)


FAULTS: Final = (
    Fault("kill-child", "kill -9 of a worker's child", _kill_child),
    Fault("kill-worker", "kill -9 of the whole worker", _kill_worker),
    Fault("kill-beat", "kill -9 of the beat", _kill_beat),
    Fault("kill-sweeper", "kill -9 of the sweeper", _kill_sweeper),
    Fault("term-worker", "SIGTERM to the worker alone", _terminate_worker),
    Fault("term-group", "SIGTERM to its whole group", _terminate_group),
    Fault("freeze-worker", "worker frozen beyond its lease", _freeze_worker, outage=True),
    Fault("wipe-valkey", "FLUSHALL of Valkey", _wipe_valkey),
    Fault("restart-valkey", "restart of Valkey", _restart_valkey, outage=True),
    Fault("freeze-valkey", "freeze of Valkey", _freeze_valkey, outage=True),
    Fault("restart-postgres", "restart of PostgreSQL", _restart_postgres, outage=True),
    Fault("crash-postgres", "crash of PostgreSQL", _crash_postgres, outage=True),
    Fault("freeze-postgres", "freeze of PostgreSQL", _freeze_postgres, outage=True),
    Fault("cut-commits", "connections cut at COMMIT", _cut_commits, outage=True, proxied=True),
)


def by_name(name: str) -> Fault:
    """The fault of this name. Raises KeyError."""
    return {fault.name: fault for fault in FAULTS}[name]


def storm(dice: random.Random, number: int = 6) -> list[Fault]:
    """Several faults, all different, in an order drawn from the dice; the cuts are among them."""
    others = [fault for fault in FAULTS if not fault.proxied]
    cuts = [fault for fault in FAULTS if fault.proxied]
    drawn = dice.sample(others, number - len(cuts)) + cuts
    dice.shuffle(drawn)
    return drawn
