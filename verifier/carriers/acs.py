"""What Alibaba Cloud's products have in common: signing, posting, the gateway's own refusals.

The gateway stands before every product. It refuses with HTTP 4xx or 5xx and ``{Code, Message,
RequestId, HostId}``; what it lets pass the product answers in HTTP 200 with a ``Code`` of its own,
which is each provider's to read. A kind of provider is built on this room; it is none itself.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Literal
from urllib.parse import urlsplit
from uuid import uuid4

from verifier.carriers import wire
from verifier.carriers.base import Answer
from verifier.outcomes import UNKNOWN_CODE, Billed, Fact, Lane, Meaning, Outcome, code_table
from verifier.signing import acs3
from verifier.transport import Deadline, Reply, Transport
from verifier.transport.reply import code_of, identifier_of

CONTENT_TYPE: Final = "application/x-www-form-urlencoded"
VENDOR: Final = "aliyun"  # one account, one gateway: when it is away, all its products are
BIG_THREE: Final = frozenset({Lane.CMCC, Lane.CUCC, Lane.CTCC})
#: As both products spell them. Broadnet is CBCC in cloudauth's models.
CARRIERS: Final = {
    "CMCC": Lane.CMCC,
    "CUCC": Lane.CUCC,
    "CTCC": Lane.CTCC,
    "CBCC": Lane.CBN,
}

#: The client library's own name for a call without an answer; no server says it.
_LIBRARY_ONLY: Final = "UnretryableException"
#: A nonce is used once, so whoever has brought it before brought this very request: it may have
#: been served, and charged, then.
_REPLAYED: Final = "SignatureNonceUsed"
_ID_CARD_OR_PERMIT: Final = re.compile(r"[1-8][0-9]{16}[0-9X]")


class Caller:
    """One product of one account, behind one endpoint."""

    def __init__(
        self, *, endpoint: str, version: str, key_id: str, key_secret: str, transport: Transport
    ) -> None:
        self._url = f"{endpoint}/"
        self._host = urlsplit(endpoint).netloc
        self._version = version
        self._key_id = key_id
        self._key_secret = key_secret
        self._transport = transport

    def call(
        self,
        action: str,
        parameters: Mapping[str, str],
        place: Literal["form", "query"],
        deadline: Deadline,
        before_send: Callable[[], bool] | None = None,
    ) -> Reply | Answer:
        """The reply, or the Answer that its failure amounts to. Signed anew, with a new nonce.

        ``place`` "form" keeps the parameters out of the URL, where proxies and access logs find
        them. That the gateway merges both places is how it has always been; ACS3 covers the body.
        """
        query = parameters if place == "query" else {}
        body = acs3.form(parameters) if place == "form" else b""
        headers = acs3.headers(
            access_key_id=self._key_id,
            access_key_secret=self._key_secret,
            host=self._host,
            action=action,
            version=self._version,
            body=body,
            content_type=CONTENT_TYPE,
            timestamp=int(time.time()),
            nonce=uuid4().hex,
            query=query,
        )
        headers["Accept"] = "application/json"  # the gateway's default is XML
        url = f"{self._url}?{acs3.canonical_query(query)}" if query else self._url
        return wire.ask(
            lambda: self._transport.request("POST", url, headers, body, deadline, before_send)
        )

    def close(self) -> None:
        self._transport.close()


def digest(value: str, algorithm: Literal["md5", "sha256"]) -> str:
    """Lower-case hexadecimal of the UTF-8 bytes, as both products want it."""
    return hashlib.new(algorithm, value.encode(), usedforsecurity=False).hexdigest()


def answer(
    meaning: Meaning,
    reply: Reply,
    code: str | None,
    request_id: object,
    *,
    billed: Billed = Billed.NO,
    carrier: Lane | None = None,
) -> Answer:
    """``meaning`` as an Answer. What no table knows may have been billed, whatever else is said."""
    detail, fact = meaning.detail, None
    if meaning.outcome is Outcome.CHECKED:
        detail, fact = None, Fact(meaning.detail or Fact.UNKNOWN)
    return Answer(
        meaning.outcome,
        detail,
        billed=Billed.MAYBE if meaning is UNKNOWN_CODE else billed,
        code=code,
        request_id=identifier_of(request_id),
        carrier=carrier,
        http_status=reply.status,
        retry_after=reply.retry_after(),
        fact=fact,
    )


def refused(reply: Reply, body: Mapping[str, Any], product: str | None = None) -> Answer:
    """What a reply of another status than 200 means.

    ``product``: the table of a product that refuses parameters in this way too. Of its codes those
    hold here that say nothing about a person, and "our parameters were refused" without saying
    which of the person's data was wrong: an error page is no verdict.
    """
    code = code_of(body.get("Code"))
    meaning = _refusal(code, product) if code and reply.status >= 400 else UNKNOWN_CODE
    if meaning is UNKNOWN_CODE:
        by_status = wire.answer_to_status(reply)
        if code is None or by_status.outcome is not Outcome.PROVIDER_ERROR:
            return by_status
    billed = Billed.MAYBE if code == _REPLAYED else Billed.NO
    return answer(meaning, reply, code, body.get("RequestId"), billed=billed)


def _refusal(code: str, product: str | None) -> Meaning:
    if code == _LIBRARY_ONLY:
        return UNKNOWN_CODE
    if code.startswith("Missing"):  # the gateway names the parameter: MissingInputNumber
        return Meaning(Outcome.INVALID_INPUT, "PARAM")
    meaning = code_table("aliyun.gateway.error").by_prefix(code)
    if meaning is UNKNOWN_CODE and product is not None:
        meaning = code_table(product).exact(code)
    if meaning.outcome is Outcome.INVALID_INPUT:
        return Meaning(Outcome.INVALID_INPUT, "PARAM")
    return UNKNOWN_CODE if meaning.outcome.is_result else meaning


def of_a_check(answered: Answer) -> Answer:
    """A check never returns a result: what the vendor cannot say about a number is unknown."""
    if answered.outcome is Outcome.INVALID_INPUT:
        return replace(answered, detail="PARAM")
    if answered.outcome.is_result:
        return replace(answered, outcome=Outcome.CHECKED, detail=None, fact=Fact.UNKNOWN)
    return answered


def of_a_document(answered: Answer, id_number: str) -> Answer:
    """Nobody is blamed for a document that the vendor does not list.

    Alibaba documents resident ID cards and residence permits of Hong Kong, Macao and Taiwan
    people, and nothing else. About another document, such as a foreigner's permanent residence
    card (first digit 9), its "inconsistent" says that it has nothing to compare, and so does its
    refusal of the number; neither may be told the person as a fault of theirs. Of all outcomes
    UNSUPPORTED_NUMBER is what leads to another provider and then to a manual review. It is asked
    nevertheless, since only the vendor knows what it holds: carriers register foreigners by this
    number, a match is a match, and an outcome that we made up ourselves would be no answer. What
    was paid for stays billed.
    """
    if _ID_CARD_OR_PERMIT.fullmatch(id_number):
        return answered
    if answered.outcome in {Outcome.MISMATCHED, Outcome.INVALID_INPUT}:
        return replace(answered, outcome=Outcome.UNSUPPORTED_NUMBER, detail=None)
    return answered
