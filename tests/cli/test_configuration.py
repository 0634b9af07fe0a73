"""``verifier config check`` about providers, lanes and money: the line, what is wrong, the fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import PROVIDERS, Cli

SECRETS = {"TEST_SECRET_ID": "a", "TEST_SECRET_KEY": "b"}
GOOD = (
    PROVIDERS
    + """
[lanes.cmcc]
weights = { tencent = 70, spare = 30 }

[checks.carrier]
when = "first"

[budget]
per_month = 20000.50
"""
)


@pytest.fixture
def check(anywhere: Cli, home: Path) -> Cli:
    def run(text: str, **env: str):  # type: ignore[no-untyped-def]
        home.mkdir(exist_ok=True)
        (home / "verifier.toml").write_text(text, "utf-8")
        return anywhere("config", "check", **SECRETS, **env)

    return run  # type: ignore[return-value]


FAULTS = {
    "an unknown kind": (
        ('kind = "tencent"\nsecret_id', 'kind = "tencnt"\nsecret_id'),
        "line 3: providers.tencent.kind: must be one of",
        "did you mean 'tencent'?",
    ),
    "no kind": (
        ('kind = "tencent"\nsecret_id', "secret_id"),
        "line 2: providers.tencent.kind: is missing",
        "",
    ),
    "a key that this kind does not have": (
        ("[providers.spare]", "[providers.spare]\nsecret_kee = 'env:X'"),
        "line 9: providers.spare.secret_kee: unknown key",
        "did you mean 'secret_key'?",
    ),
    "a lane that the action cannot reach": (
        ('lanes = ["cmcc"]', 'lanes = ["cmcc", "mvno"]'),
        "line 13: providers.spare.lanes: cannot verify mvno numbers; it reaches cmcc",
        "",
    ),
    "a secret in the file": (
        ('"env:TEST_SECRET_ID"\nsecret_key = "env:TEST_SECRET_KEY"\nlanes = ["cmcc", ',
         '"AKIDabcdefgh"\nsecret_key = "env:TEST_SECRET_KEY"\nlanes = ["cmcc", '),
        "line 4: providers.tencent.secret_id: a secret must be a reference",
        "",
    ),
    "a check that the kind does not know": (
        ('preference = 2', 'preference = 2\nchecks = ["carrier"]'),
        "line 15: providers.spare.checks: cannot check carrier",
        "",
    ),
    "a negative price": (
        ('preference = 2', 'preference = 2\nprice = -0.5'),
        "line 15: providers.spare.price: must be greater than or equal to 0",
        "",
    ),
    "a share of a stranger": (
        ("spare = 30", "spar = 30"),
        "line 17: lanes.cmcc.weights: 'spar' is no provider of the lane",
        "did you mean 'spare'?",
    ),
    "an order and shares": (
        ("weights = {", 'order = ["spare"]\nweights = {'),
        "lanes.cmcc: it has an order and weights",
        "",
    ),
    "a budget in another currency": (
        ("per_month = 20000.50", 'per_month = 20000.50\ncurrency = "USD"'),
        "budget.currency: USD, and provider tencent is paid in CNY",
        "",
    ),
    "an order that names one twice": (
        ("weights = { tencent = 70, spare = 30 }", 'order = ["spare", "spare"]'),
        "line 17: lanes.cmcc.order: names a provider twice",
        "",
    ),
    "a currency that is none": (
        ("per_month = 20000.50", 'currency = "RMBB"'),
        'budget.currency: must be three capital letters, such as "CNY"',
        "",
    ),
    "a budget of nothing": (
        ("per_month = 20000.50", "per_month = 0"),
        "budget.per_month: must be greater than 0",
        "",
    ),
    "a budget that no account can hold": (
        ("per_month = 20000.50", "per_month = 100000000"),
        "budget.per_month: must be less than 100000000",
        "",
    ),
    "a port that there is not": (
        ('preference = 2', 'preference = 2\nendpoint = "https://example.com:99999"'),
        "line 15: providers.spare.endpoint: its port must be 1 to 65535",
        "",
    ),
    "an endpoint with a query": (
        ('preference = 2', 'preference = 2\nendpoint = "https://example.com/?x=1"'),
        "line 15: providers.spare.endpoint: must be the beginning of URLs, without a query",
        "",
    ),
    "an endpoint with a space": (
        ('preference = 2', 'preference = 2\nendpoint = "https://example.com/a b"'),
        "line 15: providers.spare.endpoint: must be ASCII without spaces",
        "",
    ),
    "an endpoint in Chinese": (
        ('preference = 2', 'preference = 2\nendpoint = "https://移动.example"'),
        "line 15: providers.spare.endpoint: must be ASCII without spaces",
        "",
    ),
    "a rate of next to nothing": (
        ('preference = 2', 'preference = 2\nqps = 1e-300'),
        "line 15: providers.spare.qps: must be greater than or equal to 0.001",
        "",
    ),
    "a secret's file with an invisible character": (
        ('"env:TEST_SECRET_KEY"\nlanes = ["cmcc"]', '"file:/a\\u0000b"\nlanes = ["cmcc"]'),
        "line 12: providers.spare.secret_key: has a character that cannot be seen",
        "",
    ),
    "a name that cannot be seen": (
        ("[providers.spare]", '[providers."sp\\u0000re"]'),
        "providers: 'sp\\x00re' is no name",
        "",
    ),
    "a misspelt check": (
        ("[checks.carrier]", "[checks.carier]"),
        "checks.carier: unknown key",
        "did you mean 'carrier'?",
    ),
    "a misspelt key of a check": (
        ('when = "first"', 'wen = "first"'),
        "line 20: checks.carrier.wen: unknown key",
        "did you mean 'when'?",
    ),
}  # fmt: skip


def test_what_is_in_order_is_said_to_be(check: Cli, anywhere: Cli) -> None:
    ran = check(GOOD)
    assert ran.code == 1  # there are no servers here
    assert "ok    configuration" in ran.out
    assert "only one way to cmcc (tencent), cucc (tencent), ctcc (tencent)" in ran.out
    shown = anywhere("config", "show").ok().out
    assert "providers.spare.action" in shown
    assert "PhoneVerificationCMCC" in shown


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_its_line_and_the_nearest_name(name: str, check: Cli) -> None:
    (before, after), said, hint = FAULTS[name]
    assert before in GOOD
    ran = check(GOOD.replace(before, after))
    assert ran.code == 1
    told = ran.out + ran.err
    assert said in told, told
    assert hint in told
    assert "AKIDabcdefgh" not in told


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 3000,
        "a = " + "[" * 900 + "]" * 900,
        "a = " + "{ a = " * 1500 + "1" + " }" * 1500,
        "[engine]\nthreads = " + "9" * 5000,
    ],
    ids=["open", "lists", "tables", "digits"],
)
def test_rubbish_is_refused_in_words(text: str, check: Cli) -> None:
    ran = check(text)
    assert ran.code == 1
    assert "fail  configuration: The configuration file" in ran.out
    assert "fault of the program" not in ran.out + ran.err


def test_a_byte_order_mark_is_taken(check: Cli) -> None:
    assert "ok    configuration" in check("\ufeff" + GOOD).out


def test_a_key_that_is_none_is_found(check: Cli, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text("no key\n", "utf-8")
    table = f"""
[providers.operator]
kind = "camara"
endpoint = "https://operator.example"
auth = "client_credentials"
client_id = "env:TEST_SECRET_ID"
private_key = "file:{key}"
token_endpoint = "https://operator.example/token"
purpose = "FraudPreventionAndDetection"
lanes = ["cucc"]
"""
    ran = check(GOOD + table)
    assert "fail  secrets of provider operator: " in ran.out
    assert "private_key is not an unencrypted PEM private key" in ran.out


def test_a_budget_without_prices_is_warned_of(check: Cli) -> None:
    assert "warn  prices: no price for tencent, spare" in check(GOOD).out
    priced = GOOD.replace("preference = 2", "preference = 2\nprice = 0.4")
    assert "warn  prices: no price for tencent:" in check(priced).out
    free = GOOD.replace("per_month = 20000.50", "")
    assert " prices:" not in check(free).out


def test_two_apis_of_one_vendor_are_one_way(check: Cli) -> None:
    assert "cmcc (tencent)" in check(GOOD).out
