from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.reminders.world import DAY, Someone, World, never, noon
from verifier.reminders import plan
from verifier.reminders.reconcile import MOST_RECONCILIATIONS, reconcile, sent_on
from verifier.reminders.send import send_due
from verifier.store import reminders as stored
from verifier.store.engine import transaction


def lost(world: World, *, taken: bool, push: bool = False) -> Someone:
    """Somebody whose message left without an answer; ``taken``: the vendor has it."""
    someone = world.put(push=push)
    plan.plan_for(DAY)
    vendor, action = ("jpush", "push") if push else ("aliyun", "SendSms")
    world.sandbox.client.fault(vendor, "reset", action=action, processed=taken)
    assert send_due(never) == {"unknown": 1}
    world.sandbox.client.lift()
    return someone


def test_what_the_vendor_knows_was_sent(world: World) -> None:
    lost(world, taken=True)
    world.after_settling()
    assert reconcile() == {"sent": 1}
    row = world.row()
    assert (row.state, row.reason, row.code) == ("sent", "reconciled", "DELIVERED")
    assert len(world.received()) == 1


def test_what_the_vendor_certainly_lacks_was_not_sent_and_waits_for_tomorrow(world: World) -> None:
    lost(world, taken=False)
    world.after_settling()
    assert reconcile() == {"rejected": 1}
    assert world.row().state == "rejected"
    assert send_due(never) == {}
    assert plan.plan_for(DAY) == {"looked_at": 1, "planned": 0}
    world.at(noon(DAY + timedelta(days=1)))
    assert plan.plan_for(DAY + timedelta(days=1))["planned"] == 1
    assert send_due(never) == {"sent": 1}
    assert len(world.received()) == 1


def test_nothing_is_asked_while_the_call_may_last_or_the_vendors_records_may_lack_it(
    world: World,
) -> None:
    lost(world, taken=False)
    assert reconcile() == {}
    world.pass_time(timedelta(minutes=15))
    world.execute("UPDATE verifier.reminders SET lease_until = clock_timestamp() + interval '1 m'")
    assert reconcile() == {}
    world.end_leases()
    world.pass_time(timedelta(minutes=-10))
    assert reconcile() == {}
    world.pass_time(timedelta(minutes=10))
    assert reconcile() == {"rejected": 1}


def test_a_vendor_that_does_not_answer_is_asked_again_later_and_not_for_ever(world: World) -> None:
    lost(world, taken=True)
    world.sandbox.client.fault("aliyun", "http_error", action="QuerySendDetails", status=503)
    world.after_settling()
    for _ in range(MOST_RECONCILIATIONS - 1):
        assert reconcile() == {"sending": 1}
        assert reconcile() == {}, "not before its time"
        world.pass_time(timedelta(hours=1))
    assert reconcile() == {"unknown": 1}
    world.sandbox.client.lift()
    for _ in range(3):
        world.pass_time(timedelta(hours=6))
        assert reconcile() == {}
        assert send_due(never) == {}
    assert (world.row().state, len(world.received())) == ("unknown", 1)


def test_a_vendor_that_cannot_be_asked_leaves_it_unknown_for_good(world: World) -> None:
    someone = lost(world, taken=True, push=True)
    world.after_settling()
    for _ in range(MOST_RECONCILIATIONS):
        reconcile()
        world.pass_time(timedelta(hours=1))
    assert world.row().state == "unknown"
    assert send_due(never) == {}
    assert len(world.received(someone.push_token)) == len(world.received()) == 1
    # It counts as a message that the person may have had.
    world.at(noon(DAY + timedelta(days=1)))
    assert plan.plan_for(DAY + timedelta(days=1))["planned"] == 0


def test_a_number_that_changed_since_proves_nothing(world: World) -> None:
    """The vendor has no message to the new number; that says nothing about the old one."""
    someone = lost(world, taken=True)
    other = world.put(None)
    world.execute(
        """
        UPDATE verifier.users u SET phone_index = o.phone_index
          FROM verifier.users o WHERE u.reference = :one AND o.reference = :other
        """,
        one=someone.reference,
        other=other.reference,
    )
    world.after_settling()
    assert reconcile() == {"sending": 1}


def test_a_gateway_that_is_no_longer_configured_cannot_be_asked(world: World) -> None:
    lost(world, taken=True)
    world.configure(gateways=("jpush",))
    world.after_settling()
    assert reconcile() == {"sending": 1}


def test_a_row_is_asked_about_by_one_run_at_a_time(world: World) -> None:
    lost(world, taken=True)
    world.after_settling()
    with transaction() as connection:
        [taken] = stored.take_unsettled(connection, limit=10, pause_seconds=600)
    assert reconcile() == {}
    world.pass_time(timedelta(hours=1))
    with transaction() as connection:
        [again] = stored.take_unsettled(connection, limit=10, pause_seconds=600)

    def settle(row: Any, state: str) -> bool:
        with transaction() as connection:
            return stored.settle(
                connection,
                row.id,
                reconciliation=row.reconciliations,
                state=state,
                reason="reconciled",
            )

    # The first run comes back late: its answer no longer counts, before or after the second's.
    assert not settle(taken, "rejected")
    assert settle(again, "sent")
    assert not settle(again, "rejected")
    assert world.row().state == "sent"


@pytest.mark.parametrize(
    ("ended", "day"),
    [
        (datetime(2026, 11, 22, 15, 59, tzinfo=UTC), date(2026, 11, 22)),
        (datetime(2026, 11, 22, 16, 0, 10, tzinfo=UTC), date(2026, 11, 22)),
        (datetime(2026, 11, 22, 16, 1, tzinfo=UTC), date(2026, 11, 23)),
    ],
)
def test_the_vendors_day_is_never_after_the_one_of_sending(ended: datetime, day: date) -> None:
    assert sent_on(ended) == day


# ---------------------------------------------------------------- a real death


def _until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("taken", [True, False])
def test_a_sender_killed_in_the_middle_of_its_call_sends_at_most_once(
    world: World, taken: bool
) -> None:
    someone = world.put()
    plan.plan_for(DAY)
    world.sandbox.client.fault("aliyun", "timeout", action="SendSms", processed=taken)
    sender = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from verifier.reminders.send import send_due; send_due(lambda: False)",
        ],
        cwd=Path(__file__).parents[2],
        env=os.environ,
    )
    try:
        _until(lambda: any(c["action"] == "SendSms" for c in world.sandbox.client.call_log()))
    finally:
        sender.send_signal(signal.SIGKILL)
        sender.wait(30)
    world.sandbox.client.lift()
    assert world.row(someone).state == "sending"
    assert send_due(never) == {}
    world.pass_time(timedelta(minutes=15))
    _until(lambda: reconcile() != {})  # as soon as the dead call's deadline has passed
    assert world.row(someone).state == ("sent" if taken else "rejected")
    assert send_due(never) == {}
    assert len(world.received(someone.phone)) == taken
