"""What a service can rely on: put, verify one, and the feed."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from tests.engine.conftest import World, as_row, forget, in_background
from verifier import client
from verifier.errors import NotFoundError, StoreUnavailableError, UsageError
from verifier.outcomes import Lane
from verifier.store import claims, lanes, operations
from verifier.store import engine as engines
from verifier.store.engine import transaction
from verifier.verification.interactive import attend
from verifier.verification.opening import request_one


def test_the_same_users_twice_change_nothing_and_keep_their_status(world: World) -> None:
    people = world.people(3)
    batch = client.submit(selection="all", caller="a", key="k").batch
    world.drain_until(lambda: client.get_batch(batch).settled == 3)
    again = client.put_users([as_row(p) for p in people])
    assert (again.unchanged, again.taken) == (3, 3)
    assert client.get(people[0].reference).status == "verified"


def test_changed_identity_makes_unverified_and_changed_contact_does_not(world: World) -> None:
    (person,) = world.people(1)
    batch = client.submit(selection="all", caller="a", key="k").batch
    world.drain_until(lambda: client.get_batch(batch).settled == 1)
    contact = client.put_users([{**as_row(person), "email": "someone@example.com"}])
    assert (contact.contact_changed, contact.changed) == (1, 0)
    assert client.get(person.reference).status == "verified"
    identity = client.put_users([{**as_row(person), "name": "欧阳不同"}])
    assert identity.changed == 1
    assert client.get(person.reference).status == "unverified"


def test_nothing_personal_is_stored_in_clear(world: World) -> None:
    (person,) = world.people(1)
    client.put_users([{**as_row(person), "email": "someone@example.com", "push_token": "tok-123"}])
    row = world.one("SELECT u::text AS everything FROM verifier.users u").everything
    for value in (person.phone, person.name, person.id_number, "someone@example.com", "tok-123"):
        assert value not in row
        assert value.encode().hex() not in row


def test_bad_rows_are_refused_by_field_and_the_others_go_in(world: World) -> None:
    good, bad = world.people(2)
    rows = [
        as_row(good),
        {**as_row(bad), "phone": "12345"},
        {**as_row(bad), "id_number": "110101199003070021"},
        {"reference": "x"},
        {**as_row(bad), "reference": "13800138000"},
        as_row(good),
    ]
    result = client.put_users(rows)
    assert [(r.row, r.field) for r in result.rejected] == [
        (2, "phone"),
        (3, "id_number"),
        (4, "phone"),
        (5, "reference"),
        (6, "reference"),
    ]
    assert all(bad.phone not in r.reason for r in result.rejected)


def test_verify_one_answers_from_the_database_and_needs_no_broker(world: World) -> None:
    (person,) = world.people(1)
    state = client.verify_one(person.reference, timeout=0.1)
    assert (state.state, state.reason) == ("waiting", "new")
    assert state.verification is not None
    report = attend(world.runtime, state.verification, lambda: False)
    assert report["settled"] == 1
    assert client.get(person.reference).status == "verified"
    # The doorbell came twice: nothing is open any more, so nobody is called again.
    assert attend(world.runtime, state.verification, lambda: False)["called"] == 0
    assert world.calls_about(person) == 1


def test_verify_one_joins_what_is_open_and_goes_ahead_of_batches(world: World) -> None:
    people = world.people(30)
    batch = client.submit(selection="all", caller="a", key="k").batch
    last = people[-1].reference
    opened = client.verify_one(last, timeout=0)
    assert len(world.rows("SELECT FROM verifier.open_verifications")) == 30
    with transaction() as connection:
        (soon,) = claims.lock_due(connection, Lane.CMCC, 1)
    assert soon.id != opened.verification  # left to the interactive worker for a moment
    world.later(seconds=2)
    with transaction() as connection:
        (first,) = claims.lock_due(connection, Lane.CMCC, 1)
    assert first.id == opened.verification  # which was not there
    worker = in_background(lambda: attend(world.runtime, first.id, lambda: False))
    assert client.verify_one(last, timeout=20).status == "verified"
    worker.join(timeout=20)
    world.drain_until(lambda: client.get_batch(batch).settled == 30)


def test_verify_one_says_at_once_that_a_provider_is_closed(world: World) -> None:
    (person,) = world.people(1)
    world.sandbox.client.fault("tencent", "maintenance")
    opened = client.verify_one(person.reference, timeout=0)
    assert opened.verification is not None
    for _ in range(3):
        attend(world.runtime, opened.verification, lambda: False)
    begun = time.monotonic()
    state = client.verify_one(person.reference, timeout=30)
    assert time.monotonic() - begun < 10
    assert (state.status, state.reason) == ("unverified", "maintenance")
    assert state.until is not None
    assert "无需" in (state.guidance or "")


def test_unknown_people_are_not_found(world: World) -> None:
    with pytest.raises(NotFoundError):
        client.get("nobody")
    with pytest.raises(NotFoundError):
        client.verify_one("nobody")


def test_the_feed_never_skips_a_row_that_commits_late(world: World) -> None:
    early, late = world.people(2)
    slow = engines.engine().connect()
    held = slow.begin()
    settle = text("""
        INSERT INTO verifier.verifications (id, user_id, data_version, lane, outcome, attempts,
                                            created_at)
        SELECT nextval('verifier.verification_ids'), id, 1, lane, 'MATCHED', 1, now()
          FROM verifier.users WHERE reference = :reference
    """)
    slow.execute(settle, {"reference": late.reference})
    with transaction() as connection:
        connection.execute(settle, {"reference": early.reference})
    first = client.changes()
    assert first.changes == ()  # the slow transaction began first: wait for it
    held.commit()
    slow.close()
    found: list[str] = []
    cursor = first.cursor
    end = time.monotonic() + 20  # transactions of other databases in the cluster count too
    while len(found) < 2:
        assert time.monotonic() < end
        page = client.changes(cursor)
        found += [change.reference for change in page.changes]
        cursor = page.cursor
    assert found == [late.reference, early.reference]
    assert client.changes(page.cursor).changes == ()
    assert len(client.changes(None, limit=1).changes) == 1


@pytest.mark.parametrize("cursor", ["yesterday", "1", "1.", "-1.0", "1.99999999999999999999", 7])
def test_a_cursor_that_is_none_is_refused(world: World, cursor: Any) -> None:
    with pytest.raises(UsageError, match="not a cursor") as caught:
        client.changes(cursor)
    assert caught.value.fix


@pytest.mark.parametrize("limit", [0, -1, 1.5, "7"])
def test_a_page_has_at_least_one_row(world: World, limit: Any) -> None:
    with pytest.raises(UsageError, match="limit"):
        client.changes(limit=limit)


@pytest.mark.parametrize(
    ("references", "said"),
    [
        ("u-1", "must be a list of texts"),
        (b"u-1", "must be a list of texts"),
        ({"u-1": 1}, "must be a list of texts"),
        (7, "must be a list of texts"),
        (["u-1", None], "Reference 2 of the list"),
        ([("shop", "u-1", "more")], "no pair"),
        ([], "is empty"),
        ((), "is empty"),
    ],
)
def test_what_is_no_list_of_references_is_refused_and_leaves_the_key_free(
    world: World, references: Any, said: str
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        client.submit(references, caller="a", key="k")
    assert caught.value.fix
    assert world.rows("SELECT FROM verifier.batches") == []


@pytest.mark.parametrize("rows", [{"reference": "u-1"}, "u-1", ["u-1"], [None], None, 7])
def test_what_is_no_list_of_users_is_refused(world: World, rows: Any) -> None:
    with pytest.raises(UsageError, match="rows must be a list of mappings") as caught:
        client.put_users(rows)
    assert caught.value.fix


def test_without_a_database_the_error_says_so_and_shows_no_password(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERIFIER_DATABASE_URL", "postgresql://u:topsecret@127.0.0.1:1/x")
    forget()
    old = engines.engine()
    old.dispose()
    engines.engine.cache_clear()
    with pytest.raises(StoreUnavailableError) as caught:
        client.get("x")
    assert "topsecret" not in str(caught.value)
    engines.engine.cache_clear()


def test_times_are_aware_utc(world: World) -> None:
    (person,) = world.people(1)
    batch = client.submit(selection="all", caller="a", key="k").batch
    world.drain_until(lambda: client.get_batch(batch).settled == 1)
    checked = client.get(person.reference).checked_at
    assert checked is not None
    assert abs((datetime.now(UTC) - checked).total_seconds()) < 60


def test_a_global_stop_and_a_paused_lane_are_told_and_nobody_is_called(world: World) -> None:
    (person,) = world.people(1)
    client.submit(selection="all", caller="a", key="k")
    with transaction() as connection:
        operations.stop(connection, by="op", reason="restore")
    world.drain()
    assert client.verify_one(person.reference, timeout=5).reason == "paused"
    with transaction() as connection:
        operations.start(connection)
        lanes.pause(connection, Lane.CMCC, by="op", reason=None)
    world.drain()
    assert client.get(person.reference).reason == "paused"
    assert world.calls_about(person) == 0
    with transaction() as connection:
        lanes.resume(connection, Lane.CMCC)
    world.drain_until(lambda: client.get(person.reference).status == "verified")


def test_a_repeated_message_asks_once_and_a_new_key_brings_forward(world: World) -> None:
    (person,) = world.people(1)
    first = request_one("default", person.reference, key="m-1")
    assert first is not None
    assert request_one("default", person.reference, key="m-1") == first
    world.execute("UPDATE verifier.open_verifications SET due_at = now() + interval '10 min'")
    assert request_one("default", person.reference, key="m-2") == first
    assert attend(world.runtime, first, lambda: False)["settled"] == 1
    assert request_one("default", person.reference, key="m-1") is None
    assert world.calls_about(person) == 1


def test_a_person_freed_from_quarantine_is_not_told_of_it_any_more(world: World) -> None:
    (person,) = world.people(1)
    client.submit(selection="all", caller="a", key="k")
    world.execute(
        "UPDATE verifier.open_verifications SET state = 'quarantined', reason = 'quarantined'"
    )
    assert client.get(person.reference).reason == "quarantined"
    assert client.verify_one(person.reference, timeout=0).reason == "new"
