"""An installation of an earlier version, with its data and its clients, is brought to this one."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg2
import pytest
from psycopg2 import sql
from psycopg2.extensions import connection as RawConnection

from tests.servers import TestServers, new_database
from verifier.store import schema

_USER = """
    INSERT INTO verifier.users (platform, reference, phone, name, id_number, phone_index,
                                id_number_index, identity_digest, contact_digest, lane, status,
                                outcome, checked_at)
    VALUES ('default', %s, '', '', '', '', '', '', '', 'cmcc', %s, %s, %s)
"""


@pytest.fixture
def first_version(servers: TestServers) -> Iterator[str]:
    with new_database(servers) as url:
        schema.upgrade(url, "0001")
        yield url


@pytest.fixture
def owner(first_version: str) -> Iterator[RawConnection]:
    raw = psycopg2.connect(first_version.replace("+psycopg2", ""))
    raw.autocommit = True
    yield raw
    raw.close()


@pytest.fixture
def shop(first_version: str, owner: RawConnection) -> Iterator[str]:
    """A role that was granted what clients need by the version before. Its name wants quoting."""
    role = f'shop" {uuid.uuid4().hex}%'
    _tell(owner, "CREATE ROLE {} LOGIN PASSWORD 's'", role)
    schema.grant(first_version, role)
    yield role
    _tell(owner, "DROP OWNED BY {}", role)
    _tell(owner, "DROP ROLE {}", role)


def _tell(raw: RawConnection, statement: str, role: str) -> None:
    with raw.cursor() as cursor:
        cursor.execute(sql.SQL(statement).format(sql.Identifier(role)))


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_it_ends_with_what_the_tables_declare(revision: str, servers: TestServers) -> None:
    with new_database(servers) as url:
        schema.upgrade(url, revision)
        assert schema.differences(url)
        schema.upgrade(url)
        assert schema.current(url) == schema.head()
        assert schema.differences(url) == []


def test_who_is_verified_has_matched(first_version: str, owner: RawConnection) -> None:
    with owner.cursor() as cursor:
        cursor.execute(_USER, ("u-1", "verified", "MATCHED", "2026-10-01"))
        cursor.execute(_USER, ("u-2", "failed", "MISMATCHED", "2026-10-01"))
        cursor.execute(_USER, ("u-3", "unverified", None, None))
        schema.upgrade(first_version)
        cursor.execute("SELECT matched_at::date::text FROM verifier.users ORDER BY reference")
        assert [matched for (matched,) in cursor] == ["2026-10-01", None, None]


def test_a_service_that_might_submit_still_may_and_with_the_statement_it_had(
    first_version: str, owner: RawConnection, shop: str
) -> None:
    schema.upgrade(first_version)
    with owner.cursor() as cursor:
        cursor.execute(_USER, ("u-1", "unverified", None, None))
    raw = psycopg2.connect(first_version.replace("+psycopg2", ""), user=shop, password="s")
    try:
        with raw, raw.cursor() as cursor:
            cursor.execute(
                'SELECT verifier.submit(caller => %s, key => %s, "references" => %s::text[])',
                ("shop", "k", ["u-1"]),
            )
            cursor.execute("SELECT total FROM verifier.batch_progress")
            assert cursor.fetchall() == [(1,)]
    finally:
        raw.close()
    with owner.cursor() as cursor:
        cursor.execute(
            "SELECT has_function_privilege('public', oid, 'EXECUTE') FROM pg_proc "
            "WHERE proname = 'submit' AND pronamespace = 'verifier'::regnamespace"
        )
        assert cursor.fetchall() == [(False,)]
