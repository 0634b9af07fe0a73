"""Every kind of provider against the sandbox, whose vendors were written apart from the product:
they agree about a person and the bill, and the vendors' troubles are never a verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.contract.cases.common import PERSON
from tests.contract.cases.vendors import VENDORS, Vendor
from tests.contract.clocks import a_clock_off_by
from verifier.carriers.base import Answer, Number, Person, Provider
from verifier.outcomes import Billed, Check, Fact, Lane, Outcome
from verifier.sandbox.credentials import ensure_credentials
from verifier.sandbox.register import RegisterEntry
from verifier.sandbox.server import SandboxServer
from verifier.transport import Deadline, Transport

CUSTOMER = RegisterEntry(PERSON.phone, PERSON.name, PERSON.id_number, Lane.CMCC)
STRANGER = replace(PERSON, name="李大伟")
NOBODY = replace(PERSON, phone="13900139000")

every_vendor = pytest.mark.parametrize("vendor", VENDORS, ids=str)


@pytest.fixture
def sandbox(blank_sandbox: SandboxServer) -> SandboxServer:
    blank_sandbox.client.put(CUSTOMER)
    return blank_sandbox


@pytest.fixture
def provider(vendor: Vendor, sandbox: SandboxServer, transport: Transport) -> Provider:
    return vendor.build(sandbox.url, sandbox.state, transport)


def verify(provider: Provider, person: Person = PERSON) -> Answer:
    return provider.verify(person, "attempt-1", Deadline.after(5))


@every_vendor
def test_both_sides_say_and_bill_the_same(
    vendor: Vendor, sandbox: SandboxServer, provider: Provider
) -> None:
    answers = [verify(provider, person) for person in (PERSON, STRANGER, NOBODY)]
    assert [(answered.outcome, answered.billed) for answered in answers] == [
        (Outcome.MATCHED, Billed.YES),
        (Outcome.MISMATCHED, Billed.YES),
        (Outcome.NO_RECORD, Billed.NO),
    ]
    assert sandbox.client.calls_about(PERSON.phone) == {"calls": 2, "processed": 2, "billed": 2}
    assert sandbox.client.calls_about(NOBODY.phone)["billed"] == 0


@every_vendor
def test_all_vendors_agree_about_a_person_unless_one_is_told_otherwise(
    vendor: Vendor, sandbox: SandboxServer, transport: Transport
) -> None:
    providers = [(one, one.build(sandbox.url, sandbox.state, transport)) for one in VENDORS]
    told = RegisterEntry(PERSON.phone, STRANGER.name, PERSON.id_number, Lane.CMCC)
    sandbox.client.put(told, vendor=vendor.name)
    for one, provider in providers:
        knows_otherwise = one is vendor
        assert verify(provider).outcome is (
            Outcome.MISMATCHED if knows_otherwise else Outcome.MATCHED
        ), one
    sandbox.client.reload()
    assert {verify(provider).outcome for _, provider in providers} == {Outcome.MATCHED}


@every_vendor
@pytest.mark.parametrize("seconds", [-1000, 1000])
def test_a_clock_that_is_wrong_is_the_operators_and_free(
    seconds: float,
    vendor: Vendor,
    sandbox: SandboxServer,
    provider: Provider,
    transport: Transport,
) -> None:
    with a_clock_off_by(seconds, transport):
        answered = verify(provider)
    assert (answered.outcome, answered.billed) == (Outcome.AUTH_CONFIG, Billed.NO)
    assert answered.code == vendor.wrong_clock
    assert sandbox.client.calls_about(PERSON.phone)["billed"] == 0
    assert verify(provider).outcome is Outcome.MATCHED


@every_vendor
@pytest.mark.parametrize(
    ("kind", "outcome", "billed"),
    [
        ("maintenance", Outcome.MAINTENANCE, Billed.NO),
        ("auth", Outcome.AUTH_CONFIG, Billed.NO),
        ("arrears", Outcome.ARREARS, Billed.NO),
        ("rate_limit", Outcome.RATE_LIMITED, Billed.NO),
        ("unknown_code", Outcome.PROVIDER_ERROR, Billed.MAYBE),
        ("http_error", Outcome.PROVIDER_ERROR, Billed.MAYBE),
        ("garbage", Outcome.PROVIDER_ERROR, Billed.MAYBE),
        ("html", Outcome.PROVIDER_ERROR, Billed.MAYBE),
        ("empty", Outcome.PROVIDER_ERROR, Billed.MAYBE),
        ("redirect", Outcome.PROVIDER_ERROR, Billed.MAYBE),
        ("reset", Outcome.TIMEOUT, Billed.MAYBE),
        ("wrong_charset", Outcome.MATCHED, Billed.YES),
        ("wrong_content_type", Outcome.MATCHED, Billed.YES),
    ],
)
def test_the_vendors_troubles_are_never_a_verdict(
    kind: str,
    outcome: Outcome,
    billed: Billed,
    vendor: Vendor,
    sandbox: SandboxServer,
    provider: Provider,
) -> None:
    if vendor.name == "camara" and kind == "arrears":
        outcome = Outcome.AUTH_CONFIG  # CAMARA has one code for an account that may not
    assert verify(provider).outcome is Outcome.MATCHED
    rate = {"per_second": 0.001} if kind == "rate_limit" else {}
    sandbox.client.fault(vendor.name, kind, action=vendor.verification, **rate)
    if rate:
        verify(provider)  # the first is still within it
    paid = sandbox.client.calls_about(PERSON.phone)["billed"]
    answered = verify(provider)
    assert (answered.outcome, answered.billed) == (outcome, billed)
    assert (answered.detail == "ACCOUNT_QPS") is (kind == "rate_limit")
    now_paid = sandbox.client.calls_about(PERSON.phone)["billed"]
    assert now_paid - paid == (billed is Billed.YES)
    checked = provider.check(Check.STATUS, Number(PERSON.phone), "attempt-2", Deadline.after(5))
    if vendor.verification or outcome is Outcome.MATCHED:
        assert (checked.outcome, checked.fact) == (Outcome.CHECKED, Fact.ACTIVE)
    elif not rate:  # of which each API may have its own
        assert (checked.outcome, checked.fact) == (outcome, None)


@every_vendor
def test_the_probe_is_one_verification_and_costs_nothing(
    vendor: Vendor, sandbox: SandboxServer, provider: Provider
) -> None:
    probe = provider.probe(Deadline.after(5))
    assert probe.works, probe
    assert probe.answer.billed is Billed.NO
    calls = [call for call in sandbox.client.call_log() if "token" not in str(call)]
    assert [call["billed"] for call in calls] == [False]


@every_vendor
def test_the_credentials_of_another_account_are_the_operators(
    vendor: Vendor, sandbox: SandboxServer, transport: Transport, tmp_path: Path
) -> None:
    ensure_credentials(tmp_path / "another")
    provider = vendor.build(sandbox.url, tmp_path / "another", transport)
    for answered in (verify(provider), provider.probe(Deadline.after(5)).answer):
        assert (answered.outcome, answered.billed) == (Outcome.AUTH_CONFIG, Billed.NO)
    assert not provider.probe(Deadline.after(5)).works
    assert sandbox.client.calls_about(PERSON.phone)["billed"] == 0
