"""The checks that CAMARA operators sell beside kyc-match: what is asked, and what the answer means.

Pure. A question is a path, a scope and fields; :func:`read` turns the answer into a fact.

* *subscription-status* 0.1 (its path is really spelt ``retrive-…``): one suspended direction of
  voice and SMS is a suspended number; mobile data says nothing, a tariff may have none.
* *number-recycling* 0.2: whether the subscriber changed after a day.
* *kyc-tenure* 0.2: whether one customer has had the number since a day.
* *sim-swap* 2.1: whether another SIM served the number within so many hours, at most 2400. A new
  subscription counts as a swap, so "not swapped" proves the same holder if the hours reach back to
  the day; "swapped" proves nothing, because people change SIM cards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from datetime import time as clock_time
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from verifier.carriers import camara_answers, wire
from verifier.carriers.base import Answer
from verifier.outcomes import Billed, Fact, Outcome
from verifier.transport import Reply

RecycledBy = Literal["number-recycling", "kyc-tenure", "sim-swap"]
Api = Literal["subscription-status", "number-recycling", "kyc-tenure", "sim-swap"]

PATHS: Final[Mapping[Api, str]] = {
    "subscription-status": "/subscription-status/v0.1/retrive-subscription-status",
    "number-recycling": "/number-recycling/v0.2/check",
    "kyc-tenure": "/kyc-tenure/v0.2/check-tenure",
    "sim-swap": "/sim-swap/v2/check",
}
#: As the ``security`` of each OpenAPI file has them.
SCOPES: Final[Mapping[Api, str]] = {
    "subscription-status": "subscription-status:retrive-subscription-status",
    "number-recycling": "number-recycling:check",
    "kyc-tenure": "kyc-tenure:check-tenure",
    "sim-swap": "sim-swap:check",
}
_LONGEST_MAX_AGE: Final = 2400  # hours: the schema of sim-swap
_CALENDAR: Final = ZoneInfo("Asia/Shanghai")


@dataclass(frozen=True, slots=True)
class Question:
    """One call: ``fields`` is the body without the phone number."""

    api: Api
    fields: Mapping[str, Any] = field(default_factory=dict)


def status_question() -> Question:
    return Question("subscription-status")


def recycled_question(by: RecycledBy, since: date, now: float) -> Question | None:
    """None: this API cannot know it (sim-swap looks back 100 days), so nothing need be paid for.

    ``now``: seconds since the epoch. Days begin at midnight in China.
    """
    if by == "number-recycling":
        return Question(by, {"specifiedDate": since.isoformat()})
    if by == "kyc-tenure":
        return Question(by, {"tenureDate": since.isoformat()})
    midnight = datetime.combine(since, clock_time.min, _CALENDAR).timestamp()
    hours = max(1, math.ceil((now - midnight) / 3600))
    return Question(by, {"maxAge": hours}) if hours <= _LONGEST_MAX_AGE else None


def read(reply: Reply, question: Question, *, three_legged: bool) -> Answer:
    """What the operator knows. Anything but a documented HTTP 200 states no fact."""
    if reply.status != 200:
        answer = camara_answers.read_error(reply, three_legged=three_legged)
        refused = answer.outcome is Outcome.INVALID_INPUT
        if refused and question.api == "sim-swap" and answer.code == "OUT_OF_RANGE":
            # Documented: the operator may keep swaps for a shorter time than we asked about.
            return Answer(
                Outcome.CHECKED,
                code=answer.code,
                request_id=answer.request_id,
                http_status=answer.http_status,
                fact=Fact.UNKNOWN,
            )
        return camara_answers.without_verdict(answer)
    document = reply.json_object()
    if document is None:
        return wire.answer_to_status(reply)
    understood = _READERS[question.api](document)
    if understood is None:
        return camara_answers.unknown(reply, None)
    fact, code = understood
    return Answer(
        Outcome.CHECKED,
        billed=Billed.YES,
        code=code,
        request_id=camara_answers.correlator_of(reply),
        http_status=reply.status,
        fact=fact,
    )


_Understood = tuple[Fact, str] | None


def _status(document: Mapping[str, Any]) -> _Understood:
    known = ("active", "suspended")
    inbound, outbound = document.get("voiceSmsIn"), document.get("voiceSmsOut")
    if not (isinstance(inbound, str) and isinstance(outbound, str)):
        return None
    if inbound not in known or outbound not in known:
        return None
    fact = Fact.ACTIVE if (inbound, outbound) == ("active", "active") else Fact.SUSPENDED
    return fact, f"in:{inbound}.out:{outbound}"


def _recycled(document: Mapping[str, Any]) -> _Understood:
    return _flag(document, "phoneNumberRecycled", Fact.CHANGED_HANDS, Fact.SAME_HOLDER)


def _tenure(document: Mapping[str, Any]) -> _Understood:
    return _flag(document, "tenureDateCheck", Fact.SAME_HOLDER, Fact.CHANGED_HANDS)


def _swap(document: Mapping[str, Any]) -> _Understood:
    return _flag(document, "swapped", Fact.UNKNOWN, Fact.SAME_HOLDER)


def _flag(document: Mapping[str, Any], name: str, yes: Fact, no: Fact) -> _Understood:
    value = document.get(name)
    if not isinstance(value, bool):  # "true" is a string and 1 a number: neither is documented
        return None
    return (yes, f"{name}:true") if value else (no, f"{name}:false")


_READERS: Final = {
    "subscription-status": _status,
    "number-recycling": _recycled,
    "kyc-tenure": _tenure,
    "sim-swap": _swap,
}
