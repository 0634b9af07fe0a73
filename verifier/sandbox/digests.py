"""Whose phone a digest is: for vendors that take the three elements as digests.

A vendor has digests of its customers, not of every possible number; so has this: what the register
knows is hashed once for each algorithm, when it is first asked for, and what was added since when a
digest is not found.
"""

from __future__ import annotations

import hashlib

from verifier.sandbox.register import Register, RegisterEntry


def digest_of(text: str, algorithm: str) -> str:
    """Lower-case hexadecimal of the UTF-8 text."""
    return hashlib.new(algorithm, text.encode(), usedforsecurity=False).hexdigest()


class PhoneDigests:
    """Look-up in a register by a digest of the phone."""

    def __init__(self, register: Register) -> None:
        self._register = register
        self._phones: dict[str, dict[str, str]] = {}  # algorithm → digest → phone
        self._hashed: dict[str, set[str]] = {}

    def entry(self, digest: str, algorithm: str) -> RegisterEntry | None:
        """The entry whose phone has this digest, or None."""
        known = self._phones.setdefault(algorithm, {})
        if digest not in known:
            hashed = self._hashed.setdefault(algorithm, set())
            new = [phone for phone in self._register.phones() if phone not in hashed]
            known.update((digest_of(phone, algorithm), phone) for phone in new)
            hashed.update(new)
        phone = known.get(digest)
        return None if phone is None else self._register.get(phone)
