"""Checks over a real database and real HTTP: asked, paid for, capped, and never a verdict."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import World, forget
from tests.engine.playing import MATCHED, Player
from verifier import client
from verifier.carriers.base import Answer
from verifier.carriers.wire import as_check
from verifier.outcomes import Billed, Check, Fact, Lane, Outcome
from verifier.sandbox.people import Fate, SandboxPerson
from verifier.store import providers
from verifier.store.engine import transaction
from verifier.upkeep.sweep import sweep
from verifier.verification.jobs import NotCalled

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


@pytest.mark.usefixtures("configure")
def test_who_once_matched_is_asked_about_since_then_however_often_it_failed_after(
    world: World,
) -> None:
    """Without ``bound_at``: the day of the last match, not of the last verdict."""
    (person,) = world.people(1, lane=Lane.CMCC)
    world.later(days=-800)
    _verify(world, Lane.CMCC)
    world.later(days=800)
    new_holder = (datetime.now(UTC) - timedelta(days=200)).date().isoformat()
    _know(world, person, name="欧阳锋", since=new_holder)
    for key in ("second", "third"):
        _verify(world, Lane.CMCC, key=key)
        state = client.get(person.reference)
        assert (state.outcome, state.detail) == ("MISMATCHED", "RECYCLED"), key
        world.later(days=1)


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


ALIBABA = """
[providers.dytns]
kind = "aliyun_dytns"
endpoint = "{url}"
key_id = "file:{state}/aliyun_key_id"
key_secret = "file:{state}/aliyun_key_secret"
auth_code = "file:{state}/dytns_auth_code"
lanes = {lanes}
checks = ["status", "carrier"]
check_prices = {{ carrier = 0.01 }}
qps = 500
timeout = 2
"""
EDITIONS = """
[providers.{name}]
kind = "tencent"
action = "PhoneVerification{name}"
endpoint = "{url}"
secret_id = "file:{state}/tencent_secret_id"
secret_key = "file:{state}/tencent_secret_key"
lanes = ["{lane}"]
qps = 500
timeout = 2
"""


def _rewrite(world: World, *tables: str, **more: str) -> None:
    path = Path(os.environ["VERIFIER_CONFIG"])
    engine = path.read_text("utf-8").partition("[providers")[0]
    values = {"url": world.sandbox.url, "state": str(world.sandbox.state), **more}
    path.write_text(engine + "".join(table.format(**values) for table in tables), "utf-8")
    forget()


def test_a_dead_number_is_told_and_not_that_the_name_is_wrong(world: World) -> None:
    """Unicom's cancelled numbers are answered "inconsistent", as the vendor documents."""
    _rewrite(world, ALIBABA, lanes='["cucc"]')
    dead, alive = world.people(2, lane=Lane.CUCC)
    _know(world, dead, status="cancelled")
    _verify(world)
    state = client.get(dead.reference)
    assert (state.status, state.outcome) == ("failed", "NUMBER_INACTIVE")
    assert state.detail == "NOT_IN_NETWORK"  # dytns: NOT_EXIST
    assert client.get(alive.reference).status == "verified"
    assert [(p, o, f) for p, o, f, *_ in _calls(world)].count(("verify", "MISMATCHED", None)) == 1


def _ported(world: World, looks_up: str = "") -> SandboxPerson:
    """Somebody who took a China Mobile number along to Unicom; each edition knows its own only."""
    values = {"url": world.sandbox.url, "state": str(world.sandbox.state)}
    mobile = EDITIONS.format(name="CMCC", lane="cmcc", **values)
    unicom = EDITIONS.format(name="CUCC", lane="cucc", **values)
    _rewrite(world, mobile, unicom, ALIBABA, looks_up, lanes="[]")
    (person,) = world.people(1, lane=Lane.CMCC)
    _know(world, person, carrier=Lane.CUCC)
    return person


def _both_lanes(world: World, key: str = "k") -> None:
    batch = client.submit(selection="all", caller="test", key=key).batch

    def done() -> bool:
        world.drain(Lane.CUCC)
        return client.get_batch(batch).done

    world.drain_until(done, Lane.CMCC)


