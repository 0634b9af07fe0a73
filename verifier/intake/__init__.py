"""Users in: check, encrypt, and put into the store what is new or changed.

Comparison is by keyed digest, never by ciphertext, so the same data twice changes nothing. Changed
identity data (phone, name, ID number) makes the user unverified again; changed contact data does
not. A row that cannot be taken is refused with its field and reason; the others go in.

An optional field that a row does not have (or has as None) says nothing: what is stored stays. A
field that is there and empty clears it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

from sqlalchemy import Row

from verifier.clock import business_date
from verifier.config import config
from verifier.identity.errors import InvalidField
from verifier.identity.id_number import parse_id_number
from verifier.identity.keyring import KeyRing
from verifier.identity.names import parse_name
from verifier.identity.phone import parse_phone
from verifier.identity.reference import DEFAULT_PLATFORM, check_platform, check_reference
from verifier.store import clock, users
from verifier.store.engine import transaction

#: The fields of a user as callers give them. The first four are required.
REQUIRED: Final = ("reference", "phone", "name", "id_number")
#: Those of the optional ones that keep what is stored when a row does not have them.
KEEPING: Final = ("email", "push_token", "locale", "time_zone", "bound_at", "consent_at")
OPTIONAL: Final = ("platform", *KEEPING)
DEFAULT_LOCALE: Final = "zh"

#: Rows per transaction.
CHUNK: Final = 5000

_ZONES: Final = frozenset(available_timezones())
_LOCALES: Final = ("zh", "en")
#: Years that a date may lie in. At the ends of the calendar UTC would be off it.
_YEARS: Final = range(1900, 2201)
_NOTHING: Final[frozenset[str]] = frozenset()
_ALL_KEEPING: Final = frozenset(KEEPING)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that was not taken. ``row`` is its place in the input, from 1; never its data."""

    row: int
    field: str
    reason: str


@dataclass(slots=True)
class PutResult:
    """What putting users did. Every row of the input is in exactly one of the counts."""

    inserted: int = 0
    changed: int = 0
    contact_changed: int = 0
    unchanged: int = 0
    rejected: list[Rejection] = field(default_factory=list)
    rejected_count: int = 0

    @property
    def taken(self) -> int:
        return self.inserted + self.changed + self.contact_changed + self.unchanged


@dataclass(slots=True)  # not frozen, which would double the time of making one
class Person:
    """A checked user, in clear for the moment between parsing and encryption. Never changed.

    ``absent`` are the fields of :data:`KEEPING` that the row did not have. Until what is stored is
    filled in for them (:meth:`Intake.put`), they hold what a new user gets.
    """

    row: int
    platform: str
    reference: str
    phone: str = field(repr=False)
    name: str = field(repr=False)
    name_raw: str | None = field(repr=False)
    id_number: str = field(repr=False)
    email: str | None = field(repr=False)
    push_token: str | None = field(repr=False)
    lane: str
    province: str | None
    birth_decade: int
    locale: str
    time_zone: str
    bound_at: datetime | None
    consent_at: datetime | None
    absent: frozenset[str] = _NOTHING

    @property
    def key(self) -> tuple[str, str]:
        return self.platform, self.reference

    def identity(self) -> tuple[str, str, str]:
        return self.phone, self.name_raw or self.name, self.id_number

    def personal(self) -> tuple[tuple[str, str | None], ...]:
        """(column, value) of what is stored encrypted."""
        return (
            ("phone", self.phone),
            ("name", self.name),
            ("name_raw", self.name_raw),
            ("id_number", self.id_number),
            ("email", self.email),
            ("push_token", self.push_token),
        )

    def contact(self) -> tuple[str | None, ...]:
        return (
            self.email,
            self.push_token,
            self.locale,
            self.time_zone,
            self.bound_at.isoformat() if self.bound_at else None,
            self.consent_at.isoformat() if self.consent_at else None,
        )


