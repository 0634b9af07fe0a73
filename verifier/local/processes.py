"""The processes of a local stack: the same ones, with the same arguments, as in the Procfile."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from verifier.local.children import ChildProcess, listens

#: Worker name → its queues and its number of processes.
WORKERS: Mapping[str, tuple[tuple[str, ...], int]] = {
    "worker": (("verify.cmcc", "verify.cucc", "verify.ctcc", "verify.cbn", "verify.mvno"), 2),
    "interactive": (("interactive",), 1),
    "control": (("control", "remind"), 2),
    "notify": (("notify",), 1),
}

#: Celery's advice against root (a UserWarning) is for servers; a local stack is whose started it.
ROOT_IS_FINE = "ignore:You're running the worker:UserWarning"

# What is stopped first has the lowest number.
STAGE_WORKERS, STAGE_BEAT, STAGE_SANDBOX, STAGE_VALKEY, STAGE_POSTGRES = range(5)


def worker_arguments(name: str) -> list[str]:
    """What follows ``celery`` for the worker of this name."""
    queues, concurrency = WORKERS[name]
    return [
        *("-A", "workers.app", "worker", "-n", f"{name}@%h"),
        *("-Q", ",".join(queues), "-c", str(concurrency)),
        *("--without-gossip", "--without-mingle"),
    ]


def beat_arguments() -> list[str]:
    """What follows ``celery`` for the metronome. It keeps no file: what ran is known by rows."""
    return ["-A", "workers.app", "beat", "--pidfile="]


def celery_children(home: Path, env: Mapping[str, str], logs: Path | None) -> list[ChildProcess]:
    """The workers and the metronome. Each says that it is ready by a file (:func:`ready_file`)."""
    children = [
        _celery(name, worker_arguments(name), STAGE_WORKERS, home, env, logs) for name in WORKERS
    ]
    children.append(_celery("beat", beat_arguments(), STAGE_BEAT, home, env, logs))
    return children


def ready_file(home: Path, name: str) -> Path:
    """Made by the child (``VERIFIER_READY_FILE``) when it consumes its queues."""
    return home / "run" / f"{name}.ready"


def _celery(
    name: str,
    arguments: list[str],
    stage: int,
    home: Path,
    env: Mapping[str, str],
    logs: Path | None,
) -> ChildProcess:
    ready = ready_file(home, name)
    return ChildProcess(
        name=name,
        argv=[sys.executable, "-m", "celery", "--quiet", *arguments],  # no banners
        env={**env, "VERIFIER_READY_FILE": str(ready)},
        stage=stage,
        cwd=home / "run",
        log=logs / f"{name}.log" if logs else None,
        is_ready=ready.exists,
        stale=(ready,),
    )


def sandbox_child(
    home: Path, state: Path, port: int, env: Mapping[str, str], logs: Path | None
) -> ChildProcess:
    """The sandbox of carriers and gateways on 127.0.0.1:``port``."""
    arguments = ["serve", "--port", str(port), "--state", str(state)]
    return ChildProcess(
        name="sandbox",
        argv=[sys.executable, "-m", "verifier.sandbox", *arguments],
        env=env,
        stage=STAGE_SANDBOX,
        cwd=home / "run",
        log=logs / "sandbox.log" if logs else None,
        is_ready=listens(port),
        patience=10.0,
    )


def environment(home: Path, urls: Mapping[str, str], paths: Mapping[str, Path]) -> dict[str, str]:
    """Our own environment, with every ``VERIFIER_*`` setting of the stack spelled out."""
    return {
        **os.environ,
        **urls,
        **{name: str(path) for name, path in paths.items()},
        "VERIFIER_HOME": str(home),
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": ROOT_IS_FINE,
    }


STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