@pytest.mark.parametrize("when", ["no_record", "first"])
def test_a_ported_number_is_verified_by_its_own_carrier(when: str, world: World) -> None:
    person = _ported(world, f'[checks.carrier]\nwhen = "{when}"\n')
    _both_lanes(world)
    assert client.get(person.reference).status == "verified"
    asked = [(purpose, outcome, provider) for purpose, outcome, _, _, provider in _calls(world)]
    first = [("verify", "NO_RECORD", "CMCC")] if when == "no_record" else []
    assert asked == [*first, ("carrier", "CHECKED", "dytns"), ("verify", "MATCHED", "CUCC")]
    user = world.one("SELECT lane, carrier_seen_at FROM verifier.users")
    assert user.lane == "cucc"
    assert user.carrier_seen_at is not None
    # Known for a week: the next time it goes there at once, also after a change of the contact.
    client.put_users([_row(person, email="new@example.com")])
    world.later(days=1)
    _both_lanes(world, key="again")
    assert [p for *_, p in _calls(world)][len(asked) :] == ["CUCC"]
    # Another number is another guess.
    client.put_users([{**_row(person), "phone": "13900139000"}])
    user = world.one("SELECT lane, carrier_seen_at FROM verifier.users")
    assert tuple(user) == ("cmcc", None)


def test_a_look_up_that_put_a_number_where_nobody_reaches_it_is_not_believed_for_ever(
    world: World,
) -> None:
    """The operator drops the Unicom provider, and the number goes back to China Mobile."""
    person = _ported(world)
    _both_lanes(world)
    assert world.one("SELECT lane FROM verifier.users").lane == "cucc"
    _know(world, person, carrier=Lane.CMCC)
    values = {"url": world.sandbox.url, "state": str(world.sandbox.state)}
    mobile = EDITIONS.format(name="CMCC", lane="cmcc", **values)
    _rewrite(world, mobile, ALIBABA, lanes="[]")
    world.later(days=8)
    _both_lanes(world, key="again")
    assert client.get(person.reference).status == "verified"
    assert world.one("SELECT lane FROM verifier.users").lane == "cmcc"


@pytest.mark.parametrize("looks_up", ["first", "no_record"])
def test_a_number_ported_out_of_a_lane_without_providers(looks_up: str, world: World) -> None:
    values = {"url": world.sandbox.url, "state": str(world.sandbox.state)}
    mobile = EDITIONS.format(name="CMCC", lane="cmcc", **values)
    _rewrite(world, mobile, ALIBABA, f'[checks.carrier]\nwhen = "{looks_up}"\n', lanes="[]")
    (person,) = world.people(1, lane=Lane.CUCC)
    _know(world, person, carrier=Lane.CMCC)
    _both_lanes(world)
    outcome = "MATCHED" if looks_up == "first" else "UNSUPPORTED_NUMBER"  # without a call
    assert client.get(person.reference).outcome in (outcome, None)
    asked = [purpose for purpose, *_ in _calls(world)]
    assert asked == (["carrier", "verify"] if looks_up == "first" else [])


def test_a_look_up_that_led_astray_is_dropped(world: World) -> None:
    person = _ported(world)
    _both_lanes(world)
    assert person.entry is not None
    world.sandbox.client.remove(person.phone)
    world.later(days=1)
    _both_lanes(world, key="again")
    assert client.get(person.reference).outcome == "NO_RECORD"
    assert world.one("SELECT carrier_seen_at FROM verifier.users").carrier_seen_at is None


def test_a_number_that_moved_where_nobody_reaches_is_told_so(world: World) -> None:
    """Asked anew the next time: it may have come back."""
    person = _ported(world)
    _know(world, person, carrier=Lane.CBN)
    _both_lanes(world)
    state = client.get(person.reference)
    assert (state.outcome, state.detail) == ("UNSUPPORTED_NUMBER", "BROADNET")
    _know(world, person, carrier=Lane.CMCC)
    world.later(days=1)
    _both_lanes(world, key="again")
    assert client.get(person.reference).status == "verified"


