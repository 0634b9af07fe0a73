"""Nothing personal is left behind: not in Valkey, logs, processes, tracebacks, files or a dump.

Real processes work at DEBUG with every fault on: providers that fail in all their ways, one that
answers with what it was asked, connections killed, a row nobody can decrypt, a constraint that
fails. Then everything that they left is searched for every value in every disguise.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import time, timedelta
from pathlib import Path

import pytest
import redis
from pytest_httpserver import HTTPServer
from sqlalchemy import text
from werkzeug import Request, Response

from tests.intake.people import csv_of
from tests.processes import LANE_QUEUES, until
from tests.reminders.world import TEMPLATES
from tests.servers import TestServers
from tests.workers.conftest import Fleet
from tests.workers.leaks import (
    Secrets,
    everything_stored,
    watching_broker,
    watching_processes,
)
from tests.workers.rubbish import message, written
from verifier import client
from verifier.clock import at_local, business_date
from verifier.config import config
from verifier.local.binaries import POSTGRES
from verifier.outcomes import Lane
from verifier.sandbox.faults import FaultKind
from verifier.sandbox.people import USER_COLUMNS, SandboxPerson, generate
from verifier.settings import broker_url, database_url
from verifier.store import clock
from verifier.store.engine import transaction

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MORE_CONFIG = """
[providers.parrot]
kind = "generic"
endpoint = "{parrot}"
lanes = ["cbn", "mvno"]
timeout = 2

[providers.parrot.verify]
path = "/"
result = "Response.Result"
error = "Response.Error.Code"
request_id = "Response.RequestId"
carrier = "Response.Isp"
body = {{ Phone = "{{{{ phone }}}}", Name = "{{{{ name }}}}", IdCard = "{{{{ id_number }}}}" }}
codes = {{ "0" = "MATCHED" }}
carriers = {{ CMCC = "cmcc" }}

[providers.dytns]
kind = "aliyun_dytns"
endpoint = "{url}"
key_id = "file:{state}/aliyun_key_id"
key_secret = "file:{state}/aliyun_key_secret"
auth_code = "file:{state}/dytns_auth_code"
lanes = ["cmcc", "cucc", "ctcc"]
checks = ["carrier", "status", "recycled"]
preference = 3
timeout = 2

[providers.cloudauth]
kind = "aliyun_cloudauth"
endpoint = "{url}"
key_id = "file:{state}/aliyun_key_id"
key_secret = "file:{state}/aliyun_key_secret"
lanes = ["cmcc", "cucc", "ctcc"]
checks = ["status"]
preference = 4
timeout = 2

[providers.operator]
kind = "camara"
endpoint = "{url}"
auth = "client_credentials"
client_id = "file:{state}/camara_client_id"
private_key = "file:{state}/camara_private_key"
token_endpoint = "{url}/oauth2/token"
purpose = "FraudPreventionAndDetection"
lanes = ["cmcc", "cucc", "ctcc"]
preference = 5
timeout = 2

[gateways.jpush]
kind = "jpush"
endpoint = "{url}"
key_id = "file:{state}/jpush_app_key"
key_secret = "file:{state}/jpush_master_secret"
timeout = 1

[gateways.sms]
kind = "aliyun_sms"
endpoint = "{url}"
key_id = "file:{state}/aliyun_key_id"
key_secret = "file:{state}/aliyun_key_secret"
preference = 2
timeout = 1
sign_name = "Verifier"

[gateways.sms.templates]
"""

#: Kinds that stop a provider for long: they come last.
_LASTING = {FaultKind.REFUSE, FaultKind.AUTH, FaultKind.ARREARS, FaultKind.MAINTENANCE}


def _parrot(request: Request) -> Response:
    """Answers with everything it was told, in every place of an answer."""
    told = request.get_data(as_text=True)
    asked = json.loads(told)
    phone = str(asked.get("Phone"))
    error = {"Code": f"Failed.{phone}", "Message": f"cannot verify {told}"}
    headers = {
        "X-TC-RequestId": phone,
        "X-Phone": phone,
        "X-IdCard": str(asked.get("IdCard")),
        "Set-Cookie": f"phone={phone}",
        "Retry-After": phone,
    }
    answer = {"Response": {"Error": error, "RequestId": phone, "Echo": told, "Isp": told}}
    return Response(json.dumps(answer, ensure_ascii=False), headers=headers)


def _somebody_of_each(number: int) -> list[SandboxPerson]:
    """People of the big lanes with every fate, and some of the parrot's."""
    everybody = list(generate(4000, seed=77))
    parrots = [p for p in everybody if p.entry and p.entry.carrier in (Lane.CBN, Lane.MVNO)]
    unhappy = [p for p in everybody if p.expected.outcome != "MATCHED"]
    return [*everybody[:number], *parrots[:6], *unhappy[:12]]


