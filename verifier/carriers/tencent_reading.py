"""What Tencent's replies mean: the envelope of every action, and the results of verifications.

Errors come in HTTP 200. The media type says nothing: Tencent's own SDK reads an error whose
``Content-Type`` has a charset as an answer without a result. ``Result`` is a string, and the same
string means different things for different actions: each has a table of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from verifier.carriers import wire
from verifier.carriers.base import Answer
from verifier.outcomes import UNKNOWN_CODE, Billed, Lane, Meaning, Outcome, code_table
from verifier.transport import Reply
from verifier.transport.reply import code_of, identifier_of

#: Action → its table of results. The carrier editions know no "-12", and no detailed mode.
RESULTS_OF: Final = {
    "PhoneVerification": "tencent.faceid.PhoneVerification*.Result",
    "PhoneVerificationCMCC": "tencent.faceid.PhoneVerificationOfCarrier.Result",
    "PhoneVerificationCUCC": "tencent.faceid.PhoneVerificationOfCarrier.Result",
    "PhoneVerificationCTCC": "tencent.faceid.PhoneVerificationOfCarrier.Result",
    "EncryptedPhoneVerification": "tencent.faceid.EncryptedPhoneVerification.Result",
}
_BILLED = frozenset({"0", "-4"})  # of every action above
_CARRIERS = {"移动": Lane.CMCC, "联通": Lane.CUCC, "电信": Lane.CTCC}
_UNNAMED = Meaning(Outcome.MISMATCHED, "UNSPECIFIED")


def opened(reply: Reply) -> dict[str, Any] | Answer:
    """The ``Response`` of an HTTP 200 without an error; else the Answer that the reply is."""
    response = (reply.json_object() or {}).get("Response")
    if not isinstance(response, dict):
        return wire.answer_to_status(reply)
    if "Error" in response:
        return _error(response, reply)
    if reply.status != 200:
        return wire.answer_to_status(reply)
    return response


def _error(response: Mapping[str, Any], reply: Reply) -> Answer:
    error = response["Error"]
    code = code_of(error.get("Code")) if isinstance(error, dict) else None
    meaning = code_table("tencent.error").by_prefix(code) if code else UNKNOWN_CODE
    return Answer(
        meaning.outcome,
        meaning.detail,
        billed=Billed.MAYBE if meaning is UNKNOWN_CODE else Billed.NO,
        code=code,
        request_id=identifier_of(response.get("RequestId")),
        http_status=reply.status,
        retry_after=reply.retry_after(),
    )


def result_of(response: Mapping[str, Any], table: str) -> tuple[str | None, Meaning]:
    """The ``Result`` as a code, and what its table says. The number 0 would not be a match: it is
    documented as a string, and something that answers otherwise is not what was documented."""
    code = code_of(response.get("Result"))
    return code, code_table(table).exact(code) if code else UNKNOWN_CODE


def verification(reply: Reply, action: str, *, detailed: bool) -> Answer:
    """Only a documented result in an HTTP 200 says anything about a person."""
    response = opened(reply)
    if isinstance(response, Answer):
        return response
    code, meaning = result_of(response, RESULTS_OF[action])
    billed = Billed.NO
    if meaning is UNKNOWN_CODE:
        billed = Billed.MAYBE
    elif code in _BILLED:
        billed = Billed.YES
    if meaning.outcome is Outcome.MISMATCHED:
        meaning = _which_differs(response.get("ResultDetail")) if detailed else _UNNAMED
    isp = response.get("ISP" if action == "EncryptedPhoneVerification" else "Isp")
    return Answer(
        meaning.outcome,
        meaning.detail,
        billed=billed,
        code=code,
        request_id=identifier_of(response.get("RequestId")),
        carrier=_CARRIERS.get(isp) if isinstance(isp, str) else None,
        http_status=reply.status,
    )


def _which_differs(detail: object) -> Meaning:
    """An unknown detail is still a mismatch, of unnamed parts."""
    known = code_of(detail)
    meaning = code_table("tencent.faceid.PhoneVerification.ResultDetail").exact(known)
    return _UNNAMED if meaning is UNKNOWN_CODE else meaning
