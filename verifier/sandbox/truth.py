"""The truth: what the sandbox was asked, what it answered, and what it accepted.

Append-only JSON lines in the state directory (``truth.jsonl``), buffered, flushed on every query,
every half second and at stop, and read again at start: a restarted vendor still knows what it took.
Phones, ID numbers and push tokens stand in it only as :func:`keys.subject_key`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO

from verifier.sandbox.keys import subject_key
from verifier.sandbox.wire import Call


@dataclass(slots=True)
class Tally:
    """Verifications of one subject: all, those the vendor did the work of, those it billed."""

    calls: int = 0
    processed: int = 0
    billed: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """A message a gateway accepted. ``reference`` is the OutId or cid, ``id`` BizId or msg_id."""

    at: float
    vendor: str
    recipient: str  # subject key of the phone or push token
    reference: str
    id: str
    template: str
    text: str
    details: dict[str, Any] = field(default_factory=dict)


class Truth:
    """Counts in memory, everything in the file. One writer: the sandbox's event loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._empty()
        if path.exists():
            _cut_torn_line(path)
            for row in self._rows():
                self._take(row)
        self._file = self._open("a")

    def _empty(self) -> None:
        self.phones: dict[str, Tally] = {}
        self.people: dict[str, Tally] = {}
        self.totals: dict[str, dict[str, int]] = {}  # "vendor action" → code → count
        self.messages: list[Message] = []
        self.by_reference: dict[tuple[str, str], list[Message]] = {}
        self.by_recipient: dict[tuple[str, str], list[Message]] = {}
        self.cids: dict[str, float] = {}
        self.redirects_followed = 0

    def call(
        self, call: Call, *, code: str, billed: bool, processed: bool, fault: str | None
    ) -> None:
        """Write down one request to a vendor, whatever became of it."""
        row: dict[str, Any] = {
            "kind": "call",
            "at": round(call.received.at, 4),
            "vendor": call.vendor,
            "action": call.action,
            "code": code,
            "processed": processed,
            "billed": billed,
        }
        if call.phone is not None:
            row["phone"] = subject_key(call.phone)
        if call.id_number is not None:
            row["person"] = subject_key(call.id_number)
        if call.reference is not None:
            row["reference"] = call.reference
        if fault is not None:
            row["fault"] = fault
        self._write(row)

    def message(self, message: Message) -> None:
        """Write down an accepted message."""
        self._write({"kind": "message", **asdict(message)})

    def cid(self, cid: str, at: float) -> None:
        """Write down a push identifier that was handed out."""
        self._write({"kind": "cid", "cid": cid, "at": at})

    def redirect_followed(self) -> None:
        self._write({"kind": "redirect_followed"})

    def log(self, phone_key: str | None = None, limit: int = 1000) -> list[dict[str, Any]]:
        """The last ``limit`` calls (about one subject, if given), oldest first."""
        self.flush()
        rows = [
            row
            for row in self._rows()
            if row["kind"] == "call" and phone_key in (None, row.get("phone"), row.get("person"))
        ]
        return rows[-limit:]

    def flush(self) -> None:
        self._file.flush()

    def reset(self) -> None:
        """Forget everything, also in the file."""
        self._file.close()
        self._file = self._open("w")
        self._empty()

    def close(self) -> None:
        self._file.close()

    def _open(self, mode: Literal["a", "w"]) -> TextIO:
        # A lone surrogate in a client's reference must not stop the books.
        return self._path.open(mode, encoding="utf-8", errors="replace", buffering=1 << 16)

    def _write(self, row: dict[str, Any]) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
        self._take(row)

    def _rows(self) -> Iterator[dict[str, Any]]:
        with self._path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)

    def _take(self, row: dict[str, Any]) -> None:
        match row["kind"]:
            case "call":
                self._count(row)
            case "message":
                message = Message(**{key: row[key] for key in row if key != "kind"})
                self.messages.append(message)
                vendor = message.vendor
                self.by_reference.setdefault((vendor, message.reference), []).append(message)
                self.by_recipient.setdefault((vendor, message.recipient), []).append(message)
            case "cid":
                self.cids[row["cid"]] = row["at"]
            case "redirect_followed":
                self.redirects_followed += 1

    def _count(self, row: dict[str, Any]) -> None:
        codes = self.totals.setdefault(f"{row['vendor']} {row['action']}", {})
        codes[row["code"]] = codes.get(row["code"], 0) + 1
        for tallies, key in ((self.phones, row.get("phone")), (self.people, row.get("person"))):
            if key is not None:
                tally = tallies.get(key)
                if tally is None:
                    tally = tallies[key] = Tally()
                tally.calls += 1
                tally.processed += row["processed"]
                tally.billed += row["billed"]


def _cut_torn_line(path: Path) -> None:
    """Drop what a crash left after the last whole line: the next line would be glued to it."""
    with path.open("rb+") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - (1 << 20)))
        tail = file.read()
        file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)
