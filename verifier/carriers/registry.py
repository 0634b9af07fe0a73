"""The providers of a configuration, built."""

from __future__ import annotations

from verifier.carriers.base import Provider, Settings
from verifier.config import Config, ProviderConfig
from verifier.errors import ConfigError
from verifier.transport import Transport


def build(config: Config) -> tuple[dict[str, Provider], dict[str, ConfigError]]:
    """Name → provider, and why the others cannot be made: a secret is missing or no key, or a
    package is. Opens no connection."""
    built: dict[str, Provider] = {}
    faults: dict[str, ConfigError] = {}
    for name, row in config.providers.items():
        try:
            built[name] = build_one(name, row, config.engine.threads)
        except ConfigError as fault:
            faults[name] = fault
    return built, faults


def build_one(name: str, row: ProviderConfig, threads: int) -> Provider:
    """One of them; ``threads`` calls may be under way at it. Raises ConfigError."""
    if not isinstance(row, Settings):
        raise ConfigError(
            f"providers.{name}: the kind {row.kind} makes no provider.",
            fix="Choose another kind (docs/providers.md lists them).",
        )
    return row.build(name, Transport(threads=threads, connect_timeout=row.connect_timeout))
