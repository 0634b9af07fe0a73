"""Encryption, blind indexes and digests of personal data, with keys that can be rotated.

Promises:

* :meth:`KeyRing.encrypt` is AES-256-GCM under the current key with a random 96-bit nonce. The
  associated data name the format, table, column, key, platform and reference, each with its length,
  so a ciphertext that is moved to another column or user, or altered, does not decrypt.
* :meth:`KeyRing.index` is HMAC-SHA256 under the current index key, separated by kind: the same
  number gives the same value, and nobody without the key can try all numbers.
* Errors, ``repr`` and pickles hold neither keys nor data.

Limits: random nonces allow 2³² encryptions a key (NIST SP 800-38D, 8.3): rotate long before. A
blind index shows which rows are equal; the length of a ciphertext shows the length of the text.

Formats: ``blob = version(1) key-id(2) nonce(12) ciphertext tag(16)``; index values and digests are
``key-id(2) hmac(32)``. All integers are big-endian.

After a rotation, a process that meets a key it does not know reads the file once more, so workers
need no restart. On several hosts, copy the file to all of them right after rotating.
"""

from __future__ import annotations

import hmac
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from verifier.errors import ConfigError, VerifierError
from verifier.identity import keyfile
from verifier.identity.keyedhash import KeyedHash, encode, join, length

_VERSION: Final = b"\x01"
_HEADER: Final = struct.Struct(">BH")
_NONCE_BYTES: Final = 12
_SMALLEST_BLOB: Final = _HEADER.size + _NONCE_BYTES + 16
_DIGEST_BYTES: Final = 2 + 32


class DecryptionError(VerifierError):
    """A stored value is altered, was moved from another column or user, or is no ciphertext."""


class UnknownKeyError(ConfigError):
    """A stored value was made with a key that is not on the ring."""


class _Keys:
    """The usable form of one reading of the file; a rotation replaces it as a whole."""

    def __init__(self, file: keyfile.KeyFile) -> None:
        self.ciphers = {key.id: AESGCM(key.secret) for key in file.encryption.keys}
        self.encryption_id = file.encryption.current
        self.encryption_head = _HEADER.pack(_VERSION[0], file.encryption.current)
        self.cipher = self.ciphers[file.encryption.current]
        self.index_secrets = {key.id: key.secret for key in file.index.keys}
        self.index_id = file.index.current
        # Domains are a few constants of the code, so these caches are bounded.
        self.macs: dict[tuple[int, str], KeyedHash] = {}
        self.prefixes: dict[tuple[str, str, int], bytes] = {}


