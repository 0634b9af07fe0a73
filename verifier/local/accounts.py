"""The account that the embedded servers run under, and what that account can reach.

PostgreSQL refuses to run as root, so a root process hands both servers to ``postgres``, else to
``nobody``. Nothing is created or opened up for them: no account is added and no parent directory
changes its mode. An ordinary user's servers run as that user.
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from verifier.errors import ConfigError

EXTERNAL_SERVERS = (
    "Set VERIFIER_DATABASE_URL and VERIFIER_BROKER_URL to use servers that run elsewhere."
)


@dataclass(frozen=True, slots=True)
class Account:
    name: str
    uid: int
    gid: int


def server_account() -> Account | None:
    """The account to drop to, or None to stay who we are. Raises ConfigError if neither can be."""
    if os.geteuid() != 0:
        try:
            pwd.getpwuid(os.geteuid())
        except KeyError:
            raise ConfigError(
                f"The user id {os.geteuid()} has no entry in the password file, so PostgreSQL "
                "refuses to start under it.",
                fix=f"Add an entry for it to /etc/passwd, or: {EXTERNAL_SERVERS}",
            ) from None
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise ConfigError(
        "PostgreSQL refuses to run as root, and this system has neither an account 'postgres' "
        "nor an account 'nobody' to run it under.",
        fix=f"Run as an ordinary user, or: {EXTERNAL_SERVERS}",
    )


def closed_ancestor(path: Path, account: Account) -> Path | None:
    """The first directory on the way to ``path`` that ``account`` may not pass, if any.

    Judged by mode bits: access lists that grant more are not seen, and then we only copy more
    than needed or refuse too early.
    """
    resolved = path.resolve()
    for directory in reversed(resolved.parents):
        if directory.exists() and not _may_pass(os.stat(directory), account):
            return directory
    return None


def _may_pass(entry: os.stat_result, account: Account) -> bool:
    if entry.st_uid == account.uid:
        return bool(entry.st_mode & stat.S_IXUSR)
    if entry.st_gid == account.gid:
        return bool(entry.st_mode & stat.S_IXGRP)
    return bool(entry.st_mode & stat.S_IXOTH)


def may_run(program: Path, account: Account) -> bool:
    """Whether ``account`` can reach and execute ``program``."""
    return closed_ancestor(program, account) is None and _may_pass(os.stat(program), account)
