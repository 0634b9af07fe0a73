"""Two resellers, as different as they come: it is the configuration that decides."""

from __future__ import annotations

import tomllib
from typing import Any

from tests.contract.cases.common import ProviderCase
from verifier.carriers.generic import Generic
from verifier.carriers.generic import Settings as GenericSettings
from verifier.local.reseller_config import reseller_table
from verifier.outcomes import Check
from verifier.transport import Transport


def generic(endpoint: str, transport: Transport, table: dict[str, Any] | None = None) -> Generic:
    """As the configuration describes it, by default the sandbox's reseller."""
    settings = GenericSettings.model_validate(RESELLER if table is None else table)
    return Generic(
        name="reseller",
        lanes=frozenset(settings.lanes),
        checks=frozenset(settings.checks),
        endpoint=endpoint,
        verification=settings.verify,
        check_calls=settings.check,
        probe=settings.probe,
        secrets={name: f"tests-secret-{name[4:]}" for name in settings.secret_refs},
        max_body=settings.max_body,
        transport=transport,
    )


#: JSON, HMAC over the sorted fields, an envelope with codes in text.
RESELLER = tomllib.loads(reseller_table("https://reseller.example.com", "env:KEY", "env:SECRET"))[
    "providers"
]["reseller"]
#: Another one, as different as they come: a form, an MD5 signature, codes in Chinese, in a list.
FORM_RESELLER = tomllib.loads(
    """
    kind = "generic"
    endpoint = "https://api.other.example.com/open"
    lanes = ["cmcc", "cucc"]
    checks = ["recycled", "carrier"]

    [secrets]
    app_key = "env:OTHER"

    [verify]
    path = "/tel3"
    format = "form"
    success = { "head.status" = ["0", "00"] }
    error = "head.error"
    result = "payload[0].verdict"
    carrier = "payload[0].isp"
    request_id = "head.seq"

    [verify.body]
    tel = "{{ phone_e164 }}"
    xm = "{{ name }}"
    sfz = "{{ id_number | lower }}"
    t = "{{ timestamp_ms }}"
    r = "{{ nonce }}"
    day = "{{ date }}"
    version = 2
    plain = true

    [verify.signature]
    algorithm = "md5"
    over = "{{ sorted_parameters }}&key={{ secret.app_key }}"
    case = "upper"
    place = "header"
    name = "X-Sign"

    [verify.codes]
    "一致" = "MATCHED"
    "不一致" = "MISMATCHED/UNSPECIFIED"
    "查无" = "NO_RECORD"

    [verify.carriers]
    "移动" = "cmcc"
    "联通" = "cucc"

    [verify.billed]
    "查无" = "yes"

    [verify.errors]
    "4*" = "INVALID_INPUT/PARAM"
    "41" = "AUTH_CONFIG"
    "411" = "NUMBER_INACTIVE/EMPTY"
    "5*" = "MAINTENANCE"
    "59" = "PROVIDER_ERROR"

    [verify.errors_billed]
    "59" = "maybe"

    [verify.http]
    "407" = "AUTH_CONFIG"
    "402" = "ARREARS"
    "418" = "MAINTENANCE"
    "509" = "PROVIDER_ERROR"

    [check.recycled]
    method = "GET"
    path = "/recycled"
    result = "same"
    error = "errno"
    [check.recycled.query]
    tel = "{{ phone | hmac_sha256(secret.app_key) }}"
    since = "{{ since }}"
    compact = "{{ since_compact }}"
    [check.recycled.headers]
    X-Key = "{{ secret.app_key }}"
    [check.recycled.codes]
    true = "SAME_HOLDER"
    false = "CHANGED_HANDS"
    [check.recycled.errors]
    "404" = "UNKNOWN"

    [check.carrier]
    method = "GET"
    path = "/carrier"
    allow_personal_data_in_url = true
    result = "code"
    carrier = "isp"
    [check.carrier.query]
    tel = "{{ phone }}"
    [check.carrier.codes]
    "0" = "CARRIER"
    "1" = "UNKNOWN"
    [check.carrier.carriers]
    "1" = "cmcc"
    "2" = "cbn"
    """
)


def _generic_case(name: str, table: dict[str, Any], *bodies: bytes) -> ProviderCase:
    check = Check(table["checks"][0])
    return ProviderCase(
        f"generic.{name}",
        lambda endpoint, transport: generic(endpoint, transport, table),
        bodies[0],
        check=check,
        checked=bodies[1],
        probed=bodies[2],
    )


CASES = [
    _generic_case(
        "json",
        RESELLER,
        b'{"code":"0","requestId":"r-1","data":{"result":"1","carrier":"CMCC","fee":15}}',
        b'{"code":"0","requestId":"r-1","data":{"status":"0","fee":15}}',
        b'{"code":"2001","requestId":"r-1"}',
    ),
    _generic_case(
        "form",
        FORM_RESELLER,
        '{"head":{"status":"0","seq":7},"payload":[{"verdict":"一致","isp":"移动"}]}'.encode(),
        b'{"same":true}',
        b"",  # no probe is described
    ),
]
