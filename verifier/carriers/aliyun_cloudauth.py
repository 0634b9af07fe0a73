"""Alibaba Cloud cloudauth (2019-03-07): the mobile three elements, and two checks of a number.

``POST /`` with a form, signed by ACS3. Whatever the product says comes in HTTP 200 with a ``Code``
that looks like an HTTP status and is none: "401" is an invalid parameter, "403" too many calls
about one number. Billed are BizCode "1" and "2" (something was found), never "3".

Two traps. With ``mask = "md5"`` the vendor sees digests: it cannot tell a malformed ID number from
a wrong one. And a number that changed carriers counts as new where it went, so that
``MobileRecycledMetaVerify`` may take a ported number for a recycled one.

Sources: the vendor's client library 3.14.0 (parameters, result codes, billing), and its documents
error-code-info-check and second-release-verification-of-mobile-phone-number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final, Literal

from pydantic import Field

from verifier.carriers import acs, base, wire
from verifier.carriers.base import Answer, Number, Person, Probe
from verifier.config.common import Endpoint, SecretRef, resolve_secret
from verifier.outcomes import UNKNOWN_CODE, Billed, Check, Lane, Meaning, Outcome, code_table
from verifier.transport import Deadline, Reply, Transport
from verifier.transport.reply import code_of

VERSION: Final = "2019-03-07"
STATUS_ACTION: Final = "MobileOnlineStatus"
RECYCLED_ACTION: Final = "MobileRecycledMetaVerify"

#: Action → the table of its results. The simple actions have no SubCode.
_TABLE_OF_ACTION: Final = {
    "Mobile3MetaDetailVerify": "aliyun.cloudauth.Mobile3Meta.SubCode",
    "Mobile3MetaSimpleVerify": "aliyun.cloudauth.Mobile3MetaSimple.BizCode",
    "Mobile3MetaDetailStandardVerify": "aliyun.cloudauth.Mobile3Meta.SubCode",
    "Mobile3MetaSimpleStandardVerify": "aliyun.cloudauth.Mobile3MetaSimple.BizCode",
    STATUS_ACTION: "aliyun.cloudauth.MobileOnlineStatus.SubCode",
    RECYCLED_ACTION: "aliyun.cloudauth.MobileRecycledMetaVerify.SubCode",
}
_BILLED: Final = frozenset({"1", "2"})
#: Nobody's: sent in clear, so that the vendor refuses it ("401") before it asks anybody.
_NOBODY: Final = Person(phone="10000000000", name="无名", id_number="11010119900307563X")

_SOURCE_IS_AWAY: Final = ("authoritative source", "权威源")
_ACCOUNT_IS_BARRED: Final = ("security policy", "安全策略", "permission", "权限")


class Settings(base.Settings):
    """``kind = "aliyun_cloudauth"``: one action of cloudauth under one account."""

    kind: Literal["aliyun_cloudauth"]
    action: Literal[
        "Mobile3MetaDetailVerify",
        "Mobile3MetaSimpleVerify",
        "Mobile3MetaDetailStandardVerify",
        "Mobile3MetaSimpleStandardVerify",
    ] = Field("Mobile3MetaDetailVerify", description="Detail says which element differs")
    endpoint: Endpoint = "https://cloudauth.aliyuncs.com"
    key_id: SecretRef
    key_secret: SecretRef
    mask: Literal["md5", "normal"] = Field(
        "md5",
        description="md5: personal data leaves as digests, and the vendor cannot say that a name "
        "or an ID number is malformed; normal: in clear, in the body of the request",
    )

    supported_checks: ClassVar[frozenset[Check]] = frozenset({Check.STATUS, Check.RECYCLED})

    @property
    def reaches(self) -> frozenset[Lane]:
        return acs.BIG_THREE | ({Lane.CBN} if "Standard" in self.action else frozenset())

    @property
    def vendor(self) -> str:
        return acs.VENDOR

    def secrets(self) -> tuple[str, ...]:
        return self.key_id, self.key_secret

    def build(self, name: str, transport: Transport) -> AliyunCloudauth:
        return AliyunCloudauth(
            name=name,
            lanes=frozenset(self.lanes),
            checks=frozenset(self.checks),
            action=self.action,
            endpoint=self.endpoint,
            key_id=resolve_secret(self.key_id),
            key_secret=resolve_secret(self.key_secret),
            transport=transport,
            mask=self.mask,
        )


class AliyunCloudauth:
    """One action of cloudauth under one account. Keeps the contract of :class:`~.base.Provider`."""

    kind = "aliyun_cloudauth"

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
        transport: Transport,
        mask: Literal["md5", "normal"] = "md5",
    ) -> None:
        self.name = name
        self.lanes = lanes
        self.checks = checks
        self._action = action
        self._mask = mask
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
        fields = {
            "ParamType": self._mask,
            "IdentifyNum": self._masked(person.id_number),
            "UserName": self._masked(person.name),
            "Mobile": self._masked(person.phone),
        }
        answered = self._ask(self._action, fields, "form", deadline, before_send)
        return acs.of_a_document(answered, person.id_number)

    def check(
        self,
        check: Check,
        number: Number,
        reference: str,  # noqa: ARG002
        deadline: Deadline,
        before_send: Callable[[], bool] | None = None,
    ) -> Answer:
        if check not in self.checks:
            return wire.not_offered()
        fields = {"ParamType": self._mask, "Mobile": self._masked(number.phone)}
        if check is Check.STATUS:
            answered = self._ask(STATUS_ACTION, fields, "form", deadline, before_send)
            return acs.of_a_check(answered)
        if check is not Check.RECYCLED or number.since is None:
            return wire.not_offered()  # without a day there is no question
        fields["RegisterDate"] = number.since.isoformat().replace("-", "")
        # The one action whose parameters the vendor's library puts into the URL. A digest may
        # stand there, a phone number may not.
        place: Literal["form", "query"] = "query" if self._mask == "md5" else "form"
        return acs.of_a_check(self._ask(RECYCLED_ACTION, fields, place, deadline, before_send))

    def probe(self, deadline: Deadline) -> Probe:
        fields = {
            "ParamType": "normal",
            "IdentifyNum": _NOBODY.id_number,
            "UserName": _NOBODY.name,
            "Mobile": _NOBODY.phone,
        }
        answered = self._ask(self._action, fields, "form", deadline)
        return Probe(
            "whose a malformed number is (refused as 401; only BizCode 1 and 2 are billed)",
            answered,
            answered.outcome is Outcome.INVALID_INPUT,
        )

    def close(self) -> None:
        self._caller.close()

    def _masked(self, value: str) -> str:
        return value if self._mask == "normal" else acs.digest(value, "md5")

    def _ask(
        self,
        action: str,
        fields: dict[str, str],
        place: Literal["form", "query"],
        deadline: Deadline,
        before_send: Callable[[], bool] | None = None,
    ) -> Answer:
        reply = self._caller.call(action, fields, place, deadline, before_send)
        return reply if isinstance(reply, Answer) else read(reply, action)


def read(reply: Reply, action: str) -> Answer:
    """What a reply to ``action`` means. Only BizCode and SubCode under Code "200" say anything
    about a person, and only if they agree with each other."""
    body = reply.json_object() or {}
    if reply.status != 200:
        return acs.refused(reply, body)
    code, request_id = code_of(body.get("Code")), body.get("RequestId")
    if code is None:
        return wire.answer_to_status(reply)
    if code != "200":
        meaning = code_table("aliyun.cloudauth.Code").exact(code)
        if code == "402":
            meaning = meaning_of_402(body.get("Message"))
        return acs.answer(meaning, reply, code, request_id)
    found = body.get("ResultObject")
    if not isinstance(found, dict):
        return acs.answer(UNKNOWN_CODE, reply, code, request_id)
    table = code_table(_TABLE_OF_ACTION[action])
    biz, isp = code_of(found.get("BizCode")), found.get("IspName")
    result = biz if table.name.endswith("BizCode") else code_of(found.get("SubCode"))
    meaning = table.exact(result) if result else UNKNOWN_CODE
    if result is not None and result[:1] != biz:  # 1xx belongs to 1, 2xx to 2, 301 to 3
        meaning = UNKNOWN_CODE
    return acs.answer(
        meaning,
        reply,
        result,
        request_id,
        billed=Billed.YES if biz in _BILLED else Billed.NO,
        carrier=acs.CARRIERS.get(isp) if isinstance(isp, str) else None,
    )


def meaning_of_402(message: object) -> Meaning:
    """One code for two things: the carriers' source is away, or our account may not ask.

    The document lists "Authoritative source service unavailable" (权威源服务异常), "Security
    policy restriction" and "No permission to call". Whatever else it says is taken for an outage:
    that mends itself, while a provider suspended for a misread text waits for a person.
    """
    text = message[:512].lower() if isinstance(message, str) else ""
    if not any(words in text for words in _SOURCE_IS_AWAY) and any(
        words in text for words in _ACCOUNT_IS_BARRED
    ):
        return Meaning(Outcome.AUTH_CONFIG)
    return code_table("aliyun.cloudauth.Code").exact("402")
