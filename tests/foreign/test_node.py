"""Other languages: node, with somebody else's client libraries and the code of docs/contract.md."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import sql

from tests.foreign.conftest import HERE, Node
from tests.processes import LANE_QUEUES
from tests.workers.conftest import Fleet, until
from verifier import client
from verifier.errors import NotFoundError
from verifier.sandbox.people import Fate
from verifier.settings import broker_url
from verifier.store import schema

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

CONTRACT = (HERE.parent.parent / "docs" / "contract.md").read_text("utf-8")


def _examples(directory: Path, name: str) -> str:
    """The block of JavaScript in the contract that defines ``name``, as a module."""
    [block] = [code for code in re.findall(r"```js\n(.*?)```", CONTRACT, re.S) if name in code]
    path = directory / f"{name}.js"
    path.write_text(block, "utf-8")
    return str(path)


@pytest.fixture
def role(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A database role of the service's own, with what the contract grants it."""
    name = f"shop_{uuid.uuid4().hex}"
    url = database_url.replace("+psycopg2", "")
    _administer(url, "CREATE ROLE {} LOGIN PASSWORD 'secret'", name)
    schema.grant(database_url, name)
    monkeypatch.setenv("DATABASE_URL", re.sub("//[^@]*@", f"//{name}:secret@", url))
    yield name
    _administer(url, "DROP OWNED BY {}", name)
    _administer(url, "DROP ROLE {}", name)


def _administer(url: str, statement: str, role: str) -> None:
    raw = psycopg2.connect(url)
    with raw, raw.cursor() as cursor:
        cursor.execute(sql.SQL(statement).format(sql.Identifier(role)))
    raw.close()


def test_a_service_in_node_submits_in_its_own_transaction_and_reads_the_results(
    node: Node, fleet: Fleet, role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [right] = fleet.people(1)
    [wrong] = fleet.people(1, fate=Fate.WRONG_NAME)
    fleet.worker()
    fleet.control()
    fleet.beat()
    monkeypatch.setenv("REFERENCES", json.dumps([right.reference, wrong.reference]))
    examples = _examples(tmp_path, "requestVerification")
    found = node.run("sql.js", examples)
    batch = found.pop("committed")
    assert found == {
        "orders": ["4711"],
        "rolledBack": {"results": []},
        "again": batch,
        "conflict": "VF409",
        "personal": "VF400",
        "nothing": "VF400",
    }
    state = client.wait(int(batch), timeout=60)
    assert (state.total, state.unknown) == (2, 1)
    read = node.run("sql.js", examples, batch)
    results = {row["reference"]: (row["outcome"], row["waiting_for"]) for row in read["results"]}
    assert results == {
        right.reference: ("MATCHED", None),
        wrong.reference: ("MISMATCHED", None),
    }
    assert (read["state"], read["settled"]) == ("done", 2)
    assert read["outcomes"] == {"MATCHED": 1, "MISMATCHED": 1}


@pytest.mark.parametrize("prefixed", ["by the client", "in the name of the queue"])
def test_a_celery_client_of_node_submits_and_verifies(
    node: Node, fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefixed: str
) -> None:
    one, *more = fleet.people(4)
    fleet.worker("all", f"control,interactive,{LANE_QUEUES}", 2)
    example = Path(_examples(tmp_path, "send"))
    prefix = ""
    if prefixed != "by the client":
        prefix = "vp:"
        code = example.read_text("utf-8")
        option = re.compile(r"^.*keyPrefix.*\n", re.M)
        assert option.search(code)
        example.write_text(option.sub("", code), "utf-8")
    submit = {"key": "k", "caller": "shop", "references": [person.reference for person in more]}
    verify = {"reference": one.reference, "key": "one"}
    messages = [
        {"queue": f"{prefix}control", "task": "verifier.submit", "kwargs": submit},
        {"queue": f"{prefix}interactive", "task": "verifier.verify_one", "kwargs": verify},
        {"queue": f"{prefix}control", "task": "verifier.submit", "kwargs": submit},
    ]
    monkeypatch.setenv("BROKER_URL", broker_url())
    monkeypatch.setenv("MESSAGES", json.dumps(messages))
    assert len(node.run("celery.js", str(example))) == 3
    until(lambda: client.get(one.reference).status == "verified", 30, "the interactive verdict")
    until(lambda: {client.get(p.reference).status for p in more} == {"verified"}, 30, "the batch")
    assert len(fleet.rows("SELECT FROM verifier.batches WHERE caller = 'shop'")) == 1
    assert fleet.sandbox.client.stats()["most_calls_per_phone"] == 1


def test_a_batch_that_was_rolled_back_is_unknown_to_everybody(
    node: Node, fleet: Fleet, role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = fleet.people(2)
    monkeypatch.setenv("REFERENCES", json.dumps([person.reference for person in people]))
    found = node.run("sql.js", _examples(tmp_path, "requestVerification"))
    with pytest.raises(NotFoundError):
        client.get_batch(int(found["committed"]) - 1)
    assert {client.get(person.reference).reason for person in people} == {None}  # no sweep yet
