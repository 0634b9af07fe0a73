"""The sender of reminders as a real process: killed at each step, paused beyond its lease, doubled.

A step is held by what the vendor does (a hang, a slow answer, a connection that does not come
about) or by a lock on the row, and is known by what stands in the database. Whatever happens,
nobody is reached twice by one step and nobody who is due is forgotten.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.processes import Processes, children_of, until
from tests.reminders.world import DAY, Someone, World, never, noon
from verifier.doorbell import REMIND_QUEUE, doorbell
from verifier.reminders import plan
from verifier.reminders.reconcile import MOST_RECONCILIATIONS, reconcile
from verifier.reminders.send import send_due
from verifier.store.engine import transaction

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

#: Long enough to be looked at, short enough to be waited for.
TIMEOUT = 4.0


@pytest.fixture
def processes(world: World) -> Iterator[Processes]:
    """Workers of the product whose gateways are those of ``world``."""
    directory = world.home / "processes"
    directory.mkdir()
    started = Processes(directory)
    yield started
    started.stop()


def sender(
    processes: Processes, name: str = "sender", children: int = 1
) -> subprocess.Popen[bytes]:
    return processes.worker(name, REMIND_QUEUE, children)


def ring(times: int = 1) -> None:
    assert doorbell().ring("verifier.reminders.send", {}, REMIND_QUEUE, times) == times


def kill(worker: subprocess.Popen[bytes]) -> None:
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait(30)


def state_is(world: World, state: str) -> Callable[[], bool]:
    return lambda: any(row.state == state for row in world.rows())


def prepares(world: World) -> bool:
    """Whether a sender that leased its row is asking JPush for a cid, outside any transaction."""
    return any(call["action"] == "cid" for call in world.sandbox.client.call_log())


def waits_for_a_lock() -> bool:
    with transaction() as connection:
        waiting = connection.execute(
            text("""
                SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'
            """)
        ).scalar_one()
    return bool(waiting)


@contextmanager
def locked_rows() -> Iterator[None]:
    """Nobody writes a reminder meanwhile."""
    with transaction() as connection:
        connection.execute(text("SELECT FROM verifier.reminders FOR UPDATE"))
        yield


class Nowhere:
    """An address at which connections do not come about, until :meth:`let_in`."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self._listener.settimeout(15)
        self._address = self._listener.getsockname()
        self.url = f"http://127.0.0.1:{self._address[1]}"
        # One that nobody accepts fills the queue: who comes next gets no answer to its SYN.
        self._first = socket.create_connection(self._address)

    def is_called(self) -> bool:
        """Whether somebody is trying to connect."""
        syn_sent, port = "02", f"{self._address[1]:04X}"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()]
        return any(row[2].endswith(f":{port}") and row[3] == syn_sent for row in rows[1:])

    def let_in(self) -> socket.socket:
        """The connection of the one that was trying."""
        self._listener.accept()[0].close()
        connection, _ = self._listener.accept()
        connection.settimeout(15)
        return connection

    def close(self) -> None:
        self._first.close()
        self._listener.close()


@pytest.fixture
def nowhere() -> Iterator[Nowhere]:
    found = Nowhere()
    yield found
    found.close()


def due(world: World, *, push: bool = False) -> Someone:
    someone = world.put(push=push)
    assert plan.plan_for(DAY) == {"looked_at": 1, "planned": 1}
    return someone


def recover(world: World) -> None:
    """What the next senders and reconciliations do, when leases and calls have ended."""
    world.sandbox.client.lift()
    world.configure()
    for _ in range(MOST_RECONCILIATIONS + 1):
        world.after_settling()
        send_due(never)
        reconcile()
        if not any(row.state in ("planned", "sending") for row in world.rows()):
            break
        world.pass_time(timedelta(minutes=45))


def reached(world: World, someone: Someone) -> int:
    """How often the vendors accepted a message to this person."""
    return len(world.received(*filter(None, (someone.phone, someone.push_token))))


def test_killed_before_it_is_written_that_the_message_leaves(
    world: World, processes: Processes
) -> None:
    someone = due(world, push=True)
    world.configure(timeout=TIMEOUT)
    world.sandbox.client.fault("jpush", "timeout", action="cid")
    worker = sender(processes)
    ring()
    until(lambda: prepares(world), 30, "the sender to ask for a cid")
    kill(worker)
    assert world.row().state == "planned"
    recover(world)
    assert (world.row().state, reached(world, someone)) == ("sent", 1)


def test_killed_between_that_and_the_first_byte(
    world: World, processes: Processes, nowhere: Nowhere
) -> None:
    someone = due(world)
    world.configure(timeout=TIMEOUT, endpoint=nowhere.url)
    worker = sender(processes)
    ring()
    until(nowhere.is_called, 30, "the sender to connect")
    assert world.row().state == "sending"
    kill(worker)
    world.configure()
    assert send_due(never) == {}, "it may have left: it is not sent again"
    recover(world)
    assert (world.row().state, reached(world, someone)) == ("rejected", 0)
    _is_reached_tomorrow(world, someone)


def _is_reached_tomorrow(world: World, someone: Someone) -> None:
    tomorrow = DAY + timedelta(days=1)
    world.at(noon(tomorrow))
    assert plan.plan_for(tomorrow)["planned"] == 1
    assert send_due(never) == {"sent": 1}
    assert reached(world, someone) == 1


