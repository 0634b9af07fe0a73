"""Requests signed with the *vendors'* own SDK code: a third opinion beside the product's signing
and the sandbox's checking."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import requests
from alibabacloud_tea_openapi.utils import Utils as AliyunUtils
from darabonba.request import DaraRequest
from tencentcloud.common.sign import Sign

from verifier.sandbox.server import SandboxServer

TIMEOUT = 10


def tencent(
    server: SandboxServer,
    parameters: dict[str, Any] | bytes,
    *,
    action: str = "PhoneVerification",
    version: str = "2018-03-01",
    at: float | None = None,
    key: str | None = None,
    timeout: float = TIMEOUT,
) -> requests.Response:
    credentials = server.credentials
    body = parameters if isinstance(parameters, bytes) else json.dumps(parameters).encode()
    host, stamp = f"127.0.0.1:{server.port}", int(time.time() if at is None else at)
    day = datetime.fromtimestamp(stamp, UTC).strftime("%Y-%m-%d")
    canonical = (
        f"POST\n/\n\ncontent-type:application/json\nhost:{host}\n\ncontent-type;host\n"
        f"{hashlib.sha256(body).hexdigest()}"
    )
    text = (
        f"TC3-HMAC-SHA256\n{stamp}\n{day}/faceid/tc3_request\n"
        f"{hashlib.sha256(canonical.encode()).hexdigest()}"
    )
    signature = Sign.sign_tc3(key or credentials["tencent_secret_key"], day, "faceid", text)
    return requests.post(
        f"{server.url}/",
        data=body,
        headers={
            "Content-Type": "application/json",
            "X-TC-Action": action,
            "X-TC-Version": version,
            "X-TC-Timestamp": str(stamp),
            "Authorization": (
                f"TC3-HMAC-SHA256 Credential={credentials['tencent_secret_id']}/{day}/faceid/"
                f"tc3_request, SignedHeaders=content-type;host, Signature={signature}"
            ),
        },
        timeout=timeout,
        allow_redirects=False,
    )


def verify(server: SandboxServer, phone: str, name: str, id_number: str, **more: Any) -> Any:
    """The ``Response`` of a verification."""
    options = {key: more.pop(key) for key in ("action", "at", "key", "timeout") if key in more}
    ask = {"Phone": phone, "Name": name, "IdCard": id_number, **more}
    answer = tencent(server, ask, **options)
    assert answer.status_code == 200
    return answer.json()["Response"]


def aliyun(
    server: SandboxServer,
    action: str,
    parameters: dict[str, str],
    *,
    in_query: bool = False,
    nonce: str | None = None,
    at: float | None = None,
    secret: str | None = None,
    timeout: float = TIMEOUT,
    version: str = "2017-05-25",
) -> requests.Response:
    credentials = server.credentials
    form = "" if in_query else urlencode(parameters)
    moment = datetime.fromtimestamp(time.time() if at is None else at, UTC)
    payload = hashlib.sha256(form.encode()).hexdigest()
    headers = {
        "host": f"127.0.0.1:{server.port}",
        "x-acs-action": action,
        "x-acs-version": version,
        "x-acs-date": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "x-acs-signature-nonce": nonce or secrets.token_hex(16),
        "x-acs-content-sha256": payload,
    }
    if form:
        headers["content-type"] = "application/x-www-form-urlencoded"
    request = DaraRequest()
    request.method, request.pathname, request.headers = "POST", "/", headers
    request.query = dict(parameters) if in_query else {}
    headers["Authorization"] = AliyunUtils.get_authorization(
        request,
        "ACS3-HMAC-SHA256",
        payload,
        credentials["aliyun_key_id"],
        secret or credentials["aliyun_key_secret"],
    )
    return requests.post(
        f"{server.url}/",
        params=parameters if in_query else None,
        data=form,
        headers=headers,
        timeout=timeout,
        allow_redirects=False,
    )


def send_sms(server: SandboxServer, phone: str, out_id: str, **more: str) -> Any:
    parameters = {
        "PhoneNumbers": phone,
        "SignName": "示例",
        "TemplateCode": "SMS_1001",
        "TemplateParam": '{"tail":"8000"}',
        "OutId": out_id,
        **more,
    }
    return aliyun(server, "SendSms", parameters).json()


def push(
    server: SandboxServer, payload: dict[str, Any] | None = None, *, secret: str | None = None
) -> requests.Response:
    credentials = server.credentials
    return requests.post(
        f"{server.url}/v3/push",
        json=payload,
        auth=(credentials["jpush_app_key"], secret or credentials["jpush_master_secret"]),
        timeout=TIMEOUT,
        allow_redirects=False,
    )


def push_payload(token: str, cid: str | None = None) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "platform": "all",
        "audience": {"registration_id": [token]},
        "notification": {"alert": "请核对您的手机号实名信息"},
    }
    return payload if cid is None else {**payload, "cid": cid}


def cids(server: SandboxServer, count: int = 1) -> list[str]:
    credentials = server.credentials
    answer = requests.get(
        f"{server.url}/v3/push/cid",
        params={"count": str(count)},
        auth=(credentials["jpush_app_key"], credentials["jpush_master_secret"]),
        timeout=TIMEOUT,
    )
    assert answer.status_code == 200
    found: list[str] = answer.json()["cidlist"]
    return found
