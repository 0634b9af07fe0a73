"""The vendor's own SDK against the sandbox: the wire format is right if it understands every word,
and the traps that the product must avoid are really there."""

from __future__ import annotations

import pytest
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.faceid.v20180301.faceid_client import FaceidClient
from tencentcloud.faceid.v20180301.models import (
    PhoneVerificationCMCCRequest,
    PhoneVerificationRequest,
)

from tests.sandbox.conftest import ID_NUMBER, NAME, PHONE
from verifier.sandbox.server import SandboxServer


def client_of(server: SandboxServer, key: str | None = None) -> FaceidClient:
    credentials = server.credentials
    http = HttpProfile(protocol="http", endpoint=f"127.0.0.1:{server.port}", reqTimeout=5)
    return FaceidClient(
        Credential(credentials["tencent_secret_id"], key or credentials["tencent_secret_key"]),
        "",
        ClientProfile(httpProfile=http),
    )


def ask(name: str = NAME, mode: str = "1") -> PhoneVerificationRequest:
    request = PhoneVerificationRequest()
    request.Phone, request.Name, request.IdCard, request.VerifyMode = PHONE, name, ID_NUMBER, mode
    return request


def test_the_sdk_reads_match_and_mismatch(server: SandboxServer) -> None:
    client = client_of(server)
    matched = client.PhoneVerification(ask())
    assert (matched.Result, matched.Isp) == ("0", "移动")
    mismatched = client.PhoneVerification(ask(name="李小明"))
    assert (mismatched.Result, mismatched.ResultDetail) == ("-4", "PhoneNameMismatch")
    carrier_request = PhoneVerificationCMCCRequest()
    carrier_request.Phone, carrier_request.Name, carrier_request.IdCard = PHONE, NAME, ID_NUMBER
    assert client.PhoneVerificationCMCC(carrier_request).Result == "0"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"kind": "arrears"}, "UnauthorizedOperation.Arrears"),
        ({"kind": "http_error", "status": 502}, "ServerNetworkError"),
    ],
)
def test_the_sdk_raises_the_vendors_codes(
    server: SandboxServer, fault: dict[str, object], code: str
) -> None:
    client = client_of(server)
    server.client.fault("tencent", **fault)  # type: ignore[arg-type]
    with pytest.raises(TencentCloudSDKException) as raised:
        client.PhoneVerification(ask())
    assert raised.value.code == code


def test_the_sdk_raises_beyond_the_rate(server: SandboxServer) -> None:
    client = client_of(server)
    server.client.settings(per_second={"tencent": 0.01})
    assert client.PhoneVerification(ask()).Result == "0"
    with pytest.raises(TencentCloudSDKException) as raised:
        client.PhoneVerification(ask())
    assert raised.value.code == "RequestLimitExceeded"


def test_the_sdk_raises_on_a_wrong_key(server: SandboxServer) -> None:
    with pytest.raises(TencentCloudSDKException) as raised:
        client_of(server, key="wrong").PhoneVerification(ask())
    assert raised.value.code == "AuthFailure.SignatureFailure"


def test_the_sdk_takes_an_error_with_a_charset_for_an_answer_without_a_result(
    server: SandboxServer,
) -> None:
    """Why the product has a client of its own: this error would be read as an empty success."""
    server.client.fault(
        "tencent", "wrong_content_type", content_type="application/json; charset=utf-8"
    )
    assert client_of(server, key="wrong").PhoneVerification(ask()).Result is None
