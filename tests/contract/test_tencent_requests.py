"""The requests to Tencent, with the vendor's own SDK as the judge, and what they hide."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
import time_machine
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from pydantic import ValidationError
from pytest_httpserver import HTTPServer
from tencentcloud.common.credential import Credential
from tencentcloud.common.http.request import RequestInternal
from tencentcloud.faceid.v20180301 import models
from tencentcloud.faceid.v20180301.faceid_client import FaceidClient
from werkzeug import Request

from tests.contract.cases.common import NUMBER, PERSON, SECRETS
from tests.contract.cases.tencent import TENCENT_ACTIONS, tencent, tencent_body, tencent_private_key
from verifier.carriers.tencent import Settings
from verifier.carriers.tencent_fields import digested, public_key
from verifier.errors import ConfigError
from verifier.outcomes import Check, Lane
from verifier.transport import Deadline, Transport

ELEMENTS = {"IdCard": PERSON.id_number, "Name": PERSON.name, "Phone": PERSON.phone}
CHECK_ACTIONS = {"MobileStatus": Check.STATUS, "MobileNetworkTimeVerification": Check.RECYCLED}
ENVELOPE = {"CiphertextBlob", "EncryptList", "Iv"}


def _sent(
    httpserver: HTTPServer, transport: Transport, action: str, **options: Any
) -> tuple[Request, dict[str, Any]]:
    """The request of one call, and its parameters."""
    httpserver.expect_request("/", method="POST").respond_with_data(tencent_body(Result="0"))
    endpoint = httpserver.url_for("").rstrip("/")
    if action in CHECK_ACTIONS:
        provider = tencent(endpoint, transport, **options)
        provider.check(CHECK_ACTIONS[action], NUMBER, "attempt-1", Deadline.after(5))
    else:
        provider = tencent(endpoint, transport, action, **options)
        provider.verify(PERSON, "attempt-1", Deadline.after(5))
    request = httpserver.log[-1][0]
    return request, json.loads(request.data)


def _as_the_sdk_has_it(action: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters as they come out of the SDK's model: it knows these names and no others."""
    model = getattr(models, f"{action}Request")()
    known = {name[1:] for name in vars(model)}
    assert set(parameters) <= known
    for name, value in parameters.items():
        if name == "Encryption":
            encryption = models.Encryption()
            assert set(value) <= {inner[1:] for inner in vars(encryption)}
            for inner, content in value.items():
                setattr(encryption, inner, content)
            value = encryption
        setattr(model, name, value)
    serialized: dict[str, Any] = model._serialize()
    return serialized


CALLS = [
    *((action, {}) for action in TENCENT_ACTIONS),
    ("PhoneVerification", {"detailed": True}),
    ("EncryptedPhoneVerification", {}),
    *((action, {}) for action in CHECK_ACTIONS),
    *((action, {"encrypt": True}) for action in TENCENT_ACTIONS),
    *((action, {"encrypt": True}) for action in CHECK_ACTIONS),
]


@pytest.mark.parametrize(("action", "options"), CALLS)
def test_the_request_is_the_one_that_tencents_sdk_would_send(
    action: str, options: dict[str, Any], httpserver: HTTPServer, transport: Transport
) -> None:
    with time_machine.travel(time.time(), tick=False):
        sent, parameters = _sent(httpserver, transport, action, **options)
        assert _as_the_sdk_has_it(action, parameters) == parameters
        client = FaceidClient(Credential("tests-secret-id", "tests-secret-key"), "")
        client.profile.httpProfile.endpoint = f"{httpserver.host}:{httpserver.port}"
        request = RequestInternal(sent.host, "POST", "/", header={})
        # The SDK escapes non-ASCII in JSON and we do not, so it signs our very bytes.
        client._build_req_with_tc3_signature(action, parameters, request)
        request.data = sent.data.decode()
        signature = client._get_tc3_signature(
            parameters,
            request,
            time.strftime("%Y-%m-%d", time.gmtime()),
            "faceid",
            "tests-secret-key",
        )
    assert sent.headers["X-TC-Action"] == action
    for name in ("X-TC-Action", "X-TC-Version", "X-TC-Timestamp", "X-TC-Language", "Host"):
        assert sent.headers[name] == request.header[name]
    assert sent.headers["Authorization"].endswith(f"Signature={signature}")
    assert sent.headers["Authorization"].startswith(
        request.header["Authorization"].rpartition("=")[0]
    )


