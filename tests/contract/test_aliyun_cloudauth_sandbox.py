"""The product against the sandbox's cloudauth: they agree about people, and about the bill."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any, Literal

import pytest

from tests.contract.cases.aliyun import CLOUDAUTH_ACTIONS
from tests.contract.cases.common import PERSON
from verifier.carriers.aliyun_cloudauth import AliyunCloudauth
from verifier.carriers.base import Answer, Number, Person
from verifier.outcomes import Billed, Check, Fact, Lane, Outcome
from verifier.sandbox.register import RegisterEntry
from verifier.sandbox.server import SandboxServer
from verifier.transport import Deadline, Transport

CUSTOMER = RegisterEntry(PERSON.phone, PERSON.name, PERSON.id_number, Lane.CMCC)
FOREIGNER = "932682198501010017"
MASKS: tuple[Literal["md5", "normal"], ...] = ("md5", "normal")


@pytest.fixture
def sandbox(blank_sandbox: SandboxServer) -> SandboxServer:
    blank_sandbox.client.put(CUSTOMER)
    return blank_sandbox


def provider(
    sandbox: SandboxServer,
    transport: Transport,
    action: str = "Mobile3MetaDetailVerify",
    mask: Literal["md5", "normal"] = "md5",
    **changed: Any,
) -> AliyunCloudauth:
    options = {
        "key_id": sandbox.credentials["aliyun_key_id"],
        "key_secret": sandbox.credentials["aliyun_key_secret"],
        **changed,
    }
    return AliyunCloudauth(
        name="cloudauth",
        lanes=frozenset(Lane),
        checks=frozenset({Check.STATUS, Check.RECYCLED}),
        action=action,
        endpoint=sandbox.url,
        transport=transport,
        mask=mask,
        **options,
    )


def verify(asked: AliyunCloudauth, person: Person = PERSON) -> Answer:
    return asked.verify(person, "attempt-1", Deadline.after(5))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("action", CLOUDAUTH_ACTIONS)
def test_everybody_is_told_and_billed_the_same_by_both_sides(
    action: str,
    mask: Literal["md5", "normal"],
    sandbox: SandboxServer,
    transport: Transport,
) -> None:
    asked = provider(sandbox, transport, action, mask)
    people = [
        (PERSON, Outcome.MATCHED, None),
        (replace(PERSON, name="李大伟"), Outcome.MISMATCHED, "NAME"),
        (replace(PERSON, id_number="110101199003070134"), Outcome.MISMATCHED, "ID"),
        (replace(PERSON, phone="13900139000"), Outcome.NO_RECORD, None),
    ]
    billed = 0
    for person, outcome, detail in people:
        answered = verify(asked, person)
        assert answered.outcome is outcome
        if outcome is Outcome.MISMATCHED:
            assert answered.detail == (detail if "Detail" in action else "UNSPECIFIED")
        if outcome is not Outcome.NO_RECORD:
            assert answered.carrier is Lane.CMCC
        assert answered.request_id
        billed += answered.billed is Billed.YES
    assert billed == sandbox.client.calls_about(PERSON.phone)["billed"] == 3


@pytest.mark.parametrize("action", CLOUDAUTH_ACTIONS)
def test_broadnet_is_verified_by_the_standard_actions_only(
    action: str, sandbox: SandboxServer, transport: Transport
) -> None:
    person = replace(PERSON, phone="19212345678")
    sandbox.client.put(replace(CUSTOMER, phone=person.phone, carrier=Lane.CBN))
    answered = verify(provider(sandbox, transport, action), person)
    if "Standard" in action:
        assert (answered.outcome, answered.carrier) == (Outcome.MATCHED, Lane.CBN)
    else:
        assert (answered.outcome, answered.detail) == (Outcome.UNSUPPORTED_NUMBER, "SEGMENT")
        assert answered.billed is Billed.NO


@pytest.mark.parametrize("mask", MASKS)
def test_a_foreigners_card_is_no_mismatch(
    mask: Literal["md5", "normal"], sandbox: SandboxServer, transport: Transport
) -> None:
    asked = provider(sandbox, transport, mask=mask)
    answered = verify(asked, replace(PERSON, id_number=FOREIGNER))
    assert answered.outcome is Outcome.UNSUPPORTED_NUMBER
    is_billed = answered.billed is Billed.YES
    assert is_billed == (sandbox.client.calls_about(PERSON.phone)["billed"] == 1)
    assert is_billed == (mask == "md5")  # in clear it is refused before anybody is asked
    sandbox.client.put(replace(CUSTOMER, id_number=FOREIGNER))
    if mask == "md5":  # the carrier does know this card
        assert verify(asked, replace(PERSON, id_number=FOREIGNER)).outcome is Outcome.MATCHED


def test_checks_tell_the_registers_facts(sandbox: SandboxServer, transport: Transport) -> None:
    asked = provider(sandbox, transport)
    sandbox.client.put(replace(CUSTOMER, status="suspended", since="2020-06-01"))

    def fact(check: Check, since: date | None = None) -> Fact | None:
        answered = asked.check(check, Number(PERSON.phone, since), "a", Deadline.after(5))
        assert (answered.outcome, answered.billed) == (Outcome.CHECKED, Billed.YES)
        return answered.fact

    assert fact(Check.STATUS) is Fact.SUSPENDED
    assert fact(Check.RECYCLED, date(2020, 5, 31)) is Fact.CHANGED_HANDS
    assert fact(Check.RECYCLED, date(2020, 6, 1)) is Fact.SAME_HOLDER
    assert sandbox.client.calls_about(PERSON.phone)["billed"] == 3


@pytest.mark.parametrize("mask", MASKS)
def test_the_probe_works_and_costs_nothing(
    mask: Literal["md5", "normal"], sandbox: SandboxServer, transport: Transport
) -> None:
    assert provider(sandbox, transport, mask=mask).probe(Deadline.after(5)).works
    assert [call["billed"] for call in sandbox.client.call_log()] == [False]
    wrong = provider(sandbox, transport, key_secret="wrong").probe(Deadline.after(5))
    assert (wrong.works, wrong.answer.outcome) == (False, Outcome.AUTH_CONFIG)
