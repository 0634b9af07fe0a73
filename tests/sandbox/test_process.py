"""The sandbox as a process of its own: announced, locked, stopped by signals."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.sandbox.signed import verify
from verifier.errors import AlreadyRunningError
from verifier.sandbox.credentials import NAMES, ensure_credentials
from verifier.sandbox.server import SandboxServer


def start(state: Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "verifier.sandbox", "serve", "--state", str(state)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("sandbox ready at http://127.0.0.1:")
    return process, line.split()[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly_even_with_a_call_that_is_never_answered(
    tmp_path: Path, number: signal.Signals
) -> None:
    process, url = start(tmp_path)
    with process:
        requests.post(f"{url}/_sandbox/faults", json={"vendor": "*", "kind": "timeout"}, timeout=10)
        with pytest.raises(requests.ReadTimeout):
            requests.get(f"{url}/v3/push/cid", timeout=0.3)
        process.send_signal(number)
        assert process.wait(timeout=10) == 0
    assert '"fault":"timeout"' in (tmp_path / "truth.jsonl").read_text("utf-8")


def test_two_sandboxes_never_share_a_state_directory(tmp_path: Path) -> None:
    with SandboxServer(tmp_path):
        with pytest.raises(AlreadyRunningError):
            SandboxServer(tmp_path).start()
        refused = subprocess.run(
            [sys.executable, "-m", "verifier.sandbox", "serve", "--state", str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert refused.returncode == 1
        assert "Another sandbox uses" in refused.stderr


def test_a_taken_port_is_an_error_at_once(tmp_path: Path) -> None:
    with SandboxServer(tmp_path / "a") as first, pytest.raises(OSError, match="in use"):
        SandboxServer(tmp_path / "b", port=first.port).start()


def test_credentials_are_private_random_and_kept(tmp_path: Path) -> None:
    first = ensure_credentials(tmp_path / "a")
    assert set(first) == set(NAMES)
    assert len(set(first.values())) == len(NAMES)
    assert ensure_credentials(tmp_path / "a") == first
    assert ensure_credentials(tmp_path / "b") != first
    for name in NAMES:
        assert (tmp_path / "a" / name).stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(NAMES)


def test_what_no_vendor_speaks_is_not_found(tmp_path: Path) -> None:
    with SandboxServer(tmp_path) as server:
        assert requests.get(f"{server.url}/", timeout=10).status_code == 404
        assert requests.get(f"{server.url}/_sandbox/nothing", timeout=10).status_code == 404


def test_people_from_the_command_line_are_served(tmp_path: Path) -> None:
    subprocess.run(
        [
            sys.executable,
            *("-m", "verifier.sandbox", "people"),
            *("--count", "50", "--seed", "3", "--directory", str(tmp_path)),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )
    rows = (tmp_path / "users.csv").read_text("utf-8").splitlines()
    assert len(rows) == 51
    _, phone, name, id_number, *_ = rows[1].split(",")
    with SandboxServer(tmp_path) as server:
        assert server.client.health()["register"] >= 45
        assert verify(server, phone, name, id_number)["Result"]
