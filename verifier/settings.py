"""Where this process finds its servers and secrets: the ``VERIFIER_*`` environment.

=========================  =====================================================================
``VERIFIER_DATABASE_URL``  PostgreSQL. Unset: the embedded server of ``VERIFIER_HOME``.
``VERIFIER_BROKER_URL``    Redis or Valkey. Unset: the embedded server of ``VERIFIER_HOME``.
``VERIFIER_HOME``          State of the embedded servers, the key ring and the local configuration.
``VERIFIER_KEYRING``       Key ring file (0600). Unset: ``$VERIFIER_HOME/keyring.json``.
``VERIFIER_CONFIG``        TOML (:mod:`verifier.config`). Unset: ``$VERIFIER_HOME/verifier.toml``.
``VERIFIER_LOG_LEVEL``     DEBUG, INFO (default), WARNING or ERROR.
``VERIFIER_LOG_FORMAT``    ``text`` (default on a terminal) or ``json``.
=========================  =====================================================================

A running local stack writes its addresses to ``$VERIFIER_HOME/run/endpoints.json`` (0600), which is
how another terminal finds it. This module reads that file; :mod:`verifier.local` writes it.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from verifier.errors import ConfigError


def default_home() -> Path:
    """``/var/lib/verifier`` for root, else ``$XDG_STATE_HOME/verifier`` (``~/.local/state``).

    Root's home is closed to the account that PostgreSQL runs under, hence the difference.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/verifier")
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "verifier"


class Settings(BaseSettings):
    """The environment, parsed. Use :func:`settings` for the one of this process."""

    model_config = SettingsConfigDict(env_prefix="VERIFIER_", extra="ignore")

    database_url: str | None = None
    broker_url: str | None = None
    home: Path = Field(default_factory=default_home)
    keyring: Path | None = None
    config: Path | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] | None = None

    @property
    def keyring_path(self) -> Path:
        return self.keyring or self.home / "keyring.json"

    @property
    def config_path(self) -> Path:
        return self.config or self.home / "verifier.toml"

    @property
    def endpoints_path(self) -> Path:
        return self.home / "run" / "endpoints.json"


@cache
def settings() -> Settings:
    """This process's settings, read once. Tests call ``settings.cache_clear()``."""
    return Settings()


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Addresses of a running local stack."""

    database_url: str = field(repr=False)  # they carry passwords
    broker_url: str = field(repr=False)
    sandbox_url: str | None = None
    pid: int | None = None


def running_endpoints(home: Path | None = None) -> Endpoints | None:
    """The addresses a live local stack wrote under ``home``, or None when none runs."""
    path = settings().endpoints_path if home is None else home / "run" / "endpoints.json"
    try:
        row = json.loads(path.read_text("utf-8"))
        found = Endpoints(**row)
    except (FileNotFoundError, PermissionError, ValueError, TypeError):
        return None
    if found.pid is not None and not Path(f"/proc/{found.pid}").exists() and Path("/proc").exists():
        return None
    return found


def normalise_database_url(url: str) -> str:
    """Any spelling of a PostgreSQL URL as ``postgresql+psycopg2://``.

    SQLAlchemy 2.1 takes ``postgresql://`` for psycopg 3 and refuses ``postgres://``.
    """
    match = re.match(r"^(postgres|postgresql)(\+\w+)?://", url)
    if match is None:
        raise ConfigError(
            "VERIFIER_DATABASE_URL is not a PostgreSQL URL.",
            fix="Write it as postgresql://user:password@host:5432/database",
        )
    return "postgresql+psycopg2://" + url[match.end() :]


_NOT_RUNNING = "{name} is not set and no local stack is running under {home}."
_NOT_RUNNING_FIX = "Run `verifier dev up` in another terminal, or set {name}."


def database_url() -> str:
    """The database of this process, configured or embedded. Raises ConfigError when neither is."""
    current = settings()
    if current.database_url:
        return normalise_database_url(current.database_url)
    running = running_endpoints()
    if running is None:
        name = "VERIFIER_DATABASE_URL"
        raise ConfigError(
            _NOT_RUNNING.format(name=name, home=current.home),
            fix=_NOT_RUNNING_FIX.format(name=name),
        )
    return normalise_database_url(running.database_url)


def broker_url() -> str:
    """The broker of this process, configured or embedded. Raises ConfigError when neither is."""
    current = settings()
    if current.broker_url:
        return current.broker_url
    running = running_endpoints()
    if running is None:
        name = "VERIFIER_BROKER_URL"
        raise ConfigError(
            _NOT_RUNNING.format(name=name, home=current.home),
            fix=_NOT_RUNNING_FIX.format(name=name),
        )
    return running.broker_url
