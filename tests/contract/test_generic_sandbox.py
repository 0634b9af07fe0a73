"""The reseller's table against the sandbox's, which checks signatures by code of its own."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import Any

import pytest

from tests.contract.cases.common import PERSON
from verifier.carriers.base import Answer, Number, Person
from verifier.carriers.generic import Generic, Settings
from verifier.local.reseller_config import reseller_table
from verifier.outcomes import Billed, Check, Fact, Lane, Outcome
from verifier.sandbox.register import RegisterEntry
from verifier.sandbox.server import SandboxServer
from verifier.transport import Deadline, Transport

CUSTOMER = RegisterEntry(PERSON.phone, PERSON.name, PERSON.id_number, Lane.CMCC)


@pytest.fixture
def sandbox(blank_sandbox: SandboxServer) -> SandboxServer:
    blank_sandbox.client.put(CUSTOMER)
    return blank_sandbox


@pytest.fixture
def provider(sandbox: SandboxServer, transport: Transport) -> Generic:
    return _built(sandbox, transport)


def _built(sandbox: SandboxServer, transport: Transport, **secrets: str) -> Generic:
    """As a configuration file would have it: the text, and the secrets in the sandbox's files."""
    text = reseller_table(
        sandbox.url,
        *(f"file:{sandbox.state / name}" for name in ("reseller_app_key", "reseller_app_secret")),
    )
    table = tomllib.loads(text)["providers"]["reseller"]
    table["secrets"] |= secrets
    return Settings.model_validate(table).build("reseller", transport)


def _verify(provider: Generic, person: Person = PERSON) -> Answer:
    return provider.verify(person, "attempt-1", Deadline.after(5))


def _status(provider: Generic, phone: str = PERSON.phone) -> Answer:
    return provider.check(Check.STATUS, Number(phone), "attempt-1", Deadline.after(5))


@pytest.mark.parametrize(
    ("changed", "outcome", "detail"),
    [
        ({}, Outcome.MATCHED, None),
        ({"name": "李大伟"}, Outcome.MISMATCHED, "NAME"),
        ({"id_number": "110101199003070134"}, Outcome.MISMATCHED, "ID"),
        ({"name": "李大伟", "id_number": "110101199003070134"}, Outcome.MISMATCHED, "NAME_AND_ID"),
        ({"phone": "13900139000"}, Outcome.NO_RECORD, None),
        ({"phone": "12800138000"}, Outcome.INVALID_INPUT, "PHONE"),
        ({"id_number": "110105194912310021"}, Outcome.INVALID_INPUT, "ID"),
        ({"name": '王"&明'}, Outcome.INVALID_INPUT, "NAME"),
        ({"phone": "15400138000"}, Outcome.UNSUPPORTED_NUMBER, "SEGMENT"),
    ],
)
def test_truth_and_answer_agree_on_the_person_and_on_the_bill(
    changed: dict[str, Any],
    outcome: Outcome,
    detail: str | None,
    sandbox: SandboxServer,
    provider: Generic,
) -> None:
    person = replace(PERSON, **changed)
    answered = _verify(provider, person)
    assert (answered.outcome, answered.detail) == (outcome, detail)
    assert answered.billed is not Billed.MAYBE
    truth = sandbox.client.calls_about(person.phone)
    assert truth == {"calls": 1, "processed": 1, "billed": int(answered.billed is Billed.YES)}
    assert answered.request_id or not outcome.is_result


@pytest.mark.parametrize("lane", Lane)
def test_it_verifies_every_lanes_numbers_and_names_the_carrier(
    lane: Lane, sandbox: SandboxServer, provider: Generic
) -> None:
    sandbox.client.put(replace(CUSTOMER, carrier=lane))
    answered = _verify(provider)
    assert (answered.outcome, answered.carrier) == (Outcome.MATCHED, lane)


@pytest.mark.parametrize(
    ("status", "fact"),
    [
        ("normal", Fact.ACTIVE),
        ("suspended", Fact.SUSPENDED),
        ("cancelled", Fact.CANCELLED),
        ("empty", Fact.NOT_IN_NETWORK),
    ],
)
def test_the_status_of_a_number_is_the_registers(
    status: Any, fact: Fact, sandbox: SandboxServer, provider: Generic
) -> None:
    sandbox.client.put(replace(CUSTOMER, status=status))
    answered = _status(provider)
    assert (answered.outcome, answered.fact) == (Outcome.CHECKED, fact)
    assert answered.billed is Billed.YES
    assert sandbox.client.calls_about(PERSON.phone)["billed"] == 1


def test_a_number_that_nobody_knows_is_unknown_and_free(
    sandbox: SandboxServer, provider: Generic
) -> None:
    answered = _status(provider, "13900139000")
    assert (answered.fact, answered.billed) == (Fact.UNKNOWN, Billed.NO)
    refused = _status(provider, "1390013900x")
    assert (refused.outcome, refused.detail) == (Outcome.INVALID_INPUT, "PARAM")
    assert sandbox.client.calls_about("13900139000")["billed"] == 0


@pytest.mark.parametrize("secret", ["app_key", "app_secret"])
def test_wrong_credentials_are_the_operators(
    secret: str, sandbox: SandboxServer, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESTS_WRONG", "wrong")
    provider = _built(sandbox, transport, **{secret: "env:TESTS_WRONG"})
    for answered in (_verify(provider), _status(provider), provider.probe(_soon()).answer):
        assert (answered.outcome, answered.billed) == (Outcome.AUTH_CONFIG, Billed.NO)
    assert not provider.probe(_soon()).works


def test_a_code_that_is_not_described_is_kept(sandbox: SandboxServer, provider: Generic) -> None:
    sandbox.client.fault("reseller", "unknown_code")
    answered = _verify(provider)
    assert (answered.code, answered.billed) == ("7777", Billed.MAYBE)


def test_the_probe_works_and_costs_nothing(sandbox: SandboxServer, provider: Generic) -> None:
    probe = provider.probe(_soon())
    assert probe.works
    assert (probe.answer.outcome, probe.answer.code) == (Outcome.INVALID_INPUT, "2001")
    assert sandbox.client.calls_about("10000000000") == {"calls": 1, "processed": 1, "billed": 0}


def _soon() -> Deadline:
    return Deadline.after(5)
