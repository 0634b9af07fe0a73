"""The checks of ``verifier doctor`` and ``verifier config check``, each with its remedy.

A check never raises for what it finds: it says so. One that cannot be made, because something it
needs is broken, is left out; what it needs is reported.
"""

from __future__ import annotations

import enum
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Row
from sqlalchemy.exc import SQLAlchemyError

from verifier.cli import connections, talk
from verifier.cli.session import NO_RIGHTS, NOT_ALLOWED, USE_THE_OWNER
from verifier.cli.webhookview import NOT_READ, READ_IT, read_endpoints
from verifier.cli.workers_seen import FRESH_SECONDS, fresh_queues
from verifier.config import CallbackConfig, Config, config, resolve_secret
from verifier.doorbell import QUEUES, REFUSED_KEY
from verifier.errors import ConfigError, StoreUnavailableError, VerifierError
from verifier.events import CELERY
from verifier.identity.keyring import KeyRing
from verifier.notify.webhook import Webhook
from verifier.outcomes import Lane
from verifier.settings import broker_url, database_url, settings
from verifier.store import (
    clock,
    gateways,
    operations,
    overview,
    providers,
    schema,
    users,
    waiting,
)
from verifier.store.engine import transaction

if TYPE_CHECKING:
    from redis import Redis

_OLDEST_SERVER: Final = 140_000
_MOST_CLOCK_SECONDS: Final = 5.0


