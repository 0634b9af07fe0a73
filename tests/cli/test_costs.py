"""What operators see of money, and the call that costs nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from tests.cli.conftest import PROVIDERS, Cli
from verifier.sandbox.server import SandboxServer
from verifier.store import clock, holding
from verifier.store.engine import transaction
from verifier.store.spending import month_scope

Files = Callable[..., Path]

_ATTEMPT = text("""
    INSERT INTO verifier.attempts (verification_id, user_id, data_version, provider, lane, state,
           outcome, fact, purpose, billed, price, currency, started_at, completed_at)
    VALUES (:verification, 1, 1, :provider, 'cmcc', :state, :outcome, :fact, :purpose, :billed,
            CAST(:price AS numeric), CASE WHEN CAST(:price AS numeric) IS NULL THEN NULL
                                          ELSE :currency END,
            CAST(:at AS timestamptz),
            CASE WHEN :state IN ('completed', 'released') THEN CAST(:at AS timestamptz) END)
""")


def attempt(
    provider: str = "tencent",
    outcome: str | None = "MATCHED",
    billed: str | None = "yes",
    price: str | None = "0.5",
    *,
    state: str = "completed",
    purpose: str = "verify",
    fact: str | None = None,
    currency: str = "CNY",
    at: str = "2026-11-10 12:00+08",
    verification: int = 1,
) -> None:
    with transaction() as connection:
        connection.execute(
            _ATTEMPT,
            {
                "provider": provider, "outcome": outcome, "billed": billed, "price": price,
                "state": state, "purpose": purpose, "fact": fact, "currency": currency, "at": at,
                "verification": verification,
            },
        )  # fmt: skip


@pytest.fixture
def history(cli: Cli) -> Cli:
    attempt()
    attempt(outcome="MISMATCHED")
    attempt(outcome="NO_RECORD", billed="no")
    attempt(outcome="TIMEOUT", billed="maybe")
    attempt(outcome=None, billed="maybe", state="lost")
    attempt(outcome=None, billed=None, state="released")
    attempt(outcome="CHECKED", fact="ACTIVE", purpose="status", price="0.08")
    attempt("abroad", price="0.01", currency="USD")
    attempt(at="2026-10-31 23:59:59+08")
    return cli


def test_the_cost_tells_billed_free_and_maybe_apart(history: Cli) -> None:
    view = history("provider", "cost", "--since", "2026-11-01", "--json").ok().json
    rows = {(row["provider"], row["purpose"]): row for row in view["providers"]}
    verify = rows["tencent", "verify"]
    assert {name: verify[name] for name in ("calls", "billed", "free", "maybe")} == {
        "calls": 5, "billed": 2, "free": 1, "maybe": 2,
    }  # fmt: skip
    assert (verify["cost"], verify["maybe_cost"], verify["currency"]) == ("1.00", "1.00", "CNY")
    assert rows["tencent", "status"]["cost"] == "0.08"
    assert view["totals"] == [
        {"currency": "CNY", "cost": "1.08", "maybe_cost": "1.00"},
        {"currency": "USD", "cost": "0.01", "maybe_cost": "0.00"},
    ]
    shown = history("provider", "cost", "--since", "2026-11-01").ok()
    assert "1.08 CNY billed, 1.00 maybe since 2026-11-01 00:00:00+08:00" in shown.err


def test_the_days_are_business_days_and_the_last_does_not_count(history: Cli) -> None:
    view = history(
        "provider", "cost", "--since", "2026-10-31", "--until", "2026-11-01", "--json"
    ).ok()
    (row,) = view.json["providers"]
    assert (row["calls"], row["cost"]) == (1, "0.50")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--since", "yesterday"], "--since must be a day"),
        (["--since", "2026-11-02", "--until", "2026-11-02"], "--until must be after --since"),
    ],
)
def test_what_is_no_span_of_days_is_usage(cli: Cli, arguments: list[str], said: str) -> None:
    ran = cli("provider", "cost", *arguments)
    assert ran.code == 2
    assert said in ran.err
    assert "fix:" in ran.err


def test_a_budget_of_the_month_is_shown_with_what_is_spent(cli: Cli, providers: Path) -> None:
    providers.write_text(PROVIDERS + "\n[budget]\nper_month = 1000\n", "utf-8")
    view = cli("provider", "cost", "--json").ok().json
    assert view["month_budget"] == {
        "budget": "1000.00", "spent_or_under_way": "0.00", "currency": "CNY",
    }  # fmt: skip


PRICED = PROVIDERS.replace("preference = 2", "preference = 2\nprice = 0.8").replace(
    'lanes = ["cmcc", "cucc", "ctcc"]', 'lanes = ["cmcc", "cucc", "ctcc"]\nprice = 0.5'
)


def test_a_dry_run_says_what_it_would_cost(cli: Cli, providers: Path, users_file: Files) -> None:
    providers.write_text(PRICED, "utf-8")
    cli("user", "import", users_file(40)).ok()
    ran = cli("verify", "submit", "--all", "--dry-run", "--budget", "3", "--json").ok()
    lanes = {row["lane"]: row["users"] for row in ran.json["lanes"]}
    verified = sum(number for lane, number in lanes.items() if lane in ("cmcc", "cucc", "ctcc"))
    dearest = lanes["cmcc"] * 0.8 + (verified - lanes["cmcc"]) * 0.5
    (sums,) = ran.json["estimate"]
    assert sums["currency"] == "CNY"
    assert float(sums["expected"]) == pytest.approx(verified * 0.5)
    assert float(sums["at_most_a_day"]) == pytest.approx(2 * dearest)
    assert ran.json["budget"] == "3.00"
    told = cli("verify", "submit", "--all", "--dry-run").ok()
    assert "if each is billed once" in told.err


def test_a_batch_shows_its_budget_and_its_cost(
    cli: Cli, providers: Path, users_file: Files
) -> None:
    providers.write_text(PRICED, "utf-8")
    cli("user", "import", users_file(3)).ok()
    submitted = cli("verify", "submit", "--all", "--budget", "12.5", "--json").ok().json
    with transaction() as connection:
        verification = connection.execute(
            text("SELECT verification_id FROM verifier.batch_items ORDER BY user_id LIMIT 1")
        ).scalar_one()
    attempt(verification=verification)
    attempt(verification=verification, outcome="TIMEOUT", billed="maybe")
    view = cli("batch", "show", str(submitted["batch"]), "--json").ok().json
    assert view["budget"] == "12.50"
    assert view["costs"] == [
        {
            "calls": 2, "billed": 1, "free": 0, "maybe": 1, "cost": "0.50", "maybe_cost": "0.50",
            "currency": "CNY",
        }
    ]  # fmt: skip
    shown = cli("batch", "show", str(submitted["batch"])).ok().out
    assert "12.50" in shown
    assert "CURRENCY" in shown


def test_a_paused_batch_goes_on_with_another_budget(
    cli: Cli, providers: Path, users_file: Files
) -> None:
    cli("user", "import", users_file(2)).ok()
    batch = str(cli("verify", "submit", "--all", "--budget", "1", "--json").ok().json["batch"])
    cli("batch", "pause", batch).ok()
    cli("batch", "resume", batch, "--budget", "20").ok()
    view = cli("batch", "show", batch, "--json").ok().json
    assert (view["budget"], view["paused_at"]) == ("20.00", None)
    assert cli("batch", "resume", batch, "--budget", "-3").code == 2


@pytest.fixture
def sandbox(tmp_path: Path, providers: Path) -> SandboxServer:
    """A sandbox that the configured providers talk to."""
    server = SandboxServer(tmp_path / "sandbox")
    server.start()
    text_of = PROVIDERS.replace(
        'secret_id = "env:TEST_SECRET_ID"', f'secret_id = "file:{server.state}/tencent_secret_id"'
    ).replace(
        'secret_key = "env:TEST_SECRET_KEY"',
        f'secret_key = "file:{server.state}/tencent_secret_key"\nendpoint = "{server.url}"',
    )
    providers.write_text(text_of, "utf-8")
    return server


def test_a_probe_costs_nothing_and_says_what_came_back(
    anywhere: Cli, sandbox: SandboxServer
) -> None:
    try:
        found = anywhere("provider", "probe", "tencent", "--json").ok().json
        assert (found["works"], found["code"], found["billed"]) == (True, "-6", "no")
        assert found["request_id"]
        log = sandbox.client.call_log()
        assert [(row["action"], row["billed"]) for row in log] == [("PhoneVerification", False)]
        sandbox.client.fault("tencent", "auth")
        refused = anywhere("provider", "probe", "tencent")
        assert refused.code == 5
        assert "credentials are refused" in refused.err
    finally:
        sandbox.stop()
    away = anywhere("provider", "probe", "tencent", "--json")
    assert away.code == 5
    assert (away.json["outcome"], away.json["detail"]) == ("NOT_SENT", "REFUSED")
    assert json.dumps(away.json).isascii()
    assert anywhere("provider", "probe", "nobody").code == 3


@pytest.mark.parametrize(("spent", "verdict"), [(10, "ok"), (95, "warn")])
def test_doctor_says_what_is_left_of_the_month_and_who_stopped_for_money(
    cli: Cli, providers: Path, users_file: Files, spent: int, verdict: str
) -> None:
    providers.write_text(PRICED + "\n[budget]\nper_month = 100\n", "utf-8")
    cli("user", "import", users_file(2)).ok()
    batch = cli("verify", "submit", "--all", "--budget", "1", "--json").ok().json["batch"]
    with transaction() as connection:
        now = clock.now(connection)
        connection.execute(
            text("INSERT INTO verifier.spending (scope, amount) VALUES (:scope, :amount)"),
            {"scope": month_scope(now, ZoneInfo("Asia/Shanghai")), "amount": spent},
        )
        holding.pause(connection, batch, by="budget", reason="its budget of 1 CNY is used up")
    checks = {c["name"]: c for c in cli("doctor", "--json").json["checks"]}
    assert checks["month's budget"]["verdict"] == verdict
    assert f"{spent}.00 of 100.00 CNY" in checks["month's budget"]["found"]
    assert checks["batches' budgets"]["found"] == f"1 stopped at theirs: {batch}"
