"""What a process needs to tell others: the webhooks it can call, and a bell. Made after fork."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

import structlog

from verifier.config import Config, config
from verifier.doorbell import Doorbell
from verifier.errors import ConfigError
from verifier.events import CELERY
from verifier.notify.webhook import Webhook
from verifier.settings import broker_url
from verifier.store import endpoints
from verifier.store.engine import transaction

_log = structlog.get_logger(__name__)

#: Seconds that handing a task to the broker may take: connecting and sending have time-outs of 1 s.
HAND_OVER_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Runtime:
    """``webhooks``: those that can be called; one with a broken secret is left out, and said."""

    config: Config
    webhooks: Mapping[str, Webhook]
    bell: Doorbell | None

    def call_seconds(self) -> dict[str, float]:
        """Endpoint → how long one call of it may take."""
        found = {name: webhook.config.timeout for name, webhook in self.webhooks.items()}
        return found | ({CELERY: HAND_OVER_SECONDS} if self.bell is not None else {})

    def give_up_hours(self, endpoint: str) -> float:
        """How long an endpoint may fail before a delivery is dead."""
        webhook = self.webhooks.get(endpoint)
        return (webhook.config if webhook else self.config.callbacks).give_up_hours


@cache
def runtime() -> Runtime:
    """This process's runtime; writes down which endpoints are configured."""
    current = config()
    with transaction() as connection:
        endpoints.register(
            connection,
            [
                endpoints.Subscription(name, row.subscribed, row.max_events)
                for name, row in current.webhooks.items()
            ],
        )
    return Runtime(current, _webhooks(current), _bell(current))


def _webhooks(current: Config) -> dict[str, Webhook]:
    built = {}
    for name, row in current.webhooks.items():
        try:
            built[name] = Webhook(name, row)
        except ConfigError as error:
            _log.error("webhook cannot be used", endpoint=name, why=error.message, fix=error.fix)
    return built


def _bell(current: Config) -> Doorbell | None:
    """The bell of the applications that callers name tasks of: ours, unless configured."""
    callbacks = current.callbacks
    try:
        url = callbacks.resolved_broker_url() or broker_url()
        return Doorbell(url, callbacks.key_prefix)
    except ConfigError as error:
        _log.error("callbacks cannot be sent", why=error.message, fix=error.fix)
        return None


def reset() -> None:
    """Forget what belongs to the parent process."""
    runtime.cache_clear()
