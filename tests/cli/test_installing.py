"""``verifier config``, ``db``, ``keys``, ``sandbox people``: setting up, without secrets shown."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import psycopg2
import pytest

from tests.cli.conftest import PROVIDERS, Cli


def test_keys_are_made_rotated_and_listed_but_never_shown(anywhere: Cli, home: Path) -> None:
    anywhere("keys", "init").ok()
    ring = home / "keyring.json"
    assert stat.S_IMODE(ring.stat().st_mode) == 0o600
    again = anywhere("keys", "init")
    assert again.code == 1
    assert "exists already" in again.err
    anywhere("keys", "rotate").ok()
    shown = anywhere("keys", "show", "--json").ok()
    assert [(k["purpose"], k["id"], k["current"]) for k in shown.json["keys"]] == [
        ("encryption", 1, False),
        ("encryption", 2, True),
        ("index", 1, True),
    ]
    secrets = [key["key"] for part in ("encryption", "index")
               for key in json.loads(ring.read_text())[part]["keys"].values()]  # fmt: skip
    assert all(key["created"].endswith("+08:00") for key in shown.json["keys"])
    text = shown.out + anywhere("keys", "show").ok().out
    assert not any(secret in text for secret in secrets)


def test_a_missing_key_ring_names_the_command_that_makes_one(anywhere: Cli) -> None:
    ran = anywhere("keys", "show")
    assert ran.code == 1
    assert "verifier keys init" in ran.err


def test_the_configuration_is_shown_with_references_instead_of_secrets(
    anywhere: Cli, home: Path
) -> None:
    (home / "verifier.toml").write_text(PROVIDERS, "utf-8")
    env = {
        "TEST_SECRET_KEY": "hunter2",
        "VERIFIER_DATABASE_URL": "postgresql://me:hunter2@db.example:5432/x?password=hunter2",
    }
    view = anywhere("config", "show", "--json", **env).ok()
    assert view.json["configuration"]["providers"]["tencent"]["secret_key"] == "env:TEST_SECRET_KEY"
    assert view.json["environment"]["VERIFIER_DATABASE_URL"] == "postgresql://db.example:5432/x"
    text = anywhere("config", "show", **env).ok().out
    assert "providers.tencent.lanes" in text
    assert "hunter2" not in text + view.out


def test_a_configuration_is_checked_with_its_secrets(anywhere: Cli, home: Path) -> None:
    (home / "verifier.toml").write_text(PROVIDERS, "utf-8")
    urls = {"VERIFIER_DATABASE_URL": "postgresql://h/x", "VERIFIER_BROKER_URL": "redis://h/0"}
    ran = anywhere("config", "check", **urls)
    assert ran.code == 1
    assert "TEST_SECRET_ID is not set" in ran.out
    anywhere("config", "check", TEST_SECRET_ID="a", TEST_SECRET_KEY="b", **urls).ok()


def test_a_wrong_key_is_named_with_its_line_and_the_likely_one(anywhere: Cli, home: Path) -> None:
    (home / "verifier.toml").write_text("[engine]\nthreds = 3\n", "utf-8")
    for command in (("config", "check"), ("config", "show"), ("doctor",)):
        ran = anywhere(*command)
        assert ran.code == 1
        assert "line 2" in ran.out + ran.err
        assert "did you mean 'threads'" in ran.out + ran.err


RESELLER = """\
[providers.x]
kind = "generic"
endpoint = "https://a.example"
lanes = ["cmcc"]
[providers.x.verify]
path = "/"
body = { p = "{{ phone }}", n = "{{ name }}", i = "{{ id_number }}" }
result = "result"
"""
WEBHOOK = '[webhooks.shop]\nurl = "https://a.example"\nsecret = "env:S"\n'


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (WEBHOOK + 'events = "batch.done"', 'line 4: webhooks.shop.events: must be a list: ev'),
        ('[webhooks]\nurl = "https://a.example"', "line 2: webhooks.url: must be a table: write ["),
        ("engine = 3", "line 1: engine: must be a table: write [engine]"),
        (WEBHOOK + 'events = ["batch.finished"]', "line 4: webhooks.shop.events: must be 'veri"),
        (WEBHOOK + 'events = ["batch.finished"]', "did you mean 'batch.done'?"),
        ("[webhooks.shop]\nsecret = 'env:S'", "webhooks.shop.url: is missing"),
        (RESELLER + 'codes = { "1" = "MATCHD" }', "line 9: providers.x.verify.codes.1: must be"),
        (RESELLER.replace("phone", "tel"), "line 5: providers.x.verify.codes: is missing"),
        ("[engine]\nthreads = 'many'", "engine.threads: must be a valid integer"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_in_the_terms_of_the_file(
    anywhere: Cli, home: Path, written: str, told: str
) -> None:
    (home / "verifier.toml").write_text(written, "utf-8")
    ran = anywhere("config", "show")
    assert ran.code == 1
    assert told in ran.err
    assert "Input should" not in ran.err


def test_a_broker_of_callers_that_is_not_understood_is_refused(anywhere: Cli, home: Path) -> None:
    (home / "verifier.toml").write_text('[callbacks]\nbroker_url = "env:THEIRS"\n', "utf-8")
    ran = anywhere("config", "check", THEIRS="amqp://:hunter2@foo")
    assert ran.code == 1
    assert "fail  secrets of callbacks: " in ran.out
    assert "Only redis://, rediss:// and sentinel://" in ran.out
    assert "hunter2" not in ran.out
    ran = anywhere("config", "check", THEIRS="rediss://:hunter2@foo")
    assert "ok    secrets of callbacks" in ran.out


def test_a_secret_that_other_accounts_may_read_is_a_warning(anywhere: Cli, home: Path) -> None:
    secret = home / "secret"
    secret.write_text("s", "utf-8")
    config = PROVIDERS.replace("env:TEST_SECRET_ID", f"file:{secret}")
    (home / "verifier.toml").write_text(config, "utf-8")
    for mode, told in (
        (0o640, "warn  secrets of provider tencent: "),
        (0o600, "ok    secrets of "),
    ):
        secret.chmod(mode)
        ran = anywhere("config", "check", TEST_SECRET_ID="a", TEST_SECRET_KEY="b")
        assert told + ("" if mode == 0o640 else "provider tencent") in ran.out
        assert (f"chmod 600 {secret}" in ran.out) == (mode == 0o640)


@pytest.fixture
def empty_database(cli: Cli) -> str:
    url = os.environ["VERIFIER_DATABASE_URL"].replace("+psycopg2", "")
    name = f"empty_{os.getpid()}"
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name}")
        cursor.execute(f"CREATE DATABASE {name}")
    connection.close()
    return url.rpartition("/")[0] + f"/{name}"


def test_a_database_is_migrated_once_and_checked(cli: Cli, empty_database: str) -> None:
    env = {"VERIFIER_DATABASE_URL": empty_database}
    before = cli("db", "check", **env)
    assert before.code == 1
    assert "verifier db upgrade" in before.err
    assert "migrated from nothing" in cli("db", "upgrade", **env).ok().err
    assert "already" in cli("db", "upgrade", **env).ok().err
    assert cli("db", "check", "--json", **env).ok().json["differences"] == []
    assert "exactly its tables" in cli("db", "check", **env).ok().out


def test_fictional_people_are_written_the_same_for_the_same_seed(
    anywhere: Cli, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        anywhere("sandbox", "people", "--count", "20", "--seed", "5", "--out", tmp_path / name).ok()
    assert (tmp_path / "a/users.csv").read_bytes() == (tmp_path / "b/users.csv").read_bytes()
    anywhere("user", "import", tmp_path / "a/users.csv", "--dry-run").ok()


@pytest.mark.parametrize(
    ("text", "line"),
    [("[engine]\nthreads = = 3\n", "line 2"), ('a = """\nx\n', "line 2"), ("a = [", "line 1")],
)
def test_a_syntax_error_of_the_configuration_is_told_with_its_line(
    anywhere: Cli, home: Path, text: str, line: str
) -> None:
    (home / "verifier.toml").write_text(text, "utf-8")
    ran = anywhere("config", "show")
    assert ran.code == 1
    assert line in ran.err
    assert "fix: Mend that line" in ran.err


def test_people_that_no_sandbox_knows_are_told_where_to_go(anywhere: Cli, tmp_path: Path) -> None:
    ran = anywhere("sandbox", "people", "--count", "2", "--out", tmp_path / "p").ok()
    assert f"`verifier sandbox serve --state {tmp_path / 'p'}`" in ran.err