class Verdict(enum.StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, what was found, and how to mend it."""

    name: str
    verdict: Verdict
    found: str
    fix: str | None = None


def _ok(name: str, found: str) -> Check:
    return Check(name, Verdict.OK, found)


def _warn(name: str, found: str, fix: str | None = None) -> Check:
    return Check(name, Verdict.WARN, found, fix)


def _fail(name: str, found: str, fix: str | None = None) -> Check:
    return Check(name, Verdict.FAIL, found, fix)


def _failed(name: str, error: VerifierError) -> Check:
    return _fail(name, error.message, error.fix)


def configuration_checks() -> Iterator[Check]:
    """The file, its secrets, the URLs: all that needs no server."""
    try:
        current = config()
    except ConfigError as error:
        yield _failed("configuration", error)
        return
    path = settings().config_path
    yield _ok("configuration", str(path) if path.exists() else "defaults (no file)")
    yield from _secrets(current)
    yield from _lanes(current)
    yield _gateways(current)
    environment = settings()
    for name, url, own in (
        ("database URL", database_url, environment.database_url),
        ("broker URL", broker_url, environment.broker_url),
    ):
        try:
            url()
        except ConfigError as error:
            yield _failed(name, error)
        else:
            yield _ok(name, "configured" if own else "of the local stack that runs")


def _secrets(current: Config) -> Iterator[Check]:
    references: list[tuple[str, tuple[str, ...]]] = []
    for name, provider in current.providers.items():
        references.append((f"provider {name}", (provider.secret_id, provider.secret_key)))
    for name, gateway in current.gateways.items():
        references.append((f"gateway {name}", (gateway.key_id, gateway.key_secret)))
    if current.callbacks.broker_url is not None:
        yield _callbacks(current.callbacks)
    for name, webhook in current.webhooks.items():
        try:
            Webhook(name, webhook)
        except ConfigError as error:
            yield _failed(f"secrets of webhook {name}", error)
        else:
            keys = (webhook.secret, webhook.previous_secret)
            yield _usable(f"webhook {name}", keys, "can be used")
    for owner, secrets in references:
        try:
            for reference in secrets:
                resolve_secret(reference)
        except ConfigError as error:
            yield _failed(f"secrets of {owner}", error)
        else:
            yield _usable(owner, secrets, "can be read")


def _usable(owner: str, references: Iterable[str | None], found: str) -> Check:
    """They are in order; but a file with one should be its owner's alone."""
    for reference in references:
        scheme, _, path = (reference or "").partition(":")
        if scheme == "file" and (mode := stat.S_IMODE(Path(path).stat().st_mode)) & 0o077:
            return _warn(
                f"secrets of {owner}",
                f"{path} is open to other accounts (mode {mode:04o})",
                f"chmod 600 {shlex.quote(path)}, as the account of the workers.",
            )
    return _ok(f"secrets of {owner}", found)


def _callbacks(current: CallbackConfig) -> Check:
    try:
        current.resolved_broker_url()
    except ConfigError as error:
        return _failed("secrets of callbacks", error)
    return _usable("callbacks", [current.broker_url], "can be used")


def _lanes(current: Config) -> Iterator[Check]:
    if not current.providers:
        yield _fail(
            "lanes",
            "no provider is configured: everything waits",
            "Add a [providers.NAME] table to the configuration, or run `verifier dev up`, which "
            "writes one for the sandbox.",
        )
        return
    covered = {lane for row in current.providers.values() for lane in row.lanes}
    bare = [str(lane) for lane in Lane if lane not in covered]
    if bare:
        yield _warn(
            "lanes",
            f"no provider for {', '.join(bare)}: such numbers settle UNSUPPORTED_NUMBER",
            "Add a provider for them if your contract has one.",
        )
    else:
        yield _ok("lanes", "every lane has a provider")


def _gateways(current: Config) -> Check:
    if not current.reminders.enabled:
        return _ok("gateways", "reminders are switched off")
    if not current.gateways:
        return _warn(
            "gateways",
            "no gateway is configured: nobody is reminded",
            "Add a [gateways.NAME] table to the configuration, or switch reminders off: "
            "[reminders] enabled = false.",
        )
    return _ok("gateways", f"configured: {', '.join(current.gateways)}")


def installation_checks() -> Iterator[Check]:
    """Everything of ``verifier doctor``."""
    yield from configuration_checks()
    yield from _key_ring()
    yield from _broker()
    try:
        with transaction() as connection:
            yield from _server(connection)
    except ConfigError:
        return  # said above: there is no database to look at
    except StoreUnavailableError as error:
        yield _failed("database", error)
        return
    migrated = _migrations()
    yield migrated
    if migrated.verdict is Verdict.OK:
        with transaction() as connection:
            yield from _contents(connection)


def _key_ring() -> Iterator[Check]:
    path = settings().keyring_path
    try:
        ring = KeyRing.load(path)
    except ConfigError as error:
        yield _failed("key ring", error)
    else:
        yield _ok("key ring", f"{path}, mode 0600, current key {ring.encryption_key_id}")


def _broker() -> Iterator[Check]:
    from redis import Redis
    from redis.exceptions import RedisError

    try:
        url = broker_url()
    except ConfigError:
        return  # said above
    try:
        with Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3) as client:
            client.ping()
            refused = _refused_messages(client)
    except (RedisError, OSError, ValueError) as error:
        # The error's own text may hold the URL.
        yield _fail(
            "broker",
            f"cannot be reached ({type(error).__name__})",
            "Check VERIFIER_BROKER_URL and that the server runs. Nothing is lost meanwhile: the "
            "work waits in PostgreSQL.",
        )
        return
    yield _ok("broker", "answers")
    if refused:
        told = ", ".join(f"{number} in {queue}" for queue, number in refused.items())
        yield _warn(
            "messages",
            f"workers refused what was no message of ours: {told}",
            'Somebody writes wrong messages into the broker: the log says why ("message refused"), '
            "docs/contract.md how they look. This notice ends after a week without them.",
        )


def _refused_messages(client: Redis) -> dict[str, int]:
    from redis.exceptions import ResponseError

    try:
        numbers = client.hmget(REFUSED_KEY, QUEUES)
        return {queue: int(number) for queue, number in zip(QUEUES, numbers, strict=True) if number}
    except (ResponseError, ValueError):
        return {}  # whoever can write rubbish can also write it there


