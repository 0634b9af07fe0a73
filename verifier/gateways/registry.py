"""The gateways of a configuration, built. The one place that knows which kinds exist."""

from __future__ import annotations

from verifier.config import Config, GatewayConfig, resolve_secret
from verifier.gateways.aliyun_sms import AliyunSms
from verifier.gateways.base import Gateway
from verifier.gateways.jpush import JPush
from verifier.transport import Transport


def build(config: Config, threads: int | None = None) -> dict[str, Gateway]:
    """Name → gateway. ``threads`` calls may be under way at each (default: the engine's).

    Opens no connection. Raises ConfigError when a secret is missing.
    """
    count = config.engine.threads if threads is None else threads
    return {name: _build(name, row, count) for name, row in config.gateways.items()}


def _build(name: str, row: GatewayConfig, threads: int) -> Gateway:
    key_id, key_secret = resolve_secret(row.key_id), resolve_secret(row.key_secret)
    transport = Transport(threads=threads, connect_timeout=row.connect_timeout)
    if row.kind == "jpush":
        return JPush(
            name=name,
            app_key=key_id,
            master_secret=key_secret,
            endpoint=row.endpoint,
            transport=transport,
        )
    return AliyunSms(
        name=name,
        key_id=key_id,
        key_secret=key_secret,
        sign_name=row.sign_name or "",
        templates=row.templates,
        endpoint=row.endpoint,
        transport=transport,
    )
