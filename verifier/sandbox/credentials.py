"""The sandbox's access keys: one small 0600 file each, random, made when missing.

The same files are what a local configuration refers to (``"file:/…/tencent_secret_id"``), so both
sides agree without a secret ever standing in a configuration file or a process argument.
"""

from __future__ import annotations

import os
import secrets
import string
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

_ALPHANUMERIC = string.ascii_letters + string.digits


def _random(length: int, alphabet: str = _ALPHANUMERIC) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def _new(path: Path) -> str:
    match path.name:  # the vendors' shapes, so that nothing mistakes a key for another's
        case "tencent_secret_id":
            return "AKID" + _random(32)
        case "aliyun_key_id":
            return "LTAI5t" + _random(18)
        case "jpush_app_key" | "jpush_master_secret":
            return _random(24, "0123456789abcdef")
        case "tencent_secret_key":
            return _random(32)
        case "tencent_encryption_private_key":
            return _rsa_key()
        case "tencent_encryption_public_key":
            # Of the private key in the file: of two processes that start at once, one made it.
            return _public_key(_ensure(path.with_name("tencent_encryption_private_key")))
        case "camara_private_key":
            return _ec_key()
        case _:
            return _random(30)


@cache
def _rsa_key() -> str:
    """Takes a tenth of a second and more, so a process makes one for all its sandboxes."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return _pem(key)


def _public_key(private: str) -> str:
    """In PKCS #1, as Tencent hands out its own."""
    key = load_pem_private_key(private.encode(), password=None)
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1).decode("ascii")


def _ec_key() -> str:
    """EC P-256 in PEM. The vendor knows its public half, which whoever holds this one derives."""
    key = ec.generate_private_key(ec.SECP256R1())
    return _pem(key)


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


NAMES = (
    "tencent_secret_id",
    "tencent_secret_key",
    "jpush_app_key",
    "jpush_master_secret",
    "aliyun_key_id",
    "aliyun_key_secret",
    "tencent_encryption_private_key",
    "tencent_encryption_public_key",
    "dytns_auth_code",
    "reseller_app_key",
    "reseller_app_secret",
    "camara_client_id",
    "camara_private_key",
)


def ensure_credentials(directory: Path) -> dict[str, str]:
    """Name → secret for every name of :data:`NAMES`, created where missing. Safe to run twice at
    once: whoever creates a file first wins, and both return its content."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {name: _ensure(directory / name) for name in NAMES}


def _ensure(path: Path) -> str:
    if not path.exists():
        content = _new(path)
        # Written aside and linked, so that a reader never sees an empty file.
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(content)
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # the other one won
        finally:
            draft.unlink()
    return path.read_text("ascii").strip()
