"""Tencent's side of encrypted fields: opens what a request has sealed, with the private key.

Written apart from the product's encryption on purpose. Document 1007/47180 and the vendor's tools
(TencentCloud/faceid-api-crypto-golang): ``CiphertextBlob`` is the data key of 32 bytes under RSA
with PKCS #1 v1.5, each field of ``EncryptList`` AES-256-CBC with PKCS #7, one ``Iv`` for all of
them, everything Base64. ``PhoneVerification`` has the three beside its fields, the other actions in
``Encryption``. SM4-GCM is not spoken here.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

ENVELOPE = frozenset({"CiphertextBlob", "EncryptList", "Iv"})
_BLOCK = 16


class SealRefused(Exception):
    """The vendor's code for what could not be opened."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def private_key(pem: str) -> rsa.RSAPrivateKey:
    key = load_pem_private_key(pem.encode(), password=None)
    assert isinstance(key, rsa.RSAPrivateKey)  # noqa: S101 - our own file
    return key


def opened(
    parameters: Mapping[str, Any],
    fields: tuple[str, ...],
    key: rsa.RSAPrivateKey,
    *,
    nested: bool,
) -> dict[str, Any]:
    """The parameters in clear, without the envelope; as they are when there is none.

    Raises :class:`SealRefused`.
    """
    if nested:
        envelope = parameters.get("Encryption")
        rest = {name: value for name, value in parameters.items() if name != "Encryption"}
    else:
        present = ENVELOPE & parameters.keys()
        envelope = {name: parameters[name] for name in present} or None
        rest = {name: value for name, value in parameters.items() if name not in ENVELOPE}
    if envelope is None:
        return rest
    if not isinstance(envelope, dict) or envelope.get("Algorithm", "AES-256-CBC") != "AES-256-CBC":
        raise SealRefused("FailedOperation.DecryptSystemError")
    sealed = envelope.get("EncryptList")
    if not isinstance(sealed, list):
        raise SealRefused("FailedOperation.DecryptSystemError")
    if not set(map(str, sealed)) <= set(fields):
        raise SealRefused("InvalidParameter.UnsupportEncryptField")
    try:
        data_key = key.decrypt(_bytes(envelope.get("CiphertextBlob")), padding.PKCS1v15())
        iv = _bytes(envelope.get("Iv"))
        clear = {name: _decrypted(_bytes(rest.get(name)), data_key, iv) for name in sealed}
    except ValueError:
        raise SealRefused("FailedOperation.DecryptSystemError") from None
    return rest | clear


def _bytes(value: object) -> bytes:
    if not isinstance(value, str):
        raise ValueError("not Base64")
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        raise ValueError("not Base64") from None


def _decrypted(data: bytes, key: bytes, iv: bytes) -> str:
    """Raises ValueError, as the cipher does for a key, an IV or a length that cannot be."""
    if len(key) != 32:
        raise ValueError("no key for AES-256")
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    padded = decryptor.update(data) + decryptor.finalize()
    count = padded[-1] if padded else 0
    if not 1 <= count <= _BLOCK or padded[-count:] != bytes([count]) * count:
        raise ValueError("padding")
    return padded[:-count].decode()