MISMATCH = Answer(Outcome.MISMATCHED, "NAME", Billed.YES)
NO_RECORD = Answer(Outcome.NO_RECORD, None, Billed.YES)


def _found(fact: Fact, carrier: Lane | None = None) -> Answer:
    return Answer(Outcome.CHECKED, None, Billed.YES, fact=fact, carrier=carrier)


def _step(player: Player, lane: Lane, answer: Answer | NotCalled) -> Check | None:
    """One claimed, answered and recorded: which check it was."""
    player.claim_due(lane, 1)
    (job,) = player.flying
    player.hear(0, answer)
    player.record()
    return job.check


def _lost(world: World) -> None:
    world.execute(
        "UPDATE verifier.open_verifications SET lease_until = now() - interval '1 s'"
        " WHERE state = 'claimed'"
    )
    sweep()


def test_a_look_up_answered_late_still_moves_the_number(world: World) -> None:
    person = _ported(world)
    player = Player(world.runtime)
    client.submit(selection="all", caller="test", key="k")
    assert _step(player, Lane.CMCC, NO_RECORD) is None
    slow = Player(world.runtime)
    slow.claim_due(Lane.CMCC, 1)
    assert slow.flying[0].check is Check.CARRIER
    _lost(world)
    slow.hear(0, _found(Fact.CARRIER, Lane.CUCC))
    slow.record()
    player.claim_due(Lane.CMCC, 1)  # what it now says is read, and the row moves
    player.record()
    assert client.get(person.reference).outcome is None
    assert _step(player, Lane.CUCC, MATCHED) is None
    assert client.get(person.reference).status == "verified"
    assert world.one("SELECT lane FROM verifier.users").lane == "cucc"


@pytest.mark.usefixtures("configure")
def test_a_raw_spelling_answered_late_is_not_asked_about_again(world: World) -> None:
    player = Player(world.runtime)
    (person,) = world.people(1, lane=Lane.CTCC)
    client.put_users([{**_row(person), "name": "王\N{CJK COMPATIBILITY IDEOGRAPH-F929}"}])
    client.submit(selection="all", caller="test", key="k")
    _step(player, Lane.CTCC, MISMATCH)
    slow = Player(world.runtime)
    slow.claim_due(Lane.CTCC, 1)
    assert slow.flying[0].raw_name
    _lost(world)
    slow.hear(0, MISMATCH)
    slow.record()
    assert world.one("SELECT count(*) AS n FROM verifier.attempts WHERE raw_name").n == 1
    for _ in range(4):
        world.later(days=1)
        player.claim_due(Lane.CTCC, 1)
        assert [job.raw_name for job in player.flying if job.check is None] == []
        while player.flying:
            player.hear(0, _found(Fact.UNKNOWN))
        player.record()
    assert client.get(person.reference).outcome == "MISMATCHED"


def test_a_check_that_was_not_made_is_none_of_the_days(
    world: World, configure: Callable[[str], None]
) -> None:
    """Given back by a worker that stops: others may use it."""
    configure("[checks.status]\ndaily_cap = 1\n")
    (person,) = world.people(1, lane=Lane.CUCC)
    client.submit(selection="all", caller="test", key="k")
    player = Player(world.runtime)
    _step(player, Lane.CUCC, MISMATCH)
    for _ in range(2):
        assert _step(player, Lane.CUCC, NotCalled.GIVEN_BACK) is Check.STATUS
    assert _step(player, Lane.CUCC, _found(Fact.CANCELLED)) is Check.STATUS
    assert client.get(person.reference).outcome == "NUMBER_INACTIVE"
    assert world.one("SELECT used FROM verifier.check_uses").used == 1


def test_a_check_that_nobody_pays_for_is_none_of_the_days(
    world: World, configure: Callable[[str], None]
) -> None:
    configure("[checks.status]\ndaily_cap = 6\n")
    world.people(3, fate=Fate.WRONG_NAME, lane=Lane.CUCC)
    client.submit(selection="all", caller="test", key="k", budget="1.5")
    for _ in range(4):
        world.drain(Lane.CUCC)
        world.later(seconds=61)
    made = [purpose for purpose, *_ in _calls(world)].count("status")
    assert sum(row.used for row in world.rows("SELECT used FROM verifier.check_uses")) == made


