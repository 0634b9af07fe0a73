"""TC3 signatures equal those of Tencent's own SDK, for any body, time and credentials."""

from __future__ import annotations

import json
from typing import Any

import time_machine
from hypothesis import given
from hypothesis import strategies as st
from tencentcloud.common.credential import Credential
from tencentcloud.common.http.request import RequestInternal
from tencentcloud.faceid.v20180301.faceid_client import FaceidClient

from verifier.signing import tc3

secrets = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=48)
parameters = st.dictionaries(st.text(max_size=12), st.text(max_size=40), max_size=6)


def _signed_by_the_sdk(
    secret_id: str, secret_key: str, params: dict[str, Any], timestamp: int
) -> tuple[dict[str, str], bytes]:
    client = FaceidClient(Credential(secret_id, secret_key), "")
    request = RequestInternal("faceid.tencentcloudapi.com", "POST", "/", header={})
    with time_machine.travel(timestamp, tick=False):
        client._build_req_with_tc3_signature("PhoneVerification", params, request)
    return request.header, request.data.encode()


@given(secrets, secrets, parameters, st.integers(1_600_000_000, 2_500_000_000))
def test_equals_the_vendors_sdk(
    secret_id: str, secret_key: str, params: dict[str, str], timestamp: int
) -> None:
    header, body = _signed_by_the_sdk(secret_id, secret_key, params, timestamp)
    assert header["X-TC-Timestamp"] == str(timestamp)
    ours = tc3.authorization(
        secret_id=secret_id,
        secret_key=secret_key,
        service="faceid",
        host=header["Host"],
        content_type=header["Content-Type"],
        body=body,
        timestamp=timestamp,
    )
    assert ours == header["Authorization"]


def test_another_body_date_host_or_secret_is_another_signature() -> None:
    base: dict[str, Any] = {
        "secret_id": "id",
        "secret_key": "key",
        "service": "faceid",
        "host": "faceid.tencentcloudapi.com",
        "content_type": "application/json",
        "body": json.dumps({"a": "b"}).encode(),
        "timestamp": 1_790_000_000,
    }
    changes: list[dict[str, Any]] = [
        {"body": b"{}"},
        {"timestamp": 1_790_000_001},
        {"timestamp": 1_790_086_400},
        {"host": "faceid.intl.tencentcloudapi.com"},
        {"secret_key": "other"},
        {"service": "sms"},
        {"content_type": "application/json; charset=utf-8"},
    ]
    signatures = [tc3.authorization(**{**base, **change}) for change in [{}, *changes]]
    assert len({text.rpartition("=")[2] for text in signatures}) == len(signatures)
