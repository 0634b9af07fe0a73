from __future__ import annotations

import threading
from datetime import date, time, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from tests.reminders.world import DAY, ZONE, World, never, noon
from verifier.clock import at_local
from verifier.errors import ConfigError
from verifier.gateways.aliyun_sms import AliyunSms
from verifier.gateways.jpush import JPush
from verifier.outcomes import Lane
from verifier.reminders import plan, send
from verifier.reminders.runtime import runtime
from verifier.reminders.send import send_due
from verifier.reminders.standing import MOST_REFUSALS
from verifier.reminders.verdict import MOST_TRIES
from verifier.sandbox.register import RegisterEntry
from verifier.store import operations, providers
from verifier.store import reminders as stored
from verifier.store.engine import transaction
from verifier.store.gateways import gateway_of, row_name


def planned(world: World, *args: Any, **fields: Any) -> Any:
    someone = world.put(*args, **fields)
    plan.plan_for(DAY)
    return someone


def test_a_push_and_an_sms_arrive_once_with_their_text(world: World) -> None:
    with_app, without = world.put(push=True), world.put("NO_RECORD", locale="en")
    plan.plan_for(DAY)
    assert send_due(never) == {"sent": 2}
    assert send_due(never) == {}
    [push] = world.received(with_app.push_token)
    assert push["text"] == "您填写的姓名或证件号与号码登记信息不一致，请核对或更正。"
    assert "https://verify.example.com/mobile" in str(push["details"])
    [sms] = world.received(without.phone)
    assert (sms["template"], sms["details"]["parameters"]) == ("SMS_1003", {})
    row = world.row(without)
    assert (row.state, row.gateway, row.message_id) == ("sent", "sms", sms["id"])
    assert row.client_reference == sms["reference"]
    assert len(world.received()) == 2


def test_two_senders_at_once_send_each_message_once(world: World) -> None:
    for number in range(40):
        world.put(push=number % 2 == 0)
    plan.plan_for(DAY)
    totals: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: totals.append(send_due(never))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(total.get("sent", 0) for total in totals) == 40
    messages = world.received()
    assert len(messages) == len({m["recipient"] for m in messages}) == 40


@pytest.mark.parametrize(
    ("hour", "zone", "leaves"),
    [
        (8, "Asia/Shanghai", False),
        (9, "Asia/Shanghai", True),
        (19, "Asia/Shanghai", True),
        (20, "Asia/Shanghai", False),
        (12, "America/New_York", False),
        (23, "America/New_York", True),
        (12, "Europe/Berlin", False),
        (18, "Europe/Berlin", True),
    ],
)
def test_nothing_leaves_in_the_persons_quiet_hours(
    world: World, hour: int, zone: str, leaves: bool
) -> None:
    world.at(at_local(DAY, time(0), ZONE))
    planned(world, time_zone=zone)
    # As if the plan had been wrong, or the person had moved since.
    world.execute("UPDATE verifier.reminders SET due_at = '2000-01-01'")
    world.at(at_local(DAY, time(hour), ZONE))
    found = send_due(never)
    assert ("sent" in found) == leaves
    assert len(world.received()) == leaves
    row = world.row()
    if not leaves and hour != 20:
        assert (row.state, row.reason) == ("planned", "quiet_hours")
    elif not leaves:
        assert (row.state, row.reason) == ("skipped", "day_over")


@pytest.mark.parametrize("what", ["verified", "changed", "outcome", "answering"])
def test_what_is_no_longer_true_is_not_sent(world: World, what: str) -> None:
    someone = planned(world)
    if what == "verified":
        world.conclude(someone.reference, "MATCHED")
    elif what == "changed":
        world.change_data(someone)
        world.conclude(someone.reference, "MISMATCHED")
    elif what == "outcome":
        world.conclude(someone.reference, "NO_RECORD")
    else:
        world.open(someone)
    assert send_due(never) == {"skipped": 1}
    row = world.row()
    expected = "being_verified" if what == "answering" else "no_longer_true"
    assert (row.state, row.reason) == ("skipped", expected)
    assert world.received() == []