def _server(connection: Connection) -> Iterator[Check]:
    before = datetime.now(UTC)
    row = overview.server(connection)
    after = datetime.now(UTC)
    version = f"PostgreSQL {row.version // 10_000}.{row.version % 10_000}"
    if row.version < _OLDEST_SERVER:
        yield _fail("database", f"{version} is too old", "Upgrade it to PostgreSQL 14 or newer.")
    else:
        yield _ok("database", version)
    apart = max((before - row.clock).total_seconds(), (row.clock - after).total_seconds(), 0.0)
    if apart > _MOST_CLOCK_SECONDS:
        yield _warn(
            "clock",
            f"this host and the database are {apart:.0f} seconds apart",
            "Run NTP on both. Leases use the database's clock alone, signatures this host's.",
        )
    else:
        yield _ok("clock", "this host and the database agree")
    yield _connections(connection)


def _connections(connection: Connection) -> Check:
    row = overview.connections(connection)
    budget = connections.Budget(row.allowed, row.others)
    needs = connections.told()
    if overview.pooled(connection, row.pid):
        return _ok(
            "connections",
            f"through a pooler, which has {row.ours} open of at most {budget.room} left by others; "
            f"towards it {needs}. Its own limits cannot be seen from here",
        )
    found = (
        f"{needs}; PostgreSQL allows {row.allowed}, others have {row.others} of them: "
        f"{budget.room} are ours, {row.ours} of these are open now"
    )
    if budget.fits:
        return _ok("connections", f"{found}. Enough for {talk.counted(budget.hosts, 'host')}")
    if budget.suffices:
        lack = f"Enough for one host; two, as while deploying, need {connections.WANTED}"
    else:
        least = connections.PER_HOST + connections.PER_CLIENT
        lack = f"Not enough for one host and one command, which need {least}"
    return (_warn if budget.suffices else _fail)(
        "connections",
        f"{found}. {lack}",
        "Raise max_connections (or the limit of the role or database), or put PgBouncer in "
        "between: docs/operations.md.",
    )


def _migrations() -> Check:
    try:
        current, head = schema.current(database_url()), schema.head()
    except SQLAlchemyError as error:
        if getattr(getattr(error, "orig", None), "pgcode", None) == NOT_ALLOWED:
            return _fail("migrations", NO_RIGHTS, USE_THE_OWNER)
        return _fail(
            "migrations",
            f"cannot be read ({type(error).__name__})",
            "Run `verifier db check`; PostgreSQL's own log says more.",
        )
    if current == head:
        return _ok("migrations", f"at {head}")
    return _fail(
        "migrations", f"at {current or 'nothing'}, {head} is needed", "Run `verifier db upgrade`."
    )


def _contents(connection: Connection) -> Iterator[Check]:
    yield _ring_fits(connection)
    yield from _business_clock(connection)
    yield from _workers(connection)
    yield _partitions(connection)
    yield _quarantined(connection)
    yield _overdue(connection)
    yield from _webhooks(connection)
    current = config()
    own = gateways.providers_only(providers.get_all(connection))
    yield from _standing("provider", {n: row for n, row in own.items() if n in current.providers})
    told = gateways.get_all(connection)
    yield from _standing("gateway", {n: row for n, row in told.items() if n in current.gateways})
    control = operations.control(connection)
    if control.stopped_at is not None:
        yield _warn("global stop", f"stopped by {control.stopped_by}", "`verifier start` ends it.")
    else:
        yield _ok("global stop", "not set")


def _ring_fits(connection: Connection) -> Check:
    rows = users.listing(connection, limit=1)
    if not rows:
        return _ok("stored data", "no users yet")
    row = rows[0]
    try:
        KeyRing.load(settings().keyring_path).decrypt(
            "users", "phone", row.platform, row.reference, row.phone
        )
    except VerifierError as error:
        return _failed("stored data", error)
    return _ok("stored data", "the key ring opens it")


