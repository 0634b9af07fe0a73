"""The demo: a night and a morning of real work on a local stack, compared with the truth.

Everything is real but the people and the far side: PostgreSQL, Valkey, workers, beat, HTTP. Only
the business clock is moved, so that nobody has to wait for the night.
"""

from __future__ import annotations

import csv
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from verifier import client, guidance
from verifier.audit import findings, nightly
from verifier.clock import at_local, business_date
from verifier.config import config
from verifier.errors import UsageError, VerifierError
from verifier.identity.keyring import KeyRing
from verifier.local.sandbox_config import sandbox_state, sandbox_url
from verifier.local.stack import LocalStack
from verifier.outcomes import Lane
from verifier.sandbox.client import SandboxClient
from verifier.sandbox.people import generate, write
from verifier.settings import settings
from verifier.store import clock, costs, demo, jobs, reminders, users
from verifier.store.engine import engine, transaction

#: The seed of the demo's people; their references begin with it.
_SEED: Final = 2026
_PREFIX: Final = f"u{_SEED}-"
#: The provider that closes for maintenance in the middle of the batch.
_CLOSED: Final = "tencent"
_NIGHT: Final = time_of_day(2, 0)
_MORNING: Final = time_of_day(9, 5)

#: No step takes longer on a machine that works; then it says what it waited for.
_PATIENCE: Final = 240.0


@dataclass(frozen=True, slots=True)
class _Truth:
    """What must come out, per (platform, reference)."""

    outcomes: dict[tuple[str, str], tuple[str, str]]


def run(people: int = 3000) -> int:
    """Run the demo with so many ``people``; returns the exit code (0: every verdict is right)."""
    if os.environ.get("VERIFIER_DATABASE_URL") or os.environ.get("VERIFIER_BROKER_URL"):
        raise UsageError(
            "The demo starts servers of its own and empties its database.",
            fix="Unset VERIFIER_DATABASE_URL and VERIFIER_BROKER_URL.",
        )
    if os.environ.get("VERIFIER_CONFIG"):
        raise UsageError("The demo talks to the sandbox only.", fix="Unset VERIFIER_CONFIG for it.")
    console = Console(highlight=False, soft_wrap=True)
    home = settings().home
    begun = time.monotonic()
    console.print(f"[bold]verifier demo[/bold]: {people:,} people, state in {home}")
    console.print("starting PostgreSQL, Valkey, the sandbox, workers and beat …")
    with LocalStack(home, logs_to_files=True) as stack:
        stack.wait_ready()
        endpoints = stack.endpoints
        console.print(f"  ready after {time.monotonic() - begun:.1f} s; logs in {home / 'log'}")
        sandbox = SandboxClient(endpoints.sandbox_url or sandbox_url(0))
        try:
            right = _Demo(console, home, sandbox, people).play()
        finally:
            engine().dispose()
        console.print("stopping …")
    console.print(
        f"Done in {time.monotonic() - begun:.0f} s; nothing is left running. "
        f"[bold]verifier dev up[/bold] opens this state again."
    )
    return 0 if right else 1


