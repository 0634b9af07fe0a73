"""The configuration of a local stack: every provider and gateway is the sandbox.

``$VERIFIER_HOME/verifier.toml`` is written once and never again: it is the operator's to change.
Secrets stand beside the sandbox as 0600 files; the configuration only refers to them.
"""

from __future__ import annotations

import json
from pathlib import Path

from verifier.local.state import make_directory, remembered_port, write_private
from verifier.sandbox.credentials import ensure_credentials

_LANES_OF_ACTION = {
    "tencent": ("PhoneVerification", ("cmcc", "cucc", "ctcc"), 1),
    "tencent_cmcc": ("PhoneVerificationCMCC", ("cmcc",), 2),
    "tencent_cucc": ("PhoneVerificationCUCC", ("cucc",), 2),
    "tencent_ctcc": ("PhoneVerificationCTCC", ("ctcc",), 2),
}
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
    for name, (action, lanes, preference) in _LANES_OF_ACTION.items():
        parts.append(
            _table(
                f"providers.{name}",
                kind="tencent",
                action=action,
                endpoint=sandbox_url(port),
                secret_id=_secret(home, "tencent_secret_id"),
                secret_key=_secret(home, "tencent_secret_key"),
                lanes=list(lanes),
                preference=preference,
                qps=_QPS,
            )
        )
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


def _secret(home: Path, name: str) -> str:
    return f"file:{sandbox_state(home) / name}"


def _table(name: str, **rows: object) -> str:
    # A JSON string, number or list of them is the same in TOML; the key is quoted if dotted.
    lines = [f"{_key(key)} = {json.dumps(value)}" for key, value in rows.items()]
    return "\n".join([f"[{name}]", *lines, ""])


def _key(key: str) -> str:
    return key if key.isidentifier() else json.dumps(key)
