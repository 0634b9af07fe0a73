"""The product and the sandbox's operator, written apart, agree; and so do their bills."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.contract.cases.common import PERSON
from verifier.carriers import camara
from verifier.carriers.base import Answer, Number, Person
from verifier.carriers.camara import Camara
from verifier.outcomes import Billed, Check, Fact, Lane, Outcome
from verifier.sandbox.register import RegisterEntry
from verifier.sandbox.server import SandboxServer
from verifier.transport import Deadline, Transport

CUSTOMER = RegisterEntry(PERSON.phone, PERSON.name, PERSON.id_number, Lane.MVNO)
FLOWS = ["client_credentials", "jwt_bearer", "ciba"]


@pytest.fixture
def sandbox(blank_sandbox: SandboxServer) -> SandboxServer:
    blank_sandbox.client.put(CUSTOMER)
    return blank_sandbox


def build(sandbox: SandboxServer, transport: Transport, **changed: Any) -> Camara:
    """A provider as a configuration makes it: the secrets are the sandbox's files."""
    ciba = changed.get("auth") == "ciba"
    row = {
        "kind": "camara",
        "endpoint": sandbox.url,
        "lanes": list(Lane),
        "checks": [] if ciba else ["status", "recycled"],
        "auth": "client_credentials",
        "client_id": f"file:{sandbox.state / 'camara_client_id'}",
        "private_key": f"file:{sandbox.state / 'camara_private_key'}",
        "token_endpoint": f"{sandbox.url}/oauth2/token",
        "purpose": "FraudPreventionAndDetection",
        **({"authorize_endpoint": f"{sandbox.url}/oauth2/bc-authorize"} if ciba else {}),
        **changed,
    }
    return camara.Settings.model_validate(row).build("camara", transport)


def verify(provider: Camara, seconds: float = 10, person: Person = PERSON) -> Answer:
    return provider.verify(person, "attempt-1", Deadline.after(seconds))


@pytest.mark.parametrize("flow", FLOWS)
def test_a_customer_is_verified_by_every_flow(
    flow: str, sandbox: SandboxServer, transport: Transport
) -> None:
    answered = verify(build(sandbox, transport, auth=flow))
    assert (answered.outcome, answered.billed) == (Outcome.MATCHED, Billed.YES)
    assert answered.request_id == "attempt-1"
    assert sandbox.client.calls_about(PERSON.phone) == {"calls": 1, "processed": 1, "billed": 1}


@pytest.mark.parametrize(
    ("changed", "outcome", "detail", "billed"),
    [
        ({"name": "李大伟"}, Outcome.MISMATCHED, "NAME", Billed.YES),
        ({"id_number": "110105194912310011"}, Outcome.MISMATCHED, "ID", Billed.YES),
        (
            {"id_number": "110105194912310011", "name": "李大伟"},
            Outcome.MISMATCHED,
            "NAME_AND_ID",
            Billed.YES,
        ),
        ({"phone": "13900139000"}, Outcome.NO_RECORD, None, Billed.NO),
        ({"phone": "no number"}, Outcome.INVALID_INPUT, "PARAM", Billed.NO),
    ],
)
def test_the_truth_agrees_about_the_person_and_the_bill(
    changed: dict[str, str],
    outcome: Outcome,
    detail: str | None,
    billed: Billed,
    sandbox: SandboxServer,
    transport: Transport,
) -> None:
    answered = verify(build(sandbox, transport), person=replace(PERSON, **changed))
    assert (answered.outcome, answered.detail, answered.billed) == (outcome, detail, billed)
    assert sandbox.client.stats()["billed"] == (billed is Billed.YES)


@pytest.mark.parametrize("version", ["0.4", "0.5", "wip"])
def test_every_version_of_the_path_is_served(
    version: str, sandbox: SandboxServer, transport: Transport
) -> None:
    assert verify(build(sandbox, transport, version=version)).outcome is Outcome.MATCHED


def test_a_card_of_a_foreign_resident_is_verified(
    sandbox: SandboxServer, transport: Transport
) -> None:
    sandbox.client.put(replace(CUSTOMER, id_number="932682198501010017"))
    person = replace(PERSON, id_number="932682198501010017")
    answered = verify(build(sandbox, transport), person=person)
    assert answered.outcome is Outcome.MATCHED


TODAY = date.today()  # noqa: DTZ011 - whichever day it is


@pytest.mark.parametrize("flow", ["client_credentials", "jwt_bearer"])
@pytest.mark.parametrize(
    ("by", "held_since", "asked", "fact"),
    [
        ("number-recycling", "2020-01-01", date(2021, 1, 1), Fact.SAME_HOLDER),
        ("number-recycling", "2024-01-01", date(2021, 1, 1), Fact.CHANGED_HANDS),
        ("kyc-tenure", "2020-01-01", date(2021, 1, 1), Fact.SAME_HOLDER),
        ("kyc-tenure", "2024-01-01", date(2021, 1, 1), Fact.CHANGED_HANDS),
        ("sim-swap", "2020-01-01", TODAY - timedelta(days=90), Fact.SAME_HOLDER),
        ("sim-swap", f"{TODAY - timedelta(days=30)}", TODAY - timedelta(days=90), Fact.UNKNOWN),
    ],
)
def test_a_change_of_hands_is_found(
    by: str,
    held_since: str,
    asked: date,
    fact: Fact,
    flow: str,
    sandbox: SandboxServer,
    transport: Transport,
) -> None:
    sandbox.client.put(replace(CUSTOMER, since=held_since))
    provider = build(sandbox, transport, recycled_by=by, auth=flow)
    number = Number(PERSON.phone, asked)
    answered = provider.check(Check.RECYCLED, number, "attempt-1", Deadline.after(10))
    assert (answered.outcome, answered.fact) == (Outcome.CHECKED, fact)
    assert answered.billed is Billed.YES
    assert sandbox.client.calls_about(PERSON.phone)["billed"] == 1