class _Demo:
    """The acts, in order."""

    def __init__(self, console: Console, home: Path, sandbox: SandboxClient, count: int) -> None:
        self._console = console
        self._files = sandbox_state(home)
        self._sandbox = sandbox
        self._count = count

    def play(self) -> bool:
        self._start_afresh()
        truth = self._make_people()
        self._import()
        self._verify(truth)
        night = self._fall_night()
        right = self._compare(truth)
        self._reach_morning(night)
        return self._summarise() and right

    def _start_afresh(self) -> None:
        with transaction() as connection:
            foreign = demo.foreign_users(connection, _PREFIX)
            if foreign:
                raise UsageError(
                    f"This state holds {foreign:,} users that no demo made; they are left alone.",
                    fix="Set VERIFIER_HOME to another directory for the demo.",
                )
            demo.wipe(connection)
        self._sandbox.reset()
        # Last night is behind us: otherwise the beat would audit it in the middle of the import.
        self._until(self._nothing_to_audit, "the audit of last night")

    @staticmethod
    def _nothing_to_audit() -> bool:
        nightly.tick()
        with transaction() as connection:
            now = clock.now(connection)
        return not nightly.due(now)

    def _make_people(self) -> _Truth:
        reach = frozenset(lane for lane in Lane if config().providers_of(lane))
        write(self._files, generate(self._count, _SEED, reach))
        self._sandbox.reload()
        with (self._files / "expected.csv").open(encoding="utf-8", newline="") as file:
            return _Truth(
                {
                    (row["platform"], row["reference"]): (row["outcome"], row["detail"])
                    for row in csv.DictReader(file)
                }
            )

    def _ways(self) -> None:
        """Who reaches each lane: the first is asked first."""
        current = config()
        for lane in Lane:
            names = current.providers_of(lane)
            vendors = {current.providers[name].vendor for name in names}
            self._console.print(
                f"  {lane:<5} {' → '.join(names)}  ({len(vendors)} independent vendors)"
            )

    def _import(self) -> None:
        path = self._files / "users.csv"
        self._title(f"1. Import {path.name} (names, phones and ID numbers are encrypted)")
        with (
            path.open(encoding="utf-8", newline="") as file,
            self._progress("imported", self._count) as advance,
        ):
            result = client.put_users(_counting(csv.DictReader(file), advance))
        self._console.print(
            f"  {result.inserted:,} new, {result.unchanged:,} unchanged, "
            f"{result.rejected_count:,} rejected"
        )
        self._show_one_masked()

    def _show_one_masked(self) -> None:
        """What an operator sees of a person."""
        from verifier.identity import mask

        ring = KeyRing.load(settings().keyring_path)
        with transaction() as connection:
            row = users.listing(connection, limit=1)[0]
        who = (row.platform, row.reference)
        self._console.print(
            f"  for instance {row.reference}: "
            + ", ".join(
                [
                    mask.mask_name(ring.decrypt("users", "name", *who, row.name)),
                    mask.mask_phone(ring.decrypt("users", "phone", *who, row.phone)),
                    mask.mask_id_number(ring.decrypt("users", "id_number", *who, row.id_number)),
                ]
            )
        )

    def _verify(self, truth: _Truth) -> None:
        """All but a few: those signed up after the batch was made, and the night will find them."""
        self._title("2. Verify them through the task queue, over HTTP")
        self._ways()
        begun = time.monotonic()
        wanted = list(truth.outcomes)
        late = max(1, len(wanted) // 50)
        submitted = client.submit(wanted[:-late], caller="demo", key=f"demo-{time.time_ns()}")
        self._console.print(f"  ({late:,} signed up too late for this batch)")
        closed: int | None = None
        try:
            with self._progress("verified", submitted.total) as advance:
                seen = 0
                end = time.monotonic() + _PATIENCE
                while True:
                    state = client.get_batch(submitted.batch)
                    advance(state.settled - seen)
                    seen = state.settled
                    if closed is None and seen >= submitted.total // 3:
                        closed = self._sandbox.fault(_CLOSED, "maintenance")
                    if state.done or state.settled >= state.total:
                        break
                    if time.monotonic() > end:
                        raise VerifierError(
                            f"Batch {state.batch} is not done; it waits for {state.waiting}.",
                            fix="Look into the log directory named above.",
                        )
                    time.sleep(0.1)
        finally:
            if closed is not None:
                self._sandbox.lift(closed)
        state = client.wait(submitted.batch, timeout=30)
        seconds = time.monotonic() - begun
        self._console.print(
            f"  batch {state.batch}: {state.total:,} verified in {seconds:.1f} s "
            f"({state.total / seconds:,.0f} a second)"
        )
        self._outcome_table(state.outcomes)
        self._provider_table(closed is not None)

    def _provider_table(self, closed: bool) -> None:
        """Who was asked, and what it costs. ``closed``: the first provider, on the way."""
        with transaction() as connection:
            rows = costs.by_provider(connection, datetime.fromtimestamp(0, UTC), None)
        table = Table(box=None, pad_edge=False, header_style="dim")
        for column in ("  provider", "purpose", "calls", "billed", "cost"):
            table.add_column(
                column, justify="left" if column in ("  provider", "purpose") else "right"
            )
        for row in rows:
            cost = f"{row.cost:,.2f} {row.currency}" if row.currency else "–"
            table.add_row(
                f"  {row.provider}", row.purpose, f"{row.calls:,}", f"{row.billed:,}", cost
            )
        if closed:
            self._console.print(
                f"  a third of the way {_CLOSED} went into maintenance: the others went on"
            )
        self._console.print(table)

    def _outcome_table(self, outcomes: dict[str, int]) -> None:
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("  outcome")
        table.add_column("people", justify="right")
        for outcome, number in sorted(outcomes.items(), key=lambda item: -item[1]):
            table.add_row(f"  {outcome}", f"{number:,}")
        self._console.print(table)

    def _compare(self, truth: _Truth) -> bool:
        """Every verdict against what the sandbox knows."""
        wrong: Counter[str] = Counter()
        compared = 0
        with transaction() as connection:
            for row in users.stream_references(connection):
                compared += 1
                expected = truth.outcomes.get((row.platform, row.reference))
                found = (row.outcome, row.detail or "")
                if expected != found:
                    wrong[f"expected {expected}, got {found}"] += 1
        stats = self._sandbox.stats()
        right = not wrong and compared == len(truth.outcomes)
        self._verdict(
            right,
            f"{compared - wrong.total():,} of {len(truth.outcomes):,} verdicts equal the truth",
        )
        for text, number in wrong.most_common(5):
            self._console.print(f"    {number} × {text}")
        billed = stats["most_billed_per_person"]
        often = {0: "nobody was billed", 1: "nobody was billed twice"}
        self._verdict(billed <= 2, often.get(billed, f"somebody was billed {billed} times"))
        return right and billed <= 2

    def _fall_night(self) -> str:
        """Move the business clock past two o'clock and wait for the audit that the beat starts."""
        with transaction() as connection:
            now = clock.now(connection)
            day = business_date(now, config().zone) + timedelta(days=1)
            clock.move_to(connection, at_local(day, _NIGHT, config().zone) + timedelta(minutes=1))
        self._title(f"3. Night falls: {day} {_NIGHT:%H:%M}. The beat starts the audit")
        night = day.isoformat()
        audit = self._until(lambda: self._audit_of(night), "the nightly audit")
        found = findings.summary(night, audit.counts)
        self._console.print(
            f"  found {found['unverified']:,} unverified and {found['failed']:,} failed among "
            f"{found['users']:,}; queued {found['requeued']:,} again (batch {found['batch']}) and "
            f"planned {found['reminders']:,} reminders"
        )
        if found["batch"]:
            client.wait(int(found["batch"]), timeout=_PATIENCE)
        return night

    @staticmethod
    def _audit_of(night: str) -> Any:
        with transaction() as connection:
            row = jobs.get(connection, "audit", night)
        return row if row is not None and row.state == "done" else None

    def _reach_morning(self, night: str) -> None:
        """Move the clock to the morning; what is due is sent by the workers."""
        day = datetime.fromisoformat(night).date()
        with transaction() as connection:
            clock.move_to(connection, at_local(day, _MORNING, config().zone))
        self._title(f"4. Morning: {day} {_MORNING:%H:%M}. Push and SMS go out")
        planned = self._reminder_states(day)
        with self._progress("sent", max(1, planned.total())) as advance:
            seen = 0

            def all_sent() -> bool:
                nonlocal seen
                with transaction() as connection:
                    left = demo.reminders_due_or_sending(connection)
                states = self._reminder_states(day)
                ended = states.total() - states["planned"] - states["sending"]
                advance(ended - seen)
                seen = ended
                return left == 0

            self._until(all_sent, "the reminders that are due")
        states = self._reminder_states(day)
        later = states["planned"]
        self._console.print(
            "  "
            + ", ".join(f"{number:,} {state}" for state, number in states.items())
            + (f" ({later:,} wait for the morning of their own time zone)" if later else "")
        )

    @staticmethod
    def _reminder_states(day: Any) -> Counter[str]:
        with transaction() as connection:
            found: Counter[str] = Counter()
            for row in reminders.counts(connection, day):
                found[row.state] += row.number
        return found

    def _summarise(self) -> bool:
        self._title("Summary")
        with transaction() as connection:
            rows = users.counts(connection)
            sent = Counter(
                {(row.outcome, row.channel): row.number for row in demo.reminders_sent(connection)}
            )
        total = sum(row.number for row in rows)
        verified = sum(row.number for row in rows if row.status == "verified")
        self._console.print(
            f"  {verified:,} of {total:,} verified ({verified / max(total, 1):.1%}), "
            f"{sum(r.number for r in rows if r.status == 'failed'):,} failed, "
            f"{sum(r.number for r in rows if r.status == 'unverified'):,} not yet verified"
        )
        by_outcome: Counter[tuple[str, str | None]] = Counter()
        for row in rows:
            if row.status == "failed":
                by_outcome[(row.outcome, row.detail)] += row.number
        for outcome in dict.fromkeys(outcome for (outcome, _), _ in by_outcome.most_common()):
            push, sms = sent[(outcome, "push")], sent[(outcome, "sms")]
            reminded = (
                f"reminded by {push:,} push and {sms:,} SMS" if push or sms else "not reminded"
            )
            self._console.print(f"\n  [bold]{outcome}[/bold]: {reminded}")
            for (of, detail), number in by_outcome.most_common():
                if of == outcome:
                    step = guidance.for_outcome(outcome, detail, "en")
                    named = f" ({detail})" if detail else ""
                    self._console.print(f"    {number:,} people{named}: {step.next_step}")
        self._console.print()
        return self._compare_messages()

    def _compare_messages(self) -> bool:
        """What we say was sent against what the sandbox accepted."""
        accepted = self._sandbox.messages(limit=100_000)
        recipients = Counter(message["recipient"] for message in accepted)
        with transaction() as connection:
            sent = sum(row.number for row in demo.reminders_sent(connection))
        most = max(recipients.values(), default=0)
        right = len(accepted) == sent and most <= 1
        self._verdict(
            right,
            f"the gateways accepted {len(accepted):,} messages, we recorded {sent:,} as sent, "
            + ("nobody was reached twice" if most <= 1 else f"somebody was reached {most} times"),
        )
        return right

    def _until(self, found: Callable[[], Any], what: str) -> Any:
        end = time.monotonic() + _PATIENCE
        while not (answer := found()):
            if time.monotonic() > end:
                raise VerifierError(
                    f"Waited {_PATIENCE:.0f} s for {what}.",
                    fix="Look into the log directory named above.",
                )
            time.sleep(0.2)
        return answer

    def _title(self, text: str) -> None:
        self._console.print(f"\n[bold]{text}[/bold]")

    def _verdict(self, right: bool, text: str) -> None:
        self._console.print(f"  [green]✓[/green] {text}" if right else f"  [red]✗ {text}[/red]")

    @contextmanager
    def _progress(self, verb: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar on a terminal; elsewhere a line at every quarter."""
        if not self._console.is_terminal:
            yield _quarters(self._console, verb, total)
            return
        with Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
        ) as progress:
            task = progress.add_task(verb, total=total)
            yield lambda number: progress.update(task, advance=number)


def _counting(rows: Iterator[Any] | Any, advance: Callable[[int], None]) -> Iterator[Any]:
    for row in rows:
        yield row
        advance(1)


def _quarters(console: Console, verb: str, total: int) -> Callable[[int], None]:
    done = 0
    said = 0

    def advance(number: int) -> None:
        nonlocal done, said
        done += number
        quarter = done * 4 // max(total, 1)
        if quarter > said:
            said = quarter
            console.print(f"  {verb} {done:,} of {total:,}")

    return advance
