"""What the suites share: whom they ask about, and what a case of a provider or gateway holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from verifier.carriers.base import Number, Person, Provider
from verifier.gateways.base import Gateway, Message
from verifier.outcomes import Check, Lane
from verifier.transport import Transport

PERSON = Person(phone="13800138000", name="王小明", id_number="11010519491231002X")
NUMBER = Number(PERSON.phone, since=date(2020, 1, 1))
TOKEN = "1104a89792e1f3fe3a1"
SECRETS = (
    PERSON.phone,
    PERSON.name,
    PERSON.id_number,
    TOKEN,
    "tests-secret-key",
)


@dataclass(frozen=True)
class ProviderCase:
    """``matched``: a body that means MATCHED, and ``carrier`` whose it then is. ``check``: one that
    the provider offers, and ``checked``: a body that answers it. ``probed``: a body that says to a
    probe that all is well. ``code``: the code in ``matched`` without which it means nothing."""

    name: str
    build: Callable[[str, Transport], Provider]
    matched: bytes
    carrier: Lane | None = Lane.CMCC
    check: Check | None = None
    checked: bytes = b""
    probed: bytes = b""
    probed_status: str = "200 OK"
    code: bytes = b'"0"'

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class GatewayCase:
    name: str
    build: Callable[[str, Transport], Gateway]
    recipient: str
    accepted: bytes  # a body that means ACCEPTED

    def __str__(self) -> str:
        return self.name

    def message(self, reference: str = "r-1") -> Message:
        return Message(
            reference=reference,
            recipient=self.recipient,
            template="mismatched",
            parameters={"tail": "8000"},
            title="实名核验",
            text="您的实名信息需要更新",
            link="https://verify.example.com/mobile",
            locale="zh",
        )
