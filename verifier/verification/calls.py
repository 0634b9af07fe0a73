"""The calling threads of a process. They only decrypt and call: no thread touches the database."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping

import structlog

from verifier.carriers import wire
from verifier.carriers.base import Answer, Number, Person, Provider
from verifier.identity.keyring import DecryptionError, KeyRing, UnknownKeyError
from verifier.outcomes import Billed, Outcome
from verifier.transport import Deadline
from verifier.verification.jobs import Called, Job, NotCalled, Sealed

_log = structlog.get_logger(__name__)

_Work = tuple[Job, Callable[[Job], Answer | NotCalled], "queue.SimpleQueue[Called]"]


def open_person(keyring: KeyRing, sealed: Sealed, raw_name: bool) -> Person:
    """Decrypt the three elements, the name as typed if ``raw_name``. Raises DecryptionError."""
    who = (sealed.platform, sealed.reference)
    return Person(
        phone=_open_phone(keyring, sealed),
        name=(
            keyring.decrypt("users", "name_raw", *who, sealed.name_raw)
            if raw_name and sealed.name_raw is not None
            else keyring.decrypt("users", "name", *who, sealed.name)
        ),
        id_number=keyring.decrypt("users", "id_number", *who, sealed.id_number),
    )


def _open_phone(keyring: KeyRing, sealed: Sealed) -> str:
    return keyring.decrypt("users", "phone", sealed.platform, sealed.reference, sealed.phone)


def call(
    job: Job, keyring: KeyRing, providers: Mapping[str, Provider], timeout: float
) -> Answer | NotCalled:
    """Make the call of a job, unless its lease could end before the call's deadline.

    The deadline never passes the lease, and the transport checks the deadline before each write:
    a process that was paused in between cannot send what another worker may be sending now.
    """
    deadline = Deadline.after(timeout)
    if deadline.at > job.lease_at:
        return NotCalled.GIVEN_BACK
    provider, reference = providers[job.provider], str(job.attempt_id)
    try:
        if job.check is None:
            person = open_person(keyring, job.sealed, job.raw_name)
        else:
            number = Number(_open_phone(keyring, job.sealed), job.since)
    except (DecryptionError, UnknownKeyError):
        _log.error("stored data cannot be decrypted", verification=job.verification_id)
        return NotCalled.UNREADABLE
    if job.check is None:
        return provider.verify(person, reference, deadline)
    return wire.as_check(provider.check(job.check, number, reference, deadline))


#: The answer of a call that ended in a fault of our own program: it may have been sent.
_BUG = Answer(Outcome.PROVIDER_ERROR, "BUG", Billed.MAYBE)


class CallPool:
    """``threads`` daemon threads. A fault of our own costs its call, never the thread."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._work: queue.SimpleQueue[_Work] = queue.SimpleQueue()
        self._running: list[threading.Thread] = []
        self._give_back = threading.Event()

    def ensure_running(self) -> None:
        """Start the threads that are not there."""
        self._running = [thread for thread in self._running if thread.is_alive()]
        for number in range(self.threads - len(self._running)):
            thread = threading.Thread(target=self._run, name=f"call-{number}", daemon=True)
            thread.start()
            self._running.append(thread)

    def submit(
        self,
        job: Job,
        make: Callable[[Job], Answer | NotCalled],
        results: queue.SimpleQueue[Called],
    ) -> None:
        """Queue a job; its :class:`Called` arrives in ``results``."""
        self._work.put((job, make, results))

    def give_back(self, yes: bool) -> None:
        """While set, queued jobs come back uncalled; calls in flight finish."""
        if yes:
            self._give_back.set()
        else:
            self._give_back.clear()

    def _run(self) -> None:
        while True:
            job, make, results = self._work.get()
            pause = job.call_at - time.monotonic()
            if (pause > 0 and self._give_back.wait(pause)) or self._give_back.is_set():
                results.put(Called(job, NotCalled.GIVEN_BACK))
                continue
            begun = time.monotonic()
            answer: Answer | NotCalled = _BUG
            try:
                answer = make(job)
            except Exception as error:  # the thread stays: without threads a drain would wait on
                _log.error("a call ended in a fault of our own", kind=type(error).__name__)
            finally:
                results.put(Called(job, answer, int((time.monotonic() - begun) * 1000)))
