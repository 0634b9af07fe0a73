"""A CAMARA operator (an aggregator: it knows the customers of all lanes).

kyc-match 0.4 and later, number-recycling 0.2, kyc-tenure 0.2, sim-swap 2.1 and subscription-status
0.1, behind Bearer tokens. Errors are ``{status, code, message}`` with CAMARA's codes; whatever is
served (HTTP 200) is billed. An operator compares what it is sent with its records and refuses no
spelling; numbers that are nobody's, cancelled or never assigned are ``IDENTIFIER_NOT_FOUND``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from verifier.outcomes import Lane
from verifier.sandbox.camara_auth import (
    AUTHORIZE_PATH,
    TOKEN_PATH,
    AuthorizationServer,
    Grant,
    oauth_error,
)
from verifier.sandbox.faults import FaultKind, VendorName
from verifier.sandbox.judge import Found, rule
from verifier.sandbox.knobs import Knobs
from verifier.sandbox.register import Records, RegisterEntry
from verifier.sandbox.wire import Call, Received, Reply, dump

_E164 = re.compile(r"\+[1-9][0-9]{4,14}")
_SHANGHAI = ZoneInfo("Asia/Shanghai")
_OAUTH = {TOKEN_PATH: "token", AUTHORIZE_PATH: "bc-authorize"}
_MESSAGE = "Refused by the sandbox's operator."


@dataclass(frozen=True, slots=True)
class _Api:
    action: str
    scope: str
    #: With a person's token: the body may repeat the number if it is the same one.
    may_repeat_phone: bool = False


_MATCH = _Api("match", "kyc-match:match", may_repeat_phone=True)
APIS = {
    "/kyc-match/v0.4/match": _MATCH,
    "/kyc-match/v0.5/match": _MATCH,
    "/kyc-match/vwip/match": _MATCH,
    "/number-recycling/v0.2/check": _Api("number-recycling", "number-recycling:check"),
    "/kyc-tenure/v0.2/check-tenure": _Api("kyc-tenure", "kyc-tenure:check-tenure"),
    "/sim-swap/v2/check": _Api("sim-swap", "sim-swap:check"),
    "/subscription-status/v0.1/retrive-subscription-status": _Api(
        "subscription-status",
        "subscription-status:retrive-subscription-status",
        may_repeat_phone=True,
    ),
}


class _Refused(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


class Camara:
    """The vendor. What it knows of people is the register's; its tokens are its own."""

    name: VendorName = "camara"

    def __init__(self, credentials: dict[str, str], register: Records) -> None:
        self._server = AuthorizationServer(
            credentials["camara_client_id"], credentials["camara_private_key"]
        )
        self._register = register
        self._answers: dict[str, Callable[[RegisterEntry | None, str, Call], Any]] = {
            "match": self._match,
            "number-recycling": self._recycling,
            "kyc-tenure": self._tenure,
            "sim-swap": self._swap,
            "subscription-status": self._status,
        }
        self.knobs = Knobs()

    @property
    def knobs(self) -> Knobs:
        return self._knobs

    @knobs.setter
    def knobs(self, knobs: Knobs) -> None:
        self._knobs = knobs
        self._server.knobs = knobs

    def speaks(self, received: Received) -> bool:
        return received.path in APIS or received.path in _OAUTH

    def read(self, received: Received) -> Call:
        if received.path in _OAUTH:
            return Call(self.name, _OAUTH[received.path], received)
        try:
            fields = json.loads(received.body)
        except ValueError:
            fields = None
        problem = None if isinstance(fields, dict) else "INVALID_ARGUMENT"
        parameters = fields if isinstance(fields, dict) else {}
        grant = self._server.grant_of(received)
        said = parameters.get("phoneNumber")
        spoken = said.removeprefix("+86") if isinstance(said, str) else None
        id_number = parameters.get("idDocument")
        return Call(
            self.name,
            APIS[received.path].action,
            received,
            parameters,
            phone=grant.phone if grant is not None and grant.phone else spoken,
            id_number=id_number if isinstance(id_number, str) else None,
            reference=received.headers.get("x-correlator"),
            problem=problem,
        )

    def answer(self, call: Call) -> Reply:
        if call.received.path in _OAUTH:
            return self._server.answer(call.received)
        try:
            document = self._serve(call)
        except _Refused as refused:
            return _error(call, refused.status, refused.code)
        code = ",".join(f"{name}:{value}".lower() for name, value in document.items())
        return Reply(200, dump(document), headers=_headers(call), code=code, billed=True)

    def excuse(self, kind: FaultKind, call: Call, /) -> Reply:
        if call.received.path in _OAUTH:
            return _oauth_excuse(kind)
        match kind:
            case FaultKind.RATE_LIMIT:
                return _error(call, 429, "TOO_MANY_REQUESTS")
            case FaultKind.MAINTENANCE:
                return _error(call, 503, "UNAVAILABLE")
            case FaultKind.AUTH:
                return _error(call, 401, "UNAUTHENTICATED")
            case FaultKind.ARREARS:  # CAMARA has no word for it
                return _error(call, 403, "PERMISSION_DENIED")
            case _:
                return _error(call, 400, "NEVER_HEARD_OF")

    def _serve(self, call: Call) -> Mapping[str, Any]:
        grant = self._server.grant_of(call.received)
        if grant is None:
            raise _Refused(401, "UNAUTHENTICATED")
        api = APIS[call.received.path]
        if api.scope not in grant.scopes:
            raise _Refused(403, "PERMISSION_DENIED")
        if call.received.method != "POST":
            raise _Refused(405, "METHOD_NOT_ALLOWED")
        if call.problem is not None:
            raise _Refused(400, call.problem)
        phone = _subject(call, grant, api)
        entry = self._register.get(phone)
        answer: Mapping[str, Any] = self._answers[api.action](entry, phone, call)
        return answer

    def _match(self, entry: RegisterEntry | None, phone: str, call: Call) -> Mapping[str, str]:
        asked = [
            name for name in ("idDocument", "idDocumentType", "name") if name in call.parameters
        ]
        if not all(isinstance(call.parameters[name], str) for name in asked):
            raise _Refused(400, "INVALID_ARGUMENT")
        if not asked:
            raise _Refused(400, "KNOW_YOUR_CUSTOMER.INVALID_PARAM_COMBINATION")
        ruling = rule(
            entry,
            phone=phone,
            name=call.parameters.get("name", ""),
            id_number=call.parameters.get("idDocument", ""),
            today=_today(call),
            settle_days=self.knobs.settle_days,
            covers=frozenset(Lane),
            mask=str,  # compared as they are, and nothing refused
        )
        match ruling.found:
            case Found.MATCH:
                same_id, same_name = "true", "true"
            case Found.NAME_DIFFERS:
                same_id, same_name = "true", "false"
            case Found.ID_DIFFERS:
                same_id, same_name = "false", "true"
            case Found.BOTH_DIFFER:
                same_id, same_name = "false", "false"
            case Found.NO_RECORD if entry is not None and _is_customer(entry):
                same_id, same_name = "not_available", "not_available"  # not filed yet
            case Found.BAD_PHONE if entry is not None:
                raise _Refused(422, "SERVICE_NOT_APPLICABLE")
            case _:
                raise _Refused(404, "IDENTIFIER_NOT_FOUND")
        results = {"idDocument": same_id, "idDocumentType": same_id, "name": same_name}
        return {f"{name}Match": results[name] for name in asked}

    def _recycling(self, entry: RegisterEntry | None, _phone: str, call: Call) -> Any:
        day, known = _day(call, "specifiedDate"), _customer(entry)
        return {"phoneNumberRecycled": bool(known.since) and date.fromisoformat(known.since) > day}

    def _tenure(self, entry: RegisterEntry | None, _phone: str, call: Call) -> Any:
        day, known = _day(call, "tenureDate"), _customer(entry)
        held = not known.since or date.fromisoformat(known.since) <= day
        return {"tenureDateCheck": held, "contractType": "PAYM"}

    def _swap(self, entry: RegisterEntry | None, _phone: str, call: Call) -> Any:
        hours = call.parameters.get("maxAge", 240)
        if isinstance(hours, bool) or not isinstance(hours, int):
            raise _Refused(400, "INVALID_ARGUMENT")
        if not 1 <= hours <= 2400:
            raise _Refused(400, "OUT_OF_RANGE")
        known = _customer(entry)
        if not known.since:
            return {"swapped": False}
        activated = datetime.fromisoformat(known.since).replace(tzinfo=_SHANGHAI).timestamp()
        return {"swapped": call.received.at - activated < hours * 3600}

    def _status(self, entry: RegisterEntry | None, _phone: str, _call: Call) -> Any:
        state = "suspended" if _customer(entry).status == "suspended" else "active"
        return {"voiceSmsIn": state, "voiceSmsOut": state, "dataService": state}