def _business_clock(connection: Connection) -> Iterator[Check]:
    offset = clock.offset(connection).total_seconds()
    if offset:
        yield _warn(
            "business time",
            f"is moved by {offset:,.0f} seconds",
            "Only tests and the demo move it: never use such a database in production.",
        )


def _workers(connection: Connection) -> Iterator[Check]:
    fresh = fresh_queues(connection)
    missing = [name for name in QUEUES if name not in fresh]
    if missing:
        yield _fail(
            "workers",
            f"nobody served {', '.join(missing)} in the last {talk.duration(FRESH_SECONDS)}",
            "Run the processes of the Procfile (or `verifier dev up`); beat sends the canaries.",
        )
    else:
        yield _ok("workers", "every queue is served")


def _partitions(connection: Connection) -> Check:
    ahead = overview.months_ahead(connection)
    if ahead < 2:
        return _fail(
            "partitions",
            "the history has none for next month",
            "The housekeeping job makes them: see that beat and a control worker run.",
        )
    return _ok("partitions", f"made for {ahead} months, this one included")


def _quarantined(connection: Connection) -> Check:
    found = overview.quarantined(connection, 4)
    if not found:
        return _ok("quarantine", "empty")
    named = ", ".join(f"{row.reference} ({row.platform})" for row in found[:3])
    return _fail(
        "quarantine",
        f"three workers ended while at {named}{' and others' if len(found) > 3 else ''}",
        "Read the workers' logs of that time, then `verifier verify one REF` tries one again.",
    )


def _overdue(connection: Connection) -> Check:
    number = sum(row.overdue for row in waiting.by_lane(connection))
    if number:
        return _warn(
            "deadlines",
            f"{number:,} open verifications are past theirs",
            "`verifier verify overdue` lists them, `verifier queue why` says what they wait for.",
        )
    return _ok("deadlines", "nothing is overdue")


def _webhooks(connection: Connection) -> Iterator[Check]:
    """Endpoints that are not told what they should be; the others need no line each."""
    troubled = False
    for row in read_endpoints(connection):
        name, backlog = row["name"], row["waiting"] or row["dead"] or row["behind"]
        title, show = f"webhook {name}", f"`verifier webhook show {name}"
        if row["state"] == "new":
            yield _warn(title, NOT_READ, READ_IT)
        elif row["state"] == "paused":
            why = f": {row['pause_reason']}" if row["pause_reason"] else ""
            yield _warn(
                title,
                f"paused by {row['paused_by']}{why}",
                f"`verifier webhook resume {name}` ends it.",
            )
        elif row["dead"]:
            yield _warn(
                title,
                f"{row['dead']:,} dead: not taken for too long",
                f"{show} --state dead` lists them; `verifier webhook retry {name}` tries again.",
            )
        elif row["state"] == "failing" or (row["state"] == "not configured" and backlog):
            yield _warn(
                title,
                f"{row['state']} ({row['last_error']}); {row['waiting']:,} wait",
                f"{show}` lists them; "
                + (
                    "[callbacks] broker_url names the broker that takes them."
                    if name == CELERY
                    else f"`verifier webhook test {name}` says what it answers."
                ),
            )
        else:
            continue
        troubled = True
    if not troubled:
        yield _ok("webhooks", "every endpoint takes what it is told")


def _standing(kind: str, rows: Mapping[str, Row[Any]]) -> Iterator[Check]:
    """``kind``: the word of the command that resumes them."""
    for name, row in rows.items():
        title, resume = f"{kind} {name}", f"`verifier {kind} resume {name}`"
        if row.state == "suspended":
            yield _fail(
                title,
                f"suspended: it refuses our account ({row.reason})",
                f"Mend credentials or balance with the vendor, then {resume}.",
            )
        elif row.paused_at is not None:
            yield _warn(title, f"paused by {row.paused_by}", f"{resume} ends it.")
        else:
            yield _ok(title, row.state)
