"""The sandbox's reseller, as a configuration describes it: also an example to begin one's own with.

A reseller's API needs no code (kind ``generic``). Texts only; the sandbox's side of it is
:mod:`verifier.sandbox.reseller`.
"""

from __future__ import annotations

import json
from typing import Final

_TABLES: Final = """\
[providers.NAME]
kind = "generic"
vendor = "reseller"
endpoint = ENDPOINT
lanes = ["cmcc", "cucc", "ctcc", "cbn", "mvno"]
checks = ["status"]
preference = PREFERENCE
qps = QPS
price = PRICE

[providers.NAME.secrets]
app_key = APP_KEY
app_secret = APP_SECRET

[providers.NAME.verify]
path = "/reseller/v1/three-elements"
success = { code = "0" }  # else the error's code stands in the same place
result = "data.result"
detail = "data.detail"
carrier = "data.carrier"
price = "data.fee"
request_id = "requestId"

[providers.NAME.verify.headers]
X-App-Key = "{{ secret.app_key }}"

[providers.NAME.verify.body]
mobile = "{{ phone }}"
name = "{{ name }}"
idCard = "{{ id_number }}"
orderNo = "{{ reference }}"
timestamp = "{{ timestamp }}"
nonce = "{{ nonce }}"

[providers.NAME.verify.signature]
algorithm = "hmac_sha256"
key = "app_secret"
over = "{{ sorted_parameters }}"
place = "field"
name = "sign"

[providers.NAME.verify.codes]
"1" = "MATCHED"
"2" = "MISMATCHED"
"3" = "NO_RECORD"

[providers.NAME.verify.billed]
"1" = "yes"
"2" = "yes"
"3" = "no"

[providers.NAME.verify.details]
name = "NAME"
idCard = "ID"
both = "NAME_AND_ID"

[providers.NAME.verify.carriers]
CMCC = "cmcc"
CUCC = "cucc"
CTCC = "ctcc"
CBN = "cbn"
MVNO = "mvno"

[providers.NAME.verify.errors]
"1001" = "AUTH_CONFIG"  # unknown X-App-Key
"1002" = "AUTH_CONFIG"  # wrong signature
"1003" = "AUTH_CONFIG"  # our clock is more than 300 s off
"1004" = "INVALID_INPUT/PARAM"
"1005" = "RATE_LIMITED/ACCOUNT_QPS"
"1006" = "ARREARS"
"1007" = "MAINTENANCE"
"1009" = "PROVIDER_ERROR"
"2001" = "INVALID_INPUT/PHONE"
"2002" = "INVALID_INPUT/ID"
"2003" = "INVALID_INPUT/NAME"
"2004" = "UNSUPPORTED_NUMBER/SEGMENT"

[providers.NAME.check.status]
path = "/reseller/v1/number-status"
success = { code = "0" }
result = "data.status"
price = "data.fee"
request_id = "requestId"

[providers.NAME.check.status.headers]
X-App-Key = "{{ secret.app_key }}"

[providers.NAME.check.status.body]
mobile = "{{ phone }}"
orderNo = "{{ reference }}"
timestamp = "{{ timestamp }}"
nonce = "{{ nonce }}"

[providers.NAME.check.status.signature]
algorithm = "hmac_sha256"
key = "app_secret"
place = "field"
name = "sign"

[providers.NAME.check.status.codes]
"0" = "ACTIVE"
"1" = "SUSPENDED"
"2" = "CANCELLED"
"3" = "NOT_IN_NETWORK"
"9" = "UNKNOWN"

[providers.NAME.check.status.errors]
"1001" = "AUTH_CONFIG"
"1002" = "AUTH_CONFIG"
"1003" = "AUTH_CONFIG"
"1004" = "INVALID_INPUT/PARAM"
"1005" = "RATE_LIMITED/ACCOUNT_QPS"
"1006" = "ARREARS"
"1007" = "MAINTENANCE"
"1009" = "PROVIDER_ERROR"
"2001" = "INVALID_INPUT/PARAM"
"2004" = "UNKNOWN"

[providers.NAME.probe]
codes = ["2001"]  # nobody has the phone 10000000000: refused, and free
"""


def reseller_table(
    endpoint: str,
    app_key: str,
    app_secret: str,
    *,
    name: str = "reseller",
    preference: int = 3,
    qps: float = 1000.0,
    price: float = 0.0,
) -> str:
    """The tables of ``providers.NAME``. ``app_key``, ``app_secret``: references to the secrets."""
    text = _TABLES.replace("providers.NAME", f"providers.{name}")
    for word, value in (
        ("= ENDPOINT\n", endpoint),
        ("= APP_KEY\n", app_key),
        ("= APP_SECRET\n", app_secret),
        ("= PREFERENCE\n", preference),
        ("= QPS\n", qps),
        ("= PRICE\n", price),
    ):
        # A JSON string or number is the same in TOML.
        text = text.replace(word, f"= {json.dumps(value, ensure_ascii=False)}\n")
    return text