def check(values: Mapping[str, Any], row: int, today: date) -> Person:
    """Parse one user. Raises InvalidField with the field and the reason."""
    reference = _required(values, "reference")
    phone_text = _required(values, "phone")
    name_text = _required(values, "name")
    id_text = _required(values, "id_number")
    phone = parse_phone(phone_text)
    name = parse_name(name_text)
    id_number = parse_id_number(id_text, today)
    return Person(
        row=row,
        platform=check_platform(_text(values, "platform") or DEFAULT_PLATFORM),
        reference=check_reference(reference),
        phone=phone.national,
        name=name.canonical,
        name_raw=name.alternative,
        id_number=id_number.value,
        email=_email(_text(values, "email")),
        push_token=_token(_text(values, "push_token")),
        lane=str(phone.lane),
        province=id_number.province,
        birth_decade=id_number.birth_decade,
        locale=_locale(_text(values, "locale")),
        time_zone=_zone(_text(values, "time_zone")),
        bound_at=_instant("bound_at", values.get("bound_at")),
        consent_at=_instant("consent_at", values.get("consent_at")),
        absent=_absent(values),
    )


def _absent(values: Mapping[str, Any]) -> frozenset[str]:
    absent = [name for name in KEEPING if values.get(name) is None]
    if not absent:
        return _NOTHING
    # One set for the usual case: a chunk holds thousands of people.
    return _ALL_KEEPING if len(absent) == len(KEEPING) else frozenset(absent)


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidField(name, "not_text")
    return value.strip()


def _required(values: Mapping[str, Any], name: str) -> str:
    value = _text(values, name)
    if not value:
        raise InvalidField(name, "empty")
    return value


def _email(value: str) -> str | None:
    if not value:
        return None
    local, at, domain = value.rpartition("@")
    if not (at and local and "." in domain) or len(value) > 254 or not value.isprintable():
        raise InvalidField("email", "malformed")
    return value


def _token(value: str) -> str | None:
    if len(value) > 512:
        raise InvalidField("push_token", "too_long")
    if not value.isprintable():
        raise InvalidField("push_token", "control_character")
    return value or None


def _locale(value: str) -> str:
    language = value.replace("_", "-").partition("-")[0].lower() or DEFAULT_LOCALE
    if language not in _LOCALES:
        raise InvalidField("locale", "unknown")
    return language


def _zone(value: str) -> str:
    if value and value not in _ZONES:
        raise InvalidField("time_zone", "unknown")
    return value or config().business_time_zone


def _instant(name: str, value: Any) -> datetime | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(value.strip())
    except (ValueError, AttributeError):
        raise InvalidField(name, "malformed") from None
    if found.year not in _YEARS:
        raise InvalidField(name, "malformed")
    if found.tzinfo is None:
        found = found.replace(tzinfo=ZoneInfo(config().business_time_zone))
    return found.astimezone(UTC)


