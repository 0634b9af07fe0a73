"""Gateways' rows: under which name a gateway's pause, breaker and rate stand in the store.

They stand in the tables of the providers, told apart by a prefix that nothing else spells, so a
provider and a gateway of one name share neither a pause nor a rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row

from verifier.store import providers

_PREFIX: Final = "gateway:"


def row_name(gateway: str) -> str:
    """The name of a configured gateway's rows, for :mod:`verifier.store.providers`."""
    return f"{_PREFIX}{gateway}"


def gateway_of(name: str) -> str | None:
    """The gateway that a row of this name is about; None: it is a provider's."""
    return name.removeprefix(_PREFIX) if name.startswith(_PREFIX) else None


def register(connection: Connection, gateways: Iterable[str]) -> None:
    """Make sure every configured gateway has its row."""
    providers.register(connection, map(row_name, gateways))


def get_all(connection: Connection) -> dict[str, Row[Any]]:
    """Every gateway's row by the gateway's name, with the business time."""
    found = ((gateway_of(row.name), row) for row in providers.get_all(connection))
    return {gateway: row for gateway, row in found if gateway is not None}


def providers_only(rows: Sequence[Row[Any]]) -> dict[str, Row[Any]]:
    """Of :func:`verifier.store.providers.get_all`, the providers' own, by name."""
    return {
        row.name: row
        for row in rows
        if gateway_of(row.name) is None and not providers.is_of_checks(row.name)
    }
