"""What the tables of the configuration have in common: strictness, secrets, endpoints."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict

from verifier.errors import ConfigError


class Strict(BaseModel):
    """A table whose unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _check_secret_reference(value: str) -> str:
    if not value.startswith(("env:", "file:")):
        raise ValueError('a secret must be a reference: "env:NAME" or "file:/path/to/secret"')
    if not value.isprintable():
        raise ValueError("has a character that cannot be seen")
    if not value.partition(":")[2].strip():
        raise ValueError("names no variable or file after the colon")
    return value


#: ``env:NAME`` or ``file:/path``: secrets never stand in the file.
SecretRef = Annotated[str, AfterValidator(_check_secret_reference)]


def resolve_secret(reference: str) -> str:
    """The secret that ``env:NAME`` or ``file:/path`` points to. Raises ConfigError if absent."""
    scheme, _, rest = reference.partition(":")
    if scheme == "env":
        value = os.environ.get(rest)
        if not value:
            raise ConfigError(
                f"The environment variable {rest} is not set.",
                fix=f"Export {rest}, or change the reference in the configuration file.",
            )
        return value
    try:
        value = Path(rest).read_text("utf-8").strip()
    except OSError as error:
        raise ConfigError(
            f"The secret file {rest} cannot be read ({error.strerror}).",
            fix="Create it with mode 0600, readable by the account of the workers.",
        ) from error
    except UnicodeDecodeError:
        raise ConfigError(
            f"The secret file {rest} is not text.", fix="Write the secret in it as UTF-8."
        ) from None
    if not value:
        raise ConfigError(f"The secret file {rest} is empty.", fix="Write the secret in it.")
    return value


def _check_endpoint(value: str) -> str:
    if "?" in value:
        raise ValueError("must be the beginning of URLs, without a query")
    return _check_url(value).rstrip("/")


def _check_url(value: str) -> str:
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must be ASCII without spaces (a host of another script in punycode)")
    parts = urlsplit(value)
    try:
        fits = parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise ValueError("its port must be 1 to 65535")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname)):
        raise ValueError("must be https:// (plain http only to 127.0.0.1)")
    if not parts.hostname or parts.username is not None or parts.fragment:
        raise ValueError("must be a URL with a host, without a user name and a fragment")
    return value


def _is_loopback(host: str | None) -> bool:
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


#: The beginning of a vendor's URLs, without a slash at the end; plain HTTP only to this machine.
Endpoint = Annotated[str, AfterValidator(_check_endpoint)]
#: One URL, as it stands; plain HTTP only to this machine.
Url = Annotated[str, AfterValidator(_check_url)]
