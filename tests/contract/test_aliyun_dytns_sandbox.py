"""The product against the sandbox's dytns: they agree about people, and about the bill."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from tests.contract.cases.common import PERSON
from verifier.carriers.aliyun_dytns import Mask, Settings
from verifier.carriers.base import Answer, Number, Person, Provider
from verifier.outcomes import Billed, Check, Fact, Lane, Outcome
from verifier.sandbox.register import RegisterEntry
from verifier.sandbox.server import SandboxServer
from verifier.transport import Deadline, Transport

CUSTOMER = RegisterEntry(PERSON.phone, PERSON.name, PERSON.id_number, Lane.CMCC)
VIRTUAL = replace(PERSON, phone="17012345678")
VIRTUAL_CUSTOMER = replace(CUSTOMER, phone=VIRTUAL.phone, carrier=Lane.MVNO)
CHECKS = ("carrier", "recycled", "status")


@pytest.fixture
def sandbox(blank_sandbox: SandboxServer) -> SandboxServer:
    blank_sandbox.client.put(CUSTOMER, VIRTUAL_CUSTOMER)
    return blank_sandbox


def provider(sandbox: SandboxServer, transport: Transport, **changed: Any) -> Provider:
    """As a configuration would have it, secrets and all."""
    table = {
        "kind": "aliyun_dytns",
        "endpoint": sandbox.url,
        "key_id": f"file:{sandbox.state / 'aliyun_key_id'}",
        "key_secret": f"file:{sandbox.state / 'aliyun_key_secret'}",
        "auth_code": f"file:{sandbox.state / 'dytns_auth_code'}",
        "lanes": ["cmcc", "cucc", "ctcc"],
        "checks": CHECKS,
        **changed,
    }
    return Settings.model_validate(table).build("dytns", transport)


def virtual(sandbox: SandboxServer, transport: Transport) -> Provider:
    action = "VirtualThreeElementsVerification"
    return provider(sandbox, transport, action=action, lanes=["mvno"])


def verify(asked: Provider, person: Person = PERSON) -> Answer:
    return asked.verify(person, "attempt-1", Deadline.after(5))


@pytest.mark.parametrize("mask", ["SHA256", "MD5", "NORMAL"])
def test_everybody_is_told_and_billed_the_same_by_both_sides(
    mask: Mask, sandbox: SandboxServer, transport: Transport
) -> None:
    asked = provider(sandbox, transport, mask=mask)
    people = [
        (PERSON, Outcome.MATCHED),
        (replace(PERSON, name="李大伟"), Outcome.MISMATCHED),
        (replace(PERSON, id_number="110101199003070134"), Outcome.MISMATCHED),
        (replace(PERSON, phone="13900139000"), Outcome.NO_RECORD),
    ]
    answers = [verify(asked, person) for person, _ in people]
    assert [answered.outcome for answered in answers] == [outcome for _, outcome in people]
    assert [answered.billed for answered in answers] == [Billed.YES] * 3 + [Billed.NO]
    assert sandbox.client.calls_about(PERSON.phone) == {"calls": 3, "processed": 3, "billed": 3}


def test_virtual_numbers_are_verified_by_their_own_action_only(
    sandbox: SandboxServer, transport: Transport
) -> None:
    asked = virtual(sandbox, transport)
    people = [VIRTUAL, replace(VIRTUAL, name="李大伟"), replace(VIRTUAL, phone="17112345678")]
    answers = [verify(asked, person) for person in people]
    assert [(a.outcome, a.billed) for a in answers] == [
        (Outcome.MATCHED, Billed.YES),
        (Outcome.MISMATCHED, Billed.YES),
        (Outcome.NO_RECORD, Billed.NO),
    ]
    assert sandbox.client.calls_about(VIRTUAL.phone)["billed"] == 2
    for other, person in ((asked, PERSON), (provider(sandbox, transport), VIRTUAL)):
        answered = verify(other, person)
        assert (answered.outcome, answered.detail) == (Outcome.UNSUPPORTED_NUMBER, "SEGMENT")
        assert answered.billed is Billed.NO


@pytest.mark.parametrize(
    ("carrier", "outcome"),
    [
        (Lane.CMCC, Outcome.NO_RECORD),
        (Lane.CTCC, Outcome.NO_RECORD),
        (Lane.CUCC, Outcome.MISMATCHED),
    ],
)
def test_a_dead_unicom_number_is_a_mismatch_that_only_its_status_explains(
    carrier: Lane, outcome: Outcome, sandbox: SandboxServer, transport: Transport
) -> None:
    sandbox.client.put(replace(CUSTOMER, carrier=carrier, status="cancelled"))
    asked = provider(sandbox, transport)
    assert verify(asked).outcome is outcome
    checked = asked.check(Check.STATUS, Number(PERSON.phone), "a", Deadline.after(5))
    assert (checked.fact, checked.carrier) == (Fact.NOT_IN_NETWORK, carrier)


def test_checks_tell_the_registers_facts(sandbox: SandboxServer, transport: Transport) -> None:
    asked = provider(sandbox, transport)
    entry = replace(CUSTOMER, carrier=Lane.CUCC, status="suspended", since="2020-06-01")
    sandbox.client.put(entry)

    def ask(check: Check, since: date | None = None) -> Answer:
        answered = asked.check(check, Number(PERSON.phone, since), "a", Deadline.after(5))
        assert (answered.outcome, answered.billed) == (Outcome.CHECKED, Billed.YES)
        assert answered.carrier is Lane.CUCC  # ported: the prefix is China Mobile's
        return answered

    assert ask(Check.STATUS).fact is Fact.SUSPENDED
    assert ask(Check.CARRIER).fact is Fact.CARRIER
    assert ask(Check.RECYCLED, date(2020, 5, 31)).fact is Fact.CHANGED_HANDS
    assert ask(Check.RECYCLED, date(2020, 6, 1)).fact is Fact.SAME_HOLDER
    assert sandbox.client.calls_about(PERSON.phone)["billed"] == 4


def test_a_virtual_operators_number_is_told_by_the_carrier_check(
    sandbox: SandboxServer, transport: Transport
) -> None:
    asked = provider(sandbox, transport)
    answered = asked.check(Check.CARRIER, Number(VIRTUAL.phone), "a", Deadline.after(5))
    assert (answered.fact, answered.carrier) == (Fact.CARRIER, Lane.MVNO)


@pytest.mark.parametrize("check", [Check.CARRIER, Check.RECYCLED, Check.STATUS])
def test_an_unknown_number_is_no_fact_and_free(
    check: Check, sandbox: SandboxServer, transport: Transport
) -> None:
    number = Number("13900139000", date(2020, 1, 1))
    answered = provider(sandbox, transport).check(check, number, "a", Deadline.after(5))
    assert (answered.outcome, answered.fact) == (Outcome.CHECKED, Fact.UNKNOWN)
    assert answered.billed is Billed.NO
    assert [call["billed"] for call in sandbox.client.call_log()] == [False]


def test_the_probe_works_and_costs_nothing(sandbox: SandboxServer, transport: Transport) -> None:
    providers = [provider(sandbox, transport), virtual(sandbox, transport)]
    providers += [provider(sandbox, transport, lanes=[], checks=[check]) for check in CHECKS]
    assert all(asked.probe(Deadline.after(5)).works for asked in providers)
    assert [call["billed"] for call in sandbox.client.call_log()] == [False] * 5


def test_a_wrong_authorization_code_is_the_operators(
    sandbox: SandboxServer, transport: Transport
) -> None:
    asked = provider(sandbox, transport, auth_code=f"file:{sandbox.state / 'tencent_secret_id'}")
    assert verify(asked).outcome is Outcome.AUTH_CONFIG
    assert not asked.probe(Deadline.after(5)).works


def test_a_check_may_have_an_authorization_code_of_its_own(
    sandbox: SandboxServer, transport: Transport
) -> None:
    asked = provider(
        sandbox,
        transport,
        auth_code=f"file:{sandbox.state / 'tencent_secret_id'}",
        check_auth_codes={"status": f"file:{sandbox.state / 'dytns_auth_code'}"},
    )
    checked = asked.check(Check.STATUS, Number(PERSON.phone), "a", Deadline.after(5))
    assert checked.fact is Fact.ACTIVE
    checked = asked.check(Check.CARRIER, Number(PERSON.phone), "a", Deadline.after(5))
    assert checked.outcome is Outcome.AUTH_CONFIG
