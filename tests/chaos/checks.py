"""What must hold after a batch, whatever was struck at it. The sandbox's log is the judge.

How often a person may be called follows from the policy (:mod:`verifier.resilience.retry`): two
calls a business day that were billed or may have been, and besides one unbilled answer from each
provider of the lane. How many people may be called *more* than once because of a fault follows from
the engine's configuration, see :func:`in_flight_bound`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.chaos.faults import Strike
from tests.chaos.stage import WORKER_PROCESSES, Stage
from tests.processes import until
from verifier import client
from verifier.config import Config, config
from verifier.identity.phone import lane_of
from verifier.outcomes import Lane, Meaning, Outcome
from verifier.sandbox.keys import subject_key
from verifier.sandbox.people import SandboxPerson

#: Calls a person and business day that were billed, or whose billing is unknown.
BILLED_A_DAY: Final = 2

_MOST_NAMED: Final = 5


@dataclass(slots=True)
class Judgement:
    """``lost``: users without a verdict; ``wrong``: with another than the true one;
    ``called_twice``: called more often than without a fault; ``overbilled``: billed more often in a
    business day than policy allows. ``broken``: every promise that does not hold, in words."""

    lost: int = 0
    wrong: int = 0
    called_twice: int = 0
    called_twice_bound: int = 0
    overbilled: int = 0
    broken: list[str] = field(default_factory=list)


def judge(
    stage: Stage,
    batch: int,
    people: Sequence[SandboxPerson],
    strikes: Sequence[Strike],
    days: Sequence[float],
) -> Judgement:
    """Check everything. ``days``: wall-clock times at which a new business day was begun."""
    found = Judgement(broken=[why for strike in strikes for why in strike.broken])
    _verdicts(stage, batch, people, found)
    _calls(stage, people, strikes, days, found)
    _leftovers(stage, batch, people, found)
    return found


def _verdicts(stage: Stage, batch: int, people: Sequence[SandboxPerson], found: Judgement) -> None:
    rows = stage.rows(
        """
        SELECT u.platform, u.reference, u.status, u.outcome, u.detail,
               v.outcome AS verdict, v.detail AS verdict_detail,
               (SELECT count(*) FROM verifier.verifications w WHERE w.user_id = u.id) AS verdicts
          FROM verifier.batch_items i JOIN verifier.users u ON u.id = i.user_id
          LEFT JOIN verifier.verifications v ON v.id = i.verification_id
         WHERE i.batch_id = %s
        """,
        batch,
    )
    by_key = {(row.platform, row.reference): row for row in rows}
    doubled = []
    wrong = []
    for person in people:
        row = by_key.get((person.platform, person.reference))
        if row is None or row.verdict is None:
            found.lost += 1
            continue
        truth = person.expected.outcome, _detail(person.expected)
        status = "verified" if person.expected.outcome is Outcome.MATCHED else "failed"
        if (row.verdict, row.verdict_detail) != truth or (
            (row.status, row.outcome, row.detail) != (status, *truth)
        ):
            wrong.append(f"{person.reference} {row.verdict} instead of {truth[0]}")
        if row.verdicts != 1:
            doubled.append(person.reference)
    found.wrong = len(wrong)
    if found.lost:
        found.broken.append(f"{found.lost} users without a verdict: {_why_waiting(stage)}")
    if wrong:
        found.broken.append(f"{found.wrong} users with a wrong verdict: {_some(wrong)}")
    if doubled:
        found.broken.append(f"{len(doubled)} users without exactly one verdict: {_some(doubled)}")


def _detail(meaning: Meaning) -> str | None:
    """As the product stores it: a mismatch always has a detail, if only that none was told."""
    if meaning.outcome is Outcome.MISMATCHED and meaning.detail is None:
        return "UNSPECIFIED"
    return meaning.detail


def _why_waiting(stage: Stage) -> str:
    rows = stage.rows(
        """
        SELECT state, reason, count(*) AS number FROM verifier.open_verifications
         GROUP BY state, reason ORDER BY number DESC
        """
    )
    return ", ".join(f"{row.number} {row.state} ({row.reason})" for row in rows) or "no open row"


def _calls(
    stage: Stage,
    people: Sequence[SandboxPerson],
    strikes: Sequence[Strike],
    days: Sequence[float],
    found: Judgement,
) -> None:
    log = stage.sandbox.client.call_log(limit=20 * len(people) + 1000)
    calls = Counter(call["phone"] for call in log)
    by_day: dict[str, Counter[int]] = defaultdict(Counter)
    billed: Counter[tuple[str, int]] = Counter()
    for call in log:
        day = sum(call["at"] >= begun for begun in days)
        by_day[call["phone"]][day] += 1
        billed[call["person"], day] += call["billed"]
    too_often = []
    for person in people:
        key = subject_key(person.phone)
        if calls[key] > fault_free_calls(person):
            found.called_twice += 1
        most = max(by_day[key].values(), default=0)
        if most > policy_calls(person):
            too_often.append(f"{person.reference} {most} times")
    if too_often:
        found.broken.append(f"called more often than policy allows: {_some(too_often)}")
    found.overbilled = sum(number > BILLED_A_DAY for number in billed.values())
    if found.overbilled:
        found.broken.append(
            f"{found.overbilled} people were billed more than {BILLED_A_DAY} times in a day"
        )
    found.called_twice_bound = sum(
        in_flight_bound(config(), strike.processes, fastest_second(log)) for strike in strikes
    )
    if found.called_twice > found.called_twice_bound:
        found.broken.append(
            f"{found.called_twice} people were called again, more than the "
            f"{found.called_twice_bound} that were in flight"
        )
    strangers = calls.keys() - {subject_key(person.phone) for person in people}
    if strangers:
        found.broken.append(f"{len(strangers)} phones were called that nobody submitted")


def fault_free_calls(person: SandboxPerson) -> int:
    """Calls about this person when nothing fails: a number unknown to one provider is tried at one
    more, and one that no provider covers is not called."""
    if lane_of(person.phone) in (Lane.CBN, Lane.MVNO):
        return 0
    return 2 if person.expected.outcome is Outcome.NO_RECORD else 1


def policy_calls(person: SandboxPerson) -> int:
    """The most calls about this person in one business day."""
    if fault_free_calls(person) == 0:
        return 0
    ported = person.entry is not None and person.entry.carrier != lane_of(person.phone)
    unbilled = person.expected.outcome not in (Outcome.MATCHED, Outcome.MISMATCHED)
    providers_without_bill = 2 if unbilled else 1 if ported else 0
    return BILLED_A_DAY + providers_without_bill


def in_flight_bound(current: Config, processes: int, fastest: int) -> int:
    """How many calls ``processes`` workers that lose everything may have to repeat.

    A process claims at most ``chunk`` rows, and no more than twice its threads or what it calls in
    a second. ``fastest``: the calls of the fastest second, of all processes together.
    """
    engine = current.engine
    share = processes / WORKER_PROCESSES
    return min(processes * engine.chunk, round(fastest * share) + processes * 2 * engine.threads)


def fastest_second(log: Iterable[dict[str, Any]]) -> int:
    """The most calls that began within one second."""
    instants = sorted(call["at"] for call in log)
    most = first = 0
    for last, instant in enumerate(instants):
        while instant - instants[first] >= 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


def _leftovers(stage: Stage, batch: int, people: Sequence[SandboxPerson], found: Judgement) -> None:
    engine = config().engine
    longest = max(row.timeout for row in config().providers.values())
    try:  # a drain that was killed holds its slot until then
        until(
            lambda: not _count(stage, "lane_slots", "state = 'held' AND expires_at > now()"),
            engine.drain_seconds + longest + 6.0,
            "the slots of killed drains to be free",
        )
    except AssertionError as error:
        found.broken.append(str(error))
    for what, table, condition in (
        ("open verifications", "open_verifications", "true"),
        ("attempts that never ended", "attempts", "state = 'started'"),
    ):
        number = _count(stage, table, condition)
        if number:
            found.broken.append(f"{number} {what}")
    overspent = stage.rows(
        "SELECT person FROM verifier.billed_slots GROUP BY person, day HAVING count(*) > %s",
        BILLED_A_DAY,
    )
    if overspent:
        found.broken.append(f"{len(overspent)} people hold more than {BILLED_A_DAY} billed slots")
    state = client.get_batch(batch)
    truth = Counter(str(person.expected.outcome) for person in people)
    if not (state.done and state.total == state.settled == len(people)):
        found.broken.append(
            f"the batch says {state.state}, {state.settled} of {state.total} settled"
        )
    if state.outcomes != truth:
        found.broken.append(f"the batch counts {state.outcomes}, the truth is {dict(truth)}")


def _count(stage: Stage, table: str, condition: str) -> int:
    sql = f"SELECT count(*) AS number FROM verifier.{table} WHERE {condition}"  # noqa: S608
    return int(stage.one(sql).number)


def _some(texts: Sequence[str]) -> str:
    more = len(texts) - _MOST_NAMED
    return ", ".join(texts[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