def test_what_changes_in_the_last_moment_is_not_sent(world: World) -> None:
    """Between leasing and sending: the write of ``sending`` looks once more."""
    someone = planned(world)
    token = 4711
    with transaction() as connection:
        [row] = stored.lease_due(
            connection, token=token, lease_seconds=60, limit=8, day_ends=noon(DAY)
        )

    def mark() -> bool:
        with transaction() as connection:
            return stored.mark_sending(
                connection,
                row.id,
                token=token,
                gateway="sms",
                client_reference="r-1",
                call_seconds=1.0,
                settle_seconds=1.0,
            )

    for change, back in (
        ("UPDATE verifier.users SET version = 2", "UPDATE verifier.users SET version = 1"),
        (
            "UPDATE verifier.control SET stopped_at = now()",
            "UPDATE verifier.control SET stopped_at = NULL",
        ),
        (
            "UPDATE verifier.reminders SET lease_until = clock_timestamp()",
            "UPDATE verifier.reminders SET lease_until = clock_timestamp() + interval '1 minute'",
        ),
        ("UPDATE verifier.reminders SET token = 1", "UPDATE verifier.reminders SET token = 4711"),
    ):
        world.execute(change)
        assert not mark()
        world.execute(back)
    assert mark()
    assert not mark()
    assert world.row(someone).state == "sending"


def test_the_global_stop_holds_everything_back(world: World) -> None:
    planned(world)
    with transaction() as connection:
        operations.stop(connection, by="operator", reason="test")
    assert send_due(never) == {}
    assert world.row().state == "planned"
    with transaction() as connection:
        operations.start(connection)
    assert send_due(never) == {"sent": 1}


def test_a_worker_told_to_stop_gives_back_what_it_has_leased(world: World) -> None:
    for _ in range(20):
        world.put()
    plan.plan_for(DAY)
    asked = 0

    def stopping() -> bool:
        nonlocal asked
        asked += 1
        return asked > 6

    send_due(stopping)
    states = [row.state for row in world.rows()]
    assert states.count("planned") > 0
    assert states.count("planned") + states.count("sent") == 20
    world.pass_time(timedelta(hours=1))
    send_due(never)
    assert [row.state for row in world.rows()] == ["sent"] * 20
    assert len({m["recipient"] for m in world.received()}) == len(world.received()) == 20


def test_being_told_to_stop_uses_up_no_try(world: World) -> None:
    planned(world)
    asked = 0

    def stopping() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2  # after the row was written as sending, before the first byte

    assert send_due(stopping) == {"again": 1}
    row = world.row()
    assert (row.state, row.reason, row.tries) == ("planned", "held_back", 0)
    assert world.received() == []
    assert send_due(never) == {"sent": 1}


def test_a_run_that_ends_before_its_work_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(world)
    monkeypatch.setattr(send, "SLICE_SECONDS", 0.0)
    assert send_due(never) == {"more": 1}


def test_an_error_with_one_message_leaves_the_answers_about_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        world.put()
    plan.plan_for(DAY)
    real, calls = stored.mark_sending, iter(range(9))

    def third_fails(*arguments: Any, **fields: Any) -> bool:
        return _die() if next(calls) == 2 else real(*arguments, **fields)

    with monkeypatch.context() as patch:
        patch.setattr(stored, "mark_sending", third_fails)
        with pytest.raises(Died):
            send_due(never)
    assert [row.state for row in world.rows()] == ["sent", "sent", "planned"]


def test_what_was_planned_for_yesterday_is_not_sent_today(world: World) -> None:
    planned(world)
    world.at(noon(DAY + timedelta(days=1)))
    assert send_due(never) == {"expired": 1}
    row = world.row()
    assert (row.state, row.reason) == ("skipped", "day_over")
    assert plan.plan_for(DAY + timedelta(days=1))["planned"] == 1


def _dead(world: World, someone: Any) -> None:
    world.sandbox.client.put(
        RegisterEntry(
            someone.phone,
            someone.name,
            someone.id_number,
            Lane.CMCC,
            push_token=someone.push_token,
            push_live=False,
        )
    )


def test_a_dead_push_token_makes_the_same_row_an_sms(world: World) -> None:
    someone = planned(world, push=True)
    _dead(world, someone)
    assert send_due(never) == {"again": 1, "sent": 1}
    row = world.row()
    assert (row.channel, row.state, row.gateway, row.step) == ("sms", "sent", "sms", 1)
    assert len(world.received()) == len(world.received(someone.phone)) == 1


