"""The schema: migrations give what the tables declare, and the constraints hold the promises."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from verifier.store import clock, demo, operations, schema
from verifier.store.engine import transaction

_USER = """
    INSERT INTO verifier.users (platform, reference, phone, name, id_number, phone_index,
                                id_number_index, identity_digest, contact_digest, lane)
    VALUES ('p', :reference, '', '', '', '', '', '', '', 'cmcc') RETURNING id
"""


_ATTEMPT = """
    INSERT INTO verifier.attempts (verification_id, user_id, data_version, provider, lane)
    VALUES (:verification, 1, 1, 'p', 'cmcc')
"""


@pytest.fixture(autouse=True)
def _empty(product: Path) -> None:
    with transaction() as connection:
        demo.wipe(connection)


def test_the_migrations_make_exactly_what_the_tables_declare(database_url: str) -> None:
    assert schema.current(database_url) == schema.head()
    assert schema.differences(database_url) == []


def test_a_difference_is_seen(database_url: str) -> None:
    with transaction() as connection:
        connection.execute(text("ALTER TABLE verifier.batches ADD COLUMN stray integer"))
    try:
        assert any("stray" in difference for difference in schema.differences(database_url))
    finally:
        with transaction() as connection:
            connection.execute(text("ALTER TABLE verifier.batches DROP COLUMN stray"))


def test_upgrading_twice_at_once_does_no_harm(database_url: str) -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(schema.upgrade, [database_url] * 3))
    assert schema.current(database_url) == schema.head()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE verifier.users SET status = 'failed'",  # without a result
        "UPDATE verifier.users SET status = 'verified', outcome = 'MISMATCHED', checked_at = now()",
        "UPDATE verifier.users SET status = 'failed', outcome = 'TIMEOUT', checked_at = now()",
        "UPDATE verifier.users SET lane = 'xyz'",
        "UPDATE verifier.clock SET singleton = false",
        "INSERT INTO verifier.clock DEFAULT VALUES",
    ],
)
def test_the_schema_refuses_states_that_cannot_be(statement: str) -> None:
    with transaction() as connection:
        connection.execute(text(_USER), {"reference": "u"})
    with pytest.raises(IntegrityError), transaction() as connection:
        connection.execute(text(statement))


def test_a_user_has_at_most_one_open_verification_by_primary_key() -> None:
    opening = text("""
        INSERT INTO verifier.open_verifications
               (user_id, lane, priority, due_at, turn_at, reason, deadline_at)
        VALUES (:user, 'cmcc', 2, now(), now(), 'new', now())
    """)
    with transaction() as connection:
        user = connection.execute(text(_USER), {"reference": "u"}).scalar_one()
        connection.execute(opening, {"user": user})
    with pytest.raises(IntegrityError), transaction() as connection:
        connection.execute(opening, {"user": user})


def test_a_third_billed_slot_of_a_day_cannot_be() -> None:
    with pytest.raises(IntegrityError), transaction() as connection:
        connection.execute(
            text("INSERT INTO verifier.billed_slots VALUES ('\\x01', '2026-11-21', 3, 1)")
        )


def test_rows_that_came_before_their_month_move_into_its_partition() -> None:
    with transaction() as connection:
        clock.move_to(connection, datetime(2031, 5, 17, tzinfo=UTC))
        connection.execute(text(_ATTEMPT), {"verification": 1})
        in_default = text("SELECT count(*) FROM verifier.attempts_default")
        assert connection.execute(in_default).scalar_one() == 1
        assert operations.ensure_partitions(connection) == 3
        assert operations.ensure_partitions(connection) == 0
        assert connection.execute(in_default).scalar_one() == 0
        moved = text("SELECT count(*) FROM verifier.attempts_2031_05")
        assert connection.execute(moved).scalar_one() == 1
        connection.execute(text(_ATTEMPT), {"verification": 2})
        assert connection.execute(moved).scalar_one() == 2


def test_business_time_moves_for_everybody_and_runs_on() -> None:
    with transaction() as connection:
        clock.move_to(connection, datetime(2030, 1, 1, tzinfo=UTC))
    with transaction() as connection:
        first = clock.now(connection)
    with transaction() as connection:
        second = clock.now(connection)
        clock.reset(connection)
        assert clock.offset(connection).total_seconds() == 0
    assert datetime(2030, 1, 1, tzinfo=UTC) < first < second
