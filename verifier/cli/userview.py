"""Users as operators see them: masked, with what is open, what was tried and what may be said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Row

from verifier.cli import talk
from verifier.clock import business_date
from verifier.config import config
from verifier.errors import NotFoundError, UsageError
from verifier.identity import mask
from verifier.identity.errors import InvalidField
from verifier.identity.keyring import KeyRing
from verifier.identity.reference import check_reference
from verifier.settings import settings
from verifier.store import clock, overview, users
from verifier.store.engine import transaction

_MASKS = {
    "phone": mask.mask_phone,
    "name": mask.mask_name,
    "id_number": mask.mask_id_number,
    "email": mask.mask_email,
    "push_token": mask.mask_token,
}


def checked(reference: str) -> str:
    """A reference given as an argument. Raises UsageError for one that cannot be one."""
    try:
        return check_reference(reference)
    except InvalidField as fault:
        raise UsageError(
            f"The reference {fault.reason}.",
            fix="To look a person up by phone or ID number: `verifier user find`.",
        ) from None


def masked(rows: Iterable[Row[Any]]) -> list[dict[str, Any]]:
    """Rows of the store as masked objects."""
    keyring = KeyRing.load(settings().keyring_path)
    return [_masked(keyring, row) for row in rows]


def _masked(keyring: KeyRing, row: Row[Any]) -> dict[str, Any]:
    def opened(column: str) -> str | None:
        blob = getattr(row, column)
        if blob is None:
            return None
        return _MASKS[column](keyring.decrypt("users", column, row.platform, row.reference, blob))

    return {
        "id": row.id,
        "platform": row.platform,
        "reference": row.reference,
        "status": row.status,
        "outcome": row.outcome,
        "detail": row.detail,
        "checked_at": row.checked_at,
        "lane": row.lane,
        "province": row.province,
        **{column: opened(column) for column in _MASKS},
        "locale": row.locale,
        "time_zone": row.time_zone,
        "open_verification": row.verification_id,
    }


def find_by(by: str, number: str) -> list[dict[str, Any]]:
    """Users with this phone or ID number, under every live index key."""
    from verifier.identity.id_number import parse_id_number
    from verifier.identity.phone import parse_phone

    kind = by.replace("-", "_")
    with transaction() as connection:
        today = business_date(clock.now(connection), config().zone)
    try:
        if kind == "phone":
            value = parse_phone(number).national
        else:
            value = parse_id_number(number, today).value
    except InvalidField as fault:
        raise UsageError(
            f"The {by} {fault.reason}.",
            fix="Type it at the prompt, or send it as one line of standard input.",
        ) from None
    keyring = KeyRing.load(settings().keyring_path)
    with transaction() as connection:
        rows = users.find_by_index(connection, f"{kind}_index", keyring.indexes(kind, value))
    return [_masked(keyring, row) for row in rows]


def platform_of(reference: str, platform: str | None) -> str:
    """The platform meant: the one given, else the only one that knows the reference.

    Raises NotFoundError when none does, UsageError when several do.
    """
    with transaction() as connection:
        known = overview.platforms_of(connection, reference)
    if platform is None and len(known) > 1:
        raise UsageError(
            f"Several platforms have a user {reference!r}.",
            fix="Say which: " + " or ".join(f"--platform {name}" for name in known),
        )
    if not known or (platform is not None and platform not in known):
        raise _not_found(platform, reference, known)
    return platform or known[0]


def detail(platform: str, reference: str) -> dict[str, Any]:
    """Everything about one user. Raises NotFoundError."""
    from verifier import client

    with transaction() as connection:
        row = users.find(connection, platform, reference)
        if row is None:
            raise _not_found(platform, reference, ())
    state = client.get(reference, platform=platform)
    with transaction() as connection:
        attempts = users.attempts_of(connection, row.id)
        settled = users.settled_of(connection, row.id)
    (view,) = masked([row])
    return {
        **view,
        "state": state.state,
        "reason": state.reason,
        "until": state.until,
        "deadline_at": row.deadline_at,
        "guidance": state.guidance,
        "who_acts": state.who_acts,
        "bound_at": row.bound_at,
        "consent_at": row.consent_at,
        "data_changed_at": row.data_changed_at,
        "created_at": row.created_at,
        "attempts": [_mapping(attempt) for attempt in attempts],
        "verifications": [_mapping(verification) for verification in settled],
    }


def _not_found(platform: str | None, reference: str, others: Sequence[str]) -> NotFoundError:
    fix = "Put the user first (`verifier user import`)."
    if others:
        fix = "There is one elsewhere: " + " or ".join(f"--platform {name}" for name in others)
    where = "any platform" if platform is None else f"platform {platform!r}"
    return NotFoundError(f"There is no user {reference!r} on {where}.", fix=fix)


def _mapping(row: Row[Any]) -> dict[str, Any]:
    return dict(row._mapping)


def print_list(found: Sequence[dict[str, Any]]) -> None:
    columns = ("reference", "platform", "status", "outcome", "detail", "lane", "phone", "name")
    talk.table(columns, ([user[name] for name in columns] for user in found))


_FACTS = (
    "reference", "platform", "status", "outcome", "detail", "checked_at", "state", "reason",
    "until", "deadline_at", "guidance", "who_acts", "phone", "name", "id_number", "email",
    "push_token", "lane", "province", "locale", "time_zone", "bound_at", "consent_at",
    "data_changed_at", "created_at",
)  # fmt: skip
_ATTEMPT = (
    "started_at", "provider", "purpose", "state", "outcome", "detail", "fact", "code", "billed",
    "milliseconds", "request_id",
)  # fmt: skip
_VERIFICATION = ("settled_at", "outcome", "detail", "provider", "attempts", "data_version")


def print_detail(view: dict[str, Any]) -> None:
    talk.facts((name.replace("_", " "), view[name]) for name in _FACTS if view[name] is not None)
    for title, name, columns in (
        ("attempts, newest first", "attempts", _ATTEMPT),
        ("settled verifications, newest first", "verifications", _VERIFICATION),
    ):
        if view[name]:
            talk.out()
            talk.out(title)
            talk.table(columns, ([row[column] for column in columns] for row in view[name]))
