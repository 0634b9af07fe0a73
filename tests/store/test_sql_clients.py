"""What a service with a database role of its own may do: submit, read results, nothing else."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql
from psycopg2.extensions import connection as RawConnection
from sqlalchemy import make_url, text

from tests.engine.conftest import as_row, forget
from tests.feed import until_shown
from verifier import client
from verifier.errors import ConfigError, NotFoundError
from verifier.sandbox.people import generate
from verifier.store import demo, schema
from verifier.store.engine import transaction
from verifier.upkeep.sweep import sweep

_MINE = """
    CREATE TEMPORARY TABLE users AS SELECT 1 AS id;
    CREATE FUNCTION pg_temp.length(text) RETURNS integer LANGUAGE sql AS 'SELECT 1 / 0';
    CREATE FUNCTION pg_temp.name_fault(text) RETURNS text LANGUAGE sql AS 'SELECT NULL::text';
    SET search_path = pg_temp, pg_catalog;
    SET standard_conforming_strings = off;
    SET backslash_quote = on;
"""


@pytest.fixture(autouse=True)
def _people(product: Path) -> None:
    with transaction() as connection:
        demo.wipe(connection)
    put = client.put_users(map(as_row, generate(5, 1)))
    assert put.inserted == 5


@pytest.fixture
def shop(product: Path, database_url: str) -> Iterator[RawConnection]:
    """A connection of a role that was granted what clients need. Its name wants quoting."""
    role = f'shop" {uuid.uuid4().hex}%'
    url = database_url.replace("+psycopg2", "")
    _administer(url, "CREATE ROLE {} LOGIN PASSWORD 's'", role)
    schema.grant(database_url, role)
    raw = psycopg2.connect(url, user=role, password="s")
    yield raw
    raw.close()
    _administer(url, "DROP OWNED BY {}", role)
    _administer(url, "DROP ROLE {}", role)


def _administer(url: str, statement: str, role: str) -> None:
    raw = psycopg2.connect(url)
    with raw, raw.cursor() as cursor:
        cursor.execute(sql.SQL(statement).format(sql.Identifier(role)))
    raw.close()


def _all(raw: RawConnection, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with raw.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall()


def _references() -> list[str]:
    with transaction() as connection:
        return list(
            connection.scalars(text("SELECT reference FROM verifier.users ORDER BY reference"))
        )


def test_a_granted_role_submits_and_reads(shop: RawConnection) -> None:
    known = _references()
    [(batch,)] = _all(shop, "SELECT verifier.submit('shop', 'k', %s)", [*known, "stranger"])
    shop.commit()
    sweep()
    progress = "SELECT state, total, unknown, settled, outcomes FROM verifier.batch_progress"
    assert _all(shop, progress) == [("open", 5, 1, 0, {})]
    assert _all(
        shop, "SELECT DISTINCT status, outcome, waiting_for, waiting_until FROM verifier.results"
    ) == [("unverified", None, "new", None)]
    items = "SELECT reference, outcome, waiting_for FROM verifier.batch_results WHERE batch = %s"
    assert sorted(_all(shop, items, batch)) == [(name, None, "new") for name in known]
    shop.commit()
    with transaction() as connection:
        connection.execute(
            text("UPDATE verifier.batches SET cancelled_at = now() WHERE id = :id"), {"id": batch}
        )
    sweep()
    assert _all(shop, progress) == [("done", 5, 1, 5, {"CANCELLED": 5})]
    shop.commit()
    feed = """
        SELECT transaction::text, verification, reference, outcome FROM verifier.changes
         WHERE (transaction, verification) > (%s::xid8, %s)
         ORDER BY transaction, verification LIMIT 2
    """
    until_shown()
    seen: list[str] = []
    cursor: tuple[str, int] = ("0", 0)
    while page := _all(shop, feed, *cursor):
        seen += [row[2] for row in page]
        cursor = page[-1][:2]
        shop.commit()
    assert sorted(seen) == known


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT FROM verifier.users",
        "SELECT FROM verifier.batches",
        "SELECT FROM verifier.verifications",
        "UPDATE verifier.clock SET singleton = true",
        "UPDATE verifier.results SET status = 'verified'",
        "DELETE FROM verifier.batch_results",
        "INSERT INTO verifier.changes (verification) VALUES (1)",
        "SELECT nextval('verifier.verification_ids')",
        "CREATE TABLE verifier.mine ()",
    ],
)
def test_a_granted_role_may_do_nothing_else(shop: RawConnection, statement: str) -> None:
    with pytest.raises(psycopg2.Error) as caught, shop.cursor() as cursor:
        cursor.execute(statement)
    assert caught.value.pgcode in ("42501", "55000")  # no privilege; a view that takes no rows


def test_without_the_grant_nobody_may_submit(shop: RawConnection) -> None:
    with transaction() as connection:
        granted = connection.execute(
            text("SELECT has_function_privilege('pg_monitor', p.oid, 'EXECUTE') FROM pg_proc p "
                 "WHERE p.proname = 'submit' AND p.pronamespace = 'verifier'::regnamespace")
        ).scalars().all()  # fmt: skip
    assert granted == [False]


def test_a_caller_cannot_change_what_the_function_means(shop: RawConnection) -> None:
    known = _references()
    with shop.cursor() as cursor:
        cursor.execute(_MINE)
    submit = "SELECT verifier.submit('shop', %s, %s::pg_catalog.text[])"
    [(batch,)] = _all(shop, submit, "k", known)
    shop.commit()
    assert client.get_batch(batch).total == len(known)
    for key, reference in (("for +8613800138000", "x"), ("k2", "+8613800138000")):
        with pytest.raises(psycopg2.Error) as caught:
            _all(shop, submit, key, [reference])
        shop.rollback()
        assert caught.value.pgcode == "VF400"
        assert "138" not in str(caught.value.diag.message_primary)


def test_values_are_never_parsed_as_sql(shop: RawConnection) -> None:
    hostile = ["'; DROP TABLE verifier.users; --", '"', "\\", "%s", "{NULL}", "$1", "ünï", "😀"]
    [(batch,)] = _all(shop, "SELECT verifier.submit(%s, %s, %s)", hostile[0], hostile[3], hostile)
    shop.commit()
    assert client.get_batch(batch).unknown == len(hostile)
    assert len(_references()) == 5


def test_many_at_once_with_one_key_make_one_batch(shop: RawConnection, database_url: str) -> None:
    known = _references()
    url = database_url.replace("+psycopg2", "")

    def submit(_: int) -> int:
        raw = psycopg2.connect(url)
        try:
            [(batch,)] = _all(raw, "SELECT verifier.submit('shop', 'k', %s)", known)
            raw.commit()
        finally:
            raw.close()
        return int(batch)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(submit, range(24)))) == 1


def test_a_role_that_is_not_there_is_said(database_url: str) -> None:
    with pytest.raises(NotFoundError, match='no database role "Nobody"') as caught:
        schema.grant(database_url, "Nobody")
    assert "CREATE ROLE \"Nobody\" LOGIN PASSWORD '...'" in str(caught.value.fix)
    with pytest.raises(NotFoundError, match="refused"):
        schema.grant(database_url, "PUBLIC")


@pytest.mark.parametrize("granted", ["nothing", "what a service needs"])
def test_who_may_not_grant_is_told_that_nothing_was_granted(
    product: Path, database_url: str, granted: str
) -> None:
    role, other = (f"{kind}_{uuid.uuid4().hex}" for kind in ("lowly", "other"))
    url = database_url.replace("+psycopg2", "")
    _administer(url, "CREATE ROLE {} LOGIN PASSWORD 's'", role)
    _administer(url, "CREATE ROLE {}", other)
    if granted != "nothing":
        schema.grant(database_url, role)
    try:
        lowly = make_url(database_url).set(username=role, password="s")
        with pytest.raises(ConfigError, match="Nothing was granted") as caught:
            schema.grant(lowly.render_as_string(hide_password=False), other)
        assert "owns the verifier's tables" in str(caught.value.fix)
    finally:
        for name in (role, other):
            _administer(url, "DROP OWNED BY {}", name)
            _administer(url, "DROP ROLE {}", name)


def test_a_deadline_that_nobody_asked_for_is_the_configured_one(
    shop: RawConnection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "c.toml"
    path.write_text("[engine]\ndeadline_hours = 7\n", "utf-8")
    monkeypatch.setenv("VERIFIER_CONFIG", str(path))
    forget()
    first, second, *_ = _references()
    _all(shop, "SELECT verifier.submit('shop', 'k', ARRAY[%s])", first)
    _all(shop, "SELECT verifier.submit('shop', 'k2', ARRAY[%s], deadline_hours => 3)", second)
    shop.commit()
    sweep()
    with transaction() as connection:
        hours = connection.execute(
            text("""
                SELECT round(extract(epoch FROM o.deadline_at - o.created_at) / 3600)::int
                  FROM verifier.open_verifications o JOIN verifier.users u ON u.id = o.user_id
                 ORDER BY u.reference
            """)
        ).scalars().all()  # fmt: skip
    assert hours == [7, 3]
    forget()
