"""Checks over a real database and real HTTP: asked, paid for, capped, and never a verdict."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import World, forget
from verifier import client
from verifier.outcomes import Lane
from verifier.sandbox.people import Fate, SandboxPerson

CHECKS = """
[providers.first]
kind = "tencent"
endpoint = "{url}"
secret_id = "file:{state}/tencent_secret_id"
secret_key = "file:{state}/tencent_secret_key"
lanes = ["cmcc", "cucc", "ctcc"]
qps = 500
timeout = 2
price = 0.5

[providers.checker]
kind = "tencent"
endpoint = "{url}"
secret_id = "file:{state}/tencent_secret_id"
secret_key = "file:{state}/tencent_secret_key"
checks = ["status", "recycled"]
check_prices = {{ status = 0.1, recycled = 0.2 }}
qps = 500
timeout = 2
"""


@pytest.fixture
def configure(world: World) -> Callable[[str], None]:
    path = Path(os.environ["VERIFIER_CONFIG"])
    engine = path.read_text("utf-8").partition("[providers")[0]
    text = CHECKS.format(url=world.sandbox.url, state=world.sandbox.state)

    def write(more: str = "") -> None:
        path.write_text(engine + text + more, "utf-8")
        forget()

    write()
    return write


def _verify(world: World, lane: Lane = Lane.CUCC, key: str = "k") -> None:
    batch = client.submit(selection="all", caller="test", key=key).batch
    world.drain_until(lambda: client.get_batch(batch).done, lane)


def _know(world: World, person: SandboxPerson, **changed: Any) -> None:
    """Change what the carriers know of a person's number."""
    assert person.entry is not None
    world.sandbox.client.put(replace(person.entry, **changed))


def _calls(world: World) -> list[tuple[str, str, str | None, str | None, str]]:
    rows = world.rows(
        "SELECT purpose, outcome, fact, price::text AS price, provider"
        "  FROM verifier.attempts ORDER BY started_at, id"
    )
    return [(r.purpose, r.outcome, r.fact, r.price, r.provider) for r in rows]


@pytest.mark.usefixtures("configure")
def test_a_mismatch_of_a_unicom_number_is_looked_at_and_told_as_it_is(world: World) -> None:
    (person,) = world.people(1, fate=Fate.WRONG_NAME, lane=Lane.CUCC)
    _verify(world)
    state = client.get(person.reference)
    assert (state.outcome, state.detail) == ("MISMATCHED", "UNSPECIFIED")
    assert _calls(world) == [
        ("verify", "MISMATCHED", None, "0.500000", "first"),
        ("status", "CHECKED", "ACTIVE", "0.100000", "checker"),
    ]
    # The person's two billed results of the day are about results: a check is none.
    assert len(world.rows("SELECT FROM verifier.billed_slots")) == 1


@pytest.mark.usefixtures("configure")
def test_other_carriers_numbers_are_not_paid_for_twice(world: World) -> None:
    world.people(2, fate=Fate.WRONG_NAME, lane=Lane.CMCC)
    _verify(world, Lane.CMCC)
    assert {purpose for purpose, *_ in _calls(world)} == {"verify"}


def test_who_matched_before_learns_that_the_number_changed_hands(
    world: World, configure: Callable[[str], None]
) -> None:
    configure("")
    (person,) = world.people(1, lane=Lane.CUCC)
    client.put_users([_row(person, bound_at="2020-01-01T00:00:00Z")])
    _verify(world)
    assert client.get(person.reference).status == "verified"
    world.later(days=1)
    today = datetime.now(UTC).date()
    _know(world, person, name="欧阳锋", since=today.replace(year=today.year - 1).isoformat())
    _verify(world, key="again")
    state = client.get(person.reference)
    assert (state.status, state.outcome, state.detail) == ("failed", "MISMATCHED", "RECYCLED")
    assert "somebody else" in str(state.guidance) or "他人" in str(state.guidance)
    assert [(p, f) for p, _, f, *_ in _calls(world)] == [
        ("verify", None), ("verify", None), ("status", "ACTIVE"), ("recycled", "CHANGED_HANDS"),
    ]  # fmt: skip


def _row(person: SandboxPerson, **more: str) -> dict[str, str]:
    return {
        "reference": person.reference,
        "phone": person.phone,
        "name": person.name,
        "id_number": person.id_number,
        **more,
    }


@pytest.mark.parametrize(
    "off", ["[checks.status]\nenabled = false", "[checks.status]\ndaily_cap = 0"]
)
def test_a_check_can_be_turned_off_and_capped(
    off: str, world: World, configure: Callable[[str], None]
) -> None:
    configure(off)
    world.people(3, fate=Fate.WRONG_NAME, lane=Lane.CUCC)
    _verify(world)
    assert {purpose for purpose, *_ in _calls(world)} == {"verify"}


def test_a_cap_is_never_passed_and_nobody_waits_for_tomorrow(
    world: World, configure: Callable[[str], None]
) -> None:
    configure("[checks.status]\ndaily_cap = 4")
    world.people(9, fate=Fate.WRONG_NAME, lane=Lane.CUCC)
    _verify(world)
    checked = [purpose for purpose, *_ in _calls(world) if purpose == "status"]
    assert len(checked) == 4
    assert world.one("SELECT used FROM verifier.check_uses").used == 4
    assert client.get_batch(1).outcomes == {"MISMATCHED": 9}


@pytest.mark.usefixtures("configure")
def test_a_check_that_fails_twice_holds_nobody_up(world: World) -> None:
    (person,) = world.people(1, fate=Fate.WRONG_NAME, lane=Lane.CUCC)
    world.sandbox.client.fault("tencent", "http_error", status=500, action="MobileStatus")
    batch = client.submit(selection="all", caller="test", key="k").batch

    def done() -> bool:
        world.later(minutes=5)
        return client.get_batch(batch).done

    world.drain_until(done, Lane.CUCC)
    assert client.get(person.reference).outcome == "MISMATCHED"
    assert [purpose for purpose, *_ in _calls(world)] == ["verify", "status", "status"]


@pytest.mark.usefixtures("configure")
def test_the_outage_of_who_checks_is_waited_for_and_ends_by_its_own_probe(world: World) -> None:
    (person,) = world.people(1, fate=Fate.WRONG_NAME, lane=Lane.CUCC)
    fault = world.sandbox.client.fault("tencent", "maintenance", action="MobileStatus")
    batch = client.submit(selection="all", caller="test", key="k").batch
    world.drain_until(lambda: len(_calls(world)) == 2, Lane.CUCC)
    row = world.one("SELECT state, reason FROM verifier.providers WHERE name = 'checker'")
    assert tuple(row) == ("open", "maintenance")
    world.drain(Lane.CUCC)
    assert client.get(person.reference).state == "waiting"
    assert len(_calls(world)) == 2
    world.sandbox.client.lift(fault)
    world.later(hours=2)
    world.drain_until(lambda: client.get_batch(batch).done, Lane.CUCC)
    assert client.get(person.reference).outcome == "MISMATCHED"
    assert world.one("SELECT state FROM verifier.providers WHERE name = 'checker'")[0] == "closed"
