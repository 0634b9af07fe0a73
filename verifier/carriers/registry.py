"""The providers of a configuration, built."""

from __future__ import annotations

from verifier.carriers.base import Provider, Settings
from verifier.config import Config, ProviderConfig
from verifier.errors import ConfigError
from verifier.transport import Transport


def build(config: Config, threads: int | None = None) -> dict[str, Provider]:
    """Name → provider. ``threads`` calls may be under way at each (default: the engine's).

    Opens no connection. Raises ConfigError when a secret is missing or an option does not fit.
    """
    count = config.engine.threads if threads is None else threads
    return {name: build_one(name, row, count) for name, row in config.providers.items()}


def build_one(name: str, row: ProviderConfig, threads: int) -> Provider:
    """One of them; as :func:`build`."""
    if not isinstance(row, Settings):
        raise ConfigError(
            f"providers.{name}: the kind {row.kind} makes no provider.",
            fix="Choose another kind (docs/reference.md lists them).",
        )
    return row.build(name, Transport(threads=threads, connect_timeout=row.connect_timeout))
