"""One embedded server's directory: its lock, its remembered port and password, its data.

::

    $VERIFIER_HOME/postgres/     traversable by the server's account, listable by nobody else
        lock                     held (flock) while the server has an owner
        port, password           0600, kept from start to start
        data/                    0700, owned by the server's account

The lock matters: a second PostgreSQL or Valkey on the same data would damage it. It is released by
the kernel when its holder dies, however that happens.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

from verifier.errors import AlreadyRunningError, ConfigError
from verifier.local.accounts import EXTERNAL_SERVERS, Account, closed_ancestor

#: Below the range the kernel hands to outgoing connections, which could take a port of ours away.
_PORTS = range(20_000, 32_000)

#: PostgreSQL keeps paths in buffers of 1024 bytes; leave room for its own file names.
_LONGEST_PATH = 800


class ServerState:
    """The directory of one server. Use :meth:`locked` around everything that touches it."""

    def __init__(self, directory: Path, account: Account | None) -> None:
        self.directory = directory.absolute()
        self.account = account
        self.data = self.directory / "data"

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the state. Raises AlreadyRunningError when somebody else does."""
        self._prepare()
        try:
            descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _unusable(self.directory, error) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _already_running(name, self.directory, os.pread(descriptor, 32, 0)) from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def _prepare(self) -> None:
        if len(os.fsencode(self.data)) > _LONGEST_PATH:
            raise ConfigError(
                f"The path of the state directory is longer than {_LONGEST_PATH} bytes, too long "
                "for PostgreSQL.",
                fix=f"Set VERIFIER_HOME to a shorter path, or: {EXTERNAL_SERVERS}",
            )
        make_directory(self.directory, self.account)
        closed = closed_ancestor(self.data, self.account) if self.account else None
        if closed is not None and self.account is not None:
            raise ConfigError(
                f"The servers run as {self.account.name!r} because PostgreSQL refuses root, and "
                f"{closed} is closed to that account.",
                fix="Set VERIFIER_HOME to a directory it can reach, such as /var/lib/verifier, "
                f"or: {EXTERNAL_SERVERS}",
            )

    def own_data(self, path: Path) -> None:
        """Make ``path`` a directory of the server's account that nobody else may enter."""
        path.mkdir(mode=0o700, exist_ok=True)
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)
        path.chmod(0o700)

    def password(self) -> str:
        """The server's password, made at the first start and kept."""
        return remembered_secret(self.directory / "password")

    def port(self) -> int:
        """The remembered port if it is free, else another free one, remembered from now on."""
        return remembered_port(self.directory / "port")

    def private_file(self, path: Path, text: str) -> None:
        """Write a 0600 file that only the server's account can read."""
        write_private(path, text)
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)


def make_directory(path: Path, account: Account | None = None) -> None:
    """Create ``path`` and its missing parents for ourselves; ``account`` may pass through them.

    Directories that exist already are left as they are. Raises ConfigError when it cannot be.
    """
    try:
        if path.is_dir():
            return
        make_directory(path.parent, account)
        path.mkdir(exist_ok=True)
        path.chmod(0o711 if account is not None else 0o700)
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"The state directory {path} cannot be used ({error.strerror}).",
        fix=f"Set VERIFIER_HOME to a directory of your own, or: {EXTERNAL_SERVERS}",
    )


def write_private(path: Path, text: str) -> None:
    """Replace ``path`` at once by a 0600 file: a reader sees the old text or the new one.

    Raises ConfigError when its directory cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise _unusable(path.parent, error) from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def remembered_secret(path: Path) -> str:
    """The random secret in the 0600 file ``path``, made now if there is none. Safe in a URL."""
    try:
        found = path.read_text("utf-8").strip()
    except FileNotFoundError:
        found = ""
    if not found:
        found = secrets.token_hex(24)
        write_private(path, found + "\n")
    return found


def remembered_port(path: Path) -> int:
    """The port number in the file ``path`` while it is free on 127.0.0.1, else a new one."""
    try:
        port = int(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        port = 0
    if port not in _PORTS or not port_is_free(port):
        port = _free_port()
        write_private(path, f"{port}\n")
    return port


def _free_port() -> int:
    for _ in range(200):
        port = secrets.choice(_PORTS)
        if port_is_free(port):
            return port
    raise ConfigError(
        f"No free port was found on 127.0.0.1 between {_PORTS.start} and {_PORTS.stop}.",
        fix=EXTERNAL_SERVERS,
    )


def port_is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:``port`` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do: connections in TIME_WAIT do not count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def _already_running(name: str, directory: Path, holder: bytes) -> AlreadyRunningError:
    who = f" (process {holder.decode()})" if holder.isdigit() else ""
    return AlreadyRunningError(
        f"The embedded {name} of {directory.parent} is already in use{who}.",
        fix="Use the stack that runs, stop it, or set VERIFIER_HOME to another directory.",
    )
