"""What receivers get, and when: signed, repeated until taken, in order, nothing personal."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import structlog.testing

from tests.notify.conftest import Office
from tests.notify.receiving import Receiver
from tests.transport.scripted import refusing_url
from verifier import client
from verifier.errors import ConfigError
from verifier.notify import runtime
from verifier.signing.webhooks import new_secret
from verifier.store import deliveries, endpoints, operations
from verifier.store.engine import transaction
from verifier.upkeep.housekeeping import keep_house


def test_settled_verifications_and_a_done_batch_are_told_once_and_in_feed_order(
    office: Office,
) -> None:
    shop = office.receiver(max_events=4)
    batch = office.batch(10, label="autumn")
    assert office.dispatch() == {}
    office.settle(lambda reference: "MISMATCHED" if reference.endswith("3") else "MATCHED")
    office.dispatch()
    feed = client.changes().changes
    assert [row["verification"] for row in shop.verifications] == [c.verification for c in feed]
    assert [len(m.data["verifications"]) for m in shop.of("verification.settled")] == [4, 4, 2]
    told = {row["reference"]: row for row in shop.verifications}
    for change in feed:
        row = told[change.reference]
        assert (row["outcome"], row["platform"]) == (change.outcome, change.platform)
        assert row["guidance"] == change.guidance
        assert row["status"] == ("verified" if change.outcome == "MATCHED" else "failed")
    (done,) = shop.of("batch.done")
    assert done.data["batch"] == batch
    assert (done.data["caller"], done.data["key"], done.data["label"]) == ("t", "k1", "autumn")
    assert sum(done.data["outcomes"].values()) == done.data["total"] == 10
    assert set(shop.calls.values()) == {1}
    assert office.dispatch() == {}
    assert {row.state for row in office.deliveries()} == {"delivered"}


def test_nothing_personal_stands_in_the_outbox_or_in_what_is_sent(office: Office) -> None:
    from tests.intake.people import rows

    shop = office.receiver()
    office.batch(3)
    office.settle(lambda _: "MISMATCHED")
    with structlog.testing.capture_logs() as logs:
        office.dispatch()
    everything = json.dumps(
        [logs, [m.data for m in shop.messages], [r.payload for r in office.deliveries()]],
        ensure_ascii=False,
    )
    for person in rows(3, 1):
        assert person["reference"] in everything
        for secret in ("phone", "name", "id_number"):
            assert person[secret] not in everything


def test_a_new_endpoint_is_told_what_settles_from_then_on(office: Office) -> None:
    office.batch(2, seed=1)
    office.settle()
    shop = office.receiver()
    office.batch(2, seed=2)
    office.settle()
    office.dispatch()
    assert len(shop.verifications) == 2


def test_only_what_was_asked_for_and_only_of_the_platforms_named(office: Office) -> None:
    everything = office.receiver("everything")
    batches = office.receiver("batches", events=["batch.done"])
    other = office.receiver("other", events=["verification.settled"], platforms=["nobody"])
    office.batch(2)
    office.settle()
    office.dispatch()
    assert {m.type for m in everything.messages} == {"verification.settled", "batch.done"}
    assert {m.type for m in batches.messages} == {"batch.done"}
    assert other.messages == []
    assert {row.state for row in office.deliveries("other")} == {"delivered"}


def test_a_refused_delivery_is_repeated_with_its_own_id_and_holds_up_no_other(
    office: Office,
) -> None:
    shop = office.receiver(max_events=2, events=["verification.settled"])
    shop.statuses = [500]
    office.batch(6)
    office.settle()
    counts = office.dispatch()
    assert counts["again"] == 1
    assert shop.messages == []  # the endpoint rests for a moment before the next
    office.later(seconds=2)
    office.dispatch()
    assert len(shop.verifications) == 4
    office.later(seconds=10)
    office.dispatch()
    assert len(shop.verifications) == 6
    assert sorted(shop.calls.values()) == [1, 1, 2]
    assert office.endpoint().failures == 0


@pytest.mark.parametrize(
    ("status", "error"),
    [("hang", "deadline"), ("drip", "deadline"), (500, "status 500"), (302, "redirect")],
)
def test_a_failing_endpoint_costs_one_bounded_call_at_a_time(
    office: Office, status: int | str, error: str
) -> None:
    shop = office.receiver(max_events=1, timeout=0.4)
    shop.status, shop.headers = status, {"Location": "http://127.0.0.1:1/"} if status == 302 else {}
    office.batch(4)
    office.settle()
    for failures in range(1, 4):
        begun = time.monotonic()
        office.dispatch()
        assert time.monotonic() - begun < 8
        endpoint = office.endpoint()
        assert (endpoint.failures, endpoint.last_error) == (failures, error)
        assert sum(shop.calls.values()) == failures
        office.later(minutes=10)
    assert {row.state for row in office.deliveries()} == {"waiting"}


def test_an_endpoint_that_is_away_is_told_when_it_is_back(office: Office) -> None:
    shop = office.receiver()
    url = shop.url
    office.table("webhooks.shop", {"url": refusing_url(), "secret": "env:SECRET_OF_shop"})
    office.batch(2)
    office.settle()
    office.dispatch()
    assert office.endpoint().last_error == "refused"
    office.table("webhooks.shop", {"url": url, "secret": "env:SECRET_OF_shop"})
    office.later(minutes=1)
    office.dispatch()
    assert len(shop.verifications) == 2


def test_an_answer_with_a_long_body_counts_by_its_status(office: Office) -> None:
    shop = office.receiver(events=["batch.done"])
    shop.status, shop.body = 200, b"x" * 1_000_000
    office.batch(1)
    office.settle()
    assert office.dispatch()["delivered"] == 1


def test_what_fails_for_too_long_is_dead_and_an_operator_can_bring_it_back(
    office: Office,
) -> None:
    shop = office.receiver(give_up_hours=24, events=["batch.done"])
    shop.status = 500
    office.batch(1)
    office.settle()
    for _ in range(5):
        office.dispatch()
        office.later(hours=7)
    (dead,) = office.deliveries()
    assert (dead.state, dead.error, dead.status) == ("dead", "status 500", 500)
    shop.status = 200
    assert office.dispatch() == {}
    with transaction() as connection:
        assert deliveries.retry(connection, "shop") == 1
    office.dispatch()
    assert [row.state for row in office.deliveries()] == ["delivered"]
    assert len(shop.calls) == 1  # the same webhook-id as before


@pytest.mark.parametrize("why", ["paused", "stopped", "not configured"])
def test_giving_up_counts_from_a_failure_and_not_while_nobody_calls(
    office: Office, why: str
) -> None:
    shop = office.receiver(events=["batch.done"])
    shop.status = 503
    office.batch(1, seed=1)
    office.settle()
    office.dispatch()  # the one fails before the pause, the other waits through it
    office.batch(1, seed=2)
    office.settle()
    with transaction() as connection:
        if why == "paused":
            endpoints.pause(connection, "shop", by="t", reason=None)
        elif why == "stopped":
            operations.stop(connection, by="t", reason=None)
    if why == "not configured":
        office.remove("webhooks.shop")
    office.later(days=4)
    assert office.dispatch() == {}
    with transaction() as connection:
        if why == "paused":
            endpoints.resume(connection, "shop")
        elif why == "stopped":
            operations.start(connection)
    if why == "not configured":
        keys = {"url": shop.url, "secret": "env:SECRET_OF_shop", "events": ["batch.done"]}
        office.table("webhooks.shop", keys)

    def fail_both() -> list[str]:
        for _ in range(2):
            office.dispatch()
            office.later(minutes=20)
        return [row.state for row in office.deliveries()]

    assert fail_both() == ["waiting", "waiting"]
    assert [row.tries for row in office.deliveries()] == [2, 1]
    office.later(hours=71)
    assert fail_both() == ["waiting", "waiting"]
    office.later(hours=2)
    assert fail_both() == ["dead", "dead"]


def test_what_was_taken_is_forgotten_after_a_month_and_what_is_dead_never(office: Office) -> None:
    shop = office.receiver(give_up_hours=1, events=["batch.done"])
    office.batch(1, seed=1)
    office.settle()
    office.dispatch()
    shop.status = 500
    office.batch(1, seed=2)
    office.settle()
    for _ in range(2):
        office.dispatch()
        office.later(hours=2)
    assert [row.state for row in office.deliveries()] == ["delivered", "dead"]
    office.later(days=31)
    keep_house()
    assert [row.state for row in office.deliveries()] == ["dead"]


def test_a_retry_of_nothing_does_not_end_the_rest_of_an_endpoint(office: Office) -> None:
    shop = office.receiver(events=["batch.done"])
    shop.status = 500
    office.batch(1)
    office.settle()
    office.dispatch()
    rests_until = office.endpoint().not_before
    assert rests_until is not None
    with transaction() as connection:
        assert deliveries.retry(connection, "shop", 10**9) == 0
    assert office.endpoint().not_before == rests_until
    with transaction() as connection:
        assert deliveries.retry(connection, "shop") == 1
    assert office.endpoint().not_before is None


def test_an_endpoint_that_is_gone_is_paused_and_what_waits_stays_in_the_feed(
    office: Office,
) -> None:
    shop = office.receiver(max_events=1, events=["verification.settled"])
    shop.statuses = [410]
    office.batch(3, seed=1)
    office.settle()
    office.dispatch()
    endpoint = office.endpoint()
    assert (endpoint.paused_by, endpoint.pause_reason) == ("verifier", "it answered 410 Gone")
    made = len(office.deliveries())
    office.batch(3, seed=2)
    office.settle()
    office.later(days=10)
    assert office.dispatch() == {}
    assert len(office.deliveries()) == made
    with transaction() as connection:
        endpoints.resume(connection, "shop")
    office.dispatch()
    assert len(shop.verifications) == 6


def test_a_long_outage_keeps_the_outbox_small(office: Office) -> None:
    shop = office.receiver(max_events=1, events=["verification.settled"])
    shop.status = 503
    office.batch(40)
    office.settle()
    for _ in range(5):
        office.dispatch()
        office.later(hours=1)
    assert len(office.deliveries()) == 20
    shop.status = 200
    office.dispatch()
    office.later(hours=1)
    office.dispatch()
    assert len({row["verification"] for row in shop.verifications}) == 40


def test_both_secrets_sign_while_receivers_change_over(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Receiver()
    monkeypatch.setenv("OLD", old.secret)
    monkeypatch.setenv("NEW", new_secret())
    office.receiver(receiver=old, events=["batch.done"])
    office.table(
        "webhooks.shop", {"url": old.url, "secret": "env:NEW", "previous_secret": "env:OLD"}
    )
    office.batch(1)
    office.settle()
    office.dispatch()
    assert len(old.of("batch.done")) == 1


def test_a_webhook_with_a_broken_secret_harms_no_other(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = office.receiver("shop", events=["batch.done"])
    broken = office.receiver("broken", events=["batch.done"])
    monkeypatch.setenv("SECRET_OF_broken", "whsec_c2hvcnQ=")
    runtime.reset()
    office.batch(1)
    office.settle()
    office.dispatch()
    assert len(shop.messages) == 1
    assert broken.calls == {}
    assert [row.state for row in office.deliveries("broken")] == ["waiting"]


def test_a_webhook_that_is_no_longer_configured_is_not_called_and_keeps_its_place(
    office: Office,
) -> None:
    shop = office.receiver()
    keys = {"url": shop.url, "secret": "env:SECRET_OF_shop"}
    office.batch(2, seed=1)
    office.settle()
    office.remove("webhooks.shop")
    assert office.dispatch() == {}
    office.table("webhooks.shop", keys)
    office.dispatch()
    assert len(shop.verifications) == 2


def test_the_global_stop_holds(office: Office) -> None:
    shop = office.receiver()
    office.batch(1)
    office.settle()
    with transaction() as connection:
        operations.stop(connection, by="t", reason=None)
    office.dispatch()
    assert shop.calls == {}
    with transaction() as connection:
        operations.start(connection)
    office.dispatch()
    assert len(shop.verifications) == 1


def test_a_worker_that_is_told_to_stop_leaves_nothing_leased(office: Office) -> None:
    office.receiver()
    office.batch(1)
    office.settle()
    stops = iter([False, True, True, True, True, True, True])
    counts = office.dispatch(lambda: next(stops, True))
    assert counts["held_back"] == 1
    assert {(row.state, row.tries) for row in office.deliveries()} == {("waiting", 0)}


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example.com/",
        "http://127.0.0.1.example.com/",
        "http://127.0.0.1@example.com/",
        "https://user:secret@shop.example.com/",
        "ftp://127.0.0.1/",
        "https:///hooks",
    ],
)
def test_an_url_that_would_leak_is_refused(office: Office, url: str, product: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        office.table("webhooks.shop", {"url": url, "secret": "env:X"})
    assert "line 2: webhooks.shop.url" in refused.value.message


@pytest.mark.parametrize("name", ["celery", "with space", "a.b", "x" * 65])
def test_a_name_that_cannot_be_is_refused(office: Office, name: str) -> None:
    with pytest.raises(ConfigError):
        office.table(f'webhooks."{name}"', {"url": "https://x.example.com/", "secret": "env:X"})
