"""``verifier keys``: make, rotate and list the key ring. Keys themselves are never shown."""

from __future__ import annotations

from datetime import datetime

import click

from verifier.cli import talk
from verifier.cli.lazy import Group
from verifier.cli.options import json_option


@click.group(cls=Group)
def group() -> None:
    """The key ring: make, rotate, show ids."""


@group.command()
def init() -> None:
    """Make a new key ring (mode 0600). Refuses when there is one."""
    from verifier.identity.keyring import KeyRing
    from verifier.settings import settings

    path = settings().keyring_path
    KeyRing.create(path)
    talk.say(f"a new key ring is in {path}")
    talk.say("Back it up now, apart from the database: without it nothing stored can be read.")


@group.command()
def rotate() -> None:
    """Add an encryption key and use it from now on. Old keys stay, for reading."""
    from verifier.identity import keyring
    from verifier.settings import settings

    path = settings().keyring_path
    key_id = keyring.rotate(path)
    talk.say(f"new data is encrypted with key {key_id} of {path}")
    talk.say("Copy the file to every host now, and back it up.")


@group.command()
@json_option
def show(as_json: bool) -> None:
    """The ids and dates of the keys; which are current."""
    from verifier.identity import keyfile
    from verifier.settings import settings

    path = settings().keyring_path
    ring = keyfile.read(path)
    rows = [
        {
            "purpose": purpose,
            "id": key.id,
            "created": _instant(key.created),
            "current": key.id == keys.current,
        }
        for purpose, keys in (("encryption", ring.encryption), ("index", ring.index))
        for key in keys.keys
    ]
    if as_json:
        talk.out_json({"path": str(path), "keys": rows})
        return
    columns = ("purpose", "id", "created", "current")
    talk.table(columns, ([row[name] for name in columns] for row in rows))


def _instant(written: str) -> datetime | str:
    """The time in the file, or its text where somebody wrote something else there."""
    try:
        return datetime.fromisoformat(written)
    except ValueError:
        return written
