"""The vocabulary: what an attempt at a provider can mean, and the vendors' code tables.

Only *result* outcomes say something about a person and may change a user's status. *Transient*
outcomes say something about a provider or the network; *operator* outcomes say that we must mend
our account. A :class:`Check` asks something else about a number than whose it is; its answer is
``CHECKED`` with a :class:`Fact`. The tables of vendor codes are data (``data/outcomes.yaml``); a
code that is not in a table becomes ``PROVIDER_ERROR``, never a verdict about a person.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

import yaml

#: Details of RATE_LIMITED that are about one person, and no limit of the account's.
NUMBER_LIMIT: Final = "NUMBER"
IDENTITY_DAY_LIMIT: Final = "IDENTITY_DAY"
PERSONS_LIMITS: Final = frozenset({NUMBER_LIMIT, IDENTITY_DAY_LIMIT})
#: Of RATE_LIMITED and TIMEOUT: the account's limit, or the API's maintenance, was met after a
#: person was sent a message, who is not to be sent another soon.
AFTER_PROMPT: Final = "AFTER_PROMPT"
#: Detail of TIMEOUT: the person was sent a message and has not answered it.
CONSENT_PENDING: Final = "CONSENT_PENDING"


class Kind(enum.StrEnum):
    RESULT = "result"
    TRANSIENT = "transient"
    OPERATOR = "operator"
    CHECK = "check"


class Outcome(enum.StrEnum):
    """What one attempt means. The value is what the store and every report show."""

    MATCHED = "MATCHED"
    MISMATCHED = "MISMATCHED"
    NO_RECORD = "NO_RECORD"
    INVALID_INPUT = "INVALID_INPUT"
    UNSUPPORTED_NUMBER = "UNSUPPORTED_NUMBER"
    NUMBER_INACTIVE = "NUMBER_INACTIVE"
    CONSENT_MISSING = "CONSENT_MISSING"
    RATE_LIMITED = "RATE_LIMITED"
    MAINTENANCE = "MAINTENANCE"
    PROVIDER_ERROR = "PROVIDER_ERROR"
    TIMEOUT = "TIMEOUT"
    NOT_SENT = "NOT_SENT"
    AUTH_CONFIG = "AUTH_CONFIG"
    ARREARS = "ARREARS"
    CHECKED = "CHECKED"  # a check was answered: see the fact

    __hash__ = str.__hash__  # Enum's is written in Python, and outcomes are looked up all the time

    @property
    def kind(self) -> Kind:
        return _KINDS[self]

    @property
    def is_result(self) -> bool:
        return _KINDS[self] is Kind.RESULT

    @property
    def is_answer(self) -> bool:
        """Whether the provider did what it is there for: a result, or the answer to a check."""
        return self.is_result or self is Outcome.CHECKED


_KINDS = {
    **dict.fromkeys(
        (
            Outcome.MATCHED,
            Outcome.MISMATCHED,
            Outcome.NO_RECORD,
            Outcome.INVALID_INPUT,
            Outcome.UNSUPPORTED_NUMBER,
            Outcome.NUMBER_INACTIVE,
            Outcome.CONSENT_MISSING,
        ),
        Kind.RESULT,
    ),
    **dict.fromkeys(
        (
            Outcome.RATE_LIMITED,
            Outcome.MAINTENANCE,
            Outcome.PROVIDER_ERROR,
            Outcome.TIMEOUT,
            Outcome.NOT_SENT,
        ),
        Kind.TRANSIENT,
    ),
    **dict.fromkeys((Outcome.AUTH_CONFIG, Outcome.ARREARS), Kind.OPERATOR),
    Outcome.CHECKED: Kind.CHECK,
}

#: Settled without a result: policy is exhausted. The user's status stays as it was.
UNRESOLVED = "UNRESOLVED"

RESULTS: tuple[Outcome, ...] = tuple(o for o in Outcome if o.is_result)


class Lane(enum.StrEnum):
    """The carrier a number most likely belongs to. Portability makes it a guess, never a fact."""

    CMCC = "cmcc"  # China Mobile
    CUCC = "cucc"  # China Unicom
    CTCC = "ctcc"  # China Telecom
    CBN = "cbn"  # China Broadnet
    MVNO = "mvno"  # virtual operators


class Check(enum.StrEnum):
    """A question about a number beside whose it is."""

    STATUS = "status"  # is it in service?
    RECYCLED = "recycled"  # did it change hands since a day?
    CARRIER = "carrier"  # who carries it now, after porting?


class Fact(enum.StrEnum):
    """The answer to a check. Every check may also be answered ``UNKNOWN``."""

    ACTIVE = "ACTIVE"  # STATUS
    SUSPENDED = "SUSPENDED"
    CANCELLED = "CANCELLED"
    NOT_IN_NETWORK = "NOT_IN_NETWORK"
    SAME_HOLDER = "SAME_HOLDER"  # RECYCLED
    CHANGED_HANDS = "CHANGED_HANDS"
    CARRIER = "CARRIER"  # CARRIER: the answer's ``carrier`` names it
    UNKNOWN = "UNKNOWN"


class Billed(enum.StrEnum):
    """Whether the vendor charges for the attempt. MAYBE: it was sent and no answer was read."""

    NO = "no"
    YES = "yes"
    MAYBE = "maybe"


@dataclass(frozen=True, slots=True)
class Meaning:
    """An outcome with its detail, such as ``MISMATCHED/NAME`` or ``RATE_LIMITED/NUMBER``."""

    outcome: Outcome
    detail: str | None = None

    def __str__(self) -> str:
        return f"{self.outcome}/{self.detail}" if self.detail else str(self.outcome)


UNKNOWN_CODE = Meaning(Outcome.PROVIDER_ERROR, "UNKNOWN_CODE")


class CodeTable:
    """One vendor's codes of one API, looked up exactly and then by dotted prefix.

    ``RequestLimitExceeded.UinLimitExceeded`` falls back to ``RequestLimitExceeded``. Values of the
    file that are instructions rather than outcomes (``use Data``) are left out.
    """

    def __init__(self, name: str, rows: dict[str, str]) -> None:
        self.name = name
        self._rows: dict[str, Meaning] = {}
        for code, value in rows.items():
            outcome, _, detail = str(value).partition("/")
            if outcome in Outcome.__members__:
                self._rows[str(code)] = Meaning(Outcome(outcome), detail or None)

    def __contains__(self, code: object) -> bool:
        return str(code) in self._rows

    def items(self) -> list[tuple[str, Meaning]]:
        return list(self._rows.items())

    def exact(self, code: object) -> Meaning:
        """The meaning of a code, or ``PROVIDER_ERROR/UNKNOWN_CODE``."""
        return self._rows.get(str(code), UNKNOWN_CODE)

    def by_prefix(self, code: object) -> Meaning:
        """As :meth:`exact`, also trying ``a.b``, then ``a`` for the code ``a.b.c``."""
        text = str(code)
        while text:
            if text in self._rows:
                return self._rows[text]
            text = text.rpartition(".")[0]
        return UNKNOWN_CODE


@cache
def _document() -> dict[str, Any]:
    text = resources.files("verifier").joinpath("data/outcomes.yaml").read_text("utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document


@cache
def code_table(name: str) -> CodeTable:
    """The table of this name in ``data/outcomes.yaml``, for instance ``tencent.error``."""
    return CodeTable(name, _document()[name])


@cache
def details_of(outcome: Outcome) -> tuple[str, ...]:
    """The details (or scopes) that the file declares for an outcome; empty where it has none."""
    row = _document()["outcomes"].get(outcome.value, {})
    return tuple(row.get("detail", row.get("scope", ())))