class Intake:
    """Puts users chunk by chunk, each chunk a transaction."""

    def __init__(self, keyring: KeyRing) -> None:
        self._keyring = keyring
        with transaction() as connection:
            self._today = business_date(clock.now(connection), config().zone)

    def check(self, values: Mapping[str, Any], row: int) -> Person:
        """As :func:`check`, with today's business date."""
        return check(values, row, self._today)

    def put(self, people: Sequence[Person], result: PutResult) -> None:
        """Store one chunk and count what happened to it. Keys must be distinct."""
        todo = list(people)
        while todo:
            # A round meets rows that another import adds at the same moment: they are compared
            # in the next one.
            todo = self._round(todo, result)

    def _round(self, people: Sequence[Person], result: PutResult) -> list[Person]:
        by_key = {person.key: person for person in people}
        with transaction() as connection:
            partial = any(person.absent for person in people)
            existing = users.lock_existing(connection, list(by_key), with_contact=partial)
            changed, contacts = [], []
            unchanged = 0
            for row in existing:
                person = by_key.pop((row.platform, row.reference))
                if not self._keyring.digest_matches(row.identity_digest, *person.identity()):
                    changed.append(self._merged(person, row))
                    continue
                if person.absent == _ALL_KEEPING:  # says nothing of the contact: no need to look
                    unchanged += 1
                    continue
                person = self._merged(person, row)
                if not self._keyring.digest_matches(row.contact_digest, *person.contact()):
                    contacts.append(person)
                else:
                    unchanged += 1
            new = list(by_key.values())
            users.update(connection, self._sealed(changed), identity_changed=True)
            users.update(connection, self._sealed(contacts), identity_changed=False)
            added = users.insert(connection, self._sealed(new))
        result.inserted += len(new) if added else 0
        result.changed += len(changed)
        result.contact_changed += len(contacts)
        result.unchanged += unchanged
        return [] if added else new

    def _merged(self, person: Person, row: Row[Any]) -> Person:
        """``person`` with what is stored in ``row`` for the fields that were not given."""
        if not person.absent:
            return person
        stored = {name: self._stored(name, row) for name in person.absent}
        return replace(person, **stored, absent=_NOTHING)

    def _stored(self, name: str, row: Row[Any]) -> Any:
        value = row._mapping[name]
        if value is None:
            return None
        if name in ("email", "push_token"):
            return self._keyring.decrypt("users", name, row.platform, row.reference, value)
        # The digest is over UTC; the driver gives the zone of the session.
        return value.astimezone(UTC) if isinstance(value, datetime) else value

    def _sealed(self, people: Sequence[Person]) -> list[users.SealedUser]:
        blobs = self._keyring.encrypt_rows(
            "users",
            [
                (
                    person.platform,
                    person.reference,
                    {column: value for column, value in person.personal() if value},
                )
                for person in people
            ],
        )
        return list(map(self._row, people, blobs))

    def _row(self, person: Person, sealed: Mapping[str, bytes]) -> users.SealedUser:
        contact = person.contact()
        *_, bound_at, consent_at = contact
        return users.SealedUser(
            platform=person.platform,
            reference=person.reference,
            phone=sealed["phone"],
            name=sealed["name"],
            name_raw=sealed.get("name_raw"),
            id_number=sealed["id_number"],
            email=sealed.get("email"),
            push_token=sealed.get("push_token"),
            phone_index=self._keyring.index("phone", person.phone),
            id_number_index=self._keyring.index("id_number", person.id_number),
            identity_digest=self._keyring.digest(*person.identity()),
            contact_digest=self._keyring.digest(*contact),
            lane=person.lane,
            province=person.province,
            birth_decade=person.birth_decade,
            locale=person.locale,
            time_zone=person.time_zone,
            bound_at=bound_at,
            consent_at=consent_at,
        )


def put_users(
    keyring: KeyRing, rows: Iterable[Mapping[str, Any]], keep_rejections: int = 1000
) -> PutResult:
    """Put users from mappings with the fields of :data:`REQUIRED` and :data:`OPTIONAL`.

    A key that comes twice in the same call is taken the first time. ``rejected`` holds the first
    ``keep_rejections`` refusals, ``rejected_count`` counts them all.
    """
    intake, result = Intake(keyring), PutResult()
    numbered = enumerate(rows, start=1)
    seen: set[tuple[str, str]] = set()
    while chunk := list(islice(numbered, CHUNK)):
        people: list[Person] = []
        for number, values in chunk:
            try:
                person = intake.check(values, number)
                if person.key in seen:
                    raise InvalidField("reference", "duplicate")
            except InvalidField as error:
                result.rejected_count += 1
                if len(result.rejected) < keep_rejections:
                    result.rejected.append(Rejection(number, error.field, error.reason))
            else:
                seen.add(person.key)
                people.append(person)
        intake.put(people, result)
    return result
