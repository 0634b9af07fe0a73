"""One call as the configuration describes it: what is sent, and how the answer is read.

``[providers.NAME.verify]`` and ``[providers.NAME.check.CHECK]`` share this model. It holds each
value to its form; templates, and what values must be to each other, are left to
:mod:`.generic_faults`.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from verifier.carriers.paths import Path
from verifier.config.common import Strict
from verifier.outcomes import Billed, Check, Fact, Lane, Outcome, details_of

#: A vendor's code as it stands in an answer; a number is written as its digits.
Code = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,64}$")]
#: A template of :mod:`.templates`.
Source = str


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


Codes = Annotated[tuple[Code, ...], BeforeValidator(_one_or_more), Field(min_length=1)]


class Signature(Strict):
    """``.signature``: a digest of the request that proves who asks.

    ``over`` may also use ``sorted_parameters`` (``query`` and the fields of the body, sorted by
    name, as NAME ``equals`` VALUE, joined by ``separator``; nothing is encoded) and, when the
    signature goes elsewhere, ``body`` (as it is sent).
    """

    algorithm: Literal["md5", "sha1", "sha256", "sm3", "hmac_sha1", "hmac_sha256"]
    key: str | None = Field(None, description="of an HMAC: the name of a secret")
    over: Source = "{{ sorted_parameters }}"
    equals: str = Field("=", max_length=8)
    separator: str = Field("&", max_length=8)
    encoding: Literal["hex", "base64"] = "hex"
    case: Literal["lower", "upper"] = Field("lower", description="of hexadecimal digits")
    place: Literal["field", "header", "query"] = "field"
    name: str = Field(min_length=1, max_length=64)

    @property
    def is_hmac(self) -> bool:
        return self.algorithm.startswith("hmac_")


class Call(Strict):
    """One call. Codes are text; a number in an answer is its digits, a truth value ``true``."""

    method: Literal["POST", "GET"] = "POST"
    path: str = Field(pattern=r'^/[!"$-;=@-~]*$', max_length=200)  # printable ASCII, no # < > ?
    format: Literal["json", "form"] = "json"
    headers: dict[str, Source] = Field(default_factory=dict)
    query: dict[str, Source] = Field(default_factory=dict)
    body: dict[str, Any] = Field(
        default_factory=dict, description="leaves: templates, whole numbers, truth values"
    )
    allow_personal_data_in_url: bool = False
    signature: Signature | None = None

    success: dict[Path, Codes] = Field(
        default_factory=dict, description="what must stand where, before the result is read"
    )
    error: Path | None = Field(None, description="of the error's code; unset: success's first")
    errors: dict[Code, str] = Field(
        default_factory=dict, description="error code, or its beginning and *, to outcome"
    )
    errors_billed: dict[Code, Billed] = Field(default_factory=dict, description="unset: no")
    http: dict[Annotated[str, StringConstraints(pattern=r"^[45][0-9]{2}$")], str] = Field(
        default_factory=dict, description="HTTP status to outcome, where the body says nothing"
    )
    result: Path
    codes: dict[Code, str] = Field(min_length=1, description="result code to outcome")
    billed: dict[Code, Billed] = Field(
        default_factory=dict, description="of codes; unset: matches, mismatches and facts are"
    )
    price: Path | None = Field(None, description="of what it cost: above 0 is billed, 0 is not")
    request_id: Path | None = None
    carrier: Path | None = None
    carriers: dict[Code, Lane] = Field(default_factory=dict)
    detail: Path | None = Field(None, description="of what refines the result")
    details: dict[Code, str] = Field(default_factory=dict, description="to the outcome's details")

    @property
    def error_path(self) -> str | None:
        """Where an error's code stands."""
        return self.error or next(iter(self.success), None)


class ProbeCall(Strict):
    """``[providers.NAME.probe]``: a person that does not exist, and the free answer to it."""

    phone: str = Field("10000000000", pattern="^[0-9]{11}$", repr=False)
    name: str = Field("无名", min_length=1, max_length=50, repr=False)
    id_number: str = Field("11010119900307563X", pattern="^[0-9]{17}[0-9X]$", repr=False)
    codes: Codes = Field(description="documented as unbilled; one of them means that it works")


@dataclass(frozen=True, slots=True)
class Said:
    """What a code means: an outcome with its detail, or the fact that a check found."""

    outcome: Outcome
    detail: str | None = None
    fact: Fact | None = None

    @property
    def is_about_the_person(self) -> bool:
        """A result; but a refusal of our parameters says nothing about anybody."""
        return self.outcome.is_answer and (self.outcome, self.detail) != _REFUSED

    @property
    def billed(self) -> Billed:
        """Unless the configuration says otherwise."""
        match self.outcome:
            case Outcome.MATCHED | Outcome.MISMATCHED:
                return Billed.YES
            case Outcome.CHECKED if self.fact is not Fact.UNKNOWN:
                return Billed.YES
            case Outcome.TIMEOUT:  # its result and its billing are unknown, whoever says so
                return Billed.MAYBE
        return Billed.NO


_REFUSED: Final = (Outcome.INVALID_INPUT, "PARAM")
#: The facts that answer a check.
FACTS: Final[dict[Check, tuple[Fact, ...]]] = {
    Check.STATUS: (Fact.ACTIVE, Fact.SUSPENDED, Fact.CANCELLED, Fact.NOT_IN_NETWORK, Fact.UNKNOWN),
    Check.RECYCLED: (Fact.SAME_HOLDER, Fact.CHANGED_HANDS, Fact.UNKNOWN),
    Check.CARRIER: (Fact.CARRIER, Fact.UNKNOWN),
}


def said(text: str, check: Check | None) -> Said:
    """The meaning of ``MISMATCHED/NAME`` in a verification, of ``SUSPENDED`` in a check.

    Raises ValueError that names what is possible.
    """
    if check is not None and text in FACTS[check]:
        return Said(Outcome.CHECKED, fact=Fact(text))
    name, _, detail = text.partition("/")
    if name not in Outcome.__members__:
        possible = [str(one) for one in (*(FACTS[check] if check else ()), *_possible(check))]
        near = difflib.get_close_matches(name, possible, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"must be one of {', '.join(possible)}{hint}")
    outcome = Outcome(name)
    if outcome in (Outcome.CHECKED, Outcome.NOT_SENT):
        raise ValueError(f"{outcome} is nothing that a vendor can answer")
    known = details_of(outcome)
    if not detail and outcome is Outcome.MISMATCHED:
        detail = "UNSPECIFIED"
    if known and detail not in known:
        raise ValueError(f"{outcome} needs a detail: {outcome}/ and {', '.join(known)}")
    if detail and not known:
        raise ValueError(f"{outcome} has no details")
    found = Said(outcome, detail or None)
    if check is not None and found.is_about_the_person:
        facts = ", ".join(FACTS[check])
        raise ValueError(f"a check says nothing about whose number it is: choose among {facts}")
    return found


def _possible(check: Check | None) -> list[str]:
    return [
        outcome.value
        for outcome in Outcome
        if outcome not in (Outcome.CHECKED, Outcome.NOT_SENT)
        and (check is None or not outcome.is_result or outcome is Outcome.INVALID_INPUT)
    ]