@pytest.mark.parametrize("flow", ["client_credentials", "jwt_bearer"])
@pytest.mark.parametrize(
    ("status", "fact", "billed"),
    [
        ("normal", Fact.ACTIVE, Billed.YES),
        ("suspended", Fact.SUSPENDED, Billed.YES),
        ("cancelled", Fact.UNKNOWN, Billed.NO),
    ],
)
def test_a_status_is_found(
    status: Any,
    fact: Fact,
    billed: Billed,
    flow: str,
    sandbox: SandboxServer,
    transport: Transport,
) -> None:
    sandbox.client.put(replace(CUSTOMER, status=status))
    provider = build(sandbox, transport, auth=flow)
    answered = provider.check(Check.STATUS, Number(PERSON.phone), "a", Deadline.after(10))
    assert (answered.fact, answered.billed) == (fact, billed)
    assert sandbox.client.calls_about(PERSON.phone)["billed"] == (billed is Billed.YES)


def test_a_token_that_the_operator_forgot_is_renewed_once(
    sandbox: SandboxServer, transport: Transport
) -> None:
    provider = build(sandbox, transport)
    assert verify(provider).outcome is Outcome.MATCHED
    sandbox.client.fault("camara", "auth", action="match", count=1)
    assert verify(provider).outcome is Outcome.MATCHED
    totals = sandbox.client.stats()["totals"]
    assert sum(totals["camara token"].values()) == 2
    assert sum(totals["camara match"].values()) == 3
    assert sandbox.client.calls_about(PERSON.phone)["billed"] == 2


def test_a_key_that_is_not_registered_is_the_operators(
    sandbox: SandboxServer, transport: Transport, tmp_path: Path
) -> None:
    with SandboxServer(tmp_path / "another") as another:
        key = f"file:{another.state / 'camara_private_key'}"
    answered = verify(build(sandbox, transport, private_key=key))
    assert (answered.outcome, answered.code) == (Outcome.AUTH_CONFIG, "invalid_client")
    assert answered.billed is Billed.NO


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("rate_limit", Outcome.RATE_LIMITED),
        ("maintenance", Outcome.MAINTENANCE),
        ("auth", Outcome.AUTH_CONFIG),
        ("arrears", Outcome.AUTH_CONFIG),
        ("unknown_code", Outcome.PROVIDER_ERROR),
        ("timeout", Outcome.TIMEOUT),
        ("reset", Outcome.TIMEOUT),
        ("garbage", Outcome.PROVIDER_ERROR),
        ("redirect", Outcome.PROVIDER_ERROR),
    ],
)
def test_a_fault_of_the_match_is_no_verdict(
    kind: str, outcome: Outcome, sandbox: SandboxServer, transport: Transport
) -> None:
    provider = build(sandbox, transport)
    assert verify(provider).outcome is Outcome.MATCHED
    options = {"per_second": 0.001} if kind == "rate_limit" else {}
    sandbox.client.fault("camara", kind, action="match", **options)
    answered = [verify(provider, 1) for _ in range(2)][-1]
    assert answered.outcome is outcome


@pytest.mark.parametrize("flow", ["client_credentials", "jwt_bearer"])
@pytest.mark.parametrize("kind", ["maintenance", "timeout", "reset", "garbage", "html", "empty"])
def test_a_fault_of_the_token_endpoint_leaves_the_match_unasked(
    kind: str, flow: str, sandbox: SandboxServer, transport: Transport
) -> None:
    sandbox.client.fault("camara", kind, action="token")
    answered = verify(build(sandbox, transport, auth=flow), 1)
    assert (answered.outcome, answered.billed) == (Outcome.NOT_SENT, Billed.NO)
    assert "camara match" not in sandbox.client.stats()["totals"]


@pytest.mark.parametrize(
    ("consent", "outcome", "detail"),
    [
        ("refused", Outcome.CONSENT_MISSING, None),
        ("unknown", Outcome.NO_RECORD, None),
        ("pending", Outcome.TIMEOUT, "CONSENT_PENDING"),
    ],
)
def test_who_does_not_consent_is_not_matched_and_costs_nothing(
    consent: str,
    outcome: Outcome,
    detail: str | None,
    sandbox: SandboxServer,
    transport: Transport,
) -> None:
    sandbox.client.settings(consent=consent)
    answered = verify(build(sandbox, transport, auth="ciba"), 2.5)
    assert (answered.outcome, answered.detail) == (outcome, detail)
    assert answered.billed is Billed.NO
    totals = sandbox.client.stats()["totals"]
    assert "camara match" not in totals
    assert sum(totals["camara bc-authorize"].values()) == 1
    assert "slow_down" not in totals.get("camara token", {})  # never polled too early


@pytest.mark.parametrize("flow", FLOWS)
def test_a_probe_works_and_is_not_billed(
    flow: str, sandbox: SandboxServer, transport: Transport
) -> None:
    probe = build(sandbox, transport, auth=flow).probe(Deadline.after(10))
    assert probe.works
    assert sandbox.client.stats()["billed"] == 0
    assert sum(sandbox.client.stats()["totals"]["camara match"].values()) == 1


def test_a_probe_tells_of_a_wrong_key(
    sandbox: SandboxServer, transport: Transport, tmp_path: Path
) -> None:
    with SandboxServer(tmp_path / "another") as another:
        key = f"file:{another.state / 'camara_private_key'}"
    probe = build(sandbox, transport, private_key=key).probe(Deadline.after(10))
    assert not probe.works
