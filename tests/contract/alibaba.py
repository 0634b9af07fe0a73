"""Alibaba's own client libraries as an oracle: what they would send, and how they would sign it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from alibabacloud_cloudauth20190307.client import (  # type: ignore[import-untyped]
    Client as CloudauthClient,
)
from alibabacloud_dytnsapi20200217.client import (  # type: ignore[import-untyped]
    Client as DytnsClient,
)
from alibabacloud_tea_openapi.utils import Utils
from alibabacloud_tea_openapi.utils_models import Config
from darabonba.request import DaraRequest
from pytest_httpserver import HTTPServer
from werkzeug import Request

PRODUCTS = {"cloudauth": CloudauthClient, "dytns": DytnsClient}


def sdk(product: str, address: str, key_id: str = "tests-key-id", secret: str = "") -> Any:
    """The library's client of a product, speaking plain HTTP to ``address`` (host:port)."""
    config = Config(
        access_key_id=key_id,
        access_key_secret=secret or "tests-secret-key",
        endpoint=address,
        protocol="HTTP",
    )
    return PRODUCTS[product](config)


def parameters(request: Request) -> tuple[dict[str, str], dict[str, str]]:
    """What stands in the URL, and what in the body."""
    query = request.query_string.decode()
    return (
        dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))),
        dict(parse_qsl(request.data.decode(), keep_blank_values=True)),
    )


def sent_by_the_sdk(httpserver: HTTPServer, call: Callable[[Any], Any], product: str) -> Request:
    """The request that the library makes, answered with ``{}``."""
    httpserver.clear()
    httpserver.expect_request("/", method="POST").respond_with_json({})
    call(sdk(product, f"{httpserver.host}:{httpserver.port}"))
    request, _ = httpserver.log[-1]
    return request


def signature_of(request: Request) -> str:
    """What the library would write into ``Authorization`` of this very request."""
    theirs = DaraRequest()
    theirs.method, theirs.pathname, theirs.query = "POST", "/", parameters(request)[0]
    theirs.headers = {
        name.lower(): value
        for name, value in request.headers.items()
        if name.lower().startswith("x-acs-") or name.lower() in {"host", "content-type"}
    }
    payload = Utils.hash(request.data, "ACS3-HMAC-SHA256").hex()
    assert request.headers["x-acs-content-sha256"] == payload
    signature: str = Utils.get_authorization(
        theirs, "ACS3-HMAC-SHA256", payload, "tests-key-id", "tests-secret-key"
    )
    return signature


def assert_signed_and_named_like(ours: Request, theirs: Request) -> None:
    """The same call as far as the gateway is concerned."""
    assert (ours.method, ours.path) == (theirs.method, theirs.path)
    for name in ("x-acs-action", "x-acs-version", "accept"):
        assert ours.headers[name] == theirs.headers[name]
    assert ours.headers["Authorization"] == signature_of(ours)
