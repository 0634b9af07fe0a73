"""What stands in Tencent's requests instead of personal data: ciphertext, or digests.

**Ciphertext** (any action that takes the three elements or a number): each field is AES-256-CBC
with PKCS #7 under a data key, the data key RSA with PKCS #1 v1.5 under Tencent's public key,
everything Base64. Document 1007/47180, and the vendor's own TencentCloud/faceid-api-crypto-java and
-golang: the data key is 32 printable characters, which are the key's bytes as they stand.

``Iv`` is "a string of 16 characters" (the SDK's model of ``Encryption``), sent in Base64 (the
vendor's tools in three languages). There is one for all fields of a request: the format has no room
for more. That is harmless here because **every call has a data key of its own**: under one key and
IV stand at most a name, an ID number and a phone, which are never equal in their first block.

A data key could be used for longer and save the RSA operation. It takes 0.01 to 0.03 ms (1024 and
2048 bits) of a call of milliseconds, while a key that is kept would be a secret to guard, to renew,
and to part with at every fork. SM4-GCM would need SM2, which `cryptography` lacks.

**Digests** (``EncryptedPhoneVerification``): lower-case hexadecimal of the UTF-8 text; the example
in document 1007/55050 is the MD5 of 张三. Digests of phones and ID numbers can be guessed by trying
all of them: they hide the data from a glance, not from an attacker.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
import string
from collections.abc import Mapping
from typing import Any, Final, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import load_pem_public_key

Digest = Literal["md5", "sha256"]

#: ``EncryptionMode`` of ``EncryptedPhoneVerification``.
ENCRYPTION_MODES: Final[dict[Digest, str]] = {"md5": "1", "sha256": "2"}
_PRINTABLE = string.ascii_letters + string.digits


def public_key(text: str) -> rsa.RSAPublicKey:
    """Tencent's RSA key, from PEM or from PEM in Base64 (as its console shows it).

    Raises ValueError, without repeating the text.
    """
    if not text.lstrip().startswith("-----BEGIN"):
        try:
            text = base64.b64decode("".join(text.split()), validate=True).decode("ascii")
        except (binascii.Error, ValueError):
            raise ValueError("it is neither PEM nor PEM in Base64") from None
    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("it is not a public key in PEM") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("it is not an RSA key (Tencent has one for AES-256-CBC, one for SM4-GCM)")
    return key


def digested(fields: Mapping[str, str], digest: Digest) -> dict[str, str]:
    """The parameters of ``EncryptedPhoneVerification``."""
    digests = {
        name: hashlib.new(digest, value.encode(), usedforsecurity=False).hexdigest()
        for name, value in fields.items()
    }
    return digests | {"EncryptionMode": ENCRYPTION_MODES[digest]}


class FieldCipher:
    """Encrypts the fields of one request after the other. Holds nothing but the public key, so
    threads share it and a fork may copy it."""

    def __init__(self, key: rsa.RSAPublicKey) -> None:
        self._key = key

    def sealed(self, fields: Mapping[str, str], *, nested: bool) -> dict[str, Any]:
        """``fields`` encrypted, with what Tencent needs to read them: flat for
        ``PhoneVerification``, which knows AES only, else ``nested`` in ``Encryption``."""
        data_key, iv = _printable(32), _printable(16)
        envelope: dict[str, Any] = {
            "EncryptList": list(fields),
            "CiphertextBlob": _text(self._key.encrypt(data_key, padding.PKCS1v15())),
            "Iv": _text(iv),
        }
        sealed = {name: _encrypted(value, data_key, iv) for name, value in fields.items()}
        if not nested:
            return sealed | envelope
        return sealed | {"Encryption": envelope | {"Algorithm": "AES-256-CBC"}}


def _printable(length: int) -> bytes:
    """Random letters and digits; 32 of them are 190 bits."""
    return "".join(secrets.choice(_PRINTABLE) for _ in range(length)).encode()


def _encrypted(value: str, key: bytes, iv: bytes) -> str:
    padder = PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    padded = padder.update(value.encode()) + padder.finalize()
    return _text(encryptor.update(padded) + encryptor.finalize())


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
