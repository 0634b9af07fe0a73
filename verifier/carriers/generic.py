"""A provider described wholly in the configuration, for resellers of the mobile three elements.

``[providers.NAME.verify]`` says what is sent and how the answer is read (:mod:`.generic_call`), and
``[providers.NAME.check.CHECK]`` the same of a check. Nothing of a description is found wrong at
night: templates are compiled and codes held against the vocabulary when the file is read
(:mod:`.generic_faults`), and what a call could still trip over, text without an encoding, is
``INVALID_INPUT/PARAM`` and not sent.

It promises what every kind does. What the description says of the vendor it cannot check: that a
code means what it is said to mean, and what is billed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, ClassVar, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints, ValidationError, model_validator

from verifier.carriers import base, wire
from verifier.carriers.base import Answer, Number, Person, Probe
from verifier.carriers.generic_answer import Reader
from verifier.carriers.generic_call import Call, ProbeCall, said
from verifier.carriers.generic_code_faults import Fault
from verifier.carriers.generic_faults import faults
from verifier.carriers.generic_request import Composer, Values, values
from verifier.config.common import SecretRef, resolve_secret
from verifier.errors import ConfigError
from verifier.outcomes import Billed, Check, Lane, Outcome
from verifier.transport import Deadline, Transport

SecretName = Annotated[str, StringConstraints(pattern="^[a-z][a-z0-9_]{0,39}$")]
MOST_BODY: Final = 64 * 1024  # the transport reads no more
_PLAIN_ENDPOINT: Final = re.compile(r"[!-~]+")


class Settings(base.Settings):
    """``kind = "generic"``: an API described by its tables."""

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)

    kind: Literal["generic"]
    verify: Call | None = None
    check: dict[Check, Call] = Field(default_factory=dict)
    probe: ProbeCall | None = None
    secret_refs: dict[SecretName, SecretRef] = Field(default_factory=dict, alias="secrets")
    vendor_name: str | None = Field(
        None, alias="vendor", pattern="^[a-z][a-z0-9_-]{0,39}$", description="unset: the host's"
    )
    max_body: int = Field(MOST_BODY, ge=256, le=MOST_BODY, description="bytes of an answer")

    #: Of any one it knows those that ``check`` describes: see the faults.
    supported_checks: ClassVar[frozenset[Check]] = frozenset(Check)

    @property
    def vendor(self) -> str:
        return self.vendor_name or super().vendor

    def secrets(self) -> tuple[str, ...]:
        return tuple(self.secret_refs.values())

    @model_validator(mode="after")
    def _sound(self) -> Settings:
        found = self._faults()
        if found:
            raise ValidationError.from_exception_data(
                type(self).__name__,
                [
                    {"type": "value_error", "loc": loc, "input": None, "ctx": {"error": words}}
                    for loc, words in found
                ],
            )
        return self

    def _faults(self) -> list[Fault]:
        found: list[Fault] = []
        names = frozenset(self.secret_refs)
        if _PLAIN_ENDPOINT.fullmatch(self.endpoint) is None or "?" in self.endpoint:
            found.append((("endpoint",), "must be printable ASCII, without a query"))
        if self.lanes and self.verify is None:
            found.append((("verify",), "is missing: it has lanes"))
        if self.verify is not None:
            found += _below(("verify",), faults(self.verify, names, None))
        for check, call in self.check.items():
            found += _below(("check", check.value), faults(call, names, check))
        found += [
            (("check", check.value), "is missing: checks names it")
            for check in self.checks
            if check not in self.check
        ]
        if not found:
            found += _probe_faults(self.probe, self.verify)
        return found

    def build(self, name: str, transport: Transport) -> Generic:
        return Generic(
            name=name,
            lanes=frozenset(self.lanes),
            checks=frozenset(self.checks),
            endpoint=self.endpoint,
            verification=self.verify,
            check_calls=self.check,
            probe=self.probe,
            secrets={key: _secret(key, ref) for key, ref in self.secret_refs.items()},
            max_body=self.max_body,
            transport=transport,
        )


def _below(place: tuple[str, ...], found: Iterable[Fault]) -> list[Fault]:
    return [((*place, *where), text) for where, text in found]


def _probe_faults(probe: ProbeCall | None, call: Call | None) -> list[Fault]:
    """A probe must cost nothing: its answer has to be one that the table says is free."""
    if probe is None:
        return []
    if call is None:
        return [(("probe",), "asks the call in verify, which is missing")]
    free = {
        code
        for code, text in call.errors.items()
        if call.errors_billed.get(code, Billed.NO) is Billed.NO
        and said(text, None).outcome.is_result
    }
    free |= {
        code
        for code, text in call.codes.items()
        if call.billed.get(code, said(text, None).billed) is Billed.NO
    }
    return [
        (("probe", "codes"), f"{code!r} is no free result in codes or errors")
        for code in probe.codes
        if code not in free
    ]


def _secret(name: str, reference: str) -> str:
    value = resolve_secret(reference)
    if not (value.isascii() and value.isprintable()):
        raise ConfigError(
            f"The secret {name} ({reference}) holds a line break or a character beyond ASCII.",
            fix="Write it again without: a line break at its end is easily overlooked.",
        )
    return value


class Generic:
    """One described API under one account. Keeps the contract of :class:`~.base.Provider`."""

    kind = "generic"

    def __init__(
        self,
        *,
        name: str,
        lanes: frozenset[Lane],
        checks: frozenset[Check],
        endpoint: str,
        verification: Call | None,
        check_calls: Mapping[Check, Call],
        probe: ProbeCall | None,
        secrets: Mapping[str, str],
        max_body: int,
        transport: Transport,
    ) -> None:
        self.name = name
        self.lanes = lanes
        self.checks = checks

        def described(call: Call, check: Check | None) -> _Described:
            return _Described(Composer(endpoint, call, secrets), Reader(call, check, max_body))

        self._verification = None if verification is None else described(verification, None)
        self._checks = {
            check: described(call, check) for check, call in check_calls.items() if check in checks
        }
        self._probe = probe
        self._transport = transport

    def verify(
        self,
        person: Person,
        reference: str,
        deadline: Deadline,
        before_send: Callable[[], bool] | None = None,
    ) -> Answer:
        given = values(
            phone=person.phone, name=person.name, id_number=person.id_number, reference=reference
        )
        return self._ask(self._verification, given, deadline, before_send)

    def check(
        self,
        check: Check,
        number: Number,
        reference: str,
        deadline: Deadline,
        before_send: Callable[[], bool] | None = None,
    ) -> Answer:
        if check is Check.RECYCLED and number.since is None:
            return wire.not_offered()  # since when was not said: our own fault
        given = values(phone=number.phone, reference=reference, since=number.since)
        return self._ask(self._checks.get(check), given, deadline, before_send)

    def probe(self, deadline: Deadline) -> Probe:
        if self._probe is None:
            return Probe(
                "nothing: the configuration does not describe a probe",
                Answer(Outcome.NOT_SENT, "PROBE_NOT_DESCRIBED"),
                works=False,
            )
        nobody = Person(self._probe.phone, self._probe.name, self._probe.id_number)
        answer = self.verify(nobody, "probe", deadline)
        return Probe(
            f"who a person is that does not exist (answered {' or '.join(self._probe.codes)}, "
            "free as configured)",
            answer,
            answer.code in self._probe.codes and answer.billed is Billed.NO,
        )

    def close(self) -> None:
        self._transport.close()

    def _ask(
        self,
        described: _Described | None,
        given: Values,
        deadline: Deadline,
        before_send: Callable[[], bool] | None,
    ) -> Answer:
        if described is None:
            return wire.not_offered()
        try:
            ask = described.composer.compose(given)
            reply = wire.ask(
                lambda: self._transport.request(
                    ask.method, ask.url, ask.headers, ask.body, deadline, before_send
                )
            )
        except ValueError:  # text that no request can hold; the transport refuses before it sends
            return wire.not_offered()
        return reply if isinstance(reply, Answer) else described.reader.read(reply)


class _Described:
    """A call: what makes its request, and what reads its answer."""

    __slots__ = ("composer", "reader")

    def __init__(self, composer: Composer, reader: Reader) -> None:
        self.composer = composer
        self.reader = reader
