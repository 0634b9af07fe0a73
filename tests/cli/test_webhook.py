"""``verifier webhook``: what an operator sees of endpoints and may do about them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.cli.conftest import Cli
from tests.cli.settling import settle_all
from tests.engine.conftest import forget
from tests.feed import until_shown
from tests.notify.receiving import Receiver
from verifier.cli.webhookview import meaning
from verifier.notify import runtime
from verifier.notify.dispatch import dispatch
from verifier.store.engine import transaction
from verifier.transport import BadReply, NotSent, Unanswered

_FAULTS = [kind.__doc__ for kind in (NotSent, Unanswered, BadReply)]


@pytest.fixture
def shop(product: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver, and a configuration that knows it as ``shop``."""
    with Receiver() as receiver:
        monkeypatch.setenv("SHOP_SECRET", receiver.secret)
        (product / "verifier.toml").write_text(
            f'[webhooks.shop]\nurl = "{receiver.url}"\nsecret = "env:SHOP_SECRET"\ntimeout = 1\n'
            "max_events = 2\n",
            "utf-8",
        )
        forget()
        runtime.reset()
        yield receiver
    runtime.reset()
    with transaction() as connection:
        connection.execute(text("TRUNCATE verifier.deliveries"))
        connection.execute(text("DELETE FROM verifier.endpoints WHERE name <> 'celery'"))


@pytest.fixture
def troubled(cli: Cli, shop: Receiver, users_file: Callable[..., Path]) -> Receiver:
    """Three people settled, and the receiver refuses to hear of it."""
    runtime.runtime()
    shop.status = 500
    cli("verify", "submit", "--from", users_file(3), "--key", "k").ok()
    settle_all(lambda _: "MATCHED")
    until_shown()
    dispatch(lambda: False)
    return shop


def test_a_webhook_that_no_worker_has_seen_is_listed(cli: Cli, shop: Receiver) -> None:
    listed = {row["name"]: row for row in cli("webhook", "list", "--json").ok().json["webhooks"]}
    assert listed["shop"]["state"] == "new"
    assert listed["shop"]["events"] == [
        "verification.settled", "verification.overdue", "batch.done",
    ]  # fmt: skip
    assert listed["celery"]["kind"] == "task"
    for command in ("show", "pause", "resume", "retry"):
        ran = cli("webhook", command, "shop")
        assert ran.code == 3
        assert "configured, but no notify worker has read it yet" in ran.err
        assert "verifier dev up" in ran.err
    checks = {row["name"]: row for row in cli("doctor", "--json").json["checks"]}
    assert checks["webhook shop"]["verdict"] == "warn"
    assert "Restart the notify worker" in checks["webhook shop"]["fix"]


def test_a_backlog_is_shown_everywhere_and_can_be_retried(cli: Cli, troubled: Receiver) -> None:
    found = cli("webhook", "show", "shop", "--json").ok().json
    assert (found["state"], found["failures"], found["last_error"]) == ("failing", 1, "status 500")
    assert found["waiting"] == len(found["deliveries"]) == 2
    assert "status 500" in cli("webhook", "show", "shop").ok().out
    assert "failing" in cli("webhook", "list").ok().out
    (row,) = cli("status", "--json").ok().json["webhooks"]
    assert (row["name"], row["waiting"]) == ("shop", 2)
    assert "shop" in cli("status").ok().out
    checks = {row["name"]: row for row in cli("doctor", "--json").json["checks"]}
    assert checks["webhook shop"]["verdict"] == "warn"
    assert checks["secrets of webhook shop"]["verdict"] == "ok"
    troubled.status = 200
    assert cli("webhook", "retry", "shop", "--json").ok().json == {"webhook": "shop", "due": 2}
    dispatch(lambda: False)
    assert len(troubled.verifications) == 3
    checks = {row["name"]: row for row in cli("doctor", "--json").json["checks"]}
    assert checks["webhooks"]["verdict"] == "ok"


