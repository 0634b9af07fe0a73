"""``verifier config``: what this process would use, and whether it is in order."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import click

from verifier.cli import talk
from verifier.cli.lazy import Group
from verifier.cli.options import json_option


@click.group(cls=Group)
def group() -> None:
    """Show and check the configuration."""


@group.command()
@json_option
def show(as_json: bool) -> None:
    """Every setting with its value. Secrets are shown as the references they are in the file."""
    from verifier.config import config

    view = {
        "environment": _environment(),
        "configuration": config().model_dump(mode="json", serialize_as_any=True),
    }
    if as_json:
        talk.out_json(view)
        return
    talk.facts(view["environment"])
    talk.out()
    talk.facts(_flat(view["configuration"]))


@group.command()
@json_option
@click.pass_context
def check(context: click.Context, as_json: bool) -> None:
    """Check the file, its secrets and the URLs. Exit code 1 when something is wrong."""
    from verifier.cli.checks.configuration import configuration_checks
    from verifier.cli.doctor import report

    if not report(configuration_checks(), as_json=as_json):
        context.exit(1)


def _environment() -> dict[str, Any]:
    from verifier.settings import running_endpoints, settings

    current, running = settings(), running_endpoints()
    return {
        "VERIFIER_HOME": str(current.home),
        "VERIFIER_DATABASE_URL": _without_login(current.database_url),
        "VERIFIER_BROKER_URL": _without_login(current.broker_url),
        "VERIFIER_CONFIG": _file(str(current.config_path), current.config_path.exists()),
        "VERIFIER_KEYRING": _file(str(current.keyring_path), current.keyring_path.exists()),
        "VERIFIER_LOG_LEVEL": current.log_level,
        "local stack": f"running (process {running.pid})" if running else "not running",
    }


def _file(path: str, exists: bool) -> str:
    return path if exists else f"{path} (absent)"


def _without_login(url: str | None) -> str | None:
    """Scheme, host and path: a password or a query may hold a secret."""
    if url is None:
        return None
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def _flat(value: Any, name: str = "") -> list[tuple[str, Any]]:
    """Nested tables as ``a.b.c`` names."""
    if isinstance(value, dict):
        return [
            pair
            for key, inner in value.items()
            for pair in _flat(inner, f"{name}.{key}" if name else key)
        ]
    return [(name, ", ".join(map(str, value)) if isinstance(value, list) else value)]
