"""What a process needs to remind: configuration, keys and gateways. Made after fork."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from verifier.config import Config, config
from verifier.gateways import registry
from verifier.gateways.base import Channel, Gateway
from verifier.identity.keyring import KeyRing
from verifier.settings import settings
from verifier.store import engine
from verifier.store import gateways as gateway_rows

#: Messages under way at once in a process.
THREADS: Final = 8


@dataclass(frozen=True, slots=True)
class Runtime:
    config: Config
    keyring: KeyRing
    gateways: dict[str, Gateway]

    def of_channel(self, channel: Channel) -> list[Gateway]:
        """The gateways of a channel, preferred first."""
        rows = self.config.gateways
        return sorted(
            (gateway for gateway in self.gateways.values() if gateway.channel is channel),
            key=lambda gateway: (rows[gateway.name].preference, gateway.name),
        )

    @property
    def channels(self) -> frozenset[Channel]:
        """The channels that have a gateway."""
        return frozenset(gateway.channel for gateway in self.gateways.values())


@cache
def runtime() -> Runtime:
    """This process's runtime; makes sure that every gateway has its row, so it can be paused."""
    current = config()
    built = registry.build(current, THREADS)
    with engine.transaction() as connection:
        gateway_rows.register(connection, built)
    return Runtime(current, KeyRing.load(settings().keyring_path), built)


def reset() -> None:
    """Forget what belongs to the parent process."""
    runtime.cache_clear()
