"""Tencent Cloud FaceID 2018-03-01: PhoneVerification and its editions, and two checks of a number.

Tencent takes no reference of ours and dedupes nothing: a call repeated is a call billed twice. What
goes over the wire is in :mod:`.tencent_client`, what replies mean in :mod:`.tencent_reading` and
:mod:`.tencent_checks`, what may stand in place of personal data in :mod:`.tencent_fields`.

The carrier editions (…CMCC, …CUCC, …CTCC) take the same three elements, know no detailed mode, and
may be wrong about a number that changed carriers. The checks go to the same account as other
actions; Tencent allows 20 calls a second of each action (1007/31320).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any, ClassVar, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from verifier.carriers import base, tencent_checks, tencent_reading, wire
from verifier.carriers.base import Answer, Number, Person, Probe
from verifier.carriers.tencent_client import FaceId
from verifier.carriers.tencent_fields import Digest, FieldCipher, digested, public_key
from verifier.config.common import Endpoint, SecretRef, resolve_secret
from verifier.errors import ConfigError
from verifier.outcomes import Check, Lane, Outcome
from verifier.transport import Deadline, Transport

DETAILED_ACTION = "PhoneVerification"
DIGEST_ACTION = "EncryptedPhoneVerification"

_SHANGHAI: Final = ZoneInfo("Asia/Shanghai")
_BIG_THREE: Final = frozenset({Lane.CMCC, Lane.CUCC, Lane.CTCC})
_LANES_OF_ACTION: Final = {
    "PhoneVerification": _BIG_THREE,
    "PhoneVerificationCMCC": frozenset({Lane.CMCC}),
    "PhoneVerificationCUCC": frozenset({Lane.CUCC}),
    "PhoneVerificationCTCC": frozenset({Lane.CTCC}),
    "EncryptedPhoneVerification": _BIG_THREE,
}
#: Half of a surrogate pair is no text: there is nothing that could be sent.
_UNSENDABLE: Final = Answer(Outcome.INVALID_INPUT, "PARAM")
#: Nobody's: no number begins with 100, and the check digit of this ID number would be X.
_NOBODY: Final = Person(phone="10000000000", name="无名", id_number="110101199003075630")
#: What Tencent may answer about nobody, by action: none of it is billed.
_OF_NOBODY: Final = {
    DIGEST_ACTION: frozenset({"-7", "-8", "-9"}),
    tencent_checks.STATUS: frozenset({"-1", "-2", "-13"}),
    tencent_checks.NETWORK_TIME: frozenset({"-1", "-13"}),
}
_OF_NOBODYS_ELEMENTS: Final = frozenset({"-6", "-7", "-8", "-9", "-13"})


class Settings(base.Settings):
    """``kind = "tencent"``: one action of FaceID under one account, and the checks beside it."""

    kind: Literal["tencent"]
    action: Literal[
        "PhoneVerification",
        "PhoneVerificationCMCC",
        "PhoneVerificationCUCC",
        "PhoneVerificationCTCC",
        "EncryptedPhoneVerification",
    ] = "PhoneVerification"
    endpoint: Endpoint = "https://faceid.tencentcloudapi.com"
    secret_id: SecretRef
    secret_key: SecretRef
    detailed: bool = Field(False, description="VerifyMode 1: says which element differs, dearer")
    encrypt: bool = Field(False, description="AES-256-CBC over the personal data, within TLS")
    encryption_key: SecretRef | None = Field(None, description="Tencent's RSA public key, PEM")
    digest: Digest = Field("sha256", description="what EncryptedPhoneVerification is sent")

    supported_checks: ClassVar[frozenset[Check]] = frozenset(tencent_checks.ACTION_OF)

    @property
    def reaches(self) -> frozenset[Lane]:
        return _LANES_OF_ACTION[self.action]

    @property
    def vendor(self) -> str:
        return "tencent"

    def secrets(self) -> tuple[str, ...]:
        key = () if self.encryption_key is None else (self.encryption_key,)
        return self.secret_id, self.secret_key, *key

    @model_validator(mode="after")
    def _detailed_where_it_is_known(self) -> Settings:
        if self.detailed and self.action != DETAILED_ACTION:
            raise ValueError(
                f"{self.action} knows no detailed mode: use the action {DETAILED_ACTION}"
            )
        return self

    @model_validator(mode="after")
    def _encrypted_or_digested(self) -> Settings:
        if self.encrypt and self.encryption_key is None:
            raise ValueError("encrypt needs encryption_key: Tencent's RSA public key")
        if not self.encrypt and self.encryption_key is not None:
            raise ValueError("there is an encryption_key, but nothing is encrypted: encrypt = true")
        if self.encrypt and self.action == DIGEST_ACTION:
            raise ValueError(f"{DIGEST_ACTION} takes digests, which cannot be encrypted as well")
        if "digest" in self.model_fields_set and self.action != DIGEST_ACTION:
            raise ValueError(f"{self.action} takes no digests: use the action {DIGEST_ACTION}")
        return self

    def build(self, name: str, transport: Transport) -> Tencent:
        return Tencent(
            name=name,
            lanes=frozenset(self.lanes),
            checks=frozenset(self.checks),
            action=self.action,
            endpoint=self.endpoint,
            secret_id=resolve_secret(self.secret_id),
            secret_key=resolve_secret(self.secret_key),
            transport=transport,
            detailed=self.detailed,
            digest=self.digest,
            cipher=self._cipher(name),
        )

    def _cipher(self, name: str) -> FieldCipher | None:
        if self.encryption_key is None:
            return None
        try:
            return FieldCipher(public_key(resolve_secret(self.encryption_key)))
        except ValueError as error:
            raise ConfigError(
                f"providers.{name}: the encryption_key cannot be used: {error}.",
                fix="Copy the RSA public key for AES-256-CBC from the FaceID console.",
            ) from None


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
        checks: frozenset[Check] = frozenset(),
        detailed: bool = False,
        digest: Digest = "sha256",
        cipher: FieldCipher | None = None,
    ) -> None:
        self.name = name
        self.lanes = lanes
        self.checks = checks
        self._action = action
        self._faceid = FaceId(
            endpoint=endpoint, secret_id=secret_id, secret_key=secret_key, transport=transport
        )
        self._detailed = detailed
        self._digest: Digest = digest
        self._cipher = cipher

    def verify(
        self,
        person: Person,
        reference: str,  # noqa: ARG002 - Tencent has no place for it
        deadline: Deadline,
        before_send: Callable[[], bool] | None = None,
    ) -> Answer:
        try:
            parameters = self._elements(person)
        except UnicodeEncodeError:
            return _UNSENDABLE
        reply = self._faceid.ask(self._action, parameters, deadline, before_send)
        if isinstance(reply, Answer):
            return reply
        return tencent_reading.verification(reply, self._action, detailed=self._detailed)

    def check(
        self,
        check: Check,
        number: Number,
        reference: str,  # noqa: ARG002
        deadline: Deadline,
        before_send: Callable[[], bool] | None = None,
    ) -> Answer:
        """Without the day to compare with, ``RECYCLED`` would be paid for and say nothing."""
        if check not in self.checks or (check is Check.RECYCLED and number.since is None):
            return wire.not_offered()
        return self._check(check, number, deadline, before_send)

    def probe(self, deadline: Deadline) -> Probe:
        """Asks what the provider is there for: an account may have one action and not another."""
        if self.lanes:
            answer, action = self.verify(_NOBODY, "probe", deadline), self._action
            asked = "whose the number 10000000000 is, which cannot exist (a refusal is not billed)"
        else:
            check = Check.STATUS if Check.STATUS in self.checks else Check.RECYCLED
            number = Number(_NOBODY.phone, since=_today())
            answer, action = self._check(check, number, deadline, None), _action_of(check)
            asked = f"{action} of 10000000000, which is no number (a refusal is not billed)"
        return Probe(asked, answer, answer.code in _OF_NOBODY.get(action, _OF_NOBODYS_ELEMENTS))

    def close(self) -> None:
        self._faceid.close()

    def _check(
        self,
        check: Check,
        number: Number,
        deadline: Deadline,
        before_send: Callable[[], bool] | None,
    ) -> Answer:
        try:
            parameters = self._sealed({"Mobile": number.phone}, nested=True)
        except UnicodeEncodeError:
            return _UNSENDABLE
        reply = self._faceid.ask(_action_of(check), parameters, deadline, before_send)
        if isinstance(reply, Answer):
            return reply
        if check is Check.STATUS:
            return tencent_checks.status(reply)
        return tencent_checks.network_time(reply, number.since or _today(), _today())

    def _elements(self, person: Person) -> Mapping[str, Any]:
        elements = {"IdCard": person.id_number, "Name": person.name, "Phone": person.phone}
        if self._action == DIGEST_ACTION:
            return digested(elements, self._digest)
        if self._action != DETAILED_ACTION:
            return self._sealed(elements, nested=True)
        mode = {"VerifyMode": "1" if self._detailed else "0"}
        return mode | self._sealed(elements, nested=False)

    def _sealed(self, fields: dict[str, str], *, nested: bool) -> dict[str, Any]:
        for value in fields.values():
            value.encode()  # here, so that clear and encrypted text fail alike
        return fields if self._cipher is None else self._cipher.sealed(fields, nested=nested)


def _action_of(check: Check) -> str:
    return tencent_checks.ACTION_OF[check]


def _today() -> date:
    return datetime.now(_SHANGHAI).date()
