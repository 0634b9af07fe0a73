"""How the truth names a subject without keeping a phone or ID number: a short digest.

Unkeyed on purpose: a test computes the same key from the phone it knows. That would not protect
real people (phone numbers can be enumerated); the sandbox holds fictional ones.
"""

from __future__ import annotations

from hashlib import blake2s


def subject_key(value: str) -> str:
    """16 hexadecimal digits that stand for a phone, an ID number or a push token in the truth."""
    return blake2s(value.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
