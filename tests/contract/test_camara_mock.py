"""Real calls to operators that connexion makes from CAMARA's files, and validates both ways."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.contract import camara_specs
from tests.contract.camara_specs import (
    DRAFT,
    MATCH,
    RECYCLING,
    SPECS,
    STATUS,
    SWAP,
    TENURE,
    Spec,
)
from tests.contract.cases.camara import StaticTokens
from tests.contract.cases.common import PERSON
from verifier.carriers.base import Number
from verifier.carriers.camara import Camara, Version
from verifier.carriers.camara_checks import RecycledBy
from verifier.outcomes import Billed, Check, Fact, Lane, Outcome
from verifier.transport import Deadline, Transport

_PROGRAM = Path(__file__).parent / "camara_mock.py"


@pytest.fixture(scope="module")
def operators() -> Iterator[dict[Spec, str]]:
    """The endpoint of a mock for each file."""
    with ExitStack() as running:
        started = {
            spec: running.enter_context(
                subprocess.Popen(
                    [
                        sys.executable,
                        "-W",
                        "ignore",
                        str(_PROGRAM),
                        str(camara_specs.FOLDER / spec.file),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for spec in SPECS
        }
        ports = {}
        for spec, process in started.items():
            assert process.stdout is not None
            ports[spec] = process.stdout.readline().strip()
        assert all(ports.values()), "a mock did not start"
        yield {spec: f"http://127.0.0.1:{port}" for spec, port in ports.items()}
        for process in started.values():
            assert process.stdin is not None
            process.stdin.close()


def _provider(
    endpoint: str,
    transport: Transport,
    by: RecycledBy = "number-recycling",
    version: Version = "0.4",
) -> Camara:
    return Camara(
        name="camara",
        lanes=frozenset(Lane),
        checks=frozenset({Check.STATUS, Check.RECYCLED}),
        endpoint=endpoint,
        tokens=StaticTokens(),
        transport=transport,
        recycled_by=by,
        version=version,
    )


@pytest.mark.parametrize(("spec", "version"), [(MATCH, "0.4"), (DRAFT, "wip")])
def test_a_match_is_understood(
    spec: Spec, version: Version, operators: dict[Spec, str], transport: Transport
) -> None:
    provider = _provider(operators[spec], transport, version=version)
    answered = provider.verify(PERSON, "attempt-1", Deadline.after(10))
    assert (answered.outcome, answered.billed) == (Outcome.MATCHED, Billed.YES)


def test_the_mock_refuses_what_its_file_does_not_allow(
    operators: dict[Spec, str], transport: Transport
) -> None:
    provider = _provider(operators[MATCH], transport)
    stranger = replace(PERSON, phone="no number")
    answered = provider.verify(stranger, "attempt-1", Deadline.after(10))
    assert (answered.outcome, answered.http_status) == (Outcome.PROVIDER_ERROR, 400)


def test_a_status_is_understood(operators: dict[Spec, str], transport: Transport) -> None:
    provider = _provider(operators[STATUS], transport)
    answered = provider.check(Check.STATUS, Number(PERSON.phone), "a", Deadline.after(10))
    assert (answered.outcome, answered.fact) == (Outcome.CHECKED, Fact.SUSPENDED)


@pytest.mark.parametrize(
    ("spec", "by", "fact"),
    [
        (RECYCLING, "number-recycling", Fact.CHANGED_HANDS),
        (TENURE, "kyc-tenure", Fact.SAME_HOLDER),
        (SWAP, "sim-swap", Fact.SAME_HOLDER),
    ],
)
def test_a_change_of_hands_is_understood(
    spec: Spec,
    by: RecycledBy,
    fact: Fact,
    operators: dict[Spec, str],
    transport: Transport,
) -> None:
    provider = _provider(operators[spec], transport, by)
    number = Number(PERSON.phone, datetime.now(UTC).date())
    answered = provider.check(Check.RECYCLED, number, "a", Deadline.after(10))
    assert (answered.outcome, answered.fact) == (Outcome.CHECKED, fact)