@pytest.mark.parametrize(
    ("action", "options", "expected"),
    [
        ("PhoneVerification", {}, ELEMENTS | {"VerifyMode": "0"}),
        ("PhoneVerification", {"detailed": True}, ELEMENTS | {"VerifyMode": "1"}),
        ("PhoneVerificationCMCC", {}, ELEMENTS),
        ("PhoneVerificationCUCC", {}, ELEMENTS),
        ("PhoneVerificationCTCC", {}, ELEMENTS),
        ("MobileStatus", {}, {"Mobile": PERSON.phone}),
        ("MobileNetworkTimeVerification", {}, {"Mobile": PERSON.phone}),
    ],
)
def test_a_request_in_clear_has_the_documented_fields_and_no_others(
    action: str,
    options: dict[str, Any],
    expected: dict[str, str],
    httpserver: HTTPServer,
    transport: Transport,
) -> None:
    assert _sent(httpserver, transport, action, **options)[1] == expected


def _opened(parameters: dict[str, Any]) -> dict[str, str]:
    """What the vendor reads: with the private key, by the documents' description."""
    envelope = parameters.get("Encryption", parameters)
    data_key = tencent_private_key().decrypt(
        base64.b64decode(envelope["CiphertextBlob"], validate=True), padding.PKCS1v15()
    )
    assert len(data_key) == 32
    assert data_key.isascii()
    iv = base64.b64decode(envelope["Iv"], validate=True)
    assert len(iv) == 16
    clear = {}
    for name in envelope["EncryptList"]:
        decryptor = Cipher(algorithms.AES(data_key), modes.CBC(iv)).decryptor()
        data = base64.b64decode(parameters[name], validate=True)
        padded = decryptor.update(data) + decryptor.finalize()
        unpadder = PKCS7(128).unpadder()
        clear[name] = (unpadder.update(padded) + unpadder.finalize()).decode()
    return clear


@pytest.mark.parametrize("action", TENCENT_ACTIONS)
def test_encrypted_fields_are_read_with_the_private_key_alone(
    action: str, httpserver: HTTPServer, transport: Transport
) -> None:
    sent, parameters = _sent(httpserver, transport, action, encrypt=True)
    assert _opened(parameters) == ELEMENTS
    text = sent.data.decode()
    assert not [secret for secret in SECRETS if secret in text]
    if action == "PhoneVerification":  # flat, and it knows AES only
        assert parameters.keys() == {*ELEMENTS, *ENVELOPE, "VerifyMode"}
    else:
        assert parameters.keys() == {*ELEMENTS, "Encryption"}
        assert parameters["Encryption"].keys() == {*ENVELOPE, "Algorithm"}
        assert parameters["Encryption"]["Algorithm"] == "AES-256-CBC"


@pytest.mark.parametrize("action", CHECK_ACTIONS)
def test_an_encrypted_check_hides_the_number(
    action: str, httpserver: HTTPServer, transport: Transport
) -> None:
    sent, parameters = _sent(httpserver, transport, action, encrypt=True)
    assert _opened(parameters) == {"Mobile": PERSON.phone}
    assert PERSON.phone not in sent.data.decode()


def test_no_key_and_no_vector_is_used_for_two_calls(
    httpserver: HTTPServer, transport: Transport
) -> None:
    httpserver.expect_request("/").respond_with_data(tencent_body(Result="0"))
    provider = tencent(httpserver.url_for("").rstrip("/"), transport, encrypt=True)
    for _ in range(20):
        provider.verify(PERSON, "a", Deadline.after(5))
    bodies = [json.loads(request.data) for request, _ in httpserver.log]
    private = tencent_private_key()
    keys = {
        private.decrypt(base64.b64decode(body["CiphertextBlob"]), padding.PKCS1v15())
        for body in bodies
    }
    assert len(keys) == len({body["Iv"] for body in bodies}) == len(bodies) == 20
    assert len({body["Phone"] for body in bodies}) == 20


def test_a_digest_is_the_documented_one() -> None:
    """The example of document 1007/55050; and `printf 13800138000 | sha256sum`."""
    md5 = digested({"Name": "张三"}, "md5")
    assert md5 == {"Name": "615db57aa314529aaa0fbe95b3e95bd3", "EncryptionMode": "1"}
    assert digested({"Phone": "13800138000"}, "sha256") == {
        "Phone": "a6942f9771d67f34034d2f1926988ed3fad3bf1b4e7cedb9a31f31398dea43bc",
        "EncryptionMode": "2",
    }


def test_digests_go_out_instead_of_the_elements(
    httpserver: HTTPServer, transport: Transport
) -> None:
    sent, parameters = _sent(httpserver, transport, "EncryptedPhoneVerification")
    assert parameters == digested(ELEMENTS, "sha256")
    text = sent.data.decode()
    assert not [secret for secret in SECRETS if secret in text]


# -- the public key --------------------------------------------------------------------------------