def _run(directory: Path, *arguments: str, stdin: str = "") -> int:
    """The command line, as a process of its own. What it says is kept with the logs."""
    ran = subprocess.run(
        [sys.executable, "-m", "verifier.cli", *arguments],
        input=stdin.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=directory,
        timeout=60,
        check=False,
    )
    with (directory / "cli.log").open("ab") as log:
        log.write(ran.stdout)
    return ran.returncode


@pytest.fixture
def spoilt(fleet: Fleet, httpserver: HTTPServer) -> Fleet:
    """The fleet with a parrot among its providers, gateways, and faults of every kind."""
    httpserver.expect_request("/").respond_with_handler(_parrot)
    path = Path(os.environ["VERIFIER_CONFIG"])
    urls = {"url": fleet.sandbox.url, "state": fleet.sandbox.state}
    templates = [
        f'"{template}.{locale}" = "SMS_1{place:03d}"\n'
        for place, (template, locale) in enumerate(
            (template, locale) for template in TEMPLATES for locale in ("zh", "en")
        )
    ]
    more = MORE_CONFIG.format(parrot=httpserver.url_for("").rstrip("/"), **urls)
    path.write_text(path.read_text("utf-8") + more + "".join(templates), "utf-8")
    config.cache_clear()
    for kind in set(FaultKind) - _LASTING:
        fleet.sandbox.client.fault("*", kind, rate=0.015)
    return fleet


def test_nothing_personal_is_left_behind_anywhere(
    spoilt: Fleet, servers: TestServers, tmp_path: Path
) -> None:
    fleet, logs = spoilt, spoilt.directory
    people = _somebody_of_each(40)
    fleet.sandbox.client.put(*(p.entry for p in people if p.entry is not None))
    secrets = Secrets(
        value
        for person in people
        for value in (
            *(person.phone, person.name, person.id_number, person.email, person.push_token),
        )
        if value
    )
    with (
        watching_processes() as processes,
        watching_broker(broker_url()) as commands,
        redis.Redis.from_url(broker_url()) as broker,
    ):
        _import(people, logs, tmp_path)
        _spoil_a_row(fleet)
        fleet.execute(
            "ALTER TABLE verifier.attempts ADD CONSTRAINT spoilt"
            " CHECK (outcome IS DISTINCT FROM 'MATCHED') NOT VALID"
        )
        fleet.worker("worker", f"interactive,{LANE_QUEUES}", 2)
        fleet.control()
        assert _run(logs, "verify", "submit", "--all", "--key", "k", "--caller", "t") == 0
        until(lambda: "CheckViolation" in fleet.everything_logged(), 40, "a failed constraint")
        fleet.execute("ALTER TABLE verifier.attempts DROP CONSTRAINT spoilt")
        until(lambda: _killed_a_connection(fleet, broker), 30, "a connection killed at work")
        batch = client.submit(selection="all", caller="t", key="k").batch
        until(lambda: _sweep(broker) and client.get_batch(batch).settled > 20, 60, "verdicts")
        _remind(fleet, broker)
        for kind in sorted(_LASTING - {FaultKind.REFUSE}):
            fleet.sandbox.client.fault("*", kind, count=2)
        fleet.sandbox.client.fault("*", FaultKind.REFUSE, seconds=1)
        _run(logs, "verify", "one", people[0].reference, "--timeout", "5")
        _run(logs, "user", "show", people[0].reference)
        _run(logs, "user", "find", stdin=people[1].phone + "\n")
        for task in ("verifier.audit.run", "verifier.housekeeping"):
            broker.lpush("vp:control", written(message(task)))
        until(lambda: fleet.rows("SELECT FROM verifier.job_runs"), 20, "a job")
        stored = everything_stored(broker)
    fleet.stop()
    logged = fleet.everything_logged()
    assert "Traceback" in logged
    dump = _dumped(servers)
    # What is searched is really there, and a search finds what is there.
    assert people[0].reference.encode() in dump
    assert b"verifier.drain" in b"\n".join(commands)
    assert any(b"workers.app" in line for line in processes)
    assert secrets.found_in(b"x" + people[0].phone.encode().hex().encode())
    assert secrets.found_in(logged.encode()) == []
    assert secrets.found_in(b"\n".join(commands)) == []
    assert secrets.found_in(stored) == []
    assert secrets.found_in(b"\n".join(processes)) == []
    assert secrets.found_in(dump) == []
    for path in (*fleet.home.rglob("*"), *logs.rglob("*"), *servers.directory.rglob("*.log")):
        if path.is_file():
            assert secrets.found_in(path.read_bytes()) == [], path


