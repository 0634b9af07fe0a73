"""The providers of a configuration, built. The one place that knows which kinds exist."""

from __future__ import annotations

from verifier.carriers.base import Provider
from verifier.carriers.tencent import DETAILED_ACTION, Tencent
from verifier.config import Config, ProviderConfig, resolve_secret
from verifier.errors import ConfigError
from verifier.transport import Transport


def build(config: Config, threads: int | None = None) -> dict[str, Provider]:
    """Name → provider. ``threads`` calls may be under way at each (default: the engine's).

    Opens no connection. Raises ConfigError when a secret is missing or an option does not fit.
    """
    count = config.engine.threads if threads is None else threads
    return {name: _build(name, row, count) for name, row in config.providers.items()}


def _build(name: str, row: ProviderConfig, threads: int) -> Provider:
    if row.detailed and row.action != DETAILED_ACTION:
        raise ConfigError(
            f"providers.{name}: {row.action} knows no detailed mode.",
            fix=f'Remove "detailed", or use the action {DETAILED_ACTION}.',
        )
    secret_id, secret_key = resolve_secret(row.secret_id), resolve_secret(row.secret_key)
    return Tencent(
        name=name,
        lanes=frozenset(row.lanes),
        action=row.action,
        endpoint=row.endpoint,
        secret_id=secret_id,
        secret_key=secret_key,
        transport=Transport(threads=threads, connect_timeout=row.connect_timeout),
        detailed=row.detailed,
    )
