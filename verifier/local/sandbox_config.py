"""The configuration of a local stack: every provider and gateway is the sandbox.

``$VERIFIER_HOME/verifier.toml`` is written once and never again: it is the operator's to change.
Secrets stand beside the sandbox as 0600 files; the configuration only refers to them.
"""

from __future__ import annotations

import json
from pathlib import Path

from verifier.local.reseller_config import reseller_table
from verifier.local.state import make_directory, remembered_port, write_private
from verifier.sandbox.credentials import ensure_credentials

_BIG_THREE = ["cmcc", "cucc", "ctcc"]
_QPS = 1000.0  # a sandbox has no bill
_TEMPLATES = {
    "mismatched.zh": "SMS_100000001",
    "mismatched.en": "SMS_100000002",
    "no_record.zh": "SMS_100000003",
    "no_record.en": "SMS_100000004",
    "invalid_input.zh": "SMS_100000005",
    "invalid_input.en": "SMS_100000006",
    "number_inactive.zh": "SMS_100000007",
    "number_inactive.en": "SMS_100000008",
    "consent_missing.zh": "SMS_100000009",
    "consent_missing.en": "SMS_100000010",
}


def sandbox_state(home: Path) -> Path:
    return home / "sandbox"


def sandbox_port(home: Path) -> int:
    """The sandbox's port, the same at every start while it is free: the configuration names it."""
    make_directory(sandbox_state(home))
    return remembered_port(sandbox_state(home) / "port")


def write_local_config(path: Path, home: Path, port: int) -> bool:
    """Write the configuration if there is none; otherwise put right the port of ours alone.

    Returns whether a new file was written.
    """
    ensure_credentials(sandbox_state(home))
    if path.exists():
        _follow_port(path, home, port)
        return False
    make_directory(path.parent)
    write_private(path, local_config(home, port))
    _written_for(home).write_text(f"{port}\n", "utf-8")
    return True


def _written_for(home: Path) -> Path:
    return sandbox_state(home) / "configured-port"


def _follow_port(path: Path, home: Path, port: int) -> None:
    """The remembered port was taken by somebody else: the endpoints we wrote move with it."""
    try:
        before = int(_written_for(home).read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return  # not a file of ours
    if before != port:
        text = path.read_text("utf-8")
        write_private(path, text.replace(sandbox_url(before), sandbox_url(port)))
        _written_for(home).write_text(f"{port}\n", "utf-8")


def sandbox_url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def local_config(home: Path, port: int) -> str:
    """The text of the file, for :mod:`verifier.config`."""
    parts = [
        "# Written by `verifier dev up` for the sandbox. Yours to change: it is written once.\n"
    ]
    parts += _providers(home, port)
    parts.append(
        _table(
            "gateways.jpush",
            kind="jpush",
            endpoint=sandbox_url(port),
            key_id=_secret(home, "jpush_app_key"),
            key_secret=_secret(home, "jpush_master_secret"),
            preference=1,
            qps=_QPS,
        )
    )
    parts.append(
        _table(
            "gateways.aliyun_sms",
            kind="aliyun_sms",
            endpoint=sandbox_url(port),
            key_id=_secret(home, "aliyun_key_id"),
            key_secret=_secret(home, "aliyun_key_secret"),
            preference=2,
            qps=_QPS,
            sign_name="Verifier",
        )
    )
    parts.append(_table("gateways.aliyun_sms.templates", **_TEMPLATES))
    return "\n".join(parts)


def _providers(home: Path, port: int) -> list[str]:
    """Two vendors for every lane. Prices are made up; names in clear, so that all judge alike."""
    alibaba = {
        "endpoint": sandbox_url(port),
        "key_id": _secret(home, "aliyun_key_id"),
        "key_secret": _secret(home, "aliyun_key_secret"),
    }
    return [
        _table(
            "providers.tencent",
            kind="tencent",
            endpoint=sandbox_url(port),
            secret_id=_secret(home, "tencent_secret_id"),
            secret_key=_secret(home, "tencent_secret_key"),
            lanes=_BIG_THREE,
            checks=["status", "recycled"],
            preference=1,
            qps=_QPS,
            price=0.50,
        ),
        _table("providers.tencent.check_prices", status=0.08, recycled=0.10),
        _table(
            "providers.aliyun",
            kind="aliyun_cloudauth",
            action="Mobile3MetaSimpleStandardVerify",
            **alibaba,
            mask="normal",
            lanes=[*_BIG_THREE, "cbn"],
            checks=["status", "recycled"],
            preference=2,
            qps=_QPS,
            price=0.55,
        ),
        _table("providers.aliyun.check_prices", status=0.09, recycled=0.12),
        _table(
            "providers.aliyun_virtual",
            kind="aliyun_dytns",
            action="VirtualThreeElementsVerification",
            **alibaba,
            auth_code=_secret(home, "dytns_auth_code"),
            lanes=["mvno"],
            checks=["carrier"],
            preference=1,
            qps=_QPS,
            price=0.60,
        ),
        _table("providers.aliyun_virtual.check_prices", carrier=0.01),
        reseller_table(
            sandbox_url(port),
            _secret(home, "reseller_app_key"),
            _secret(home, "reseller_app_secret"),
            preference=3,
            qps=_QPS,
            price=0.70,
        ),
    ]


def _secret(home: Path, name: str) -> str:
    return f"file:{sandbox_state(home) / name}"


def _table(name: str, **rows: object) -> str:
    # A JSON string, number or list of them is the same in TOML; the key is quoted if dotted.
    lines = [f"{_key(key)} = {json.dumps(value)}" for key, value in rows.items()]
    return "\n".join([f"[{name}]", *lines, ""])


def _key(key: str) -> str:
    return key if key.isidentifier() else json.dumps(key)
