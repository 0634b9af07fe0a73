"""Users: put, find, list and count. Personal data enters and leaves here as ciphertext only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from psycopg2.errors import UniqueViolation
from sqlalchemy import Connection, Row, text

from verifier.store import arrays
from verifier.store.copying import copy_rows, copy_to_temporary


class SealedUser(NamedTuple):
    """A user as stored: ciphertext, blind indexes, keyed digests, and facts kept in clear."""

    platform: str
    reference: str
    phone: bytes
    name: bytes
    name_raw: bytes | None
    id_number: bytes
    email: bytes | None
    push_token: bytes | None
    phone_index: bytes
    id_number_index: bytes
    identity_digest: bytes
    contact_digest: bytes
    lane: str
    province: str | None
    birth_decade: int | None
    locale: str
    time_zone: str
    bound_at: str | None  # ISO 8601
    consent_at: str | None


_TYPES: Final = {
    **dict.fromkeys(("platform", "reference", "lane", "province", "locale", "time_zone"), "text"),
    "birth_decade": "smallint",
    "bound_at": "timestamptz",
    "consent_at": "timestamptz",
}
_COLUMNS: Final = [(name, _TYPES.get(name, "bytea")) for name in SealedUser._fields]
_CHANGING: Final = ", ".join(
    f"{name} = s.{name}" for name, _ in _COLUMNS if name not in ("platform", "reference", "lane")
)


_CONTACT: Final = ", u.email, u.push_token, u.locale, u.time_zone, u.bound_at, u.consent_at"


def lock_existing(
    connection: Connection, keys: Sequence[tuple[str, str]], *, with_contact: bool
) -> Sequence[Row[Any]]:
    """Those of ``keys`` (platform, reference) that exist, locked in id order until commit.

    ``with_contact``: also what is stored of the contact, to keep where a row does not say it.

    The lock makes "compare, then update" safe against another import of the same people and
    against a verdict that is being recorded.
    """
    return connection.execute(
        text(f"""
            SELECT u.id, u.platform, u.reference, u.identity_digest, u.contact_digest
                   {_CONTACT if with_contact else ""}
              FROM verifier.users u
              JOIN unnest(CAST(:platforms AS text[]), CAST(:references AS text[]))
                   AS k (platform, reference)
                ON u.platform = k.platform AND u.reference = k.reference
             ORDER BY u.id FOR NO KEY UPDATE OF u
        """),  # noqa: S608 - column names of ours
        {
            "platforms": arrays.of_texts([platform for platform, _ in keys]),
            "references": arrays.of_texts([reference for _, reference in keys]),
        },
    ).all()


def insert(connection: Connection, people: Sequence[SealedUser]) -> bool:
    """Add new users, all or none: False when another import was first with one of them.

    In key order, so that two imports of the same people wait for each other and never in a ring.
    """
    if not people:
        return True
    ordered = sorted(people)  # the key stands first, and is never the same twice
    try:
        with connection.begin_nested():
            copy_rows(connection, "verifier.users", _COLUMNS, ordered)
    except UniqueViolation as error:
        if error.diag.constraint_name != "users_platform_reference_key":
            raise
        return False
    return True


def update(connection: Connection, people: Sequence[SealedUser], *, identity_changed: bool) -> None:
    """Replace the data of existing users, locked before by :func:`lock_existing`.

    With ``identity_changed`` the version moves on and the user is unverified again: a verdict for
    the old data can then no longer reach the row.
    """
    if not people:
        return
    table = "changed_identities" if identity_changed else "changed_contacts"
    copy_to_temporary(connection, table, _COLUMNS, people)
    reset = (
        ", lane = s.lane, carrier_seen_at = NULL, matched_at = NULL, version = u.version + 1, "
        "status = 'unverified', outcome = NULL, detail = NULL, checked_at = NULL, "
        "data_changed_at = verifier.verifier_now()"
        if identity_changed
        # The segment suggests a lane; who was looked up knows better.
        else ", lane = CASE WHEN u.carrier_seen_at IS NULL THEN s.lane ELSE u.lane END"
    )
    connection.execute(
        text(f"""
            UPDATE verifier.users u SET {_CHANGING}{reset} FROM {table} s
             WHERE u.platform = s.platform AND u.reference = s.reference
        """)  # noqa: S608 - column names of ours
    )


# LIMIT 1 makes it a look-up for each user shown: joined, a late page would read all open work.
_VIEW: Final = """
    SELECT u.id, u.platform, u.reference, u.version, u.phone, u.name, u.id_number, u.email,
           u.push_token, u.lane, u.province, u.birth_decade, u.locale, u.time_zone, u.bound_at,
           u.consent_at, u.status, u.outcome, u.detail, u.checked_at, u.data_changed_at,
           u.created_at, w.id AS verification_id, w.state AS open_state, w.cause, w.until,
           w.due_at, w.deadline_at, w.now
      FROM verifier.users u
      LEFT JOIN LATERAL (SELECT * FROM verifier.waiting o WHERE o.user_id = u.id LIMIT 1) w ON true