@pytest.mark.parametrize("taken", [True, False])
def test_killed_while_the_vendor_does_not_answer(
    world: World, processes: Processes, taken: bool
) -> None:
    someone = due(world)
    world.configure(timeout=TIMEOUT)
    world.sandbox.client.fault("aliyun", "timeout", action="SendSms", processed=taken)
    worker = sender(processes)
    ring()
    until(state_is(world, "sending"), 30, "the message to be on its way")
    struck = world.sandbox.client.faults
    until(lambda: struck()[0]["strikes"], 10, "the vendor to have the request")
    kill(worker)
    recover(world)
    row = world.row()
    assert (row.state, row.reason) == ("sent" if taken else "rejected", "reconciled")
    assert reached(world, someone) == int(taken)
    if not taken:
        _is_reached_tomorrow(world, someone)


def test_killed_with_the_answer_in_hand(world: World, processes: Processes) -> None:
    someone = due(world)
    world.configure(timeout=TIMEOUT)
    world.sandbox.client.fault("aliyun", "slow", action="SendSms", ms=1000)
    worker = sender(processes)
    ring()
    until(state_is(world, "sending"), 30, "the message to be on its way")
    with locked_rows():
        until(waits_for_a_lock, 30, "the answer to be written down")
        kill(worker)
    assert (world.row().state, reached(world, someone)) == ("sending", 1)
    recover(world)
    assert (world.row().state, world.row().reason) == ("sent", "reconciled")
    assert reached(world, someone) == 1


def test_paused_before_it_is_written_and_continued_when_another_has_sent(
    world: World, processes: Processes
) -> None:
    someone = due(world, push=True)
    world.configure(timeout=30.0)  # the call itself is not too late: only the lease is
    world.sandbox.client.fault("jpush", "slow", action="cid", ms=3000)
    worker = sender(processes)
    ring()
    until(lambda: prepares(world), 30, "the sender to ask for a cid")
    os.killpg(worker.pid, signal.SIGSTOP)
    assert world.row().state == "planned"
    world.sandbox.client.lift()
    world.end_leases()
    assert send_due(never) == {"sent": 1}
    os.killpg(worker.pid, signal.SIGCONT)
    until(lambda: '"lost": 1' in processes.log("sender"), 30, "the first to see that it is late")
    kill(worker)
    assert (world.row().state, reached(world, someone)) == ("sent", 1)


def test_paused_before_the_first_byte_beyond_the_end_of_its_call(
    world: World, processes: Processes, nowhere: Nowhere
) -> None:
    someone = due(world)
    world.configure(timeout=2.0, endpoint=nowhere.url)
    worker = sender(processes)
    ring()
    until(nowhere.is_called, 30, "the sender to connect")
    assert world.row().state == "sending"
    os.killpg(worker.pid, signal.SIGSTOP)
    with nowhere.let_in() as connection:  # it comes about while the process stands still
        until(lambda: _call_is_over(world), 10, "the call's end")
        recover(world)
        assert world.row().state == "rejected", "the vendor certainly has nothing"
        os.killpg(worker.pid, signal.SIGCONT)
        assert connection.recv(1) == b"", "the sender leaves without a word"
    until(lambda: '"lost": 1' in processes.log("sender"), 30, "the sender to see that it is late")
    kill(worker)
    assert (world.row().state, reached(world, someone)) == ("rejected", 0)
    _is_reached_tomorrow(world, someone)


def _call_is_over(world: World) -> bool:
    with transaction() as connection:
        over = connection.execute(
            text("SELECT bool_and(lease_until < clock_timestamp()) FROM verifier.reminders")
        ).scalar_one()
    assert world.row().state == "sending"
    return bool(over)


def test_doubled_and_killed_in_the_middle_nobody_is_reached_twice_or_forgotten(
    world: World, processes: Processes
) -> None:
    people = [world.put(push=number % 2 == 0) for number in range(60)]
    assert plan.plan_for(DAY)["planned"] == 60
    world.configure(timeout=TIMEOUT)
    world.sandbox.client.settings(latency_ms=60)
    first, _ = sender(processes, "one", 2), sender(processes, "two", 2)
    ring(20)
    until(lambda: len(world.received()) > 10, 30, "some to be reached")
    os.kill(children_of(first.pid)[0], signal.SIGKILL)
    until(lambda: len(world.received()) > 25, 30, "more to be reached")
    kill(first)
    ring(5)
    until(lambda: _all_left(world), 60, "everybody who is not held by a dead sender")
    recover(world)
    for row in world.rows():
        (someone,) = [person for person in people if person.reference == row.reference]
        # A push whose answer was lost cannot be asked about: it stays unknown, for good.
        allowed = {"sent": (1,), "rejected": (0,), "unknown": (0, 1)}
        assert reached(world, someone) in allowed[row.state], row


def _all_left(world: World) -> bool:
    """Every row has ended, or waits for the end of a lease."""
    with transaction() as connection:
        waiting = connection.execute(
            text("""
                SELECT count(*) FROM verifier.reminders
                 WHERE state = 'planned' AND (token IS NULL OR lease_until < clock_timestamp())
            """)
        ).scalar_one()
    return not waiting
