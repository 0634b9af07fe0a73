"""The house as a whole: every queue is served, every tick has a task, names are stable."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import beat_schedule
from tests.outcome_map import declared_details
from verifier import doorbell
from verifier.guidance import WaitingReason
from verifier.local.processes import WORKERS
from verifier.outcomes import Lane, Outcome
from verifier.resilience.retry import RULES

ROOT = Path(__file__).parent.parent


@pytest.fixture
def application(product: Path) -> object:
    """The Celery application with its tasks."""
    from workers.app import app

    app.loader.import_default_modules()
    return app


def _procfile() -> dict[str, str]:
    lines = (ROOT / "Procfile").read_text("utf-8").splitlines()
    return dict(line.split(": ", 1) for line in lines if line.strip())


def test_the_procfile_has_the_promised_processes() -> None:
    assert list(_procfile()) == ["worker", "interactive", "control", "notify", "beat"]


def test_every_queue_has_a_worker_and_every_worker_a_queue(application: object) -> None:
    from workers.app import QUEUES

    served = re.findall(r"-Q (\S+)", " ".join(_procfile().values()))
    queues = [queue for argument in served for queue in argument.split(",")]
    assert sorted(queues) == sorted(QUEUES)
    assert sorted(q for names, _ in WORKERS.values() for q in names) == sorted(QUEUES)
    for lane in Lane:
        assert doorbell.lane_queue(lane) in QUEUES


def test_every_entry_of_the_timetable_is_a_task_on_a_served_queue(application: object) -> None:
    from workers.app import QUEUES, app

    for entry in beat_schedule.TIMETABLE:
        assert entry.task in app.tasks, entry.name
        assert entry.queue in QUEUES, entry.name
        assert entry.name
        assert entry.task in (beat_schedule.__doc__ or "")
    for promised in ("verifier.audit.run", "verifier.reminders.send", "verifier.sweep"):
        assert promised in {entry.task for entry in beat_schedule.TIMETABLE}


def test_task_names_are_stable(application: object) -> None:
    from workers.app import app

    ours = {name for name in app.tasks if name.startswith("verifier.")}
    assert ours == {
        "verifier.submit",
        "verifier.verify_one",
        "verifier.drain",
        "verifier.audit.run",
        "verifier.reminders.plan",
        "verifier.reminders.send",
        "verifier.reminders.reconcile",
        "verifier.notify.dispatch",
        "verifier.sweep",
        "verifier.housekeeping",
        "verifier.canaries",
        "verifier.canary",
    }


def test_messages_are_hints_and_celery_retries_nothing(application: object) -> None:
    from workers.app import app

    assert app.conf.task_acks_late is False
    assert app.conf.worker_disable_prefetch is True
    assert app.conf.result_backend is None
    assert app.conf.task_create_missing_queues is False
    for name, task in app.tasks.items():
        if name.startswith("verifier."):
            assert not getattr(task, "autoretry_for", ())


def test_the_vocabulary_covers_the_outcome_map_and_nothing_waits_without_a_word() -> None:
    assert set(declared_details()) <= set(Outcome.__members__)
    assert set(Outcome.__members__) - set(declared_details()) == {"NOT_SENT"}
    assert {rule.reason for rule in RULES.values()} <= {str(r) for r in WaitingReason}


def test_nothing_in_the_project_names_a_registry_or_needs_another_folder() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        assert "://" not in path.read_text("utf-8"), path.name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["requires-python"] == ">=3.11"
