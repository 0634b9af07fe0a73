"""The process supervisor: start children, show what they say, restart the crashed, stop in order.

One thread does all of it, because a child ends with the thread that started it (see
:mod:`.process`): that thread lives until the last child is gone. The caller's thread only waits and
asks. Children are stopped by rising ``stage``, everything of a stage at once, and the next stage
begins when the last of the one before has ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from verifier.errors import VerifierError
from verifier.local.logstream import LogStream
from verifier.local.process import describe_status

_TICK_SECONDS = 0.05
FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
#: A child that ran so long before it crashed is restarted at once, not as one that cannot start.
SETTLED_SECONDS = 20.0


class Managed(Protocol):
    """What the supervisor can look after: a process of ours, or an embedded server."""

    stage: int

    @property
    def name(self) -> str:
        """As it stands before each line it says."""
        ...

    def launch(self) -> None:
        """Start it. Called again, from the same thread, after it ended by itself."""
        ...

    def poll(self) -> int | None:
        """Its exit status once it has ended, None while it runs."""
        ...

    def ready(self) -> bool:
        """Whether it can do its work."""
        ...

    def ask_to_stop(self) -> None:
        """Let it finish what it has in hand and end. Returns at once."""
        ...

    def kill(self) -> None:
        """End it now, with everything it started."""
        ...

    def output(self) -> int | None:
        """A file descriptor to read what it says from, None when that goes to a file."""
        ...

    @property
    def patience(self) -> float:
        """Seconds it may take to stop before it is killed."""
        ...


@dataclass(slots=True)
class _Watch:
    """One child's history."""

    child: Managed
    started_at: float = 0.0
    retry_at: float | None = None  # set while it is down
    crashes: int = 0  # in a row

    def delay(self) -> float:
        return float(min(FIRST_DELAY_SECONDS * 2 ** (self.crashes - 1), LONGEST_DELAY_SECONDS))


class Supervisor:
    """Looks after ``children`` from :meth:`start` until :meth:`stop` has returned."""

    def __init__(self, children: Sequence[Managed], stream: LogStream) -> None:
        self._watches = [_Watch(child) for child in children]
        self._stream = stream
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._hasten = threading.Event()
        self._launched = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name="supervisor", daemon=True)

    def start(self) -> None:
        """Launch every child, in the order given. Raises what the first failed launch raised."""
        self._thread.start()
        self._launched.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def is_ready(self) -> bool:
        """Whether every child can work."""
        return all(watch.child.ready() for watch in self._watches)

    def wait_ready(self, seconds: float) -> None:
        """Wait until every child can work. Raises VerifierError naming those that cannot."""
        deadline = time.monotonic() + seconds
        while waiting := [w.child.name for w in self._watches if not w.child.ready()]:
            broken = [w.child.name for w in self._watches if w.crashes >= 3]
            if broken or time.monotonic() > deadline or not self._thread.is_alive():
                names = ", ".join(broken or waiting)
                raise VerifierError(
                    f"Not ready: {names}.",
                    fix="Their own words are above, or under $VERIFIER_HOME/log.",
                )
            self._stopping.wait(_TICK_SECONDS)

    def stop(self) -> None:
        """Stop every child in order and wait until all are gone. May be called again."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()

    def ask_to_stop(self) -> None:
        """Begin to stop, without waiting."""
        self._stopping.set()
        self._wake.set()

    def hasten(self) -> None:
        """Do not wait any longer for work in hand."""
        self._hasten.set()
        self._wake.set()

    def wait_stopped(self, seconds: float) -> bool:
        """Whether every child is gone, after waiting at most ``seconds``."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _main(self) -> None:
        try:
            for watch in self._watches:
                self._launch(watch)
        except BaseException as error:  # handed to the caller of start()
            self._failure = error
        finally:
            self._launched.set()
        if self._failure is None:
            while not self._stopping.is_set():
                self._tend()
                self._wake.wait(_TICK_SECONDS)
                self._wake.clear()
        self._wind_down()
        self._stream.close()

    def _launch(self, watch: _Watch) -> None:
        watch.child.launch()
        watch.started_at = time.monotonic()
        watch.retry_at = None
        descriptor = watch.child.output()
        if descriptor is not None:
            self._stream.follow(watch.child.name, descriptor)

    def _tend(self) -> None:
        """Note who ended, restart whose time has come, pass on what they say."""
        now = time.monotonic()
        for watch in self._watches:
            if watch.retry_at is not None:
                if now >= watch.retry_at:
                    self._try_again(watch)
            elif (status := watch.child.poll()) is not None:
                if now - watch.started_at >= SETTLED_SECONDS:
                    watch.crashes = 0
                self._note_crash(watch, describe_status(status))
        self._stream.pump()

    def _try_again(self, watch: _Watch) -> None:
        try:
            self._launch(watch)
        except (VerifierError, OSError) as error:
            self._note_crash(watch, f"could not be restarted: {error}")

    def _note_crash(self, watch: _Watch, what: str) -> None:
        watch.crashes += 1
        watch.retry_at = time.monotonic() + watch.delay()
        self._stream.say(watch.child.name, f"{what}; starting again in {watch.delay():.1f} s")

    def _wind_down(self) -> None:
        for stage in sorted({watch.child.stage for watch in self._watches}):
            running = [
                w.child
                for w in self._watches
                if w.child.stage == stage and w.started_at and w.child.poll() is None
            ]
            began = time.monotonic()
            for child in running:
                child.ask_to_stop()
            while running := [child for child in running if child.poll() is None]:
                waited = time.monotonic() - began
                for child in running:
                    if waited > child.patience or (self._hasten.is_set() and stage == 0):
                        child.kill()
                self._stream.pump()
                self._wake.wait(_TICK_SECONDS)
                self._wake.clear()
        self._stream.pump()