@pytest.mark.usefixtures("configure")
def test_checks_refused_for_what_was_asked_do_not_close_the_provider(world: World) -> None:
    world.people(9, lane=Lane.CUCC)
    client.submit(selection="all", caller="test", key="k")
    player = Player(world.runtime)
    player.claim_due(Lane.CUCC, 9)
    while player.flying:
        player.hear(0, MISMATCH)
    player.record()
    player.claim_due(Lane.CUCC, 9)
    assert {job.check for job in player.flying} == {Check.STATUS}
    while player.flying:
        player.hear(0, Answer(Outcome.INVALID_INPUT, "PARAM", Billed.NO))
    player.record()
    assert {row.state for row in world.rows("SELECT state FROM verifier.providers")} == {"closed"}


BOTH = """
[providers.both]
kind = "tencent"
endpoint = "{url}"
secret_id = "file:{state}/tencent_secret_id"
secret_key = "file:{state}/tencent_secret_key"
lanes = ["cmcc", "cucc", "ctcc"]
checks = ["status"]
qps = 500
timeout = 2
"""


@pytest.mark.parametrize(
    ("kind", "state"), [("auth", "suspended"), ("arrears", "suspended"), ("maintenance", "open")]
)
def test_trouble_with_a_check_stops_no_verification_of_the_same_provider(
    kind: str, state: str, world: World
) -> None:
    _rewrite(world, BOTH)
    wrong = world.people(2, fate=Fate.WRONG_NAME, lane=Lane.CUCC)
    fault = world.sandbox.client.fault("tencent", kind, action="MobileStatus")
    batch = client.submit(selection="all", caller="test", key="k").batch
    world.drain_until(lambda: len(_calls(world)) >= 3, Lane.CUCC)
    right = world.people(20, lane=Lane.CUCC, seed=3)
    more = client.submit([p.reference for p in right], caller="test", key="k2").batch
    world.drain_until(lambda: client.get_batch(more).done, Lane.CUCC)
    assert client.get_batch(more).outcomes == {"MATCHED": 20}
    rows = world.rows("SELECT name, state FROM verifier.providers ORDER BY name")
    assert [tuple(row) for row in rows] == [("both", "closed"), ("checks:both", state)]
    assert {client.get(person.reference).state for person in wrong} == {"waiting"}
    world.sandbox.client.lift(fault)
    world.later(hours=2)
    with transaction() as connection:
        providers.resume(connection, "both")
    world.drain_until(lambda: client.get_batch(batch).done, Lane.CUCC)
    assert {client.get(person.reference).outcome for person in wrong} == {"MISMATCHED"}
    rows = world.rows("SELECT state FROM verifier.providers")
    assert {row.state for row in rows} == {"closed"}


@pytest.mark.usefixtures("configure")
@pytest.mark.parametrize(
    "answer",
    [
        Answer(Outcome.RATE_LIMITED, "NUMBER"),
        Answer(Outcome.RATE_LIMITED, "IDENTITY_DAY"),
        Answer(Outcome.TIMEOUT, "CONSENT_PENDING"),
    ],
)
def test_what_is_about_one_person_is_nothing_to_the_provider(answer: Answer, world: World) -> None:
    world.people(9, lane=Lane.CUCC)
    client.submit(selection="all", caller="test", key="k")
    player = Player(world.runtime)
    player.claim_due(Lane.CUCC, 9)
    while player.flying:
        player.hear(0, answer)
    player.record()
    row = world.one("SELECT state, failures, not_before FROM verifier.providers WHERE name='first'")
    assert tuple(row) == ("closed", 0, None)


