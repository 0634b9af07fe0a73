"""The register: what the carriers know about each phone.

Kept as ``register.jsonl`` in the state directory, a line a phone; a later line about the same phone
wins, and a line with ``"removed": true`` takes it away. Lines stay bytes in memory and are parsed
when asked for: a million people then take about 250 MB and load in three seconds.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from verifier.outcomes import Lane

Status = Literal["normal", "suspended", "cancelled", "empty"]
STATUSES: tuple[Status, ...] = ("normal", "suspended", "cancelled", "empty")
Refusal = Literal["phone", "id_number", "name"]
REFUSALS: tuple[Refusal, ...] = ("phone", "id_number", "name")


@dataclass(frozen=True, slots=True)
class RegisterEntry:
    """One phone. ``carrier`` is who serves it now, which porting makes differ from its prefix.

    ``since`` is the day of registration (ISO; empty = long ago). ``refuses`` names a field that
    the vendor calls malformed although it is not: vendors' checks are stricter than documented.
    ``push_token`` is the registration id of the person's app; ``push_live`` whether it still lives.
    """

    phone: str = field(repr=False)
    name: str = field(repr=False)
    id_number: str = field(repr=False)
    carrier: Lane
    status: Status = "normal"
    since: str = ""
    refuses: Refusal | None = None
    push_token: str = field(default="", repr=False)
    push_live: bool = True

    def to_json(self) -> str:
        """The line of the register: what differs from the defaults."""
        row = {
            name: value
            for name, default in _DEFAULTS.items()
            if (value := getattr(self, name)) != default
        }
        return json.dumps(row, ensure_ascii=False, separators=(",", ":"))


_LANES = frozenset(lane.value for lane in Lane)
_REQUIRED = frozenset({"phone", "name", "id_number", "carrier"})
_COLUMNS = frozenset(RegisterEntry.__dataclass_fields__)
_DEFAULTS = {name: column.default for name, column in RegisterEntry.__dataclass_fields__.items()}


def parse_entry(row: dict[str, Any]) -> RegisterEntry:
    """A register row, checked. Raises ValueError that names the wrong field, not its value."""
    unknown = row.keys() - _COLUMNS
    missing = _REQUIRED - row.keys()
    if unknown or missing:
        raise ValueError(f"register row: unknown {sorted(unknown)}, missing {sorted(missing)}")
    if row["carrier"] not in _LANES:
        raise ValueError("register row: carrier is not a lane")
    if row.get("status", "normal") not in STATUSES:
        raise ValueError("register row: status is unknown")
    if row.get("refuses") not in (None, *REFUSALS):
        raise ValueError("register row: refuses is unknown")
    return RegisterEntry(**{**row, "carrier": Lane(row["carrier"])})


# A line as to_json writes it: the phone stands first. Dead push tokens need the whole row.
_PLAIN = re.compile(rb'\{"phone":"[0-9]{11}","name":')


class Records(Protocol):
    """What a vendor sees of the register."""

    def get(self, phone: str) -> RegisterEntry | None: ...

    def phone_of(self, digest: str, algorithm: str) -> str | None: ...

    def token_is_dead(self, token: str) -> bool: ...


class Register:
    """Look-up by phone, backed by the file. Every vendor sees the same, unless told otherwise."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: dict[str, bytes] = {}
        self._dead_tokens: set[str] = set()
        self._digests: dict[str, dict[bytes, str]] = {}  # algorithm → digest → phone
        #: What one vendor believes of a phone, in memory only: (vendor, phone) → entry.
        self.told: dict[tuple[str, str], RegisterEntry] = {}
        self.reload()

    def __len__(self) -> int:
        return len(self._lines)

    def get(self, phone: str) -> RegisterEntry | None:
        """What the carriers know about ``phone`` (national form), or None."""
        line = self._lines.get(phone)
        return None if line is None else parse_entry(json.loads(line))

    def seen_by(self, vendor: str) -> Records:
        """The register with what this vendor was told instead."""
        return _SeenBy(self, vendor)

    def tell(self, vendor: str, entries: list[RegisterEntry]) -> None:
        """One vendor believes something else of these phones, until the register is read anew."""
        self.told.update(((vendor, entry.phone), entry) for entry in entries)

    def token_is_dead(self, token: str) -> bool:
        """Whether the register says that this app installation is gone."""
        return token in self._dead_tokens

    def phone_of(self, digest: str, algorithm: str) -> str | None:
        """The registered phone whose digest (hexadecimal) this is, or None.

        The first question about an algorithm costs a walk through all phones: a second a million.
        """
        index = self._digests.get(algorithm)
        if index is None:
            index = {_digest(phone, algorithm): phone for phone in self._lines}
            self._digests[algorithm] = index
        try:
            return index.get(bytes.fromhex(digest))
        except ValueError:
            return None

    def put(self, entries: list[RegisterEntry]) -> None:
        """Add or replace entries, also in the file."""
        self._append([entry.to_json() for entry in entries])

    def remove(self, phones: list[str]) -> None:
        """Forget phones, also in the file."""
        self._append([json.dumps({"phone": phone, "removed": True}) for phone in phones])

    def reload(self) -> int:
        """Read the file anew (a missing one is an empty register); returns how many phones."""
        self._lines.clear()
        self._dead_tokens.clear()
        self._digests.clear()
        self.told.clear()
        if self._path.exists():
            with self._path.open("rb") as file:
                for line in file:
                    self._take(line.rstrip(b"\n"))
        return len(self._lines)

    def clear(self) -> None:
        """Empty the register, also the file."""
        self._path.unlink(missing_ok=True)
        self.reload()

    def _append(self, lines: list[str]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
        for line in lines:
            self._take(line.encode("utf-8"))

    def _take(self, line: bytes) -> None:
        if _PLAIN.match(line) and b'"push_live"' not in line:
            self._put(line[10:21].decode("ascii"), line)
            return
        if not line:
            return
        row = json.loads(line)
        if row.get("removed"):
            self._drop(row["phone"])
            return
        self._put(row["phone"], line)
        token = row.get("push_token")
        if token:
            if row.get("push_live", True):
                self._dead_tokens.discard(token)
            else:
                self._dead_tokens.add(token)

    def _put(self, phone: str, line: bytes) -> None:
        self._lines[phone] = line
        for algorithm, index in self._digests.items():
            index[_digest(phone, algorithm)] = phone

    def _drop(self, phone: str) -> None:
        self._lines.pop(phone, None)
        for algorithm, index in self._digests.items():
            index.pop(_digest(phone, algorithm), None)


class _SeenBy:
    """A vendor's view: it knows the phones that the register knows."""

    def __init__(self, register: Register, vendor: str) -> None:
        self._register = register
        self._vendor = vendor

    def get(self, phone: str) -> RegisterEntry | None:
        told = self._register.told.get((self._vendor, phone))
        return told if told is not None else self._register.get(phone)

    def phone_of(self, digest: str, algorithm: str) -> str | None:
        return self._register.phone_of(digest, algorithm)

    def token_is_dead(self, token: str) -> bool:
        return self._register.token_is_dead(token)


def _digest(phone: str, algorithm: str) -> bytes:
    return hashlib.new(algorithm, phone.encode(), usedforsecurity=False).digest()