class KeyRing:
    """The keys of this installation, loaded. Threads may share one; a fork may inherit one."""

    def __init__(self, path: Path, file: keyfile.KeyFile) -> None:
        self._path = path
        self._keys = _Keys(file)

    @classmethod
    def load(cls, path: Path) -> KeyRing:
        """Read the ring. Raises ConfigError if it is absent, damaged or open to other accounts."""
        return cls(path, keyfile.read(path))

    @classmethod
    def create(cls, path: Path) -> KeyRing:
        """Make a new ring (mode 0600) and load it. Raises ConfigError if the file exists."""
        keyfile.create(path)
        return cls.load(path)

    def __repr__(self) -> str:
        keys = self._keys
        return (
            f"<KeyRing encryption keys {sorted(keys.ciphers)} (current {keys.encryption_id}), "
            f"index keys {sorted(keys.index_secrets)} (current {keys.index_id})>"
        )

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key ring is never serialised; load it where it is needed")

    @property
    def encryption_key_id(self) -> int:
        """The id of the key that :meth:`encrypt` uses."""
        return self._keys.encryption_id

    def encrypt(
        self, table: str, column: str, platform: str, reference: str, plaintext: str
    ) -> bytes:
        """The blob to store in this column of this user."""
        (sealed,) = self.encrypt_rows(table, [(platform, reference, {column: plaintext})])
        return sealed[column]

    def encrypt_rows(
        self, table: str, rows: Sequence[tuple[str, str, Mapping[str, str]]]
    ) -> list[dict[str, bytes]]:
        """The blobs to store for many users: of each (platform, reference, column → text)."""
        keys = self._keys
        key_id, head, seal = keys.encryption_id, keys.encryption_head, keys.cipher.encrypt
        # Nonces are drawn together, since each draw is a system call and gives the interpreter lock
        # away, and used up at once: none is kept, which a fork would give to two processes.
        nonces = os.urandom(_NONCE_BYTES * sum(len(values) for _, _, values in rows))
        end = 0
        found = []
        for platform, reference, values in rows:
            whose = _whose(platform, reference)
            sealed: dict[str, bytes] = {}
            for column, text in values.items():
                start, end = end, end + _NONCE_BYTES
                nonce = nonces[start:end]
                associated = _place(keys, key_id, table, column) + whose
                sealed[column] = head + nonce + seal(nonce, encode(text), associated)
            found.append(sealed)
        return found

    def decrypt(
        self, table: str, column: str, platform: str, reference: str, blob: bytes | memoryview
    ) -> str:
        """The text that :meth:`encrypt` was given for the same place.

        Raises :class:`DecryptionError`, or :class:`UnknownKeyError` for a key not on the ring.
        """
        blob = bytes(blob)  # psycopg2 returns memoryview
        key_id = key_id_of(blob)
        keys = self._keys
        if key_id not in keys.ciphers:
            keys = self._reload()
        cipher = keys.ciphers.get(key_id)
        if cipher is None:
            raise _unknown_key("encryption", key_id)
        nonce = blob[_HEADER.size : _HEADER.size + _NONCE_BYTES]
        associated = _place(keys, key_id, table, column) + _whose(platform, reference)
        try:
            return cipher.decrypt(nonce, blob[_HEADER.size + _NONCE_BYTES :], associated).decode()
        except InvalidTag:
            raise DecryptionError(
                f"A value of {table}.{column} does not decrypt under key {key_id}: it was altered, "
                "or belongs to another user or column.",
                fix="Compare the row with a backup, and the ring with the one it was written with.",
            ) from None

    def index(self, kind: str, value: str) -> bytes:
        """The blind index of ``value``, to store. ``kind`` separates domains: ``phone``, …"""
        keys = self._keys
        return _keyed(keys, keys.index_id, "index:" + kind, encode(value))

    def indexes(self, kind: str, value: str) -> list[bytes]:
        """The value under every live index key, the current one first: what a look-up asks for."""
        keys = self._keys
        ids = sorted(keys.index_secrets, key=lambda key_id: (key_id != keys.index_id, -key_id))
        data = encode(value)
        return [_keyed(keys, key_id, "index:" + kind, data) for key_id in ids]

    def digest(self, *parts: str | bytes | None) -> bytes:
        """A keyed digest of the parts, for telling whether data changed. None is not ``""``."""
        keys = self._keys
        return _keyed(keys, keys.index_id, "digest", join(parts))

    def digest_matches(self, stored: bytes | memoryview, *parts: str | bytes | None) -> bool:
        """Whether ``stored`` is the digest of the parts, under the key it was made with.

        Raises :class:`UnknownKeyError` when that key is gone: "changed" would be a guess.
        """
        stored = bytes(stored)
        if len(stored) != _DIGEST_BYTES:
            return False
        key_id = int.from_bytes(stored[:2])
        keys = self._keys
        if key_id not in keys.index_secrets:
            keys = self._reload()
        if key_id not in keys.index_secrets:
            raise _unknown_key("index", key_id)
        return hmac.compare_digest(stored, _keyed(keys, key_id, "digest", join(parts)))

    def _reload(self) -> _Keys:
        # Only on meeting an unknown key, hence rarely; threads that race read the same file.
        self._keys = _Keys(keyfile.read(self._path))
        return self._keys


def rotate(path: Path) -> int:
    """Add a key to the ring and make it the current one for encryption; returns its id.

    Old keys stay for reading. Index keys do not change: that would need every row rewritten.
    """
    return keyfile.add_encryption_key(path)


def key_id_of(blob: bytes) -> int:
    """The id of the key that made a blob. Raises :class:`DecryptionError` if it is no blob."""
    if len(blob) < _SMALLEST_BLOB or blob[:1] != _VERSION:
        raise DecryptionError("A stored value is no ciphertext of this program.")
    return int.from_bytes(blob[1:3])


def _unknown_key(purpose: str, key_id: int) -> UnknownKeyError:
    return UnknownKeyError(
        f"The {purpose} key {key_id} is not on the key ring.",
        fix="Install the ring that this data was written with (after a rotation: on every host).",
    )


def _place(keys: _Keys, key_id: int, table: str, column: str) -> bytes:
    """The part of the associated data that is the same for all users."""
    prefix = keys.prefixes.get((table, column, key_id))
    if prefix is None:
        head = (_VERSION, table.encode(), column.encode(), key_id.to_bytes(2))
        prefix = b"".join(length(len(part)) + part for part in head)
        keys.prefixes[table, column, key_id] = prefix
    return prefix


def _whose(platform: str, reference: str) -> bytes:
    """The part of the associated data that is the same for all columns."""
    who, what = encode(platform), encode(reference)
    return b"".join((length(len(who)), who, length(len(what)), what))


def _keyed(keys: _Keys, key_id: int, domain: str, data: bytes) -> bytes:
    mac = keys.macs.get((key_id, domain))
    if mac is None:
        # A key of its own for every domain, so that no data can pass for another domain's.
        subkey = hmac.digest(keys.index_secrets[key_id], domain.encode(), "sha256")
        mac = keys.macs[key_id, domain] = KeyedHash(key_id, subkey)
    return mac.value(data)
