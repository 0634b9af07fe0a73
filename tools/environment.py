"""Bring ``.venv`` to what a lock file says, for ``make``. Standard library only.

    python tools/environment.py local|dev [--exactly]

Promises: when nothing changed it does nothing and needs no network; what an interrupted run left is
finished by the next; two at once take turns. A stamp (``.venv/.local-stamp``, or ``.dev-stamp``) is
written last and holds digests of the lock file and of ``pyproject.toml``, so dates do not matter.
``--exactly``: the environment must be of this very interpreter's version, else it is built anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
#: There while packages are being written: pip takes a package that a kill cut short for whole.
UNFINISHED = ENVIRONMENT / ".unfinished"

_NO_VENV = """\
This Python cannot make a virtual environment with pip in it ({python}).
On Debian and Ubuntu: apt-get install python3-venv. Elsewhere install Python's own venv and
ensurepip modules, or choose another interpreter: make PYTHON=/path/to/python
"""
_NO_INSTALL = """\
The packages of {lock} could not be installed. Above is what pip said; the first installation needs
a package index. Nothing is taken as done: the same command goes on from here.
"""


def stamp_of(kind: str) -> tuple[Path, str, str]:
    """The stamp file, and the two lines it should hold: packages, project."""
    lock = ROOT / "requirements" / f"{kind}.txt"
    # The scripts in an environment name its place: one that was moved is not in order.
    packages = f"packages {_digest(lock)} in {ENVIRONMENT}"
    project = f"project {_digest(ROOT / 'pyproject.toml')}"
    return ENVIRONMENT / f".{kind}-stamp", packages, project


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def in_order(kind: str) -> bool:
    """Whether the environment is complete. The one for development serves a local stack as well."""
    kinds = (kind, "dev") if kind == "local" else (kind,)
    return any(
        _lines(stamp) == [packages, project] for stamp, packages, project in map(stamp_of, kinds)
    )


def _lines(stamp: Path) -> list[str]:
    try:
        return stamp.read_text("utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []


def usable(*, exactly: bool) -> bool:
    """Whether there is a whole environment that runs, has pip and, if ``exactly``, our version."""
    if UNFINISHED.exists():
        return False
    probe = "import pip, sys; print(sys.version_info[:2])"
    try:
        shown = _run([PYTHON, "-c", probe], quiet=True)
    except OSError:
        return False
    return shown.returncode == 0 and (
        not exactly or shown.stdout.strip() == str(sys.version_info[:2])
    )


def build() -> None:
    """Make the environment, in place of a broken one."""
    if ENVIRONMENT.is_symlink() or (ENVIRONMENT.exists() and not _is_environment()):
        sys.exit(f"{ENVIRONMENT} is not a virtual environment. Move it away and try again.")
    if ENVIRONMENT.exists():
        shutil.rmtree(ENVIRONMENT)
    made = _run([sys.executable, "-m", "venv", ENVIRONMENT], quiet=True)
    if made.returncode != 0:
        sys.stderr.write(made.stdout + made.stderr)
        sys.exit(_NO_VENV.format(python=sys.executable))


def _is_environment() -> bool:
    # An interrupted `venv` may have left no more than its first directories.
    return (ENVIRONMENT / "pyvenv.cfg").exists() or not any(ENVIRONMENT.glob("*.*"))


def install(kind: str) -> None:
    """Install what the stamp says is missing, then write the stamp."""
    stamp, packages, project = stamp_of(kind)
    have_packages = packages in _lines(stamp)
    stamp.unlink(missing_ok=True)
    lock = ROOT / "requirements" / f"{kind}.txt"
    if not have_packages:
        print(f"Installing {lock.relative_to(ROOT)} into .venv …", flush=True)
        _pip("--require-hashes", "-r", lock, lock=lock)
    _pip("--no-deps", "--no-build-isolation", "-e", ROOT, lock=lock)
    partial = stamp.with_suffix(".partial")
    partial.write_text(f"{packages}\n{project}\n", "utf-8")
    partial.replace(stamp)


def _pip(*arguments: str | Path, lock: Path) -> None:
    command: list[str | Path] = [
        PYTHON,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    UNFINISHED.touch()
    status = _run([*command, *arguments]).returncode
    UNFINISHED.unlink()
    if status != 0:  # pip has undone what it began
        sys.exit(_NO_INSTALL.format(lock=lock.relative_to(ROOT)))


def _run(command: list[str | Path], *, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    # A constant list of our own making; pip's advice against root is for system directories.
    env = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}
    return subprocess.run(command, env=env, capture_output=quiet, text=True, check=False)  # noqa: S603


def main() -> None:
    kind, exactly = sys.argv[1], "--exactly" in sys.argv[2:]
    if sys.prefix != sys.base_prefix:  # never rebuild the environment that runs us
        base = sys._base_executable  # type: ignore[attr-defined]
        os.execv(base, [base, *sys.argv])  # noqa: S606 - the same script, by the interpreter below
    if in_order(kind) and usable(exactly=exactly):
        return
    with (ROOT / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not usable(exactly=exactly):
            build()
        if not in_order(kind):  # the one before us may have done it
            install(kind)


if __name__ == "__main__":
    main()