def test_a_dead_push_token_of_a_number_out_of_service_gets_no_sms(world: World) -> None:
    someone = planned(world, "NUMBER_INACTIVE", push=True)
    _dead(world, someone)
    assert send_due(never) == {"rejected": 1}
    row = world.row()
    assert (row.state, row.reason, row.code) == ("rejected", "person", "1011")
    assert world.received() == []


def test_a_token_that_is_gone_by_then_makes_it_an_sms(world: World) -> None:
    someone = planned(world, push=True)
    world.execute("UPDATE verifier.users SET push_token = NULL")
    assert send_due(never) == {"postponed": 1, "sent": 1}
    assert world.row(someone).channel == "sms"


def test_what_cannot_leave_by_one_gateway_leaves_by_the_next(world: World) -> None:
    world.configure(gateways=("sms_down", "sms_second"))
    planned(world)
    assert send_due(never) == {"again": 1, "sent": 1}
    row = world.row()
    assert (row.state, row.gateway, row.tries) == ("sent", "sms_second", 1)


def test_what_cannot_leave_at_all_is_tried_again_later_and_not_for_ever(world: World) -> None:
    world.configure(gateways=("sms_down",))
    planned(world)
    for tries in range(1, MOST_TRIES):
        assert send_due(never) == {"again": 1}
        row = world.row()
        assert (row.state, row.reason, row.tries) == ("planned", "not_sent", tries)
        assert send_due(never) == {}, "not before its time"
        world.execute("UPDATE verifier.reminders SET due_at = verifier.verifier_now()")
    assert send_due(never) == {"skipped": 1}
    row = world.row()
    assert (row.state, row.reason) == ("skipped", "not_sent")


def test_a_vendor_that_hands_out_no_reference_is_asked_again_later(world: World) -> None:
    planned(world, push=True)
    world.sandbox.client.fault("jpush", "http_error", action="cid", status=503)
    assert send_due(never) == {"again": 1}
    row = world.row()
    assert (row.state, row.reason, row.tries) == ("planned", "not_sent", 1)
    world.sandbox.client.lift()
    world.pass_time(timedelta(minutes=5))
    assert send_due(never) == {"sent": 1}


def test_a_paused_gateway_is_passed_over_and_waited_for(world: World) -> None:
    world.configure(gateways=("sms_first", "sms_second"))
    runtime()
    planned(world)
    for name in ("sms_first", "sms_second"):
        with transaction() as connection:
            providers.pause(connection, row_name(name), by="operator", reason=None)
        if name == "sms_first":
            assert send_due(never) == {"sent": 1}
            assert world.row().gateway == "sms_second"
    late = planned(world)
    assert send_due(never) == {"postponed": 1}
    row = world.row(late)
    assert (row.state, row.reason, row.tries) == ("planned", "gateway_paused", 0)
    with transaction() as connection:
        providers.resume(connection, row_name("sms_first"))
    world.pass_time(timedelta(minutes=11))
    assert send_due(never) == {"sent": 1}
    assert world.row(late).gateway == "sms_first"


def test_a_gateway_shares_no_rate_with_a_provider_of_its_name(world: World) -> None:
    planned(world)
    assert send_due(never) == {"sent": 1}
    with transaction() as connection:
        paced = list(connection.scalars(text("SELECT name FROM verifier.pacing")))
    assert [gateway_of(name) for name in paced] == ["sms"]
    assert gateway_of("sms") is None


def test_a_gateway_that_refuses_for_our_own_reasons_is_suspended(world: World) -> None:
    for _ in range(30):
        world.put()
    plan.plan_for(DAY)
    world.sandbox.client.fault("aliyun", "arrears")
    found = send_due(never)
    assert MOST_REFUSALS <= found["rejected"] <= send.MINI_BATCH
    assert found["rejected"] + found["postponed"] == 30
    with transaction() as connection:
        row = providers.lock(connection, row_name("sms"))
        assert (row.state, row.reason) == ("suspended", "isv.AMOUNT_NOT_ENOUGH")
        providers.resume(connection, row_name("sms"))
    world.sandbox.client.lift()
    world.pass_time(timedelta(minutes=11))
    assert send_due(never)["sent"] == found["postponed"]


