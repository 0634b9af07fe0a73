"""Alibaba Cloud dytns (2020-02-17): the mobile three elements, and three checks of a number.

``POST /`` with the parameters in the URL, signed by ACS3: that is how the vendor's client library
sends them, and why they are digests wherever the API takes digests. What must be sent in clear goes
into the body instead. ``VirtualThreeElementsVerification`` takes nothing but clear text.

Traps. ``IsConsistent`` 0 and 2 are swapped between the two verifications, and billed accordingly:
ThreeElements unless 2, Virtual unless 0 ("not found", both). China Unicom answers "inconsistent"
for cancelled and empty numbers, where the others answer "not found": its mismatch wants a status
check before a person is told anything. Records are one to three days old.

``BasicCarrier`` is not reported as the answer's carrier. The vendor's documents say of it both
that it is the carrier of the segment and that it is the one after porting; a lane that may be the
one a number has left would send the next call astray. ``Carrier`` of the checks is the present one.

Sources: the vendor's client library 3.4.0 (parameters, value spellings, billing), and its documents
433414, 440028, 453355, 437185, 250782 and "Public error codes".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Literal

from pydantic import Field, model_validator

from verifier.carriers import acs, base, wire
from verifier.carriers.base import Answer, Number, Person, Probe
from verifier.config.common import Endpoint, SecretRef, resolve_secret
from verifier.outcomes import UNKNOWN_CODE, Billed, Check, Fact, Lane, Meaning, Outcome, code_table
from verifier.transport import Deadline, Reply, Transport
from verifier.transport.reply import code_of

VERSION: Final = "2020-02-17"
VERIFY_ACTION: Final = "ThreeElementsVerification"
VIRTUAL_ACTION: Final = "VirtualThreeElementsVerification"
CARRIER_ACTION: Final = "DescribePhoneNumberOperatorAttribute"
RECYCLED_ACTION: Final = "DescribePhoneTwiceTelVerify"
STATUS_ACTION: Final = "PhoneNumberStatusForReal"
_ACTION_OF_CHECK: Final = {
    Check.CARRIER: CARRIER_ACTION,
    Check.RECYCLED: RECYCLED_ACTION,
    Check.STATUS: STATUS_ACTION,
}
#: Action → the field of ``Data`` that holds the result, its type, its table, and the one value
#: that is free. An action of its own has a table of its own: 0 and 2 mean each other's opposite.
_RESULTS: Final[dict[str, tuple[str, type, str, str]]] = {
    VERIFY_ACTION: (
        "IsConsistent",
        int,
        "aliyun.dytns.ThreeElementsVerification.IsConsistent",
        "2",
    ),
    VIRTUAL_ACTION: (
        "IsConsistent",
        int,
        "aliyun.dytns.VirtualThreeElementsVerification.IsConsistent",
        "0",
    ),
    RECYCLED_ACTION: (
        "VerifyResult",
        str,
        "aliyun.dytns.DescribePhoneTwiceTelVerify.VerifyResult",
        "0",
    ),
    # That UNKNOWN is free is documented for its forerunner DescribePhoneNumberStatus.
    STATUS_ACTION: ("Status", str, "aliyun.dytns.PhoneNumberStatusForReal.Status", "UNKNOWN"),
}
#: As DescribePhoneNumberOperatorAttribute spells them, in Chinese and in the client library.
_BASIC_CARRIERS: Final = {
    "中国移动": Lane.CMCC,
    "中国联通": Lane.CUCC,
    "中国电信": Lane.CTCC,
    "中国广电": Lane.CBN,
    "China Mobile": Lane.CMCC,
    "China Unicom": Lane.CUCC,
    "China Telecom": Lane.CTCC,
    "China Broadnet": Lane.CBN,
}
#: The segments of virtual operators, as VirtualThreeElementsVerification documents them.
_VIRTUAL_SEGMENT: Final = re.compile(r"(?:162|165|167|170|171)[0-9]{8}")
_CODES: Final = "aliyun.dytns.Code"
#: Refused as MobileNumberIllegal or MobileNumberTypeNotMatch, with any mask; charged is Code "OK".
_NO_NUMBER: Final = "0"

Mask = Literal["SHA256", "MD5", "NORMAL"]


class Settings(base.Settings):
    """``kind = "aliyun_dytns"``: one verification and some checks under one account."""

    kind: Literal["aliyun_dytns"]
    action: Literal["ThreeElementsVerification", "VirtualThreeElementsVerification"] = Field(
        "ThreeElementsVerification", description="Virtual: for virtual operators' numbers only"
    )
    endpoint: Endpoint = "https://dytnsapi.aliyuncs.com"
    key_id: SecretRef
    key_secret: SecretRef
    auth_code: SecretRef = Field(description="of the approved application for the action")
    check_auth_codes: dict[Check, SecretRef] = Field(
        default_factory=dict,
        description="of the application for a check, where it is another one: the vendor approves "
        "each use of an API on its own",
    )
    mask: Mask = Field(
        "SHA256",
        description="how names and numbers are sent; VirtualThreeElementsVerification takes them "
        "in clear only, whatever this says. Masked, the vendor cannot say what is malformed",
    )

    supported_checks: ClassVar[frozenset[Check]] = frozenset(_ACTION_OF_CHECK)

    @property
    def reaches(self) -> frozenset[Lane]:
        return frozenset({Lane.MVNO}) if self.action == VIRTUAL_ACTION else acs.BIG_THREE

    @property
    def vendor(self) -> str:
        return acs.VENDOR

    def secrets(self) -> tuple[str, ...]:
        return self.key_id, self.key_secret, self.auth_code, *self.check_auth_codes.values()

    @model_validator(mode="after")
    def _codes_for_its_checks(self) -> Settings:
        for check in self.check_auth_codes:
            if check not in self.checks:
                raise ValueError(f"check_auth_codes has a code for {check}, which is no check here")
        return self

    def build(self, name: str, transport: Transport) -> AliyunDytns:
        return AliyunDytns(
            name=name,
            lanes=frozenset(self.lanes),
            checks=frozenset(self.checks),
            action=self.action,
            endpoint=self.endpoint,
            key_id=resolve_secret(self.key_id),
            key_secret=resolve_secret(self.key_secret),
            auth_code=resolve_secret(self.auth_code),
            check_auth_codes={c: resolve_secret(r) for c, r in self.check_auth_codes.items()},
            transport=transport,
            mask=self.mask,
        )


class AliyunDytns:
    """One verification of dytns and its checks. Keeps the contract of :class:`~.base.Provider`."""

    kind = "aliyun_dytns"

    def __init__(
        self,
        *,
        name: str,
        lanes: frozenset[Lane],
        checks: frozenset[Check],
        action: str,
        endpoint: str,
        key_id: str,
        key_secret: str,
        auth_code: str,
        transport: Transport,
        check_auth_codes: Mapping[Check, str] | None = None,
        mask: Mask = "SHA256",
    ) -> None:
        self.name = name
        self.lanes = lanes
        self.checks = checks
        self._action = action
        self._auth_code = auth_code
        self._check_auth_codes = dict(check_auth_codes or {})
        self._mask = mask
        self._verify_mask: Mask = "NORMAL" if action == VIRTUAL_ACTION else mask
        self._caller = acs.Caller(
            endpoint=endpoint,
            version=VERSION,
            key_id=key_id,
            key_secret=key_secret,
            transport=transport,
        )

    def verify(
        self,
        person: Person,
        reference: str,  # noqa: ARG002 - the product has no place for it
        deadline: Deadline,
        before_send: Callable[[], bool] | None = None,
    ) -> Answer:
        mask = self._verify_mask
        fields = self._elements(
            masked(person.phone, mask), masked(person.name, mask), masked(person.id_number, mask)
        )
        answered = self._ask(self._action, fields, person.phone, deadline, before_send)
        return acs.of_a_document(answered, person.id_number)

    def check(
        self,
        check: Check,
        number: Number,
        reference: str,  # noqa: ARG002
        deadline: Deadline,
        before_send: Callable[[], bool] | None = None,
    ) -> Answer:
        if check not in self.checks or (check is Check.RECYCLED and number.since is None):
            return wire.not_offered()  # without a day there is no question
        fields = self._about(check, masked(number.phone, self._mask))
        if check is Check.RECYCLED and number.since is not None:
            # The day's end: who got the number and signed up on one day is the same person.
            fields["StartTime"] = f"{number.since.isoformat()} 23:59:59"
        action = _ACTION_OF_CHECK[check]
        return acs.of_a_check(self._ask(action, fields, number.phone, deadline, before_send))

    def probe(self, deadline: Deadline) -> Probe:
        if self.lanes or not self.checks:
            nobody = masked("无名", self._verify_mask)
            fields = self._elements(_NO_NUMBER, nobody, nobody)
            answered = self._ask(self._action, fields, _NO_NUMBER, deadline)
        else:  # its authorization code may not be good for the verification
            check = min(self.checks)
            fields = self._about(check, _NO_NUMBER)
            if check is Check.RECYCLED:
                fields["StartTime"] = "2020-01-01 00:00:00"
            answered = self._ask(_ACTION_OF_CHECK[check], fields, _NO_NUMBER, deadline)
        return Probe(
            "whose a malformed number is (refused; only answers with the code OK are billed)",
            answered,
            answered.outcome is Outcome.INVALID_INPUT,
        )

    def close(self) -> None:
        self._caller.close()

    def _elements(self, phone: str, name: str, id_number: str) -> dict[str, str]:
        return {
            "AuthCode": self._auth_code,
            "InputNumber": phone,
            "CertCode": id_number,
            "CertName" if self._action == VIRTUAL_ACTION else "Name": name,
            "Mask": self._verify_mask,
        }

    def _about(self, check: Check, phone: str) -> dict[str, str]:
        code = self._check_auth_codes.get(check, self._auth_code)
        return {"AuthCode": code, "InputNumber": phone, "Mask": self._mask}

    def _ask(
        self,
        action: str,
        fields: dict[str, str],
        phone: str,
        deadline: Deadline,
        before_send: Callable[[], bool] | None = None,
    ) -> Answer:
        place: Literal["form", "query"] = "form" if fields["Mask"] == "NORMAL" else "query"
        reply = self._caller.call(action, fields, place, deadline, before_send)
        return reply if isinstance(reply, Answer) else read(reply, action, phone)


def masked(value: str, mask: Mask) -> str:
    match mask:
        case "NORMAL":
            return value
        case "MD5":
            return acs.digest(value, "md5")
        case "SHA256":
            return acs.digest(value, "sha256")


def read(reply: Reply, action: str, phone: str) -> Answer:
    """What a reply to ``action`` means. ``phone``: of whom it was asked, for the carrier check.

    The vendor refuses parameters and authorization codes with its own codes in HTTP 400."""
    body = reply.json_object() or {}
    if reply.status != 200:
        return acs.refused(reply, body, _CODES)
    code, request_id = code_of(body.get("Code")), body.get("RequestId")
    if code is None:
        return wire.answer_to_status(reply)
    if code != "OK":
        return acs.answer(code_table(_CODES).exact(code), reply, code, request_id)
    data = body.get("Data")
    if not isinstance(data, dict):
        return acs.answer(UNKNOWN_CODE, reply, code, request_id)
    if action == CARRIER_ACTION:
        lane = serving(data, phone)
        fact = Fact.CARRIER if lane else Fact.UNKNOWN
        meaning = Meaning(Outcome.CHECKED, fact)
        return acs.answer(meaning, reply, code, request_id, billed=Billed.YES, carrier=lane)
    field, kind, table, free = _RESULTS[action]
    value = data.get(field)
    # The type as documented: neither true nor 1.0 is the integer 1, and "1" is not either.
    result = code_of(str(value)) if type(value) is kind else None
    carrier = data.get("Carrier")
    return acs.answer(
        code_table(table).exact(result) if result else UNKNOWN_CODE,
        reply,
        result,
        request_id,
        billed=Billed.NO if result == free else Billed.YES,
        carrier=acs.CARRIERS.get(carrier) if isinstance(carrier, str) else None,
    )


def serving(data: Mapping[str, Any], phone: str) -> Lane | None:
    """Who carries a number now, or None where the answer cannot be told for certain.

    ``Carrier`` names one of the four, or a virtual operator by any of its trade names. There is no
    list of those, so a name that is none of the four is believed to be one only about a number of
    their segments (which cannot be ported) with a known carrier beneath.
    """
    carrier, basic = data.get("Carrier"), data.get("BasicCarrier")
    if not isinstance(carrier, str) or not isinstance(basic, str):
        return None
    if carrier in _BASIC_CARRIERS:
        return _BASIC_CARRIERS[carrier]
    is_virtual = _VIRTUAL_SEGMENT.fullmatch(phone) and data.get("IsNumberPortability") is False
    return Lane.MVNO if is_virtual and carrier.strip() and basic in _BASIC_CARRIERS else None
