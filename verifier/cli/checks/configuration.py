"""What needs no server: the file, the secrets it refers to, lanes and gateways, the URLs."""

from __future__ import annotations

import shlex
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from verifier.carriers import registry
from verifier.cli.checks.check import Check, fail, failed, ok, warn
from verifier.config import CallbackConfig, Config, config, resolve_secret
from verifier.errors import ConfigError
from verifier.notify.webhook import Webhook
from verifier.outcomes import Lane
from verifier.settings import broker_url, database_url, settings


def configuration_checks() -> Iterator[Check]:
    """All of ``verifier config check``."""
    try:
        current = config()
    except ConfigError as error:
        yield failed("configuration", error)
        return
    path = settings().config_path
    yield ok("configuration", str(path) if path.exists() else "defaults (no file)")
    yield from _secrets(current)
    yield from _lanes(current)
    yield from _prices(current)
    yield _gateways(current)
    environment = settings()
    for name, url, own in (
        ("database URL", database_url, environment.database_url),
        ("broker URL", broker_url, environment.broker_url),
    ):
        try:
            url()
        except ConfigError as error:
            yield failed(name, error)
        else:
            yield ok(name, "configured" if own else "of the local stack that runs")


def _secrets(current: Config) -> Iterator[Check]:
    references: list[tuple[str, tuple[str, ...]]] = []
    for name, provider in current.providers.items():
        try:
            registry.build_one(name, provider, 1).close()
        except ConfigError as error:  # its lanes' other providers go on
            yield failed(f"secrets of provider {name}", error)
        else:
            yield _usable(f"provider {name}", provider.secrets(), "can be used")
    for name, gateway in current.gateways.items():
        references.append((f"gateway {name}", (gateway.key_id, gateway.key_secret)))
    if current.callbacks.broker_url is not None:
        yield _callbacks(current.callbacks)
    for name, webhook in current.webhooks.items():
        try:
            Webhook(name, webhook)
        except ConfigError as error:
            yield failed(f"secrets of webhook {name}", error)
        else:
            keys = (webhook.secret, webhook.previous_secret)
            yield _usable(f"webhook {name}", keys, "can be used")
    for owner, secrets in references:
        try:
            for reference in secrets:
                resolve_secret(reference)
        except ConfigError as error:
            yield failed(f"secrets of {owner}", error)
        else:
            yield _usable(owner, secrets, "can be read")


def _usable(owner: str, references: Iterable[str | None], found: str) -> Check:
    """They are in order; but a file with one should be its owner's alone."""
    for reference in references:
        scheme, _, path = (reference or "").partition(":")
        if scheme == "file" and (mode := stat.S_IMODE(Path(path).stat().st_mode)) & 0o077:
            return warn(
                f"secrets of {owner}",
                f"{path} is open to other accounts (mode {mode:04o})",
                f"chmod 600 {shlex.quote(path)}, as the account of the workers.",
            )
    return ok(f"secrets of {owner}", found)


def _callbacks(current: CallbackConfig) -> Check:
    try:
        current.resolved_broker_url()
    except ConfigError as error:
        return failed("secrets of callbacks", error)
    return _usable("callbacks", [current.broker_url], "can be used")


def _lanes(current: Config) -> Iterator[Check]:
    if not current.providers:
        yield fail(
            "lanes",
            "no provider is configured: everything waits",
            "Add a [providers.NAME] table to the configuration, or run `verifier dev up`, which "
            "writes one for the sandbox.",
        )
        return
    ways = {lane: _ways(current, lane) for lane in Lane}
    bare = [str(lane) for lane, vendors in ways.items() if not vendors]
    single = [f"{lane} ({next(iter(v))})" for lane, v in ways.items() if len(v) == 1]
    found = (
        [f"no provider for {', '.join(bare)}: such numbers settle UNSUPPORTED_NUMBER"]
        if bare
        else []
    )
    if single:
        found.append(f"only one way to {', '.join(single)}: while it is away, their users wait")
    if found:
        yield warn(
            "lanes",
            "; ".join(found),
            "Add a provider of another vendor that reaches them (docs/providers.md), if your "
            "contract has one.",
        )
    else:
        named = (f"{lane}: {', '.join(sorted(vendors))}" for lane, vendors in ways.items())
        yield ok("lanes", f"two independent ways or more ({'; '.join(named)})")


def _prices(current: Config) -> Iterator[Check]:
    """A budget counts what is configured: what has no price costs it nothing."""
    free = [name for name, row in current.providers.items() if row.lanes and not row.price]
    free += [
        f"{name}'s {check}"
        for name, row in current.providers.items()
        for check in row.checks
        if not row.check_prices.get(check)
    ]
    budget = current.budget
    if free and (budget.per_batch is not None or budget.per_month is not None):
        yield warn(
            "prices",
            f"no price for {', '.join(free)}: the budget counts them as free",
            "Set price and check_prices of your contract (docs/providers.md), 0 only where a "
            "billed answer costs nothing.",
        )


def _ways(current: Config, lane: Lane) -> set[str]:
    """The vendors that reach a lane: two APIs of one vendor fail together."""
    return {current.providers[name].vendor for name in current.providers_of(lane)}


def _gateways(current: Config) -> Check:
    if not current.reminders.enabled:
        return ok("gateways", "reminders are switched off")
    if not current.gateways:
        return warn(
            "gateways",
            "no gateway is configured: nobody is reminded",
            "Add a [gateways.NAME] table to the configuration, or switch reminders off: "
            "[reminders] enabled = false.",
        )
    return ok("gateways", f"configured: {', '.join(current.gateways)}")
