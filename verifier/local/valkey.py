"""The embedded Valkey: a real, Redis-compatible server, started from the program of a wheel.

Promises: it listens on 127.0.0.1 only, asks for a password, never evicts, keeps an append-only file
(at most a second is lost when it is killed) and ends with its parent. What it holds is disposable:
PostgreSQL is the truth.
"""

from __future__ import annotations

import signal
import socket
from pathlib import Path

from verifier.errors import VerifierError
from verifier.local import process
from verifier.local.binaries import valkey_server
from verifier.local.server import EmbeddedServer


class EmbeddedValkey(EmbeddedServer):
    name = "valkey"
    gentle = signal.SIGTERM
    death_signal = signal.SIGTERM
    last = signal.SIGKILL
    passing_causes = ("Address already in use", "Failed listening on port")

    @property
    def url(self) -> str:
        return f"redis://:{self.state.password()}@127.0.0.1:{self.port}/0"

    @property
    def _configuration(self) -> Path:
        return self.state.data / "valkey.conf"

    def _prepare(self) -> None:
        self.state.own_data(self.state.data)
        record = self.state.data / "valkey.pid"
        try:
            pid = record.read_text("utf-8").strip()
        except FileNotFoundError:
            return
        if pid.isdigit():
            # The title is left as it was started (set-proc-title), so the argument identifies it.
            process.stop_orphan(int(pid), str(self._configuration), signal.SIGTERM, signal.SIGKILL)
        record.unlink(missing_ok=True)

    def _command(self) -> list[str | Path]:
        self.state.private_file(self._configuration, self._settings())
        return [valkey_server(self.home / "programs", self.account), self._configuration]

    def _settings(self) -> str:
        """The configuration file: it carries the password, hence a file and not arguments."""
        rows = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": f'"{_quoted(self.state.data)}"',
            "pidfile": f'"{_quoted(self.state.data / "valkey.pid")}"',
            "daemonize": "no",
            "set-proc-title": "no",
            "databases": "64",
            "appendonly": "yes" if self.durable else "no",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory-policy": "noeviction",
            "requirepass": self.state.password(),
        }
        return "".join(f"{key} {value}\n" for key, value in rows.items())

    def _answers(self) -> bool:
        """PING over a socket: importing the client library takes longer than the server's start."""
        password = self.state.password()
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
                reply = b""
                while reply.count(b"\r\n") < 2:
                    part = connection.recv(1024)
                    if not part:
                        return False
                    reply += part
        except OSError:
            return False
        if reply.startswith(b"-WRONGPASS"):
            raise VerifierError(
                f"Another server than ours answers on port {self.port}.",
                fix="Start again: another port will be chosen.",
            )
        return reply.startswith(b"+OK\r\n+PONG")


def _quoted(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')
