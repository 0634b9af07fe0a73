"""Encrypted fields and digests at the sandbox's Tencent, sealed here by the tests themselves."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.sandbox.conftest import ID_NUMBER, NAME, PHONE
from tests.sandbox.signed import tencent
from verifier.sandbox.credentials import NAMES, ensure_credentials
from verifier.sandbox.server import SandboxServer

TRIPLE = {"Phone": PHONE, "Name": NAME, "IdCard": ID_NUMBER}
KEY, IV = b"0123456789abcdefghijklmnopqrstuv", b"ABCDEFGHIJKLMNOP"
BROKEN = "FailedOperation.DecryptSystemError"


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def encrypted(value: str) -> str:
    data = value.encode()
    count = 16 - len(data) % 16
    encryptor = Cipher(algorithms.AES(KEY), modes.CBC(IV)).encryptor()
    return text(encryptor.update(data + bytes([count]) * count) + encryptor.finalize())


def sealed(
    server: SandboxServer, fields: dict[str, str], *, nested: bool, key: bytes = KEY
) -> dict[str, Any]:
    public = serialization.load_pem_public_key(
        server.credentials["tencent_encryption_public_key"].encode()
    )
    assert isinstance(public, rsa.RSAPublicKey)
    envelope = {
        "EncryptList": list(fields),
        "CiphertextBlob": text(public.encrypt(key, padding.PKCS1v15())),
        "Iv": text(IV),
    }
    clear = {name: encrypted(value) for name, value in fields.items()}
    return clear | ({"Encryption": envelope} if nested else envelope)


def ask(server: SandboxServer, action: str, body: dict[str, Any]) -> Any:
    return tencent(server, body, action=action).json()["Response"]


@pytest.mark.parametrize("hidden", [("Phone",), ("Name", "IdCard"), ("Phone", "Name", "IdCard")])
@pytest.mark.parametrize("action", ["PhoneVerification", "PhoneVerificationCMCC"])
def test_one_or_several_fields_may_be_encrypted(
    server: SandboxServer, action: str, hidden: tuple[str, ...]
) -> None:
    fields = {name: TRIPLE[name] for name in hidden}
    nested = action != "PhoneVerification"
    body = {**TRIPLE, **sealed(server, fields, nested=nested)}
    assert ask(server, action, body)["Result"] == "0"
    assert server.client.calls_about(PHONE) == {"calls": 1, "processed": 1, "billed": 1}
    assert server.client.calls_about(ID_NUMBER)["billed"] == 1


def test_the_algorithm_may_be_named_and_no_other_is_spoken(server: SandboxServer) -> None:
    body = sealed(server, {"Mobile": PHONE}, nested=True)
    for algorithm, result in (("AES-256-CBC", "0"), ("SM4-GCM", None)):
        body["Encryption"]["Algorithm"] = algorithm
        answer = ask(server, "MobileStatus", body)
        assert answer.get("Result") == result
    assert answer["Error"]["Code"] == BROKEN


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"CiphertextBlob": "xx"}, BROKEN),
        ({"CiphertextBlob": text(b"x" * 256)}, BROKEN),
        ({"CiphertextBlob": None}, BROKEN),
        ({"Iv": "ABCDEFGHIJKLMNOP"}, BROKEN),  # not Base64 of 16 bytes
        ({"Iv": 7}, BROKEN),
        ({"Phone": "not Base64"}, BROKEN),
        ({"Phone": text(b"x" * 15)}, BROKEN),
        ({"Phone": text(b"")}, BROKEN),
        ({"Phone": text(b"x" * 16)}, BROKEN),
        ({"EncryptList": "Phone"}, BROKEN),
        ({"EncryptList": ["Phone", "Isp"]}, "InvalidParameter.UnsupportEncryptField"),
        ({"EncryptList": ["VerifyMode"]}, "InvalidParameter.UnsupportEncryptField"),
        ({"Encryption": {}}, "UnknownParameter"),
    ],
)
def test_what_cannot_be_opened_is_refused_and_free(
    server: SandboxServer, changed: dict[str, Any], code: str
) -> None:
    body = {**sealed(server, TRIPLE, nested=False), **changed}
    assert ask(server, "PhoneVerification", body)["Error"]["Code"] == code
    assert server.client.calls_about(PHONE)["billed"] == 0


def test_a_data_key_of_another_length_is_refused(server: SandboxServer) -> None:
    body = sealed(server, TRIPLE, nested=False, key=b"x" * 16)
    assert ask(server, "PhoneVerification", body)["Error"]["Code"] == BROKEN


def test_the_signature_is_checked_before_anything_is_opened(server: SandboxServer) -> None:
    body = {**TRIPLE, "CiphertextBlob": "xx", "EncryptList": [], "Iv": ""}
    answer = tencent(server, body, key="another key").json()["Response"]
    assert answer["Error"]["Code"] == "AuthFailure.SignatureFailure"


def test_a_flat_envelope_is_unknown_where_it_is_nested(server: SandboxServer) -> None:
    body = sealed(server, TRIPLE, nested=False)
    answer = ask(server, "PhoneVerificationCMCC", body)
    assert answer["Error"]["Code"] == "UnknownParameter"


# -- digests ---------------------------------------------------------------------------------------


def digests(mode: str, **changed: str) -> dict[str, str]:
    algorithm = {"1": "md5", "2": "sha256"}[mode]
    elements = {**TRIPLE, **changed}
    hashed = {
        name: hashlib.new(algorithm, value.encode()).hexdigest() for name, value in elements.items()
    }
    return {**hashed, "EncryptionMode": mode}


@pytest.mark.parametrize("mode", ["1", "2"])
def test_digests_are_judged_by_equality(server: SandboxServer, mode: str) -> None:
    answer = ask(server, "EncryptedPhoneVerification", digests(mode))
    assert (answer["Result"], answer["ISP"]) == ("0", "移动")
    assert "Isp" not in answer
    for changed, result in (({"Name": "李小明"}, "-4"), ({"Phone": "13900139000"}, "-9")):
        body = digests(mode, **changed)
        assert ask(server, "EncryptedPhoneVerification", body)["Result"] == result
    assert server.client.calls_about(PHONE) == {"calls": 2, "processed": 2, "billed": 2}
    assert server.client.calls_about(ID_NUMBER)["calls"] == 2


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ({**TRIPLE, "EncryptionMode": "0"}, "0"),
        ({**TRIPLE, "EncryptionMode": "0", "IdCard": "1"}, "-7"),
        ({**TRIPLE, "EncryptionMode": "0", "Phone": "1"}, "-8"),
        ({**TRIPLE, "EncryptionMode": "0", "Name": "王"}, "-8"),
        ({**TRIPLE, "EncryptionMode": "2"}, "-8"),  # clear text, called a digest
        ({**digests("1"), "EncryptionMode": "2"}, "-8"),
        ({**TRIPLE, "EncryptionMode": "0", "Phone": "17000138000"}, "-9"),
    ],
)
def test_minus_eight_is_any_bad_parameter(
    server: SandboxServer, body: dict[str, str], result: str
) -> None:
    answer = ask(server, "EncryptedPhoneVerification", body)
    assert answer["Result"] == result


def test_an_unknown_mode_is_an_error(server: SandboxServer) -> None:
    answer = ask(server, "EncryptedPhoneVerification", {**digests("1"), "EncryptionMode": "9"})
    assert answer["Error"]["Code"] == "InvalidParameterValue"


def test_a_number_that_joined_or_left_the_register_is_found_or_not(server: SandboxServer) -> None:
    body = digests("2")
    assert ask(server, "EncryptedPhoneVerification", body)["Result"] == "0"
    server.client.remove(PHONE)
    assert ask(server, "EncryptedPhoneVerification", body)["Result"] == "-9"


# -- the key pair ----------------------------------------------------------------------------------


def _belong_together(credentials: dict[str, str]) -> bool:
    private = serialization.load_pem_private_key(
        credentials["tencent_encryption_private_key"].encode(), password=None
    )
    public = serialization.load_pem_public_key(
        credentials["tencent_encryption_public_key"].encode()
    )
    assert isinstance(private, rsa.RSAPrivateKey)
    assert isinstance(public, rsa.RSAPublicKey)
    assert private.key_size == 2048
    return private.public_key().public_numbers() == public.public_numbers()


def test_the_key_pair_is_made_once_and_belongs_together(tmp_path: Path) -> None:
    first = ensure_credentials(tmp_path)
    assert _belong_together(first)
    assert ensure_credentials(tmp_path) == first
    (tmp_path / "tencent_encryption_public_key").unlink()
    assert ensure_credentials(tmp_path) == first


def test_processes_that_start_at_once_agree_about_the_keys(tmp_path: Path) -> None:
    code = (
        "import json, sys; from pathlib import Path;"
        "from verifier.sandbox.credentials import ensure_credentials;"
        "sys.stdin.readline();"
        "print(json.dumps(ensure_credentials(Path(sys.argv[1]))))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "state")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("now\n")
        process.stdin.flush()
    answers = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert all(answer == answers[0] for answer in answers)
    assert _belong_together(answers[0])
    left = sorted(path.name for path in (tmp_path / "state").iterdir())
    assert left == sorted(NAMES)  # and no draft
