"""The same wire formats as the sandbox's, which checks signatures by code of its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.contract.cases.common import PERSON, TOKEN
from tests.contract.cases.gateways import GATEWAYS
from tests.contract.cases.tencent import TENCENT_ACTIONS
from verifier.carriers.base import Answer
from verifier.carriers.tencent import Tencent
from verifier.gateways.aliyun_sms import AliyunSms
from verifier.gateways.base import Blame, Delivery
from verifier.gateways.jpush import JPush
from verifier.outcomes import Billed, Lane, Outcome
from verifier.sandbox.register import RegisterEntry
from verifier.sandbox.server import SandboxServer
from verifier.transport import Deadline, Transport

PUSH, SMS = GATEWAYS


@pytest.fixture
def sandbox(blank_sandbox: SandboxServer) -> SandboxServer:
    blank_sandbox.client.put(
        RegisterEntry(PERSON.phone, PERSON.name, PERSON.id_number, Lane.CMCC, push_token=TOKEN)
    )
    return blank_sandbox


@pytest.fixture
def push(sandbox: SandboxServer, transport: Transport) -> JPush:
    return JPush(
        name="push",
        app_key=sandbox.credentials["jpush_app_key"],
        master_secret=sandbox.credentials["jpush_master_secret"],
        endpoint=sandbox.url,
        transport=transport,
    )


@pytest.fixture
def sms(sandbox: SandboxServer, transport: Transport) -> AliyunSms:
    return AliyunSms(
        name="sms",
        key_id=sandbox.credentials["aliyun_key_id"],
        key_secret=sandbox.credentials["aliyun_key_secret"],
        sign_name="某某科技",
        templates={"mismatched": "SMS_100001"},
        endpoint=sandbox.url,
        transport=transport,
    )


def _tencent(sandbox: SandboxServer, transport: Transport, action: str, detailed: bool) -> Tencent:
    return Tencent(
        name="tencent",
        lanes=frozenset(Lane),
        action=action,
        endpoint=sandbox.url,
        secret_id=sandbox.credentials["tencent_secret_id"],
        secret_key=sandbox.credentials["tencent_secret_key"],
        transport=transport,
        detailed=detailed,
    )


@pytest.mark.parametrize(
    ("action", "outcome"),
    [
        ("PhoneVerification", Outcome.MATCHED),
        ("PhoneVerificationCMCC", Outcome.MATCHED),
        ("PhoneVerificationCUCC", None),  # another carrier's customer: whatever, but no match
        ("PhoneVerificationCTCC", None),
    ],
)
def test_a_customer_is_verified_by_the_own_carrier_only(
    action: str, outcome: Outcome | None, sandbox: SandboxServer, transport: Transport
) -> None:
    assert action in TENCENT_ACTIONS
    provider = _tencent(sandbox, transport, action, detailed=False)
    answered = provider.verify(PERSON, "attempt-1", Deadline.after(5))
    assert answered.outcome is outcome or (
        outcome is None and answered.outcome in {Outcome.NO_RECORD, Outcome.UNSUPPORTED_NUMBER}
    )
    assert answered.billed is (Billed.YES if outcome is Outcome.MATCHED else Billed.NO)
    assert sandbox.client.calls_about(PERSON.phone)["billed"] == (outcome is Outcome.MATCHED)


def test_another_name_is_a_mismatch_told_apart_in_the_detailed_mode(
    sandbox: SandboxServer, transport: Transport
) -> None:
    stranger = replace(PERSON, name="李大伟")

    def ask(detailed: bool) -> Answer:
        provider = _tencent(sandbox, transport, "PhoneVerification", detailed)
        return provider.verify(stranger, "attempt-1", Deadline.after(5))

    assert (ask(False).outcome, ask(False).detail) == (Outcome.MISMATCHED, "UNSPECIFIED")
    assert ask(True).detail == "NAME"


def test_a_push_sent_twice_with_one_cid_is_delivered_once(
    sandbox: SandboxServer, push: JPush
) -> None:
    cid = push.prepare("ours", Deadline.after(5))
    assert cid is not None
    first, second = (push.send(PUSH.message(cid), Deadline.after(5)) for _ in range(2))
    assert first.delivery is Delivery.ACCEPTED
    assert second == first
    assert len(sandbox.client.messages(TOKEN)) == 1


def test_a_push_to_a_dead_token_is_the_persons(sandbox: SandboxServer, push: JPush) -> None:
    sandbox.client.put(
        RegisterEntry(
            PERSON.phone,
            PERSON.name,
            PERSON.id_number,
            Lane.CMCC,
            push_token=TOKEN,
            push_live=False,
        )
    )
    cid = push.prepare("ours", Deadline.after(5))
    assert cid is not None
    receipt = push.send(PUSH.message(cid), Deadline.after(5))
    assert (receipt.delivery, receipt.blame) == (Delivery.REJECTED, Blame.PERSON)


def test_an_sms_is_found_again_by_its_reference(sandbox: SandboxServer, sms: AliyunSms) -> None:
    today = datetime.now(UTC).astimezone(ZoneInfo("Asia/Shanghai")).date()
    receipt = sms.send(SMS.message("out-1"), Deadline.after(5))
    assert receipt.delivery is Delivery.ACCEPTED
    # Yesterday's list lacks it; the send may have been committed right before midnight.
    for day in (today, today - timedelta(days=1)):
        found = sms.reconcile("out-1", PERSON.phone, day, Deadline.after(5))
        assert found is not None
        assert found.delivery is Delivery.ACCEPTED
    absent = sms.reconcile("out-2", PERSON.phone, today, Deadline.after(5))
    assert absent is not None
    assert absent.delivery is Delivery.REJECTED
    assert len(sandbox.client.messages(PERSON.phone)) == 1


@pytest.mark.parametrize("processed", [True, False])
def test_an_unanswered_sms_is_settled_by_asking(
    processed: bool, sandbox: SandboxServer, sms: AliyunSms
) -> None:
    today = datetime.now(UTC).astimezone(ZoneInfo("Asia/Shanghai")).date()
    fault = sandbox.client.fault("aliyun", "timeout", processed=processed)
    assert sms.send(SMS.message("out-1"), Deadline.after(0.5)).delivery is Delivery.UNKNOWN
    sandbox.client.lift(fault)
    found = sms.reconcile("out-1", PERSON.phone, today, Deadline.after(5))
    assert found is not None
    assert found.delivery is (Delivery.ACCEPTED if processed else Delivery.REJECTED)
