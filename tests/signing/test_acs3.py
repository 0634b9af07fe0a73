"""ACS3 signatures equal those of Alibaba's own SDK, for any body, query, time and credentials."""

from __future__ import annotations

from urllib.parse import parse_qsl

from alibabacloud_tea_openapi.utils import Utils
from darabonba.request import DaraRequest
from hypothesis import given
from hypothesis import strategies as st

from verifier.signing import acs3

secrets = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=48)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
names = st.text(st.characters(codec="ascii", categories=["Lu", "Ll"]), min_size=1, max_size=12)
fields = st.dictionaries(names, texts, max_size=6)


@given(secrets, secrets, fields, fields, st.integers(1_600_000_000, 2_500_000_000), st.uuids())
def test_equals_the_vendors_sdk(
    key_id: str,
    secret: str,
    query: dict[str, str],
    body: dict[str, str],
    timestamp: int,
    nonce: object,
) -> None:
    headers = acs3.headers(
        access_key_id=key_id,
        access_key_secret=secret,
        host="dysmsapi.aliyuncs.com",
        action="SendSms",
        version="2017-05-25",
        body=acs3.form(body),
        content_type="application/x-www-form-urlencoded",
        timestamp=timestamp,
        nonce=str(nonce),
        query=query,
    )
    request = DaraRequest()
    request.method, request.pathname, request.query = "POST", "/", query
    request.headers = {k: v for k, v in headers.items() if k != "Authorization"}
    payload = Utils.hash(acs3.form(body), "ACS3-HMAC-SHA256").hex()
    assert headers["x-acs-content-sha256"] == payload
    assert headers["Authorization"] == Utils.get_authorization(
        request, "ACS3-HMAC-SHA256", payload, key_id, secret
    )


@given(fields)
def test_a_form_reads_back_as_it_was_written(body: dict[str, str]) -> None:
    read = dict(
        parse_qsl(acs3.form(body).decode(), keep_blank_values=True, strict_parsing=bool(body))
    )
    assert read == body