def test_an_unknown_outcome_stays_sending_and_is_never_sent_again(world: World) -> None:
    people = [world.put(), world.put(push=True)]
    plan.plan_for(DAY)
    world.sandbox.client.fault("aliyun", "timeout", action="SendSms", processed=True)
    world.sandbox.client.fault("jpush", "reset", action="push", processed=True)
    assert send_due(never) == {"unknown": 2}
    world.sandbox.client.lift()
    for hours in (1, 5):
        world.end_leases()
        world.pass_time(timedelta(hours=hours))
        assert send_due(never) == {}
    world.at(noon(DAY + timedelta(days=1)))
    assert send_due(never) == {}
    assert [row.state for row in world.rows()] == ["sending", "sending"]
    assert len(world.received(people[0].phone, people[1].push_token)) == 2
    # Nor is the day after's plan free to write to them at once.
    assert plan.plan_for(DAY + timedelta(days=1))["planned"] == 0


def test_a_wrong_link_stops_everything_before_anything_is_leased(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(world)
    rules = runtime().config.reminders
    monkeypatch.setitem(rules.__dict__, "link", "https://evil.example/")
    with pytest.raises(ConfigError):
        send_due(never)
    assert world.row().state == "planned"


def test_data_that_cannot_be_decrypted_is_skipped_and_the_others_leave(world: World) -> None:
    broken = world.put()
    world.put()
    world.execute(
        "UPDATE verifier.users SET phone = phone || '\\x00' WHERE reference = :reference",
        reference=broken.reference,
    )
    plan.plan_for(DAY)
    assert send_due(never) == {"skipped": 1, "sent": 1}
    assert world.row(broken).reason == "unreadable"


def test_the_gateways_rate_is_kept(world: World) -> None:
    world.configure(qps=4)
    for _ in range(9):
        world.put()
    plan.plan_for(DAY)
    assert send_due(never) == {"sent": 9}
    at = sorted(message["at"] for message in world.received())
    assert at[-1] - at[0] >= 8 / 4 - 0.3


# ---------------------------------------------------------------- crashes


class Died(BaseException):
    """The process ends here: nothing after this point happens."""


def _die(*_: Any, **__: Any) -> Any:
    raise Died


@pytest.mark.parametrize("push", [False, True])
@pytest.mark.parametrize("step", ["leased", "prepared", "marked", "sent"])
def test_a_crash_at_any_step_sends_at_most_once(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str, push: bool
) -> None:
    planned(world, push=push)
    with monkeypatch.context() as patch:
        if step == "leased":
            patch.setattr(send, "examine", _die)
        elif step == "prepared":
            patch.setattr(stored, "mark_sending", _die)
        elif step == "marked":
            patch.setattr(JPush if push else AliyunSms, "send", _die)
        else:
            patch.setattr(stored, "end", _die)
        with pytest.raises(Died):
            send_due(never)
    assert len(world.received()) == (step == "sent")
    assert send_due(never) == {}, "somebody else's lease"
    world.end_leases()
    found = send_due(never)
    if step in ("leased", "prepared"):
        assert found == {"sent": 1}
        assert len(world.received()) == 1
    else:
        assert found == {}
        assert world.row().state == "sending"
        assert len(world.received()) == (step == "sent")


def test_a_verdict_of_a_sender_that_lost_its_row_changes_nothing(world: World) -> None:
    planned(world)
    with transaction() as connection:
        [row] = stored.lease_due(connection, token=1, lease_seconds=60, limit=1, day_ends=noon())
    world.end_leases()
    assert send_due(never) == {"sent": 1}
    with transaction() as connection:
        assert not stored.end(connection, row.id, token=1, state="skipped", reason="late")
        assert not stored.plan_again(connection, row.id, token=1)
        assert stored.release(connection, [row.id], 1) == 0
    assert world.row().state == "sent"


def test_days_are_the_business_calendars(world: World) -> None:
    """Half past midnight in China is still the day before in UTC."""
    world.at(at_local(DAY, time(0, 30), ZONE))
    assert plan.plan_for(DAY) == {"looked_at": 0, "planned": 0}
    world.put(time_zone="America/New_York")
    plan.plan_for(DAY)
    assert send_due(never) == {"sent": 1}
    assert world.row().day == date(2026, 11, 23)