def _subject(call: Call, grant: Grant, api: _Api) -> str:
    """Whose number it is about (national form), by the rules for two and three legs."""
    said = call.parameters.get("phoneNumber")
    if said is not None and (not isinstance(said, str) or not _E164.fullmatch(said)):
        raise _Refused(400, "INVALID_ARGUMENT")
    if grant.phone is None:
        if said is None:
            raise _Refused(422, "MISSING_IDENTIFIER")
        return str(said).removeprefix("+86")
    if said is not None and not api.may_repeat_phone:
        raise _Refused(422, "UNNECESSARY_IDENTIFIER")
    if said is not None and said != f"+86{grant.phone}":
        raise _Refused(403, "INVALID_TOKEN_CONTEXT")
    return grant.phone


def _is_customer(entry: RegisterEntry) -> bool:
    return entry.status not in {"cancelled", "empty"}


def _customer(entry: RegisterEntry | None) -> RegisterEntry:
    if entry is None or not _is_customer(entry):
        raise _Refused(404, "IDENTIFIER_NOT_FOUND")
    return entry


def _day(call: Call, name: str) -> date:
    try:
        day = date.fromisoformat(call.parameters.get(name, ""))
    except (TypeError, ValueError):
        raise _Refused(400, "INVALID_ARGUMENT") from None
    if day > _today(call):
        raise _Refused(400, "OUT_OF_RANGE")
    return day


def _today(call: Call) -> date:
    return datetime.fromtimestamp(call.received.at, _SHANGHAI).date()


def _headers(call: Call) -> dict[str, str]:
    return {"x-correlator": call.reference or str(uuid4())}


def _error(call: Call, status: int, code: str) -> Reply:
    document = {"status": status, "code": code, "message": _MESSAGE}
    return Reply(status, dump(document), headers=_headers(call), code=code)


def _oauth_excuse(kind: FaultKind) -> Reply:
    match kind:
        case FaultKind.RATE_LIMIT:
            return oauth_error("slow_down", 429)
        case FaultKind.MAINTENANCE:
            return oauth_error("temporarily_unavailable", 503)
        case FaultKind.AUTH:
            return oauth_error("invalid_client", 401)
        case FaultKind.ARREARS:
            return oauth_error("unauthorized_client")
        case _:
            return oauth_error("never_heard_of")
