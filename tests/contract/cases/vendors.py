"""A provider of every vendor that the sandbox speaks for, as a configuration file would have it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verifier.carriers import aliyun_cloudauth, aliyun_dytns, base, camara, generic, tencent
from verifier.carriers.base import Provider
from verifier.local.reseller_config import reseller_table
from verifier.transport import Transport

_BIG_THREE = ["cmcc", "cucc", "ctcc"]
Table = dict[str, Any]


@dataclass(frozen=True)
class Vendor:
    """``name``: the sandbox's for it. ``table``: from the endpoint and the reference of a secret.
    ``wrong_clock``: its code for a request of another time. ``verification``: the sandbox's name of
    the API that verifies, if another is asked before it."""

    name: str
    settings: type[base.Settings]
    table: Callable[[str, Callable[[str], str]], Table]
    wrong_clock: str
    verification: str | None = None

    def __str__(self) -> str:
        return self.name

    def build(self, url: str, secrets: Path, transport: Transport) -> Provider:
        """``secrets``: the directory of the account's files."""
        table = self.table(url, lambda name: f"file:{secrets / name}")
        return self.settings.model_validate(table).build(self.name, transport)


def _tencent(url: str, secret: Callable[[str], str]) -> Table:
    return {
        "kind": "tencent",
        "endpoint": url,
        "secret_id": secret("tencent_secret_id"),
        "secret_key": secret("tencent_secret_key"),
        "lanes": _BIG_THREE,
        "checks": ["status"],
        "detailed": True,
    }


def _cloudauth(url: str, secret: Callable[[str], str]) -> Table:
    return {
        "kind": "aliyun_cloudauth",
        "action": "Mobile3MetaDetailVerify",
        "endpoint": url,
        "key_id": secret("aliyun_key_id"),
        "key_secret": secret("aliyun_key_secret"),
        "lanes": _BIG_THREE,
        "checks": ["status"],
    }


def _dytns(url: str, secret: Callable[[str], str]) -> Table:
    return {
        "kind": "aliyun_dytns",
        "endpoint": url,
        "key_id": secret("aliyun_key_id"),
        "key_secret": secret("aliyun_key_secret"),
        "auth_code": secret("dytns_auth_code"),
        "lanes": _BIG_THREE,
        "checks": ["status"],
    }


def _camara(url: str, secret: Callable[[str], str]) -> Table:
    return {
        "kind": "camara",
        "endpoint": url,
        "auth": "client_credentials",
        "client_id": secret("camara_client_id"),
        "private_key": secret("camara_private_key"),
        "token_endpoint": f"{url}/oauth2/token",
        "purpose": "FraudPreventionAndDetection",
        "lanes": _BIG_THREE,
        "checks": ["status"],
    }


def _reseller(url: str, secret: Callable[[str], str]) -> Table:
    text = reseller_table(url, secret("reseller_app_key"), secret("reseller_app_secret"))
    table: Table = tomllib.loads(text)["providers"]["reseller"]
    return table


VENDORS = [
    Vendor("tencent", tencent.Settings, _tencent, "AuthFailure.SignatureExpire"),
    Vendor("cloudauth", aliyun_cloudauth.Settings, _cloudauth, "InvalidTimeStamp.Expired"),
    Vendor("dytns", aliyun_dytns.Settings, _dytns, "InvalidTimeStamp.Expired"),
    Vendor("camara", camara.Settings, _camara, "invalid_client", verification="match"),
    Vendor("reseller", generic.Settings, _reseller, "1003"),
]