def _pem(form: serialization.PublicFormat) -> str:
    key = tencent_private_key().public_key()
    return key.public_bytes(serialization.Encoding.PEM, form).decode()


@pytest.mark.parametrize(
    "form", [serialization.PublicFormat.PKCS1, serialization.PublicFormat.SubjectPublicKeyInfo]
)
def test_the_public_key_is_read_in_every_form_that_is_handed_out(
    form: serialization.PublicFormat,
) -> None:
    expected = tencent_private_key().public_key().public_numbers()
    in_base64 = base64.b64encode(_pem(form).encode()).decode()
    for text in (_pem(form), f"\n{_pem(form)}\n", in_base64, f"{in_base64[:60]}\n{in_base64[60:]}"):
        assert public_key(text).public_numbers() == expected


OTHER_KEY = (
    ec.generate_private_key(ec.SECP256R1())
    .public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a public key|neither"),
        ("no key at all", "neither PEM nor PEM in Base64"),
        ("AAAA", "not a public key|neither"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "not a public key"),
        (OTHER_KEY, "not an RSA key"),
    ],
)
def test_what_is_no_rsa_key_is_an_error_that_names_the_provider_and_not_the_text(
    text: str, message: str, monkeypatch: pytest.MonkeyPatch, transport: Transport
) -> None:
    monkeypatch.setenv("TESTS_KEY", text or " ")
    settings = _settings(encrypt=True, encryption_key="env:TESTS_KEY")
    monkeypatch.setenv("TESTS_SECRET", "tests-secret")
    with pytest.raises(ConfigError, match=message) as raised:
        settings.build("all", transport)
    assert "providers.all: the encryption_key cannot be used" in raised.value.message
    assert len(text) < 8 or text not in raised.value.message


# -- the settings ----------------------------------------------------------------------------------


def _settings(**more: Any) -> Settings:
    rows = {
        "kind": "tencent",
        "secret_id": "env:TESTS_SECRET",
        "secret_key": "env:TESTS_SECRET",
        "lanes": ["cmcc"],
    }
    return Settings.model_validate({**rows, **more})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"encrypt": True}, "encrypt needs encryption_key"),
        ({"encryption_key": "env:K"}, "nothing is encrypted: encrypt = true"),
        (
            {
                "encrypt": True,
                "encryption_key": "env:K",
                "action": "EncryptedPhoneVerification",
            },
            "takes digests, which cannot be encrypted",
        ),
        ({"digest": "md5"}, "PhoneVerification takes no digests"),
        ({"digest": "sm3", "action": "EncryptedPhoneVerification"}, "'md5' or 'sha256'"),
        ({"action": "EncryptedPhoneVerification", "detailed": True}, "no detailed mode"),
        ({"action": "EncryptedPhoneVerification", "lanes": ["cbn"]}, "cannot verify cbn"),
        ({"checks": ["carrier"]}, "cannot check carrier; it knows recycled, status"),
    ],
)
def test_options_that_do_not_fit_are_refused_with_the_way_out(
    more: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        _settings(**more)


def test_a_provider_is_built_as_its_table_says(
    monkeypatch: pytest.MonkeyPatch, httpserver: HTTPServer, transport: Transport
) -> None:
    monkeypatch.setenv("TESTS_SECRET", "tests-secret")
    monkeypatch.setenv("TESTS_KEY", _pem(serialization.PublicFormat.PKCS1))
    settings = _settings(
        endpoint=httpserver.url_for("").rstrip("/"),
        lanes=[],
        checks=["recycled", "status"],
        encrypt=True,
        encryption_key="env:TESTS_KEY",
    )
    assert settings.secrets() == ("env:TESTS_SECRET", "env:TESTS_SECRET", "env:TESTS_KEY")
    provider = settings.build("checks_only", transport)
    assert (provider.name, provider.kind) == ("checks_only", "tencent")
    assert not provider.lanes
    assert provider.checks == {Check.STATUS, Check.RECYCLED}
    httpserver.expect_request("/").respond_with_data(tencent_body(Result="-1"))
    provider.check(Check.STATUS, NUMBER, "a", Deadline.after(5))
    assert _opened(json.loads(httpserver.log[0][0].data)) == {"Mobile": PERSON.phone}


def test_a_check_that_is_not_configured_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, httpserver: HTTPServer, transport: Transport
) -> None:
    monkeypatch.setenv("TESTS_SECRET", "tests-secret")
    settings = _settings(endpoint=httpserver.url_for("").rstrip("/"), checks=["status"])
    provider = settings.build("one", transport)
    assert provider.lanes == {Lane.CMCC}
    answered = provider.check(Check.RECYCLED, NUMBER, "a", Deadline.after(5))
    assert answered.detail == "PARAM"
    assert httpserver.log == []
