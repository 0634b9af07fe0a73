"""Fictional people for the sandbox: users to import, what carriers know of them, and the outcome
that a correct engine must end with.

Deterministic for a seed, streaming, phones and ID numbers unique within a seed. Every value passes
the product's own parsing rules; e-mail addresses (example.com) and push tokens are plainly made up.

Shares: 75 % matched; mismatches 15 % (name 6, ID number 5, both 4); no record 5 % (half unknown,
half cancelled); refused by the vendor 1 %; Broadnet and virtual operators 4 % (matched where a
provider reaches them, settled without a call elsewhere). About 3 % of the numbers of the three big
carriers are ported, 1 % are suspended (which are verified normally), 70 % of people have a push
token.
"""

from __future__ import annotations

import csv
import enum
import random
from bisect import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from math import gcd
from pathlib import Path
from typing import Generic, TypeVar

from verifier.outcomes import Lane, Meaning, Outcome, code_table
from verifier.sandbox.areas import AREAS
from verifier.sandbox.judge import check_digit
from verifier.sandbox.names import fictional_name, other_name
from verifier.sandbox.register import Refusal, RegisterEntry, Status
from verifier.sandbox.segments import COVERED, PREFIXES

USER_COLUMNS = (
    "reference", "phone", "name", "id_number", "platform", "email", "push_token", "locale",
    "time_zone", "bound_at", "consent_at",
)  # fmt: skip
EXPECTED_COLUMNS = ("reference", "platform", "outcome", "detail", "detail_detailed")


class Fate(enum.StrEnum):
    """What becomes of a person's verification."""

    MATCHED = "matched"
    WRONG_NAME = "wrong_name"
    WRONG_ID = "wrong_id"
    WRONG_BOTH = "wrong_both"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"
    REFUSED_ID = "refused_id"
    REFUSED_NAME = "refused_name"
    REFUSED_PHONE = "refused_phone"


@dataclass(frozen=True, slots=True)
class SandboxPerson:
    """One user, what the register says of the phone (None: nothing), and what must come out.

    ``expected`` is the meaning that a provider without details gives, ``expected_detailed`` with
    them (Tencent's VerifyMode 1).
    """

    reference: str
    platform: str
    phone: str = field(repr=False)
    name: str = field(repr=False)
    id_number: str = field(repr=False)
    email: str = field(repr=False)
    push_token: str = field(repr=False)
    locale: str
    time_zone: str
    bound_at: str
    consent_at: str
    entry: RegisterEntry | None
    expected: Meaning
    expected_detailed: Meaning


# Subscribers by carrier, roughly: 57 % Mobile, 20 % Unicom, 23 % Telecom of what the big three
# have; Broadnet 1.8 % and virtual operators 2.2 % of all.
_LANES = {Lane.CMCC: 54.7, Lane.CUCC: 19.2, Lane.CTCC: 22.1, Lane.CBN: 1.8, Lane.MVNO: 2.2}
_FATES = {  # of the big three's customers: per cent of everybody
    Fate.MATCHED: 75.0,
    Fate.WRONG_NAME: 6.0,
    Fate.WRONG_ID: 5.0,
    Fate.WRONG_BOTH: 4.0,
    Fate.UNKNOWN: 2.5,
    Fate.CANCELLED: 2.5,
    Fate.REFUSED_ID: 0.5,
    Fate.REFUSED_NAME: 0.3,
    Fate.REFUSED_PHONE: 0.2,
}
_PLATFORMS = {"shop": 60.0, "pay": 25.0, "video": 15.0}
_PORTED, _SUSPENDED, _DEAD_TOKEN, _HAS_TOKEN, _HAS_EMAIL = 0.03, 0.01, 0.03, 0.7, 0.6
_RESULT = code_table("tencent.faceid.PhoneVerification*.Result")
_DETAIL = code_table("tencent.faceid.PhoneVerification.ResultDetail")
_DETAILS = {
    Fate.WRONG_NAME: "PhoneNameMismatch",
    Fate.WRONG_ID: "PhoneIdCardMismatch",
    Fate.WRONG_BOTH: "PhoneNameIdCardMismatch",
}
_RESULTS = {
    Fate.MATCHED: "0",
    Fate.UNKNOWN: "-9",
    Fate.CANCELLED: "-9",
    Fate.REFUSED_PHONE: "-6",
    Fate.REFUSED_ID: "-7",
    Fate.REFUSED_NAME: "-8",
}
_REFUSALS: dict[Fate, Refusal] = {Fate.REFUSED_NAME: "name", Fate.REFUSED_PHONE: "phone"}
_UNCOVERED = {
    Lane.CBN: Meaning(Outcome.UNSUPPORTED_NUMBER, "BROADNET"),
    Lane.MVNO: Meaning(Outcome.UNSUPPORTED_NUMBER, "MVNO"),
}
_FIRST_BIRTH, _BIRTH_DAYS = date(1946, 1, 1), 365 * 61  # to the end of 2006: adults only
_FIRST_BINDING = datetime(2019, 1, 1, tzinfo=UTC)
_BINDING_SECONDS = 6 * 365 * 86_400
Value = TypeVar("Value")
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32


