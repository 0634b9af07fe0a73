"""What a CAMARA operator's answer means: kyc-match, and the errors that all its APIs share.

Billing is not in the standard. What gateways meter is the served call, so an understood HTTP 200
counts as billed, ``not_available`` included: the operator looked, and the cautious reading keeps
the person's two billed answers a day. A documented refusal (4xx, 429, "we are under maintenance")
is not, except the mismatch that kyc-match 0.4 dresses as 403, which is an answer too; a failure
inside the operator (500, 502, 504) may have been. Sources: the OpenAPI files named in ``PATHS`` and
``CAMARA_common`` of Commonalities 0.8 (CAMARA project, Apache-2.0).
"""

from __future__ import annotations

from typing import Final

from verifier.carriers import wire
from verifier.carriers.base import Answer
from verifier.outcomes import UNKNOWN_CODE, Billed, Fact, Meaning, Outcome, code_table
from verifier.transport import Reply
from verifier.transport.reply import code_of, identifier_of

#: Only kyc-match up to 0.4 knows them; from 0.5 on they say nothing (draft of 0.5.0).
_UNTIL_0_4: Final = "KNOW_YOUR_CUSTOMER.ID_DOCUMENT_"
#: A business quota renews in hours or days, and the standard does not say when.
_QUOTA_WAIT: Final = 600.0
_MATCH_RESULTS: Final = frozenset({"true", "false", "not_available"})  # strings, never booleans


def read_match(reply: Reply, *, version: str, three_legged: bool) -> Answer:
    """The answer to a verification. Scores are audit data of the operator's: they never pass."""
    if reply.status != 200:
        answer = read_error(reply, three_legged=three_legged)
        if version != "0.4" and answer.code and answer.code.startswith(_UNTIL_0_4):
            return unknown(reply, answer.code)
        return answer
    document = reply.json_object()
    if document is None:
        return wire.answer_to_status(reply)
    same_id, same_name = document.get("idDocumentMatch"), document.get("nameMatch")
    if not (_is_match_result(same_id) and _is_match_result(same_name)):
        return unknown(reply, None)
    meaning = _compare(str(same_id), str(same_name))
    return Answer(
        meaning.outcome,
        meaning.detail,
        billed=Billed.YES,
        code=f"id:{same_id}.name:{same_name}",
        request_id=correlator_of(reply),
        http_status=reply.status,
    )


def _is_match_result(value: object) -> bool:
    return isinstance(value, str) and value in _MATCH_RESULTS


def _compare(same_id: str, same_name: str) -> Meaning:
    match same_id, same_name:
        case "true", "true":
            return Meaning(Outcome.MATCHED)
        case "false", "false":
            return Meaning(Outcome.MISMATCHED, "NAME_AND_ID")
        case "false", _:
            return Meaning(Outcome.MISMATCHED, "ID")
        case _, "false":
            return Meaning(Outcome.MISMATCHED, "NAME")
        case _:
            return Meaning(Outcome.NO_RECORD)


def read_error(reply: Reply, *, three_legged: bool) -> Answer:
    """A documented error, by HTTP status and ``code``; what the status alone says otherwise."""
    code = code_of((reply.json_object() or {}).get("code"))
    if code is None:
        return wire.answer_to_status(reply)
    meaning = code_table("camara.http_code").exact(f"{reply.status} {code}")
    if meaning is UNKNOWN_CODE:
        return unknown(reply, code)
    if three_legged and code == "PERMISSION_DENIED":
        meaning = Meaning(Outcome.CONSENT_MISSING)  # the scope was granted for this person, or not
    wait = reply.retry_after()
    if code == "QUOTA_EXCEEDED" and wait is None:
        wait = _QUOTA_WAIT
    return Answer(
        meaning.outcome,
        meaning.detail,
        billed=_billed(meaning.outcome, reply.status),
        code=code,
        request_id=correlator_of(reply),
        http_status=reply.status,
        retry_after=wait,
    )


def _billed(outcome: Outcome, status: int) -> Billed:
    if outcome is Outcome.MISMATCHED:
        return Billed.YES
    failed_inside = outcome in (Outcome.PROVIDER_ERROR, Outcome.TIMEOUT)
    return Billed.MAYBE if failed_inside and status >= 500 else Billed.NO


def unknown(reply: Reply, code: str | None) -> Answer:
    """It was answered, and the answer is in no book: no verdict, maybe billed."""
    if reply.status in (429, 503):
        return wire.answer_to_status(reply)
    return Answer(
        UNKNOWN_CODE.outcome,
        UNKNOWN_CODE.detail,
        billed=Billed.MAYBE,
        code=code,
        request_id=correlator_of(reply),
        http_status=reply.status,
    )


def correlator_of(reply: Reply) -> str | None:
    """The ``x-correlator`` that came back: ours, or one that a gateway made in its place."""
    return identifier_of(reply.headers.get("x-correlator"))


def without_verdict(answer: Answer) -> Answer:
    """The answer to a check: a check says nothing about a person, so no result may leave it.

    "Not our customer", "not applicable to this number" and "no consent" mean that it stays unknown.
    """
    match answer.outcome:
        case Outcome.INVALID_INPUT:
            return _changed(answer, Outcome.INVALID_INPUT, "PARAM")
        case Outcome.MISMATCHED:  # a code of kyc-match, which was not asked
            return _changed(answer, UNKNOWN_CODE.outcome, UNKNOWN_CODE.detail, Billed.MAYBE)
        case outcome if outcome.is_result:
            return _changed(answer, Outcome.CHECKED, None, fact=Fact.UNKNOWN)
        case _:
            return answer


def _changed(
    answer: Answer,
    outcome: Outcome,
    detail: str | None,
    billed: Billed | None = None,
    fact: Fact | None = None,
) -> Answer:
    return Answer(
        outcome,
        detail,
        billed=billed or answer.billed,
        code=answer.code,
        request_id=answer.request_id,
        http_status=answer.http_status,
        retry_after=answer.retry_after,
        fact=fact,
    )
