"""``verifier.submit``: what other languages call inside their own transactions."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from psycopg2.extensions import connection as RawConnection
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.engine.conftest import forget
from verifier import answerbell, client
from verifier.doorbell import QUEUES, REFUSED_KEY
from verifier.errors import ConflictError, UsageError
from verifier.identity.errors import InvalidField
from verifier.identity.id_number import check_digit
from verifier.identity.reference import carries_personal_data, check_reference
from verifier.store import batches, demo, loading
from verifier.store.engine import transaction
from verifier.upkeep.sweep import sweep
from verifier.verification import batches as whole
from verifier.verification import submit as submission
from verifier.verification.submit import PRIORITIES, Request

_USERS = text("""
    INSERT INTO verifier.users (platform, reference, phone, name, id_number, phone_index,
                                id_number_index, identity_digest, contact_digest, lane, status,
                                outcome, checked_at)
    SELECT :platform, r, '', '', '', '', '', '', '', 'cmcc', :status,
           CASE :status WHEN 'failed' THEN 'MISMATCHED' END,
           CASE :status WHEN 'failed' THEN now() END
      FROM unnest(CAST(:references AS text[])) AS r
""")


def _put(*references: str, platform: str = "default", status: str = "unverified") -> None:
    with transaction() as connection:
        connection.execute(
            _USERS, {"platform": platform, "status": status, "references": list(references)}
        )


@pytest.fixture(autouse=True)
def _empty(product: Path) -> None:
    with transaction() as connection:
        demo.wipe(connection)


@pytest.fixture
def raw(database_url: str) -> Iterator[RawConnection]:
    """A connection as another service has it: no library of ours."""
    connection = psycopg2.connect(database_url.replace("+psycopg2", ""))
    yield connection
    connection.close()


def _call(raw: RawConnection, caller: Any = "shop", key: Any = "k", **named: Any) -> int:
    arguments = "".join(f', "{name}" => %s' for name in named)
    casts = {"references": "::text[]"}
    for name in named:
        arguments = arguments.replace(f'"{name}" => %s', f'"{name}" => %s{casts.get(name, "")}')
    with raw.cursor() as cursor:
        cursor.execute(f"SELECT verifier.submit(%s, %s{arguments})", (caller, key, *named.values()))
        found = cursor.fetchone()
    assert found is not None
    return int(found[0])


def _refused(raw: RawConnection, code: str, **named: Any) -> str:
    with pytest.raises(psycopg2.Error) as caught:
        _call(raw, **named)
    raw.rollback()
    assert caught.value.pgcode == code, caught.value
    return str(caught.value.diag.message_primary)


def test_the_batch_exists_if_and_only_if_the_caller_commits(raw: RawConnection) -> None:
    _put("u-1", "u-2", "u-3")
    gone = _call(raw, references=["u-1"])
    assert _call(raw, references=["u-1"]) == gone
    raw.rollback()
    assert sweep()["loaded"] == 0
    batch = _call(raw, references=["u-2", "u-1", "u-2", "stranger"], priority="high", label="l")
    assert sweep()["loaded"] == 0  # nobody sees it before the commit
    raw.commit()
    assert sweep()["loaded"] == 1
    state = client.get_batch(batch)
    assert (state.state, state.total, state.unknown) == ("open", 2, 1)
    assert client.get("u-1").reason == "new"
    assert client.get("u-3").reason is None


def test_the_sweep_that_loads_it_rings_for_it(raw: RawConnection) -> None:
    _put("u-1")
    _call(raw, references=["u-1"])
    raw.commit()
    assert sweep()["rung"] == 1


def test_a_key_is_the_same_request_whichever_way_it_comes(raw: RawConnection) -> None:
    _put("u-1", "u-2")
    made = client.submit(["u-2", "u-1"], caller="shop", key="k", priority="low", deadline_hours=9)
    same = {"references": ["u-1", "u-2", "u-1"], "priority": "low", "deadline_hours": 9}
    assert _call(raw, **same) == made.batch
    raw.commit()
    for other in (
        {**same, "references": ["u-1"]},
        {**same, "references": ["u-1", "u-3"]},
        {**same, "priority": "high"},
        {**same, "deadline_hours": 10},
        {**same, "platform": "other"},
        {**same, "notify": "shop.done"},
        {**same, "budget": 5},
        {"selection": "all"},
    ):
        assert "was already used" in _refused(raw, "VF409", **other)
    by_sql = _call(raw, key="k2", selection="all", platform="default", notify="shop.done")
    raw.commit()
    again = client.submit(
        selection="all", platform="default", caller="shop", key="k2", notify="shop.done"
    )
    assert (again.batch, again.new, again.total) == (by_sql, False, 2)
    with pytest.raises(ConflictError):
        client.submit(selection="all", caller="shop", key="k2", notify="shop.done")


@pytest.mark.parametrize(
    ("by_sql", "by_python"),
    [("500", 500), (500, "500.00"), ("499.50", 499.5), (0.000001, "1E-6"), ("1e7", 10_000_000)],
)
def test_a_budget_is_the_same_request_however_it_is_spelt(
    by_sql: str | float, by_python: str | float, raw: RawConnection
) -> None:
    _put("u-1")
    made = _call(raw, references=["u-1"], budget=by_sql)
    raw.commit()
    again = client.submit(["u-1"], caller="shop", key="k", budget=by_python)
    assert (again.batch, again.new) == (made, False)
    with pytest.raises(ConflictError):
        client.submit(["u-1"], caller="shop", key="k")
    assert "was already used" in _refused(raw, "VF409", references=["u-1"], budget=1)


@pytest.mark.parametrize("budget", [0, -1, "NaN", "Infinity", "100000000", "0.0000001"])
def test_what_is_no_amount_is_no_budget(budget: str | float, raw: RawConnection) -> None:
    _put("u-1")
    told = _refused(raw, "VF400", references=["u-1"], budget=budget)
    with pytest.raises(UsageError, match=re.escape(told)):
        client.submit(["u-1"], caller="shop", key="k", budget=budget)


@pytest.fixture
def paid_abroad_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    path = tmp_path / "abroad.toml"
    path.write_text(
        '[providers.abroad]\nkind = "tencent"\nsecret_id = "env:ID"\nsecret_key = "env:KEY"\n'
        'lanes = ["cmcc"]\nprice = 0.1\ncurrency = "USD"\n',
        "utf-8",
    )
    monkeypatch.setenv("VERIFIER_CONFIG", str(path))
    forget()
    yield
    forget()


@pytest.mark.usefixtures("paid_abroad_too")
def test_a_budget_that_cannot_be_counted_in_one_currency_holds_the_batch(
    raw: RawConnection,
) -> None:
    _put("u-1", "u-2")
    fault = "A budget is in CNY, and providers are paid in USD too."
    batch = _call(raw, references=["u-1"], budget=5)
    free = _call(raw, key="k2", references=["u-2"])
    raw.commit()
    sweep()
    with transaction() as connection:
        row = batches.get(connection, batch)
    assert row is not None
    assert (row.state, row.paused_by, row.pause_reason) == ("open", "budget", fault)
    assert client.get("u-1").state == "waiting"
    assert client.get("u-1").reason == "paused"
    assert (client.get_batch(free).paused, client.get("u-2").reason) == (False, "new")
    sweep()
    assert client.get_batch(batch).paused
    with pytest.raises(UsageError, match="paid in USD"):
        whole.resume(batch, Decimal(9))


_TEXT = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=6
)


@given(
    listed=st.none() | st.lists(_TEXT, max_size=6),
    platform=_TEXT,
    selection=st.sampled_from(["all", "failed"]),
    priority=st.sampled_from(["high", "normal", "low"]),
    hours=st.none() | st.floats(1, 8760),
    notify=st.none() | st.just("shop.done"),
)
def test_both_ways_compute_the_same_digest(
    listed: list[str] | None, platform: str, selection: str, priority: Any, hours: Any, notify: Any
) -> None:
    request = Request(
        selection=selection if listed is None else None,
        keys=None if listed is None else [(platform, reference) for reference in listed],
        parameters={"platform": platform} if listed is None else None,
        priority=priority,
        deadline_hours=hours,
        notify=notify,
    )
    with transaction() as connection:
        digest = connection.execute(
            text("SELECT verifier.request_digest(CAST(:described AS jsonb), :platform, :listed)"),
            {
                "described": json.dumps(request.describe()),
                "platform": platform,
                "listed": listed,
            },
        ).scalar_one()
    assert bytes(digest) == request.digest()


def test_what_is_stored_of_a_request_is_the_same_either_way(raw: RawConnection) -> None:
    _put("u-1")
    requests: tuple[dict[str, Any], ...] = (
        {"references": ["u-1", "x"], "deadline_hours": 3, "notify": "a.b", "notify_queue": "q"},
        {"selection": "failed", "platform": "p", "priority": "high", "label": "a label"},
        {"selection": "unverified"},
        {"references": ["x"]},
    )
    for named in requests:
        client.submit(caller="python", key="k", **named)
        _call(raw, caller="sql", **named)
        raw.commit()
        with transaction() as connection:
            rows = connection.execute(
                text("""
                    DELETE FROM verifier.batches WHERE caller IN ('python', 'sql')
                    RETURNING request_digest, selection, priority, total, unknown, deadline_hours,
                              label, rerun_of, notify_task, notify_queue, snapshot_taken
                """)
            ).all()
        assert len(rows) == 2
        assert bytes(rows[0][0]) == bytes(rows[1][0])
        assert rows[0][1:] == rows[1][1:]


def test_selections_take_the_same_users_either_way(raw: RawConnection) -> None:
    _put("a", "b")
    _put("c", status="failed")
    _put("d", platform="p", status="failed")
    for selection in ("all", "unverified", "failed"):
        for platform in (None, "default", "p", "nowhere"):
            key = f"{selection} {platform}"
            batch = _call(raw, key=key, selection=selection, platform=platform)
            raw.commit()
            with transaction() as connection:
                wanted = sum(
                    loading.count_selected(connection, selection, {"platform": platform}).values()
                )
            assert client.get_batch(batch).total == wanted, key


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({}, "either a selection or a list"),
        ({"references": [], "selection": "all"}, "either a selection or a list"),
        ({"references": []}, "list of references is empty"),
        ({"selection": "rerun"}, "selection must be"),
        ({"selection": "all", "priority": "interactive"}, "priority must be"),
        ({"selection": "all", "priority": None}, "priority must be"),
        ({"selection": "all", "deadline_hours": 0}, "deadline must be"),
        ({"selection": "all", "deadline_hours": 8761}, "deadline must be"),
        ({"selection": "all", "caller": None}, "caller must be"),
        ({"selection": "all", "key": ""}, "key must be"),
        ({"selection": "all", "key": "x" * 201}, "key must be"),
        ({"selection": "all", "key": "a\nb"}, "key must be"),
        ({"selection": "all", "key": "for 13800138000"}, "key has a phone"),
        ({"selection": "all", "label": "a@b.cn"}, "label has a phone"),
        ({"selection": "all", "platform": "13800138000"}, "platform looks like a phone"),
        ({"references": ["u-1", "138 0013 8000"]}, "Reference 2 of the list looks like a phone"),
        ({"references": ["u-1", None]}, "Reference 2 of the list is empty"),
        ({"references": [" "]}, "Reference 1 of the list is empty"),
        ({"references": ["x" * 129]}, "Reference 1 of the list is too long"),
        ({"selection": "all", "notify_queue": "q"}, "notify_queue without notify"),
        ({"selection": "all", "notify": "verifier.drain"}, "notify must"),
        ({"selection": "all", "notify": "a b"}, "notify must"),
        ({"selection": "all", "notify": "a.b", "notify_queue": "control"}, "notify_queue must"),
        ({"selection": "all", "notify": "a.b", "notify_queue": "vp:control"}, "notify_queue must"),
        ({"selection": "all", "notify": "a.b", "notify_queue": "_refused"}, "notify_queue must"),
        ({"selection": "all", "notify": "a.b", "notify_queue": "_answered:7"}, "notify_queue must"),
    ],
)
def test_a_request_that_cannot_be_meant_is_refused_and_stores_nothing(
    raw: RawConnection, named: dict[str, Any], said: str
) -> None:
    message = _refused(raw, "VF400", **named)
    assert said in message
    assert "138" not in message
    with transaction() as connection:
        assert connection.execute(text("SELECT count(*) FROM verifier.batches")).scalar_one() == 0


def _sql_fault(function: str, value: str) -> str | None:
    with transaction() as connection:
        fault: str | None = connection.execute(
            text(f"SELECT verifier.{function}(:value)"), {"value": value}
        ).scalar_one()
    return fault


def _python_fault(value: str) -> str | None:
    try:
        check_reference(value)
    except InvalidField as error:
        return error.reason
    return None


_BODIES = st.sampled_from(["11010519491231002", "44052419880101001", "99999920240230001"])
_PIECES = st.one_of(
    st.sampled_from(
        ["13800138000", "１３８００１３８０００", "+86", "0086", "86", "-", "−", "–", " "]
    ),
    st.sampled_from(
        ["\u00a0", "\u3000", "a", "K", "\u212a", "ſ", "@", ".", "shop.cn", "u-", "\u200b"]
    ),
    st.sampled_from(
        ["\u0661\u0663\u0668", "00138000", "1380", "013800138000", "\n", "\x1f", "\x85"]
    ),
    _BODIES,
    _BODIES.map(lambda body: body + check_digit(body)),
    _BODIES.map(lambda body: body + check_digit(body).lower()),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=3),
    st.text("0123456789", max_size=12),
)
_SPELLINGS = st.lists(_PIECES, max_size=6).map("".join)


def _is_assigned(value: str) -> bool:
    """Unassigned characters are printable or not by the Unicode version of each side."""
    return not any(unicodedata.category(character) == "Cn" for character in value)


@given(_SPELLINGS)
def test_references_are_judged_alike_in_sql(value: str) -> None:
    assume(_is_assigned(value))
    assert _sql_fault("reference_fault", value) == _python_fault(value)


@given(_SPELLINGS)
def test_names_of_ours_are_judged_alike_in_sql(value: str) -> None:
    assume(_is_assigned(value))
    expected = None
    if not 0 < len(value) <= 200 or not value.isprintable():
        expected = "must be 1 to 200 printable characters"
    elif carries_personal_data(value):
        expected = "has a phone number, an ID number or an e-mail address in it"
    assert _sql_fault("name_fault", value) == expected


def test_every_character_that_unicode_knows_is_judged_alike_in_sql() -> None:
    telling = {"Nd", "Cf", "Cc", "Zs", "Zl", "Zp", "Pd", "Po", "Lm"}
    everything = [
        chr(code)
        for code in range(1, 0x110000)
        if (category := unicodedata.category(chr(code))) in telling
        or (category not in ("Cs", "Cn") and (code < 0x250 or code % 997 == 0))
    ]
    with transaction() as connection:
        rows = connection.execute(
            text("""
                SELECT c, verifier.reference_fault('a' || c || 'b') IS NULL,
                       verifier.name_fault(c) IS NULL,
                       verifier.reference_fault('1380013800' || c)
                  FROM unnest(CAST(:everything AS text[])) AS c
            """),
            {"everything": everything},
        ).all()
    for character, as_reference, as_name, as_digit in rows:
        assert as_reference == (_python_fault(f"a{character}b") is None), hex(ord(character))
        assert as_name == character.isprintable(), hex(ord(character))
        assert as_digit == _python_fault(f"1380013800{character}"), hex(ord(character))


_NAMES = st.sampled_from(
    (
        *("shop.done", "verifier.x", "workers.a", "celery.b", "verifierx", "verify.cmcc", *QUEUES),
        *("unacked", "unacked_mutex", "celeryev", "celery", "a.pidbox", "a b", "", "1a", "é"),
        *("vp:control", "vp.control", REFUSED_KEY, answerbell.key_of(7), "_refused", "_answered:7"),
    )
) | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4)


@given(task=_NAMES, queue=st.none() | _NAMES)
def test_whom_to_notify_is_judged_alike_in_sql(task: str, queue: str | None) -> None:
    request = Request(selection="all", notify=task, notify_queue=queue)
    assume(task)
    try:
        submission._check("c", "k", request)
        expected = True
    except UsageError:
        expected = False
    with transaction() as connection:
        savepoint = connection.begin_nested()
        try:
            connection.execute(
                text(
                    "SELECT verifier.submit('c', 'k', '{u}', notify => :task, notify_queue => :q)"
                ),
                {"task": task, "q": queue},
            )
            taken = True
        except DBAPIError as error:
            assert getattr(error.orig, "pgcode", None) == "VF400"  # noqa: PT017
            taken = False
        savepoint.rollback()
    assert taken == expected


def test_priorities_are_numbered_alike(raw: RawConnection) -> None:
    for name in ("high", "normal", "low"):
        batch = _call(raw, key=name, selection="all", priority=name)
        raw.commit()
        with transaction() as connection:
            stored = connection.execute(
                text("SELECT priority FROM verifier.batches WHERE id = :id"), {"id": batch}
            ).scalar_one()
        assert stored == PRIORITIES[name]


def test_a_list_without_end_is_refused_before_it_is_read(raw: RawConnection) -> None:
    with raw.cursor() as cursor, pytest.raises(psycopg2.Error, match="At most 1000000"):
        cursor.execute(
            "SELECT verifier.submit('c', 'k', array_fill('x'::text, ARRAY[1000001]))",
        )