@pytest.mark.usefixtures("configure")
@pytest.mark.parametrize("slots", [0, 2])
def test_a_probe_that_was_not_made_is_free_at_once(slots: int, world: World) -> None:
    """Its row had its two billed results today, or its worker was told to stop."""
    world.people(3, lane=Lane.CUCC)
    client.submit(selection="all", caller="test", key="k")
    player = Player(world.runtime)
    world.execute(
        "UPDATE verifier.providers SET state = 'open', openings = 1, reason = 'provider_down', "
        "not_before = verifier.verifier_now() - interval '1 s' WHERE name = 'first'"
    )
    world.execute(
        """
        INSERT INTO verifier.billed_slots
        SELECT u.id_number_index,
               CAST(verifier.verifier_now() AT TIME ZONE 'Asia/Shanghai' AS date), n, -n
          FROM (SELECT id_number_index FROM verifier.users ORDER BY id LIMIT 1) u,
               generate_series(1, CAST(:slots AS integer)) n
        """,
        slots=slots,
    )
    player.claim_due(Lane.CUCC, 1)
    if not slots:
        assert [job.probe for job in player.flying] == [True]
        player.hear(0, NotCalled.GIVEN_BACK)
        player.record()
    assert player.flying == []
    assert world.one("SELECT probe_until FROM verifier.providers WHERE name = 'first'")[0] is None
    player.claim_due(Lane.CUCC, 1)
    assert [job.probe for job in player.flying] == [True]


@pytest.mark.usefixtures("configure")
def test_a_late_answer_takes_the_place_of_the_call_that_was_thought_lost(world: World) -> None:
    (person,) = world.people(1, lane=Lane.CUCC)
    client.submit(selection="all", caller="test", key="k")
    slow, next_one = Player(world.runtime), Player(world.runtime)
    slow.claim_due(Lane.CUCC, 1)
    world.execute("UPDATE verifier.open_verifications SET lease_until = '2000-01-01'")
    sweep()
    while slow.flying:
        slow.hear(0, Answer(Outcome.PROVIDER_ERROR, "BAD_REPLY", Billed.MAYBE))
    slow.record()
    next_one.claim_due(Lane.CUCC, 1)
    next_one.record()
    (row,) = world.rows("SELECT history FROM verifier.open_verifications")
    assert [entry["o"] for entry in row.history] == ["PROVIDER_ERROR"]
    assert client.get(person.reference).reason == "retry"


def test_a_check_that_is_refused_for_its_parameters_is_written_down_as_such(
    world: World, configure: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    configure("")
    (person,) = world.people(1, lane=Lane.CUCC)
    client.submit(selection="all", caller="test", key="k")
    refused = Answer(Outcome.INVALID_INPUT, "PARAM", Billed.NO)
    assert as_check(refused) == refused
    player = Player(world.runtime)
    assert _step(player, Lane.CUCC, MISMATCH) is None
    assert _step(player, Lane.CUCC, refused) is Check.STATUS
    assert client.get(person.reference).outcome == "MISMATCHED"
    assert [(purpose, outcome) for purpose, outcome, *_ in _calls(world)][-1] == (
        "status",
        "INVALID_INPUT",
    )
    assert "a check's parameters are refused" in capsys.readouterr().out


def test_a_check_that_no_month_pays_for_waits_also_when_the_lanes_last_provider_is_gone(
    world: World, configure: Callable[[str], None]
) -> None:
    configure("[budget]\nper_month = 0.55\n")
    (person,) = world.people(1, lane=Lane.CUCC)
    client.submit(selection="all", caller="test", key="k")
    assert _step(Player(world.runtime), Lane.CUCC, MISMATCH) is None
    path = Path(os.environ["VERIFIER_CONFIG"])
    text = path.read_text("utf-8").replace('["cmcc", "cucc", "ctcc"]', '["cmcc", "ctcc"]')
    path.write_text(text, "utf-8")
    forget()
    player = Player(world.runtime)
    player.claim_due(Lane.CUCC, 1)
    player.record()
    assert player.flying == []
    assert client.get(person.reference).reason == "budget"
    path.write_text(text.replace("0.55", "5"), "utf-8")
    forget()
    world.later(seconds=61)
    assert _step(Player(world.runtime), Lane.CUCC, _found(Fact.CANCELLED)) is Check.STATUS
    assert client.get(person.reference).outcome == "NUMBER_INACTIVE"
