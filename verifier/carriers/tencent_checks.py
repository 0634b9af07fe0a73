"""What Tencent's answers to checks mean: ``MobileStatus`` and ``MobileNetworkTimeVerification``.

A check says nothing about whose number it is, so what a table calls a result about the number
(malformed, of an unsupported segment, not found) is ``CHECKED/UNKNOWN`` here: this vendor cannot
say. Not ``INVALID_INPUT/PARAM`` either, for "-2 malformed phone": the number passed our own rules,
the next one will be answered, and a row of PARAMs would stop the provider as if we were at fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from verifier.carriers.base import Answer
from verifier.carriers.tencent_reading import opened, result_of
from verifier.carriers.tenure import Tenure, holder_since
from verifier.outcomes import UNKNOWN_CODE, Billed, Check, Fact, Meaning, Outcome, code_table
from verifier.transport import Reply
from verifier.transport.reply import identifier_of

STATUS: Final = "MobileStatus"
NETWORK_TIME: Final = "MobileNetworkTimeVerification"
ACTION_OF: Final = {Check.STATUS: STATUS, Check.RECYCLED: NETWORK_TIME}

#: The codes that the table leaves open: facts that are no outcome of a verification. 5 is "in the
#: network but unavailable": switched off or out of reach, and somebody's all the same.
_FACTS: Final = {"0": Fact.ACTIVE, "5": Fact.ACTIVE, "99": Fact.UNKNOWN}


def status(reply: Reply) -> Answer:
    """Billed is "0" only, whatever the state is."""
    response = opened(reply)
    if isinstance(response, Answer):
        return response
    code, meaning = result_of(response, "tencent.faceid.MobileStatus.Result")
    if code != "0":
        return _other(response, reply, code, meaning, Billed.NO)
    state = response.get("StatusCode")
    if not isinstance(state, int) or isinstance(state, bool) or not 0 <= state <= 999:
        return _answer(response, reply, "0", UNKNOWN_CODE, Billed.MAYBE)
    fact = _fact_of_state(str(state))
    if fact is None:
        return _answer(response, reply, f"0:{state}", UNKNOWN_CODE, Billed.MAYBE)
    return _checked(response, reply, f"0:{state}", fact, Billed.YES)


def _fact_of_state(state: str) -> Fact | None:
    meaning = code_table("tencent.faceid.MobileStatus.StatusCode").exact(state)
    if meaning.outcome is Outcome.NUMBER_INACTIVE:
        return Fact.__members__.get(meaning.detail or "")
    return _FACTS.get(state)


def network_time(reply: Reply, since: date, today: date) -> Answer:
    """Whether the number has been in the network from ``since``.

    Billed are "0", and also "-2" (it does not exist) and "-3" (nobody knows how long): neither of
    these says who had it.
    """
    response = opened(reply)
    if isinstance(response, Answer):
        return response
    code, meaning = result_of(response, "tencent.faceid.MobileNetworkTimeVerification.Result")
    if code != "0":
        billed = Billed.YES if code in {"-2", "-3"} else Billed.NO
        return _other(response, reply, code, meaning, billed)
    tenure = Tenure.read(response.get("Range"))
    if tenure is None:
        return _answer(response, reply, "0", UNKNOWN_CODE, Billed.MAYBE)
    return _checked(response, reply, "0", holder_since(tenure, since, today), Billed.YES)


def _other(
    response: Mapping[str, Any], reply: Reply, code: str | None, meaning: Meaning, billed: Billed
) -> Answer:
    """A ``Result`` that is no success."""
    if meaning is UNKNOWN_CODE:
        return _answer(response, reply, code, meaning, Billed.MAYBE)
    if meaning.outcome.is_result:
        return _checked(response, reply, code, Fact.UNKNOWN, billed)
    return _answer(response, reply, code, meaning, billed)


def _checked(
    response: Mapping[str, Any], reply: Reply, code: str | None, fact: Fact, billed: Billed
) -> Answer:
    return _answer(response, reply, code, Meaning(Outcome.CHECKED), billed, fact)


def _answer(
    response: Mapping[str, Any],
    reply: Reply,
    code: str | None,
    meaning: Meaning,
    billed: Billed,
    fact: Fact | None = None,
) -> Answer:
    return Answer(
        meaning.outcome,
        meaning.detail,
        billed=billed,
        code=code,
        request_id=identifier_of(response.get("RequestId")),
        http_status=reply.status,
        fact=fact,
    )