class _Permutation:
    """Every number below ``size`` once, in an order that looks random and needs no memory."""

    def __init__(self, size: int, dice: random.Random) -> None:
        self._size = size
        self._step = dice.randrange(size // 3, size)
        while gcd(self._step, size) != 1:
            self._step += 1
        self._at = dice.randrange(size)

    def next(self) -> int:
        self._at = (self._at + self._step) % self._size
        return self._at


class _Weighted(Generic[Value]):
    """A draw by weight."""

    def __init__(self, weights: dict[Value, float]) -> None:
        self._values = list(weights)
        self._sums = list(accumulate(weights.values()))

    def draw(self, dice: random.Random) -> Value:
        at = bisect(self._sums, dice.random() * self._sums[-1])
        return self._values[min(at, len(self._values) - 1)]


class _IdNumbers:
    """ID numbers, each once: every area walks through its (birth date, sequence) pairs."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._areas = _Weighted(AREAS)
        self._pairs: dict[str, _Permutation] = {}

    def next(self, area: str | None = None) -> str:
        area = area or self._areas.draw(self._dice)
        if area not in self._pairs:
            self._pairs[area] = _Permutation(_BIRTH_DAYS * 999, self._dice)
        day, sequence = divmod(self._pairs[area].next(), 999)
        born = _FIRST_BIRTH + timedelta(days=day)
        body = f"{area}{born:%Y%m%d}{sequence + 1:03d}"
        return body + check_digit(body)


class _Phones:
    """Phone numbers, each once: every four-digit prefix walks through its seven-digit suffixes."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._prefixes = {
            lane: [prefix for prefix, owner in PREFIXES.items() if owner is lane] for lane in Lane
        }
        self._suffixes: dict[str, _Permutation] = {}

    def next(self, lane: Lane) -> str:
        prefix = self._dice.choice(self._prefixes[lane])
        if prefix not in self._suffixes:
            self._suffixes[prefix] = _Permutation(10**7, self._dice)
        return f"{prefix}{self._suffixes[prefix].next():07d}"


def generate(count: int, seed: int, reach: frozenset[Lane] = COVERED) -> Iterator[SandboxPerson]:
    """``count`` people, the same ones whenever the seed is the same.

    ``reach``: the lanes that the providers under test verify; what must come out depends on it.
    """
    dice = random.Random(f"verifier sandbox people {seed}")
    phones, id_numbers = _Phones(dice), _IdNumbers(dice)
    lanes, fates, platforms = _Weighted(_LANES), _Weighted(_FATES), _Weighted(_PLATFORMS)
    for index in range(count):
        lane = lanes.draw(dice)
        fate = fates.draw(dice) if lane in COVERED else Fate.MATCHED
        phone, name = phones.next(lane), fictional_name(dice)
        # The vendor takes no foreigners' permanent residence card (91 + area of the authority).
        id_number = id_numbers.next("911156" if fate is Fate.REFUSED_ID else None)
        push_token = f"sandbox-{dice.getrandbits(64):016x}" if dice.random() < _HAS_TOKEN else ""
        entry = _entry(dice, id_numbers, lane, fate, phone, name, id_number, push_token)
        reference = f"u{seed}-{_base32(index)}"
        bound = _FIRST_BINDING + timedelta(seconds=dice.randrange(_BINDING_SECONDS))
        chinese = dice.random() < 0.9
        yield SandboxPerson(
            reference=reference,
            platform=platforms.draw(dice),
            phone=phone,
            name=name,
            id_number=id_number,
            email=f"{reference.lower()}@example.com" if dice.random() < _HAS_EMAIL else "",
            push_token=push_token,
            locale="zh" if chinese else "en",
            time_zone=_time_zone(dice, chinese=chinese),
            bound_at=f"{bound:%Y-%m-%dT%H:%M:%SZ}",
            consent_at=f"{bound + timedelta(seconds=dice.randrange(30, 900)):%Y-%m-%dT%H:%M:%SZ}",
            entry=entry,
            expected=_expected(lane, fate, reach),
            expected_detailed=_expected_detailed(lane, fate, reach),
        )


