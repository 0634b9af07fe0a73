"""Tencent Cloud FaceID: PhoneVerification and its three carrier editions (2018-03-01).

``POST /`` with JSON, signed by TC3. Errors come in HTTP 200. Tencent takes no reference of ours and
dedupes nothing: a call repeated is a call billed twice. Billed are the results "0" and "-4" only.

The carrier editions (…CMCC, …CUCC, …CTCC) take the same three elements, know no detailed mode, and
may be wrong about a number that changed carriers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from verifier.carriers import base, wire
from verifier.carriers.base import Answer, Number, Person, Probe
from verifier.config.common import Endpoint, SecretRef, resolve_secret
from verifier.outcomes import UNKNOWN_CODE, Billed, Check, Lane, Meaning, Outcome, code_table
from verifier.signing import tc3
from verifier.transport import Deadline, Reply, Transport
from verifier.transport.reply import code_of, identifier_of

VERSION = "2018-03-01"
CONTENT_TYPE = "application/json"
DETAILED_ACTION = "PhoneVerification"

_BILLED_RESULTS = frozenset({"0", "-4"})
_CARRIERS = {"移动": Lane.CMCC, "联通": Lane.CUCC, "电信": Lane.CTCC}
_UNNAMED = Meaning(Outcome.MISMATCHED, "UNSPECIFIED")


_BIG_THREE: Final = frozenset({Lane.CMCC, Lane.CUCC, Lane.CTCC})
_LANES_OF_ACTION: Final = {
    "PhoneVerification": _BIG_THREE,
    "PhoneVerificationCMCC": frozenset({Lane.CMCC}),
    "PhoneVerificationCUCC": frozenset({Lane.CUCC}),
    "PhoneVerificationCTCC": frozenset({Lane.CTCC}),
}
#: Nobody's: Tencent answers "-6", which it does not bill.
_NOBODY: Final = Person(phone="10000000000", name="无名", id_number="11010119900307563X")


class Settings(base.Settings):
    """``kind = "tencent"``: one action of FaceID under one account."""

    kind: Literal["tencent"]
    action: Literal[
        "PhoneVerification",
        "PhoneVerificationCMCC",
        "PhoneVerificationCUCC",
        "PhoneVerificationCTCC",
    ] = "PhoneVerification"
    endpoint: Endpoint = "https://faceid.tencentcloudapi.com"
    secret_id: SecretRef
    secret_key: SecretRef
    detailed: bool = Field(False, description="VerifyMode 1: says which element differs, dearer")

    @property
    def reaches(self) -> frozenset[Lane]:
        return _LANES_OF_ACTION[self.action]

    @property
    def vendor(self) -> str:
        return "tencent"

    def secrets(self) -> tuple[str, ...]:
        return self.secret_id, self.secret_key

    @model_validator(mode="after")
    def _detailed_where_it_is_known(self) -> Settings:
        if self.detailed and self.action != DETAILED_ACTION:
            raise ValueError(
                f"{self.action} knows no detailed mode: use the action {DETAILED_ACTION}"
            )
        return self

    def build(self, name: str, transport: Transport) -> Tencent:
        return Tencent(
            name=name,
            lanes=frozenset(self.lanes),
            action=self.action,
            endpoint=self.endpoint,
            secret_id=resolve_secret(self.secret_id),
            secret_key=resolve_secret(self.secret_key),
            transport=transport,
            detailed=self.detailed,
        )


class Tencent:
    """One action of FaceID under one account. Keeps the contract of :class:`~.base.Provider`."""

    kind = "tencent"

    def __init__(
        self,
        *,
        name: str,
        lanes: frozenset[Lane],
        action: str,
        endpoint: str,
        secret_id: str,
        secret_key: str,
        transport: Transport,
        detailed: bool = False,
    ) -> None:
        self.name = name
        self.lanes = lanes
        self.checks: frozenset[Check] = frozenset()
        self._secret_id = secret_id
        self._secret_key = secret_key
        self._transport = transport
        self._url = f"{endpoint}/"
        self._host = urlsplit(endpoint).netloc
        self._verify_mode = {"VerifyMode": "1" if detailed else "0"}
        if action != DETAILED_ACTION:
            self._verify_mode = {}
        self._headers = {
            "Host": self._host,
            "Content-Type": CONTENT_TYPE,
            "X-TC-Action": action,
            "X-TC-Version": VERSION,
            "X-TC-Language": "zh-CN",
        }

    def verify(
        self,
        person: Person,
        reference: str,  # noqa: ARG002 - Tencent has no place for it
        deadline: Deadline,
        before_send: Callable[[], bool] | None = None,
    ) -> Answer:
        fields = {
            "IdCard": person.id_number,
            "Name": person.name,
            "Phone": person.phone,
            **self._verify_mode,
        }
        body = json.dumps(fields, ensure_ascii=False).encode()
        headers = self._signed(body, int(time.time()))
        reply = wire.ask(
            lambda: self._transport.request("POST", self._url, headers, body, deadline, before_send)
        )
        return reply if isinstance(reply, Answer) else read(reply)

    def check(
        self,
        check: Check,  # noqa: ARG002
        number: Number,  # noqa: ARG002
        reference: str,  # noqa: ARG002
        deadline: Deadline,  # noqa: ARG002
        before_send: Callable[[], bool] | None = None,  # noqa: ARG002
    ) -> Answer:
        return wire.not_offered()

    def probe(self, deadline: Deadline) -> Probe:
        answer = self.verify(_NOBODY, "probe", deadline)
        return Probe(
            "whose a malformed number is (answered -6, which Tencent does not bill)",
            answer,
            answer.outcome is Outcome.INVALID_INPUT,
        )

    def close(self) -> None:
        self._transport.close()

    def _signed(self, body: bytes, timestamp: int) -> dict[str, str]:
        return self._headers | {
            "X-TC-Timestamp": str(timestamp),
            "Authorization": tc3.authorization(
                secret_id=self._secret_id,
                secret_key=self._secret_key,
                service="faceid",
                host=self._host,
                content_type=CONTENT_TYPE,
                body=body,
                timestamp=timestamp,
            ),
        }


def read(reply: Reply) -> Answer:
    """What a reply means. Only a documented result in an HTTP 200 says anything about a person."""
    response = (reply.json_object() or {}).get("Response")
    if not isinstance(response, dict):
        return wire.answer_to_status(reply)
    if "Error" in response:
        return _read_error(response, reply)
    if reply.status != 200:
        return wire.answer_to_status(reply)
    return _read_result(response, reply)


def _read_error(response: dict[str, Any], reply: Reply) -> Answer:
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


def _read_result(response: dict[str, Any], reply: Reply) -> Answer:
    result = response.get("Result")
    code = code_of(result)  # documented as a string; the number 0 would not be a match
    meaning = (
        code_table("tencent.faceid.PhoneVerification*.Result").exact(code) if code else UNKNOWN_CODE
    )
    billed = Billed.NO
    if meaning is UNKNOWN_CODE:
        billed = Billed.MAYBE
    elif code in _BILLED_RESULTS:
        billed = Billed.YES
    if meaning.outcome is Outcome.MISMATCHED:
        meaning = _which_differs(response.get("ResultDetail"))
    isp = response.get("Isp")
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
    """Told in the detailed mode only. An unknown detail is still a mismatch, of unnamed parts."""
    meaning = code_table("tencent.faceid.PhoneVerification.ResultDetail").exact(detail)
    return _UNNAMED if meaning is UNKNOWN_CODE else meaning