def _import(people: list[SandboxPerson], logs: Path, folder: Path) -> None:
    """Twice the same people, one of them broken, one doubled."""
    rows = [{column: str(getattr(p, column)) for column in USER_COLUMNS} for p in people]
    broken = {**rows[0], "reference": "broken", "phone": rows[0]["phone"] + "0"}
    odd = {**rows[1], "reference": rows[1]["phone"]}
    source = folder / "people.csv"
    source.write_text(csv_of([*rows, broken, odd, rows[2]]), "utf-8")
    assert _run(logs, "user", "import", str(source)) == 5
    assert _run(logs, "user", "import", "-", stdin=source.read_text("utf-8")) == 5


def _spoil_a_row(fleet: Fleet) -> None:
    """One user has the ciphertext of another: nobody can decrypt it."""
    fleet.execute(
        "UPDATE verifier.users SET phone = (SELECT phone FROM verifier.users ORDER BY id DESC"
        " LIMIT 1) WHERE id = (SELECT min(id) FROM verifier.users)"
    )


def _killed_a_connection(fleet: Fleet, broker: redis.Redis) -> bool:
    """Kills those in a transaction; whether a worker has noticed."""
    _sweep(broker)
    fleet.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE xact_start IS NOT NULL"
        " AND datname = current_database() AND pid <> pg_backend_pid()"
    )
    return "OperationalError" in fleet.everything_logged()


def _ask(broker: redis.Redis, queue: str, task: str) -> bool:
    """Sends a task, but not more than twice a second."""
    if broker.set(f"asked:{task}", 1, nx=True, px=500):
        broker.lpush(f"vp:{queue}", written(message(task)))
    return True


def _sweep(broker: redis.Redis) -> bool:
    return _ask(broker, "control", "verifier.sweep")


def _remind(fleet: Fleet, broker: redis.Redis) -> None:
    """It becomes noon of another day; who has failed is planned for and written to."""
    with transaction() as connection:
        zone = config().zone
        day = business_date(clock.now(connection), zone) + timedelta(days=2)
        clock.move_to(connection, at_local(day, time(12, 0), zone))
    broker.lpush("vp:control", written(message("verifier.reminders.plan", at="08:30")))

    def sent() -> object:
        _ask(broker, "remind", "verifier.reminders.send")
        return fleet.rows(
            "SELECT FROM verifier.reminders WHERE state NOT IN ('planned', 'skipped')"
        )

    until(sent, 40, "a reminder")
    broker.lpush("vp:remind", written(message("verifier.reminders.reconcile")))


def _dumped(servers: TestServers) -> bytes:
    """A whole dump of the test's database."""
    with transaction() as connection:
        name = connection.execute(text("SELECT current_database()")).scalar_one()
    assert name in database_url()
    url = f"{servers.database_url.rpartition('/')[0]}/{name}"
    site = POSTGRES.site()
    program = site / POSTGRES.programs / "pg_dump" if site else Path("pg_dump")
    done = subprocess.run([program, "--dbname", url], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
