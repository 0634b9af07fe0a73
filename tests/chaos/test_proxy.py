"""The proxy cuts where it says, and nowhere else."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from tests.chaos.proxy import CommitCutter, Messages, is_commit
from tests.servers import TestServers


@pytest.fixture
def cutter(servers: TestServers) -> Iterator[CommitCutter]:
    port = int(servers.database_url.rpartition(":")[2].partition("/")[0])
    with CommitCutter(lambda: port) as ready:
        yield ready


def _through(cutter: CommitCutter, database_url: str) -> Connection:
    url = database_url.replace("postgresql+psycopg2://", "postgresql://")
    port = url.rpartition(":")[2].partition("/")[0]
    return psycopg2.connect(url.replace(f":{port}/", f":{cutter.port}/"))


def test_a_cut_commit_was_done_or_never_arrived(cutter: CommitCutter, database_url: str) -> None:
    with _through(cutter, database_url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE tried (number int)")
    for number in range(20):
        cutter.cut(1, 1.0, random.Random(number))
        connection = _through(cutter, database_url)
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO tried VALUES (%s)", (number,))
        with pytest.raises(psycopg2.OperationalError):
            connection.commit()
        connection.close()
    assert cutter.left == 0
    with _through(cutter, database_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM tried")
        assert cursor.fetchone() == (cutter.answers_lost,)
    connection.close()
    assert cutter.answers_lost + cutter.commits_lost == 20
    assert cutter.answers_lost
    assert cutter.commits_lost


def test_messages_are_cut_wherever_the_parts_end() -> None:
    startup = struct.pack("!II", 20, 196608) + b"user\0x\0\0\0\0\0\0"
    ssl_request = struct.pack("!II", 8, 80877103)
    commit = b"Q" + struct.pack("!I", 11) + b"COMMIT\0"
    other = b"Q" + struct.pack("!I", 4 + 26) + b"SELECT 'COMMIT' FROM tried\0"[:26]
    sent = ssl_request + startup + other + commit
    for size in (1, 3, 7, len(sent)):
        messages = Messages()
        found = [
            message
            for start in range(0, len(sent), size)
            for message in messages.feed(sent[start : start + size])
        ]
        assert found == [ssl_request, startup, other, commit]
        assert [is_commit(message) for message in found] == [False, False, False, True]
