"""The control API from Python, for tests and the command line. Raises ``requests`` exceptions."""

from __future__ import annotations

from typing import Any

import requests

from verifier.sandbox.keys import subject_key
from verifier.sandbox.register import RegisterEntry


class SandboxClient:
    """One method an endpoint of :mod:`verifier.sandbox.control`."""

    def __init__(self, url: str, timeout: float = 30.0) -> None:
        self._url = f"{url.rstrip('/')}/_sandbox/"
        self._timeout = timeout

    def health(self) -> dict[str, Any]:
        return self._ask("GET", "health")  # type: ignore[no-any-return]

    def reload(self) -> int:
        """Read the register file anew; returns how many phones it has."""
        return int(self._ask("POST", "reload")["register"])

    def put(self, *entries: RegisterEntry, vendor: str | None = None) -> None:
        """Add or replace what the carriers know; with ``vendor`` only what this one believes."""
        rows = [{name: getattr(e, name) for name in RegisterEntry.__slots__} for e in entries]
        self._ask("POST", "register", rows, params={"vendor": vendor} if vendor else None)

    def remove(self, *phones: str) -> None:
        self._ask("DELETE", "register", list(phones))

    def fault(self, vendor: str, kind: str, **options: Any) -> int:
        """Set a fault (:class:`faults.Fault` has the options); returns its id."""
        return int(self._ask("POST", "faults", {"vendor": vendor, "kind": kind, **options})["id"])

    def faults(self) -> list[dict[str, Any]]:
        return self._ask("GET", "faults")  # type: ignore[no-any-return]

    def lift(self, identifier: int | None = None) -> int:
        """Lift one fault, or all; returns how many."""
        path = "faults" if identifier is None else f"faults?id={identifier}"
        return int(self._ask("DELETE", path)["lifted"])

    def settings(self, **knobs: Any) -> dict[str, Any]:
        """Change settings (:class:`knobs.Knobs`), or only read them; returns all."""
        if not knobs:
            return self._ask("GET", "settings")  # type: ignore[no-any-return]
        return self._ask("POST", "settings", knobs)  # type: ignore[no-any-return]

    def calls_about(self, value: str) -> dict[str, int]:
        """``calls``, ``processed`` and ``billed`` about a phone or an ID number."""
        return self._ask("GET", f"calls?key={subject_key(value)}")  # type: ignore[no-any-return]

    def calls(self) -> dict[str, dict[str, dict[str, int]]]:
        """Tallies of every phone and person, by subject key."""
        return self._ask("GET", "calls")  # type: ignore[no-any-return]

    def call_log(self, value: str | None = None, limit: int = 1000) -> list[dict[str, Any]]:
        """The last calls (about a phone or ID number), oldest first."""
        key = "" if value is None else f"&key={subject_key(value)}"
        return self._ask("GET", f"calls?log=1&limit={limit}{key}")  # type: ignore[no-any-return]

    def messages(
        self, recipient: str | None = None, limit: int = 1000, **filters: str
    ) -> list[dict[str, Any]]:
        """Accepted messages, oldest first; by phone or push token, ``reference``, ``vendor``."""
        if recipient is not None:
            filters["key"] = subject_key(recipient)
        return self._ask("GET", "messages", params={**filters, "limit": str(limit)})  # type: ignore[no-any-return]

    def stats(self) -> dict[str, Any]:
        return self._ask("GET", "stats")  # type: ignore[no-any-return]

    def reset(self, **what: bool) -> None:
        """Forget truth, faults and settings; with ``register=True`` the register too."""
        self._ask("POST", "reset", what)

    def _ask(
        self, method: str, path: str, body: object = None, params: dict[str, str] | None = None
    ) -> Any:
        answer = requests.request(
            method, self._url + path, json=body, params=params, timeout=self._timeout
        )
        if answer.status_code >= 400:
            raise ValueError(f"{method} {path.partition('?')[0]}: {answer.json()['error']}")
        return answer.json()
