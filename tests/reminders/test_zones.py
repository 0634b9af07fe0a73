"""A stored time zone that is none costs its own person the own hours, and nobody anything else."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from tests.reminders.world import DAY, ZONE, Someone, World, never, noon
from verifier import client
from verifier.clock import zone_of
from verifier.reminders import plan, zones
from verifier.reminders.send import send_due

BOGUS = [
    "", " ", "Mars/Base", "Asia", "Asia/", "asia/shanghai", "/etc/passwd", "../zone", "a//b",
    "zone.tab", "__init__.py", "中国/上海", "x" * 5000, "\x00",
]  # fmt: skip


@pytest.mark.parametrize("name", BOGUS, ids=lambda name: repr(name[:20]))
def test_what_is_no_zone_is_the_default(name: str) -> None:
    assert zone_of(name, ZONE) is ZONE


def test_a_zone_is_itself() -> None:
    assert zone_of("America/New_York", ZONE) == ZoneInfo("America/New_York")


def _move(world: World, someone: Someone, zone: str) -> None:
    world.execute(
        "UPDATE verifier.users SET time_zone = :zone WHERE reference = :reference",
        zone=zone,
        reference=someone.reference,
    )


@pytest.mark.parametrize("zone", ["Mars/Base", "", "Asia", "x" * 5000])
def test_a_bogus_zone_is_planned_and_sent_in_business_hours_as_are_the_others(
    world: World, zone: str
) -> None:
    lost, home = world.put(), world.put()
    _move(world, lost, zone)
    world.at(noon() - timedelta(hours=10))  # 02:00
    assert plan.plan_for(DAY) == {"looked_at": 2, "planned": 2}
    assert world.row(lost).due_at == world.row(home).due_at == noon() - timedelta(hours=3)
    assert send_due(never) == {}
    world.at(noon())
    assert send_due(never) == {"sent": 2}
    assert len(world.received(lost.phone)) == len(world.received(home.phone)) == 1


def test_a_zone_that_became_bogus_after_planning_keeps_no_message_back(world: World) -> None:
    lost, _home = world.put(), world.put()
    plan.plan_for(DAY)
    _move(world, lost, "Mars/Base")
    assert send_due(never) == {"sent": 2}


def test_quiet_hours_of_a_bogus_zone_are_the_business_ones(world: World) -> None:
    lost = world.put(time_zone="America/New_York")
    world.at(noon() - timedelta(hours=10))  # 02:00 in China, 13:00 in New York
    plan.plan_for(DAY)
    _move(world, lost, "Mars/Base")
    assert send_due(never) == {"postponed": 1}
    assert world.row(lost).due_at == noon() - timedelta(hours=3)


def test_a_bogus_zone_is_logged_once_and_only_as_far_as_it_looks_like_one() -> None:
    zones.person_zone.cache_clear()
    with capture_logs() as logs:
        for _ in range(3):
            for name in ("Mars/Base", "Zhang San", "Europe/Paris"):
                zones.person_zone(name, ZONE)
    assert [entry["time_zone"] for entry in logs] == ["Mars/Base", "malformed"]


def test_a_service_gets_a_user_with_a_bogus_zone(world: World) -> None:
    lost = world.put(None)
    world.open(lost, due_at="verifier.verifier_now() + interval '1 hour'", reason="'maintenance'")
    expected = client.get(lost.reference)
    assert expected.until is not None
    _move(world, lost, "Mars/Base")
    assert client.get(lost.reference) == expected, "told in the business zone"