"""


def find(connection: Connection, platform: str, reference: str) -> Row[Any] | None:
    """One user with its open verification, if any: what it waits for, and until when."""
    return connection.execute(
        text(_VIEW + "WHERE u.platform = :platform AND u.reference = :reference"),
        {"platform": platform, "reference": reference},
    ).one_or_none()


def id_of(connection: Connection, platform: str, reference: str) -> int | None:
    """The id of a user, or None."""
    return connection.execute(
        text("SELECT id FROM verifier.users WHERE platform = :platform AND reference = :reference"),
        {"platform": platform, "reference": reference},
    ).scalar_one_or_none()


def references_of(connection: Connection, ids: Sequence[int]) -> dict[int, Row[Any]]:
    """User id → (id, platform, reference)."""
    rows = connection.execute(
        text("SELECT id, platform, reference FROM verifier.users WHERE id = ANY(:ids)"),
        {"ids": list(ids)},
    )
    return {row.id: row for row in rows}


def find_by_index(
    connection: Connection, column: str, values: Sequence[bytes]
) -> Sequence[Row[Any]]:
    """Users whose ``phone_index`` or ``id_number_index`` is any of ``values`` (one a live key)."""
    if column not in ("phone_index", "id_number_index"):
        raise ValueError(column)
    return connection.execute(
        text(_VIEW + f"WHERE u.{column} = ANY(:values) ORDER BY u.id"), {"values": list(values)}
    ).all()


def listing(
    connection: Connection,
    *,
    status: str | None = None,
    outcome: str | None = None,
    lane: str | None = None,
    platform: str | None = None,
    limit: int = 50,
    after: int = 0,
) -> Sequence[Row[Any]]:
    """Users in id order after ``after``, filtered; at most ``limit``."""
    return connection.execute(
        text(
            _VIEW
            + """
            WHERE u.id > :after
              AND (CAST(:status AS text) IS NULL OR u.status = :status)
              AND (CAST(:outcome AS text) IS NULL OR u.outcome = :outcome)
              AND (CAST(:lane AS text) IS NULL OR u.lane = :lane)
              AND (CAST(:platform AS text) IS NULL OR u.platform = :platform)
            ORDER BY u.id LIMIT :limit
            """
        ),
        {
            "after": after,
            "status": status,
            "outcome": outcome,
            "lane": lane,
            "platform": platform,
            "limit": limit,
        },
    ).all()


def counts(connection: Connection) -> Sequence[Row[Any]]:
    """How many users there are per status, outcome and detail."""
    return connection.execute(
        text("""
            SELECT status, outcome, detail, count(*) AS number FROM verifier.users
             GROUP BY status, outcome, detail ORDER BY status, number DESC
        """)
    ).all()


def attempts_of(connection: Connection, user_id: int, limit: int = 20) -> Sequence[Row[Any]]:
    """The latest attempts for a user, newest first, over open and settled verifications."""
    return connection.execute(
        text("""
            SELECT a.id, a.verification_id, a.provider, a.purpose, a.state, a.outcome, a.detail,
                   a.fact, a.code, a.billed, a.price, a.currency, a.request_id, a.milliseconds,
                   a.started_at, a.completed_at
              FROM verifier.attempts a
             WHERE a.verification_id IN (
                   SELECT id FROM verifier.verifications WHERE user_id = :user
                   UNION SELECT id FROM verifier.open_verifications WHERE user_id = :user)
             ORDER BY a.started_at DESC, a.id DESC LIMIT :limit
        """),
        {"user": user_id, "limit": limit},
    ).all()


def settled_of(connection: Connection, user_id: int, limit: int = 20) -> Sequence[Row[Any]]:
    """The latest settled verifications of a user, newest first."""
    return connection.execute(
        text("""
            SELECT id, data_version, outcome, detail, provider, attempts, created_at, settled_at
              FROM verifier.verifications WHERE user_id = :user
             ORDER BY settled_at DESC LIMIT :limit
        """),
        {"user": user_id, "limit": limit},
    ).all()


def stream_references(connection: Connection, status: str | None = None) -> Iterator[Row[Any]]:
    """(platform, reference, status, outcome, detail) of all users, without holding them all."""
    yield from connection.execute(
        text("""
            SELECT platform, reference, status, outcome, detail, checked_at FROM verifier.users
             WHERE CAST(:status AS text) IS NULL OR status = :status ORDER BY id
        """),
        {"status": status},
        execution_options={"yield_per": 5000},
    )
