"""What a process needs to verify: configuration, keys, providers and threads. Made after fork."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import structlog
from sqlalchemy import Row

from verifier.carriers import registry
from verifier.carriers.base import Provider
from verifier.config import Config, config
from verifier.errors import VerifierError
from verifier.identity.keyring import DecryptionError, KeyRing, UnknownKeyError
from verifier.outcomes import Check, Lane
from verifier.settings import settings
from verifier.store import engine, lanes, providers, spending, users
from verifier.verification.calls import CallPool


@dataclass(frozen=True, slots=True)
class Runtime:
    config: Config
    keyring: KeyRing
    providers: dict[str, Provider]
    pool: CallPool

    def names_for(self, lane: Lane) -> list[str]:
        """The configured providers of a lane, preferred first."""
        return self.config.providers_of(lane)

    def breaker_of(self, provider: str, check: Check | None) -> str:
        """The row that says whether the provider can be asked this, for
        :mod:`verifier.store.providers`."""
        if check is None or not self.config.providers[provider].lanes:
            return provider
        return providers.checks_row(provider)

    def breakers(self) -> set[str]:
        """Every such row."""
        rows = self.config.providers.items()
        asked = ((name, check) for name, row in rows for check in (None, *row.checks))
        return {self.breaker_of(name, check) for name, check in asked}

    def longest_call(self) -> float:
        """Seconds the slowest provider's call may take."""
        return max((row.timeout for row in self.config.providers.values()), default=0.0)


_log = structlog.get_logger(__name__)

#: Users whose data is tried before work begins.
_SAMPLE: Final = 20


def new_token() -> int:
    """A fencing token: 63 random bits."""
    return secrets.randbits(63)


@cache
def runtime() -> Runtime:
    """This process's runtime; registers the configured providers and the lanes' slots.

    A provider that cannot be made stands like one that its vendor has suspended. Raises
    ConfigError, or DecryptionError when the key ring does not open what is stored.
    """
    current = config()
    keyring = KeyRing.load(settings().keyring_path)
    built, faults = registry.build(current)
    for name, fault in faults.items():  # the others go on
        _log.error("a provider cannot be used", provider=name, fault=str(fault), fix=fault.fix)
    made = Runtime(
        config=current,
        keyring=keyring,
        providers=built,
        pool=CallPool(current.engine.threads),
    )
    with engine.transaction() as connection:
        providers.register(connection, made.breakers())
        lanes.ensure_slots(connection, current.engine.slots_per_lane)
        if current.budget.per_month is not None:
            spending.count_month(connection, current.zone)
        else:
            spending.stop_counting_months(connection)
        sample = users.listing(connection, limit=_SAMPLE)
    _check_opens(keyring, sample)
    return made


def _check_opens(keyring: KeyRing, sample: Iterable[Row[Any]]) -> None:
    """With another installation's key ring everybody would be quarantined: do not begin.

    Some of them that do not open are damaged rows, which are quarantined alone.
    """
    fault: VerifierError | None = None
    for row in sample:
        try:
            keyring.decrypt("users", "phone", row.platform, row.reference, row.phone)
        except (DecryptionError, UnknownKeyError) as error:
            fault = error
        else:
            return
    if fault is not None:
        raise fault


def reset() -> None:
    """Forget what belongs to the parent process."""
    runtime.cache_clear()
