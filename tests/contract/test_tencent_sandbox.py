"""The provider against a Tencent that checks signatures, opens ciphertexts and keeps the books."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.contract.cases.common import PERSON
from tests.contract.cases.tencent import TENCENT_ACTIONS, tencent_private_key
from tests.contract.clocks import a_clock_off_by
from verifier.carriers.base import Answer, Number, Provider
from verifier.carriers.tencent import Settings
from verifier.outcomes import Billed, Check, Fact, Lane, Outcome
from verifier.sandbox.register import RegisterEntry
from verifier.sandbox.server import SandboxServer
from verifier.transport import Deadline, Transport

ENTRY = RegisterEntry(PERSON.phone, PERSON.name, PERSON.id_number, Lane.CMCC)
STRANGER = replace(PERSON, name="李大伟")
Build = Callable[..., Provider]


@pytest.fixture
def sandbox(blank_sandbox: SandboxServer, tmp_path: Path) -> SandboxServer:
    """Its secrets are copied: a test may spoil them."""
    shutil.copytree(blank_sandbox.state, tmp_path / "sandbox")
    blank_sandbox.client.put(ENTRY)
    return blank_sandbox


@pytest.fixture
def build(sandbox: SandboxServer, tmp_path: Path, transport: Transport) -> Build:
    """A provider from a table like an operator's: the secrets are the sandbox's files."""

    def made(**more: Any) -> Provider:
        files = tmp_path / "sandbox"
        table = {
            "kind": "tencent",
            "endpoint": sandbox.url,
            "secret_id": f"file:{files / 'tencent_secret_id'}",
            "secret_key": f"file:{files / 'tencent_secret_key'}",
            "lanes": ["cmcc"],
            "checks": ["status", "recycled"],
        }
        if more.get("encrypt"):
            table["encryption_key"] = f"file:{files / 'tencent_encryption_public_key'}"
        if more.get("action", "").endswith(("CUCC", "CTCC")):
            table["lanes"] = [more["action"][-4:].lower()]
        return Settings.model_validate({**table, **more}).build("tencent", transport)

    return made


def _verify(provider: Provider, person: Any = PERSON) -> Answer:
    return provider.verify(person, "attempt-1", Deadline.after(5))


def _check(provider: Provider, check: Check, since: date | None = date(2020, 1, 1)) -> Answer:
    return provider.check(check, Number(PERSON.phone, since), "attempt-1", Deadline.after(5))


def _books(sandbox: SandboxServer) -> tuple[int, int]:
    calls = sandbox.client.calls_about(PERSON.phone)
    return calls["calls"], calls["billed"]


@pytest.mark.parametrize("action", TENCENT_ACTIONS)
def test_encrypted_elements_are_opened_and_judged(
    action: str, sandbox: SandboxServer, build: Build
) -> None:
    if action != "PhoneVerification":
        sandbox.client.put(replace(ENTRY, carrier=Lane(action[-4:].lower())))
    provider = build(action=action, encrypt=True)
    matched, mismatched = _verify(provider), _verify(provider, STRANGER)
    assert (matched.outcome, matched.billed) == (Outcome.MATCHED, Billed.YES)
    assert (mismatched.outcome, mismatched.detail) == (Outcome.MISMATCHED, "UNSPECIFIED")
    assert mismatched.billed is Billed.YES
    assert _books(sandbox) == (2, 2)


def test_the_detailed_mode_works_with_encryption(build: Build) -> None:
    assert _verify(build(encrypt=True, detailed=True), STRANGER).detail == "NAME"


@pytest.mark.parametrize("digest", ["md5", "sha256"])
def test_digests_are_found_and_judged(digest: str, sandbox: SandboxServer, build: Build) -> None:
    provider = build(action="EncryptedPhoneVerification", digest=digest)
    matched = _verify(provider)
    assert (matched.outcome, matched.carrier) == (Outcome.MATCHED, Lane.CMCC)
    assert _verify(provider, STRANGER).outcome is Outcome.MISMATCHED
    assert _books(sandbox) == (2, 2)
    nobody = _verify(provider, replace(PERSON, phone="13900139000"))
    assert (nobody.outcome, nobody.billed) == (Outcome.NO_RECORD, Billed.NO)


@pytest.mark.parametrize("encrypt", [False, True])
@pytest.mark.parametrize(
    ("status", "fact"),
    [
        ("normal", Fact.ACTIVE),
        ("suspended", Fact.SUSPENDED),
        ("cancelled", Fact.CANCELLED),
        ("empty", Fact.NOT_IN_NETWORK),
    ],
)
def test_the_status_is_the_registers(
    status: Any, fact: Fact, encrypt: bool, sandbox: SandboxServer, build: Build
) -> None:
    sandbox.client.put(replace(ENTRY, status=status))
    answered = _check(build(encrypt=encrypt), Check.STATUS)
    assert (answered.outcome, answered.fact) == (Outcome.CHECKED, fact)
    assert answered.billed is Billed.YES
    assert _books(sandbox) == (1, 1)


def _ago(days: int) -> str:
    return (date.today() - timedelta(days=days)).isoformat()  # noqa: DTZ011 - years, not hours


@pytest.mark.parametrize("encrypt", [False, True])
@pytest.mark.parametrize(
    ("since", "status", "fact", "billed"),
    [
        (_ago(60), "normal", Fact.CHANGED_HANDS, True),
        ("", "normal", Fact.UNKNOWN, True),  # [24,+): perhaps not as long as our day is ago
        ("", "cancelled", Fact.UNKNOWN, True),
        (_ago(1), "normal", Fact.UNKNOWN, True),  # too new for anybody to know how long
    ],
)
def test_a_number_that_was_given_out_again_is_seen_by_its_age(
    since: str,
    status: Any,
    fact: Fact,
    billed: bool,
    encrypt: bool,
    sandbox: SandboxServer,
    build: Build,
) -> None:
    sandbox.client.put(replace(ENTRY, since=since, status=status))
    answered = _check(build(encrypt=encrypt), Check.RECYCLED)
    assert (answered.outcome, answered.fact) == (Outcome.CHECKED, fact)
    assert answered.billed is (Billed.YES if billed else Billed.NO)
    assert _books(sandbox) == (1, int(billed))


def test_a_number_that_is_old_enough_has_the_same_holder(build: Build) -> None:
    day = date.fromisoformat(_ago(600))
    assert _check(build(), Check.RECYCLED, day).fact is Fact.SAME_HOLDER


@pytest.mark.parametrize("check", [Check.STATUS, Check.RECYCLED])
def test_a_number_that_the_vendor_refuses_says_nothing_about_the_person_and_is_free(
    check: Check, sandbox: SandboxServer, build: Build
) -> None:
    sandbox.client.put(replace(ENTRY, refuses="phone"))
    answered = _check(build(), check)
    assert (answered.outcome, answered.fact) == (Outcome.CHECKED, Fact.UNKNOWN)
    assert (answered.billed, _books(sandbox)) == (Billed.NO, (1, 0))


@pytest.mark.parametrize("more", [{}, {"encrypt": True}])
def test_a_wrong_key_of_ours_is_the_operators(
    more: dict[str, Any], sandbox: SandboxServer, tmp_path: Path, build: Build
) -> None:
    file = tmp_path / "sandbox"
    if more:
        foreign = tencent_private_key().public_key()
        (file / "tencent_encryption_public_key").write_bytes(
            foreign.public_bytes(Encoding.PEM, PublicFormat.PKCS1)
        )
    else:
        (file / "tencent_secret_key").write_text("wrong")
    provider = build(**more)
    code = "FailedOperation.DecryptSystemError" if more else "AuthFailure.SignatureFailure"
    for answered in (_verify(provider), _check(provider, Check.STATUS)):
        assert (answered.outcome, answered.billed) == (Outcome.AUTH_CONFIG, Billed.NO)
        assert answered.code == code
    assert not provider.probe(Deadline.after(5)).works
    assert _books(sandbox)[1] == 0


@pytest.mark.parametrize(
    ("seconds", "outcome"),
    [(-310, Outcome.AUTH_CONFIG), (310, Outcome.AUTH_CONFIG), (-280, Outcome.CHECKED)],
)
def test_a_clock_that_is_off_by_more_than_five_minutes_is_the_operators(
    seconds: int, outcome: Outcome, build: Build, transport: Transport
) -> None:
    provider = build()
    with a_clock_off_by(seconds, transport):
        answered = _check(provider, Check.STATUS)
    assert answered.outcome is outcome
    assert (answered.billed is Billed.NO) is (outcome is Outcome.AUTH_CONFIG)
    expired = answered.code == "AuthFailure.SignatureExpire"
    assert expired is (outcome is Outcome.AUTH_CONFIG)


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("rate_limit", Outcome.RATE_LIMITED),
        ("maintenance", Outcome.MAINTENANCE),
        ("auth", Outcome.AUTH_CONFIG),
        ("arrears", Outcome.ARREARS),
        ("unknown_code", Outcome.PROVIDER_ERROR),
    ],
)
def test_the_vendors_own_excuses_are_understood_by_every_action(
    kind: str, outcome: Outcome, sandbox: SandboxServer, build: Build
) -> None:
    provider, digests = build(), build(action="EncryptedPhoneVerification")
    if kind == "rate_limit":  # the first of each is still within it
        sandbox.client.settings(per_second={"tencent": 0.000_1})
        for first in (_verify(provider), _verify(digests)):
            assert first.outcome is Outcome.MATCHED
        for check in (Check.STATUS, Check.RECYCLED):
            assert _check(provider, check).outcome is Outcome.CHECKED
    else:
        sandbox.client.fault("tencent", kind)
    answers = [_verify(provider), _verify(digests)]
    answers += [_check(provider, check) for check in (Check.STATUS, Check.RECYCLED)]
    assert [answered.outcome for answered in answers] == [outcome] * 4
    assert {answered.fact for answered in answers} == {None}


@pytest.mark.parametrize("processed", [True, False])
def test_an_unanswered_check_is_maybe_billed(
    processed: bool, sandbox: SandboxServer, build: Build
) -> None:
    sandbox.client.fault("tencent", "timeout", processed=processed)
    provider = build()
    answered = provider.check(Check.STATUS, Number(PERSON.phone), "a", Deadline.after(0.5))
    assert (answered.outcome, answered.billed) == (Outcome.TIMEOUT, Billed.MAYBE)
    assert _books(sandbox) == (1, int(processed))


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"encrypt": True},
        {"action": "PhoneVerificationCTCC"},
        {"action": "EncryptedPhoneVerification"},
        {"lanes": []},
        {"lanes": [], "checks": ["recycled"], "encrypt": True},
    ],
)
def test_a_probe_works_and_costs_nothing(
    more: dict[str, Any], sandbox: SandboxServer, build: Build
) -> None:
    probe = build(**more).probe(Deadline.after(5))
    assert probe.works, probe
    assert probe.answer.billed is Billed.NO
    assert sum(sandbox.client.calls_about("10000000000").values()) <= 2  # one call, none billed