def test_pause_and_resume(cli: Cli, troubled: Receiver) -> None:
    troubled.status = 200
    cli("webhook", "pause", "shop", "--reason", "they are moving").ok()
    cli("webhook", "pause", "shop").ok()
    shown = cli("webhook", "show", "shop", "--json").ok().json
    assert (shown["state"], shown["pause_reason"]) == ("paused", "they are moving")
    retried = cli("webhook", "retry", "shop").ok().err
    assert "2 due now" in retried
    assert "nothing goes out until `verifier webhook resume shop`" in retried
    assert dispatch(lambda: False) == {}
    cli("webhook", "resume", "shop").ok()
    cli("webhook", "retry", "shop").ok()
    dispatch(lambda: False)
    assert len(troubled.verifications) == 3


def test_a_test_event_is_signed_and_says_what_came_back(cli: Cli, shop: Receiver) -> None:
    found = cli("webhook", "test", "shop", "--json").ok().json
    assert (found["ok"], found["status"]) == (True, 204)
    assert [message.type for message in shop.messages] == ["webhook.test"]
    shop.status = 401
    refused = cli("webhook", "test", "shop")
    assert refused.code == 5
    assert "status 401" in refused.out
    assert "the receiver refused the signature" in refused.err
    assert "fix: Is its secret the same" in refused.err
    shop.status = "hang"
    late = cli("webhook", "test", "shop", "--json")
    assert late.json["error"] == "deadline"
    assert "no answer within timeout" in late.err


def test_every_word_of_a_failed_call_is_explained() -> None:
    words = set(re.findall(r"``([a-z_]+)``", " ".join(map(str, _FAULTS)))) - {"vetoed"}
    assert {"refused", "tls", "deadline", "redirect"} <= words
    row = next(
        line
        for line in Path("docs/reference.md").read_text("utf-8").splitlines()
        if line.startswith("| `webhook test NAME`")
    )
    for word in words - {"before_send"}:
        assert meaning(word, None) != meaning("status 500", 500), word
        assert f"`{word}`" in row


def test_the_tasks_of_callers_cannot_be_tested(cli: Cli, shop: Receiver) -> None:
    ran = cli("webhook", "test", "celery")
    assert ran.code == 2
    assert "stands for the tasks that callers named" in ran.err
    assert "broker_url" in ran.err
    failing = text("UPDATE verifier.endpoints SET failures = :number WHERE name = 'celery'")
    with transaction() as connection:
        connection.execute(failing, {"number": 1})
    try:
        checks = {row["name"]: row for row in cli("doctor", "--json").json["checks"]}
    finally:
        with transaction() as connection:
            connection.execute(failing, {"number": 0})
    assert "[callbacks] broker_url" in checks["webhook celery"]["fix"]
    assert "webhook test" not in checks["webhook celery"]["fix"]


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_authorities_that_cannot_be_used_are_said(
    cli: Cli, shop: Receiver, product: Path, content: str | None
) -> None:
    authorities = product / "authorities.pem"
    if content is not None:
        authorities.write_text(content, "utf-8")
    with (product / "verifier.toml").open("a", encoding="utf-8") as file:
        file.write(f'ca_file = "{authorities}"\n')
    try:
        for command in (("config", "check"), ("webhook", "test", "shop")):
            ran = cli(*command)
            assert ran.code == 1
            assert "the ca_file cannot be used" in ran.out + ran.err
    finally:
        authorities.unlink(missing_ok=True)


def test_what_does_not_exist_is_said(cli: Cli, troubled: Receiver) -> None:
    for arguments in (
        ("show", "shp"),
        ("pause", "shp"),
        ("resume", "shp"),
        ("retry", "shp"),
        ("test", "shp"),
    ):
        ran = cli("webhook", *arguments)
        assert ran.code == 3, arguments
        assert "'shop'" in ran.err
    assert cli("webhook", "retry", "shop", "--id", "999999").code == 3


def test_a_secret_is_made_and_a_wrong_one_is_found(cli: Cli, shop: Receiver) -> None:
    secret = cli("webhook", "secret").ok().out.strip()
    assert secret.startswith("whsec_")
    checked = cli("config", "check", SHOP_SECRET="whsec_short")
    assert "env:SHOP_SECRET" in checked.out
    assert "whsec_short" not in checked.out
    assert "ok    secrets of webhook shop" in cli("config", "check", SHOP_SECRET=secret).out
