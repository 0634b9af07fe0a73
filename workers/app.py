"""The Celery application: settings and process hooks.

Messages are acknowledged early and nothing is prefetched, because the row in PostgreSQL is the
record and its lease the recovery: a message that is lost, doubled or wiped costs time only.
Celery's own retries, results and time-outs are not used (the hard limit is a backstop).
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import structlog
from celery import Celery
from celery.signals import (
    beat_init,
    celeryd_after_setup,
    setup_logging,
    task_prerun,
    worker_process_init,
    worker_ready,
    worker_shutting_down,
)
from kombu import Queue

import beat_schedule
from verifier import answerbell, doorbell
from verifier.config import config
from verifier.errors import ConfigError
from verifier.identity.keyring import KeyRing
from verifier.notify import runtime as notify_runtime
from verifier.outcomes import Lane
from verifier.reminders import runtime as reminders_runtime
from verifier.settings import broker_url, settings
from verifier.store import engine
from verifier.telemetry import configure_logging
from verifier.verification import runtime
from workers import transport
from workers.metronome import Metronome
from workers.shutdown import drain_flag, stop_at_signals

QUEUES = doorbell.QUEUES


def _do_not_begin(error: ConfigError) -> NoReturn:
    """Say what is wrong and leave: a worker that cannot work must not look as if it did."""
    fix = f"\nfix: {error.fix}" if error.fix else ""
    print(f"error: {error.message}{fix}", file=sys.stderr, flush=True)
    raise SystemExit(error.exit_code) from None


def _broker() -> str:
    try:
        return broker_url()
    except ConfigError as error:
        _do_not_begin(error)


def _own_tasks() -> frozenset[str]:
    """Celery's own (``celery.map``, ``celery.chord``…) run others: nobody needs them."""
    return frozenset(name for name in app.tasks if name.startswith("verifier."))


transport.guard(served=_own_tasks)
app = Celery("verifier", broker=_broker(), set_as_current=False)
app.conf.update(
    imports=(
        "workers.verification",
        "workers.interactive",
        "workers.control",
        "workers.audit",
        "workers.reminders",
        "workers.notify",
    ),
    task_queues=[Queue(name, routing_key=name) for name in QUEUES],
    task_default_queue=doorbell.CONTROL_QUEUE,
    task_create_missing_queues=False,
    task_serializer="json",
    accept_content=["json"],
    task_ignore_result=True,
    result_backend=None,
    task_acks_late=False,
    task_time_limit=300,
    task_publish_retry_policy={
        "max_retries": 1,
        "interval_start": 0,
        "interval_step": 0.2,
        "interval_max": 0.5,
    },
    broker_transport_options=doorbell.BROKER_OPTIONS,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_channel_error_retry=True,
    broker_connection_timeout=3,
    broker_pool_acquire_timeout=5,
    worker_disable_prefetch=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    worker_send_task_events=False,
    # Whoever can publish in the broker could tell workers to stop.
    worker_enable_remote_control=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    beat_schedule=beat_schedule.as_celery(),
    # In memory: what ran when is known by rows, and a file that a kill damages only makes noise.
    beat_scheduler="celery.beat:Scheduler",
    beat_max_loop_interval=5,
    enable_utc=True,
)
app.steps["consumer"].add(Metronome)


#: Celery's lines about every tick that comes and goes; what was done is logged by who did it.
_CHATTY = (
    "celery.app.trace",
    "celery.beat",
    "celery.worker.request",
    "celery.worker.state",
    "celery.worker.strategy",
)


@setup_logging.connect
def _own_logging(**_kwargs: Any) -> None:
    """Celery leaves logging alone when somebody answers this signal."""
    configure_logging("worker")
    logging.getLogger("celery.pool").setLevel(logging.INFO)  # below, it quotes whole messages
    if settings().log_level != "DEBUG":
        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.WARNING)


#: How much a worker of batches yields: a person waits at the interactive one on the same machine.
_BATCH_NICENESS = 5


@celeryd_after_setup.connect
def _check_worker(instance: Any, **_kwargs: Any) -> None:
    """Before the pool is forked: the configuration, and the keys unless no queue needs them."""
    needs_keys = not {doorbell.NOTIFY_QUEUE}.issuperset(instance.app.amqp.queues.consume_from)
    try:
        config()
        if needs_keys:
            KeyRing.load(settings().keyring_path)
    except ConfigError as error:
        _do_not_begin(error)


@beat_init.connect
def _check_beat(**_kwargs: Any) -> None:
    try:
        config()
    except ConfigError as error:
        _do_not_begin(error)


@celeryd_after_setup.connect
def _yield_to_people(instance: Any, **_kwargs: Any) -> None:
    """Before the pool is forked, so that the children inherit it."""
    served = set(instance.app.amqp.queues.consume_from)
    if served and served.issubset(map(doorbell.lane_queue, Lane)):
        os.nice(_BATCH_NICENESS)


@worker_process_init.connect
def _after_fork(**_kwargs: Any) -> None:
    """Nothing that belongs to the parent is used: no connection, no thread, no SIGTERM.

    Process managers signal whole groups; the parent alone decides, by the drain flag, and the
    child finishes the calls it has in flight.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    gc.freeze()  # the modules stay: the collector need not look at them again and again
    engine.reset(single=True)
    doorbell.reset()
    answerbell.reset()
    runtime.reset()
    reminders_runtime.reset()
    notify_runtime.reset()


@worker_shutting_down.connect
def _drain(**_kwargs: Any) -> None:
    drain_flag.set()


@beat_init.connect
def _stop_beat(sender: Any, **_kwargs: Any) -> None:
    stop_at_signals(sender)


@worker_ready.connect
@beat_init.connect
def _tell_ready(**_kwargs: Any) -> None:
    """Make the file that a supervisor named, so that it knows when the queues are consumed."""
    if path := os.environ.get("VERIFIER_READY_FILE"):
        Path(path).touch(mode=0o600)


@task_prerun.connect
def _fresh_context(task_id: str, task: Any, **_kwargs: Any) -> None:
    """Children are reused: a log line must not carry the ids of the task before."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(task=task.name, task_id=task_id)