def write(directory: Path, people: Iterable[SandboxPerson]) -> int:
    """Write ``users.csv``, ``expected.csv`` and ``register.jsonl``; returns how many people.

    The register is written aside and renamed, so that a sandbox never reads half of it.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    register = directory / "register.jsonl"
    draft = directory / "register.jsonl.draft"
    count = 0
    with (
        (directory / "users.csv").open("w", encoding="utf-8", newline="") as users_file,
        (directory / "expected.csv").open("w", encoding="utf-8", newline="") as expected_file,
        draft.open("w", encoding="utf-8") as register_file,
    ):
        users, expected = csv.writer(users_file), csv.writer(expected_file)
        users.writerow(USER_COLUMNS)
        expected.writerow(EXPECTED_COLUMNS)
        for person in people:
            users.writerow([getattr(person, column) for column in USER_COLUMNS])
            basic, detailed = person.expected, person.expected_detailed
            expected.writerow(
                [
                    person.reference,
                    person.platform,
                    basic.outcome,
                    _detail(basic),
                    _detail(detailed),
                ]
            )
            if person.entry is not None:
                register_file.write(person.entry.to_json() + "\n")
            count += 1
    draft.replace(register)
    return count


def _detail(meaning: Meaning) -> str:
    """As the product stores it: a mismatch always has a detail, if only that none was told."""
    if meaning.outcome is Outcome.MISMATCHED and meaning.detail is None:
        return "UNSPECIFIED"
    return meaning.detail or ""


def _entry(
    dice: random.Random,
    id_numbers: _IdNumbers,
    lane: Lane,
    fate: Fate,
    phone: str,
    name: str,
    id_number: str,
    push_token: str,
) -> RegisterEntry | None:
    """What the carriers know of a phone so that ``fate`` comes true."""
    if fate is Fate.UNKNOWN:
        return None
    status: Status = "normal"
    if fate is Fate.CANCELLED:
        status = "cancelled"
    elif dice.random() < _SUSPENDED:
        status = "suspended"
    carrier = lane
    if lane in COVERED and dice.random() < _PORTED:
        carrier = dice.choice([other for other in Lane if other in COVERED and other is not lane])
    wrong_name = fate in {Fate.WRONG_NAME, Fate.WRONG_BOTH}
    wrong_id = fate in {Fate.WRONG_ID, Fate.WRONG_BOTH}
    return RegisterEntry(
        phone=phone,
        name=other_name(dice, name) if wrong_name else name,
        id_number=id_numbers.next() if wrong_id else id_number,
        carrier=carrier,
        status=status,
        refuses=_REFUSALS.get(fate),
        push_token=push_token,
        push_live=not push_token or dice.random() >= _DEAD_TOKEN,
    )


def _expected(lane: Lane, fate: Fate, reach: frozenset[Lane]) -> Meaning:
    if lane not in reach:
        return _UNCOVERED.get(lane, Meaning(Outcome.UNSUPPORTED_NUMBER, "SEGMENT"))
    return _RESULT.exact(_RESULTS.get(fate, "-4"))


def _expected_detailed(lane: Lane, fate: Fate, reach: frozenset[Lane]) -> Meaning:
    if lane not in reach or fate not in _DETAILS:
        return _expected(lane, fate, reach)
    return _DETAIL.exact(_DETAILS[fate])


def _time_zone(dice: random.Random, *, chinese: bool) -> str:
    if chinese:
        return "Asia/Urumqi" if dice.random() < 0.02 else "Asia/Shanghai"
    return dice.choice(("Asia/Shanghai", "Asia/Shanghai", "Europe/London", "America/New_York"))


def _base32(number: int) -> str:
    """Six characters; letters keep long numbers from looking like a phone."""
    digits = []
    for _ in range(6):
        number, digit = divmod(number, 32)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
