"""A carrier that speaks CAMARA: kyc-match, and the checks that stand beside it.

``POST /kyc-match/v0.4/match`` with the ID number, its type and the name; the phone number stands in
the request or in the token (:mod:`.camara_tokens`,
:mod:`.camara_consent`). What answers mean: :mod:`.camara_answers` and
:mod:`.camara_checks`. Sources: the OpenAPI files of the CAMARA project (KnowYourCustomerMatch r1.2,
NumberRecycling r2.2, Tenure r2.2, SimSwap r3.3, SubscriptionStatus r1.2).

At most one call of an API is served, so billed: the second one, with a renewed token, follows only
a 401 UNAUTHENTICATED, which refused the first.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from verifier.carriers import (
    base,
    camara_answers,
    camara_checks,
    camara_consent,
    camara_tokens,
    wire,
)
from verifier.carriers.base import Answer, Number, Person, Probe
from verifier.carriers.camara_auth import Signer
from verifier.carriers.camara_checks import Question, RecycledBy
from verifier.carriers.camara_tokens import BeforeSend, Tokens
from verifier.config.common import Endpoint, SecretRef, Url, resolve_secret
from verifier.outcomes import Billed, Check, Fact, Lane, Outcome
from verifier.transport import Deadline, Reply, Transport

Version = Literal["0.4", "0.5", "wip"]


def _check_scope(value: str) -> str:
    if re.fullmatch(r"[!#-\[\]-~]{1,128}", value) is None:  # RFC 6749
        raise ValueError("must be one scope, without a space or a quotation mark")
    if value.startswith("dpv:"):
        raise ValueError("is a purpose: the one purpose stands in the key purpose")
    return value


Scope = Annotated[str, AfterValidator(_check_scope)]

_NOT_IN_A_CORRELATOR: Final = re.compile(r"[^a-zA-Z0-9_:;./<>{}-]")
#: HK, Macao and Taiwan residents; foreigners' numbers begin with 9.
_RESIDENCE_PERMITS: Final = ("810000", "820000", "830000", "9")
#: Nobody's: no number of Beijing (+86 10) begins with 0, and no mobile number with 10.
_NOBODY: Final = Person(phone="10000000000", name="无名", id_number="11010119900307563X")


class Settings(base.Settings):
    """``kind = "camara"``: the APIs of one operator (or of an aggregator of several)."""

    kind: Literal["camara"]
    endpoint: Endpoint = Field(description="apiRoot: what stands before /kyc-match/…")
    version: Version = Field("0.4", description="of kyc-match: the v… of its path")
    auth: Literal["client_credentials", "jwt_bearer", "ciba"] = Field(
        description="the flow agreed with the operator"
    )
    client_id: SecretRef
    private_key: SecretRef = Field(description="PEM: RSA (RS256) or EC P-256 (ES256)")
    key_id: str | None = Field(None, description="kid, if several keys are registered")
    token_endpoint: Url
    authorize_endpoint: Url | None = Field(None, description="ciba: where consent is asked for")
    purpose: Annotated[str, StringConstraints(pattern="^[A-Z][A-Za-z]{1,63}$")] = Field(
        description="the DPV purpose agreed, for instance FraudPreventionAndDetection"
    )
    match_scope: Scope = "kyc-match:match"
    status_scope: Scope = camara_checks.SCOPES["subscription-status"]
    recycled_by: RecycledBy = Field("number-recycling", description="the API behind RECYCLED")
    recycled_scope: Scope | None = Field(None, description="unset: that API's own")

    supported_checks: ClassVar[frozenset[Check]] = frozenset({Check.STATUS, Check.RECYCLED})

    def secrets(self) -> tuple[str, ...]:
        return self.client_id, self.private_key

    @model_validator(mode="after")
    def _flow_fits(self) -> Settings:
        if (self.auth == "ciba") != (self.authorize_endpoint is not None):
            raise ValueError('authorize_endpoint belongs to auth = "ciba", and is needed there')
        if self.auth == "ciba" and self.checks:
            raise ValueError(
                "with ciba each check would send the person a message: "
                "leave checks out, or agree on another flow"
            )
        return self

    def build(self, name: str, transport: Transport) -> Camara:
        return Camara(
            name=name,
            lanes=frozenset(self.lanes),
            checks=frozenset(self.checks),
            endpoint=self.endpoint,
            version=self.version,
            tokens=self._tokens(transport),
            transport=transport,
            match_scope=self.match_scope,
            status_scope=self.status_scope,
            recycled_by=self.recycled_by,
            recycled_scope=self.recycled_scope,
        )

    def _tokens(self, transport: Transport) -> Tokens:
        server = camara_tokens.Server(
            token_endpoint=self.token_endpoint,
            purpose=self.purpose,
            signer=Signer(
                resolve_secret(self.client_id), resolve_secret(self.private_key), self.key_id
            ),
            transport=transport,
        )
        if self.authorize_endpoint is not None:
            return camara_consent.Ciba(server, self.authorize_endpoint)
        if self.auth == "jwt_bearer":
            return camara_consent.JwtBearer(server)
        return camara_tokens.ClientCredentials(server)


class Camara:
    """One operator. Keeps the contract of :class:`~.base.Provider`."""

    kind = "camara"

    def __init__(
        self,
        *,
        name: str,
        lanes: frozenset[Lane],
        endpoint: str,
        tokens: Tokens,
        transport: Transport,
        checks: frozenset[Check] = frozenset(),
        version: Version = "0.4",
        match_scope: str = "kyc-match:match",
        status_scope: str = camara_checks.SCOPES["subscription-status"],
        recycled_by: RecycledBy = "number-recycling",
        recycled_scope: str | None = None,
    ) -> None:
        self.name = name
        self.lanes = lanes
        self.checks = checks
        self._endpoint = endpoint
        self._version = version
        self._tokens = tokens
        self._transport = transport
        self._match_scope = match_scope
        self._recycled_by: RecycledBy = recycled_by
        self._scopes = {
            **camara_checks.SCOPES,
            "subscription-status": status_scope,
        }
        if recycled_scope is not None:
            self._scopes[recycled_by] = recycled_scope

    def verify(
        self,
        person: Person,
        reference: str,
        deadline: Deadline,
        before_send: Callable[[], bool] | None = None,
    ) -> Answer:
        fields = {
            "idDocument": person.id_number,
            "idDocumentType": id_document_type(person.id_number),
            "name": person.name,
        }
        reply = self._call(
            f"/kyc-match/v{self._version}/match",
            self._match_scope,
            person.phone,
            fields,
            reference,
            deadline,
            before_send,
        )
        if isinstance(reply, Answer):
            return reply
        answer = camara_answers.read_match(
            reply, version=self._version, three_legged=self._tokens.three_legged
        )
        return camara_consent.spare_the_person(answer) if self._tokens.prompts else answer

    def check(
        self,
        check: Check,
        number: Number,
        reference: str,
        deadline: Deadline,
        before_send: Callable[[], bool] | None = None,
    ) -> Answer:
        if check not in self.checks:
            return wire.not_offered()
        if check is Check.STATUS:
            question: Question | None = camara_checks.status_question()
        elif number.since is None:
            return wire.not_offered()
        else:
            question = camara_checks.recycled_question(self._recycled_by, number.since, time.time())
        if question is None:
            return Answer(Outcome.CHECKED, fact=Fact.UNKNOWN)
        reply = self._call(
            camara_checks.PATHS[question.api],
            self._scopes[question.api],
            number.phone,
            question.fields,
            reference,
            deadline,
            before_send,
        )
        if isinstance(reply, Answer):
            return camara_answers.without_verdict(reply)
        return camara_checks.read(reply, question, three_legged=self._tokens.three_legged)

    def probe(self, deadline: Deadline) -> Probe:
        answer = self.verify(_NOBODY, "probe", deadline)
        return Probe(
            "whose a number is that nobody can have (refused as unknown, so not a served call)",
            answer,
            answer.outcome.is_result and answer.billed is Billed.NO,
        )

    def close(self) -> None:
        self._transport.close()

    def _call(
        self,
        path: str,
        scope: str,
        phone: str,
        fields: Mapping[str, Any],
        reference: str,
        deadline: Deadline,
        before_send: BeforeSend,
    ) -> Reply | Answer:
        """The reply of an API, or what the call amounts to without one."""
        sent = dict(fields)
        if not self._tokens.three_legged:
            # With a person's token it must be left out: 422 UNNECESSARY_IDENTIFIER, mostly.
            sent["phoneNumber"] = f"+86{phone}"
        body = json.dumps(sent, ensure_ascii=False).encode()
        token = self._tokens.token(phone, scope, deadline, before_send)
        if isinstance(token, Answer):
            return token
        reply = self._post(path, body, token, reference, deadline, before_send)
        if _is_unauthenticated(reply) and self._tokens.renews(scope, token):
            token = self._tokens.token(phone, scope, deadline, before_send)
            if isinstance(token, Answer):
                return token
            reply = self._post(path, body, token, reference, deadline, before_send)
        if isinstance(reply, Answer) and self._tokens.prompts:
            return camara_consent.spare_the_person(reply)
        return reply

    def _post(
        self,
        path: str,
        body: bytes,
        token: str,
        reference: str,
        deadline: Deadline,
        before_send: BeforeSend,
    ) -> Reply | Answer:
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Authorization": f"Bearer {token}",
            "x-correlator": correlator(reference),
        }
        url = f"{self._endpoint}{path}"
        return wire.ask(
            lambda: self._transport.request("POST", url, headers, body, deadline, before_send)
        )


def id_document_type(id_number: str) -> str:
    """The type by the number's own first digits."""
    permit = id_number.startswith(_RESIDENCE_PERMITS)
    return "residence_permit" if permit else "national_id_card"


def correlator(reference: str) -> str:
    """Our attempt's name in the standard's alphabet, at most 256 characters."""
    return _NOT_IN_A_CORRELATOR.sub("", reference)[:256]


def _is_unauthenticated(reply: Reply | Answer) -> bool:
    return (
        isinstance(reply, Reply)
        and reply.status == 401
        and (reply.json_object() or {}).get("code") == "UNAUTHENTICATED"
    )
