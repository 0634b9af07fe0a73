"""What a reply means by the codes that the configuration lists.

A reply in HTTP 200 is read in this order: does ``success`` hold; if it does, the result's code; if
it does not, the error's code. In any other status only an error code is believed, and none that
says something about the person; then ``http``, then what the status means everywhere
(:mod:`.wire`). A code that is not listed is ``PROVIDER_ERROR/UNKNOWN_CODE``, maybe billed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from verifier.carriers import wire
from verifier.carriers.base import Answer
from verifier.carriers.generic_call import Call, Said, said
from verifier.carriers.paths import find, steps
from verifier.outcomes import UNKNOWN_CODE, Billed, Check, Fact, Lane, Outcome, details_of
from verifier.transport import Reply
from verifier.transport.reply import code_of, identifier_of

_AMOUNT: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")
_LARGEST: Final = 10**18


class Reader:
    """The answers to one described call."""

    def __init__(self, call: Call, check: Check | None, max_body: int) -> None:
        self._max_body = max_body
        self._success = [(steps(path), frozenset(codes)) for path, codes in call.success.items()]
        self._error = None if call.error_path is None else steps(call.error_path)
        self._errors = {code: said(text, check) for code, text in call.errors.items()}
        self._beginnings = sorted(
            (code[:-1] for code in self._errors if code.endswith("*")), key=len, reverse=True
        )
        self._errors_billed = call.errors_billed
        self._http = {int(status): said(text, check) for status, text in call.http.items()}
        self._result = steps(call.result)
        self._codes = {code: said(text, check) for code, text in call.codes.items()}
        self._billed = {
            code: call.billed.get(code, meaning.billed) for code, meaning in self._codes.items()
        }
        self._price = None if call.price is None else steps(call.price)
        self._request_id = None if call.request_id is None else steps(call.request_id)
        self._carrier = None if call.carrier is None else steps(call.carrier)
        self._carriers: Mapping[str, Lane] = call.carriers
        self._detail = None if call.detail is None else steps(call.detail)
        self._details: Mapping[str, str] = call.details

    def read(self, reply: Reply) -> Answer:
        """What a reply means, whatever it holds."""
        document = reply.json_object() if len(reply.body) <= self._max_body else None
        if document is None:
            return self._by_status(reply)
        succeeded = all(_text(find(document, path)) in codes for path, codes in self._success)
        code = None
        if not (self._success and succeeded):
            code = None if self._error is None else _text(find(document, self._error))
            key = self._error_key(code)
            if key is not None:
                return self._refusal(key, code, document, reply)
        if reply.status != 200:
            return self._by_status(reply)
        if not succeeded:
            return self._unknown(code, document, reply)
        return self._outcome(document, reply)

    def _error_key(self, code: str | None) -> str | None:
        if code is None:
            return None
        if code in self._errors:
            return code
        return next((f"{b}*" for b in self._beginnings if code.startswith(b)), None)

    def _refusal(self, key: str, code: str | None, document: Any, reply: Reply) -> Answer:
        meaning = self._errors[key]
        if reply.status != 200 and meaning.is_about_the_person:
            return self._by_status(reply)
        billed = self._errors_billed.get(key, meaning.billed)
        return self._answer(meaning, billed, code, document, reply)

    def _outcome(self, document: Any, reply: Reply) -> Answer:
        code = _text(find(document, self._result))
        meaning = self._codes.get(code) if code is not None else None
        if meaning is None or code is None:
            return self._unknown(code, document, reply)
        return self._answer(meaning, self._billed[code], code, document, reply)

    def _answer(
        self, meaning: Said, billed: Billed, code: str | None, document: Any, reply: Reply
    ) -> Answer:
        carrier = None
        if self._carrier is not None:
            carrier = self._carriers.get(_text(find(document, self._carrier)) or "")
        if meaning.fact is Fact.CARRIER and carrier is None:
            return self._unknown(code, document, reply)  # it named one that we do not know
        return Answer(
            meaning.outcome,
            self._refined(meaning, document),
            billed=self._paid(document, billed),
            code=code_of(code),
            request_id=self._id(document),
            carrier=carrier,
            http_status=reply.status,
            retry_after=None if meaning.outcome.is_answer else reply.retry_after(),
            fact=meaning.fact,
        )

    def _unknown(self, code: str | None, document: Any, reply: Reply) -> Answer:
        return Answer(
            UNKNOWN_CODE.outcome,
            UNKNOWN_CODE.detail,
            billed=Billed.MAYBE,
            code=code_of(code),
            request_id=self._id(document),
            http_status=reply.status,
        )

    def _by_status(self, reply: Reply) -> Answer:
        meaning = self._http.get(reply.status)
        if meaning is None:
            return wire.answer_to_status(reply)
        # A status says nothing of what was done before things went wrong.
        is_refusal = meaning.outcome not in (Outcome.PROVIDER_ERROR, Outcome.TIMEOUT)
        return Answer(
            meaning.outcome,
            meaning.detail,
            billed=Billed.NO if is_refusal else Billed.MAYBE,
            http_status=reply.status,
            retry_after=reply.retry_after(),
        )

    def _refined(self, meaning: Said, document: Any) -> str | None:
        if self._detail is None:
            return meaning.detail
        word = self._details.get(_text(find(document, self._detail)) or "")
        return word if word in details_of(meaning.outcome) else meaning.detail

    def _paid(self, document: Any, billed: Billed) -> Billed:
        """By the price that the vendor names, if it names one."""
        value = None if self._price is None else find(document, self._price)
        if isinstance(value, str) and _AMOUNT.fullmatch(value):
            value = float(value)
        if not isinstance(value, bool | int | float):
            return billed
        if isinstance(value, float) and not math.isfinite(value):
            return billed
        if value < 0:
            return billed
        return Billed.YES if value > 0 else Billed.NO

    def _id(self, document: Any) -> str | None:
        return None if self._request_id is None else identifier_of(find(document, self._request_id))


def _text(value: object) -> str | None:
    """A code as the configuration writes it. 1.0 is no 1, and a list is no code."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < _LARGEST else None
    return value if isinstance(value, str) else None
