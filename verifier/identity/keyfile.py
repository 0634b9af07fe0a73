"""The key ring's file: JSON, mode 0600, replaced atomically.

::

    {"version": 1,
     "encryption": {"current": 2, "keys": {"1": {"created": "…", "key": "<base64, 32 bytes>"}, …}},
     "index":      {"current": 1, "keys": {"1": {…}}}}

Encryption and index keys are independent. Key ids are 1 to 65535 and never used twice. Errors name
the file and the mending, never the content; what the JSON parser saw is not chained to them.
Does not encrypt the file: that is the work of the disk, or of whoever mounts the secret.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import json
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from verifier.errors import ConfigError

VERSION: Final = 1
KEY_BYTES: Final = 32
_LAST_ID: Final = 0xFFFF
_LARGEST: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Key:
    id: int
    created: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeySet:
    """The live keys of one purpose; new work uses ``current``."""

    current: int
    keys: tuple[Key, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyFile:
    encryption: KeySet
    index: KeySet


def read(path: Path) -> KeyFile:
    """The keys in ``path``. Raises ConfigError if it is absent, too widely readable or damaged."""
    try:
        with path.open("rb") as file:
            _check_mode(path, os.fstat(file.fileno()))
            content = file.read(_LARGEST)
    except FileNotFoundError:
        raise ConfigError(
            f"The key ring {path} does not exist.",
            fix="Restore it from its backup. Only for a new installation: `verifier keys init`.",
        ) from None
    except OSError as error:
        raise ConfigError(
            f"The key ring {path} cannot be read ({error.strerror}).",
            fix="It must be a file with mode 0600 that belongs to the account of this process.",
        ) from None
    try:
        return _parse(json.loads(content))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        # A JSON error carries the whole document: nothing of it may be chained.
        raise ConfigError(
            f"The key ring {path} is damaged.", fix="Restore it from its backup."
        ) from None


def create(path: Path) -> None:
    """A new ring with one key of each purpose. Raises ConfigError if the file exists, or where it
    cannot be written."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from None
    with _locked(path.parent):
        if os.path.lexists(path):
            raise ConfigError(
                f"The key ring {path} exists already.",
                fix="Keep it: without it nothing that is stored can be read. "
                "To add a key, run `verifier keys rotate`.",
            )
        _write(path, KeyFile(KeySet(1, (_new_key(1),)), KeySet(1, (_new_key(1),))))


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"The key ring {path} cannot be written ({error.strerror}).",
        fix="Set VERIFIER_KEYRING, or VERIFIER_HOME, to a place of your own.",
    )


def add_encryption_key(path: Path) -> int:
    """Add a key, make it the current one for encryption, and return its id."""
    with _locked(path.parent):
        ring = read(path)
        new_id = max(key.id for key in ring.encryption.keys) + 1
        if new_id > _LAST_ID:
            raise ConfigError(f"The key ring {path} has used every key id.")
        keys = (*ring.encryption.keys, _new_key(new_id))
        _write(path, KeyFile(KeySet(new_id, keys), ring.index))
        return new_id


def _check_mode(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"The key ring {path} is not a regular file.")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise ConfigError(
            f"The key ring {path} is open to other accounts (mode {mode:04o}).",
            fix=f"chmod 600 {path}, and consider whether the keys were seen.",
        )


def _new_key(key_id: int) -> Key:
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return Key(key_id, created, secrets.token_bytes(KEY_BYTES))


def _parse(document: Any) -> KeyFile:
    if document["version"] != VERSION:
        raise ValueError("unknown version")
    return KeyFile(_parse_set(document["encryption"]), _parse_set(document["index"]))


def _parse_set(row: Any) -> KeySet:
    keys = []
    for key_id, value in row["keys"].items():
        secret = base64.b64decode(value["key"], validate=True)
        if len(secret) != KEY_BYTES or not 1 <= int(key_id) <= _LAST_ID:
            raise binascii.Error("bad key")
        keys.append(Key(int(key_id), str(value["created"]), secret))
    if len({key.id for key in keys}) != len(keys) or row["current"] not in {k.id for k in keys}:
        raise ValueError("bad key ids")
    return KeySet(int(row["current"]), tuple(sorted(keys, key=lambda key: key.id)))


def _dump_set(keys: KeySet) -> dict[str, Any]:
    return {
        "current": keys.current,
        "keys": {
            str(key.id): {"created": key.created, "key": base64.b64encode(key.secret).decode()}
            for key in keys.keys
        },
    }


def _write(path: Path, ring: KeyFile) -> None:
    """Whole or not at all, and on the disk before we return: data may be encrypted with it next."""
    document = {
        "version": VERSION,
        "encryption": _dump_set(ring.encryption),
        "index": _dump_set(ring.index),
    }
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            json.dump(document, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        with _directory(path.parent) as directory:
            os.fsync(directory)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ConfigError(f"The key ring {path} cannot be written ({error.strerror}).") from None


@contextlib.contextmanager
def _directory(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One writer at a time. The directory is locked, since the file itself is replaced."""
    with _directory(directory) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
