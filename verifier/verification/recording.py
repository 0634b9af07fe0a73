"""Record: decide about what came back and write it, fenced, in one transaction per flush."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from verifier.carriers.base import Answer
from verifier.clock import business_date
from verifier.errors import StoreUnavailableError
from verifier.outcomes import AFTER_PROMPT, Check, Fact, Lane, Outcome
from verifier.resilience import breaker as breakers
from verifier.store import claims, clock, planning, providers, records
from verifier.store.engine import transaction
from verifier.verification.decide import Settle, Verdict, decide
from verifier.verification.jobs import Called, Job, NotCalled, Uncalled
from verifier.verification.past import Past, extend
from verifier.verification.runtime import Runtime
from verifier.verification.standing import Standing, breaker_of


@dataclass(slots=True)
class Counts:
    """What a drain or one verification did. Every task returns these."""

    called: int = 0
    settled: int = 0
    returned: int = 0
    released: int = 0
    lost: int = 0

    def add(self, recorded: records.Recorded) -> None:
        self.settled += sum(recorded.settled.values())
        self.returned += recorded.returned + recorded.data_changed
        self.lost += recorded.lost


_log = structlog.get_logger(__name__)

#: A flush that meets a deadlock or a broken connection is repeated so often: its writes are fenced.
_FLUSH_TRIES: Final = 6
#: Seconds between the tries, together about eight: a restart of PostgreSQL is outlived, since an
#: answer that cannot be recorded is a call that is made, and may be paid for, again.
_LONGEST_PAUSE: Final = 3.0


def flush(
    runtime: Runtime,
    token: int,
    done: Sequence[Called | Uncalled],
    now_standing: Standing | None,
    counts: Counts,
) -> Counts:
    """Write everything in ``done`` in one transaction; returns ``counts`` with it added.

    Repeated on a deadlock or a lost connection, also when a commit's answer was lost: an answer
    that was paid for must not be dropped for a hiccup. Raises OperationalError after a few tries.
    """
    for attempt in range(1, _FLUSH_TRIES + 1):
        added = replace(counts)
        try:
            with transaction() as connection:
                _write(connection, runtime, token, done, now_standing, added)
        except (OperationalError, StoreUnavailableError):
            if attempt == _FLUSH_TRIES:
                raise
            time.sleep(min(0.1 * 4 ** (attempt - 1), _LONGEST_PAUSE))
        else:
            return added
    return counts


def _write(
    connection: Connection,
    runtime: Runtime,
    token: int,
    done: Sequence[Called | Uncalled],
    now_standing: Standing | None,
    counts: Counts,
) -> None:
    now = clock.now(connection)
    if len(done) > 1:
        planning.by_key(connection)
    zone = runtime.config.zone
    of_lane = now_standing.providers if now_standing else frozenset()
    reached = frozenset(lane for lane in Lane if runtime.names_for(lane))
    written = records.Flush(token)
    answers: dict[str, list[Called]] = {}
    refused: Counter[tuple[str, Check]] = Counter()
    for item in done:
        if isinstance(item, Uncalled):
            verdict = item.settle or decide(
                item.past,
                of_lane,
                now,
                zone,
                item.has_raw_name,
                item.possible,
                item.lane,
                reached,
            )
            looked_up = item.past[-1].carrier if item.past else None
            _add(written, item, None, item.past, verdict, looked_up)
            continue
        job, answer = item.job, item.answer
        if isinstance(answer, NotCalled):
            continue
        carrier = answer.carrier if answer.fact is Fact.CARRIER else None
        if answer.refuses_us and job.check is not None:
            refused[job.provider, job.check] += 1
        answers.setdefault(job.breaker, []).append(item)
        written.attempts.append(
            records.CompletedAttempt(
                id=job.attempt_id,
                started_at=job.started,
                verification_id=job.verification_id,
                provider=job.provider,
                outcome=answer.outcome,
                detail=answer.detail,
                billed=answer.billed,
                code=answer.code,
                request_id=answer.request_id,
                http_status=answer.http_status,
                milliseconds=item.milliseconds,
                fact=answer.fact,
                carrier=carrier,
            )
        )
        past = extend(
            job.past,
            Past(
                job.data_version,
                job.provider,
                answer.outcome,
                answer.detail,
                answer.billed,
                business_date(job.started, zone),
                raw=job.raw_name,
                check=job.check,
                fact=answer.fact,
                carrier=carrier,
                named=answer.carrier if job.check is None else None,
            ),
        )
        answered = {p.provider for p in past if p.is_verdict}
        has_raw_name = job.sealed.name_raw is not None
        verdict = decide(
            past,
            of_lane - answered,
            now,
            zone,
            has_raw_name,
            job.possible,
            job.lane,
            reached,
        )
        _add(written, job, job.attempt_id, past, verdict, carrier)
    counts.called += len(written.attempts)
    for (provider, check), number in refused.items():
        # Nobody waits for it, so nothing else would tell the operator.
        _log.warning("a check's parameters are refused", provider=provider, check=check, n=number)
    _step_breakers(connection, answers, now_standing)
    for why in NotCalled:
        unmade = [i.job for i in done if isinstance(i, Called) and i.answer is why]
        if unmade:
            _give_back_probes(connection, unmade)
            released = claims.release(
                connection,
                token,
                [job.verification_id for job in unmade],
                [job.attempt_id for job in unmade],
                zone=str(zone),
                quarantine=why is NotCalled.UNREADABLE,
            )
            counts.released += released.rows
            written.unasked += released.unasked
    counts.add(records.record(connection, written, str(zone)))


def _give_back_probes(connection: Connection, unmade: Sequence[Job]) -> None:
    for name in sorted({job.breaker for job in unmade if job.probe}):
        providers.give_back_probe(connection, name)


def _add(
    written: records.Flush,
    item: Job | Uncalled,
    attempt_id: int | None,
    past: tuple[Past, ...],
    verdict: Verdict,
    carrier: Lane | None = None,
) -> None:
    if isinstance(verdict, Settle):
        written.settled.append(
            records.Settled(
                verification_id=item.verification_id,
                user_id=item.user_id,
                data_version=item.data_version,
                outcome=verdict.outcome,
                detail=verdict.detail,
                provider=verdict.provider,
                attempts=item.attempts,
                attempt_id=attempt_id,
            )
        )
    else:
        written.returned.append(
            records.Returned(
                verification_id=item.verification_id,
                user_id=item.user_id,
                due_at=verdict.due_at,
                reason=verdict.reason,
                history=tuple(p.to_row() for p in past),
                attempt_id=attempt_id,
                data_version=item.data_version,
                carrier=carrier,
            )
        )


def _step_breakers(
    connection: Connection, answers: dict[str, list[Called]], now_standing: Standing | None
) -> None:
    """Move the breakers (by row) that failed, or that were not at rest when last read."""
    for name, calls in sorted(answers.items()):
        outcomes: Counter[Outcome] = Counter()
        retry_after = None
        for item in calls:
            if isinstance(item.answer, NotCalled):
                continue
            outcomes[_moves_as(item.answer, item.job.check)] += 1
            retry_after = max(item.answer.retry_after or 0.0, retry_after or 0.0) or None
        last = now_standing.breakers.get(name) if now_standing else None
        at_rest = last == breakers.Breaker()
        if not outcomes or (at_rest and all(outcome.is_answer for outcome in outcomes)):
            continue
        row = providers.lock(connection, name)
        before = breaker_of(row)
        after = breakers.step(before, outcomes, row.now, retry_after)
        if after.state != before.state:
            _log.warning(
                "provider moved",
                provider=name,
                state=after.state,
                reason=after.reason,
                until=after.not_before.isoformat() if after.not_before else None,
            )
        if after != before or row.probe_until is not None:
            providers.save_breaker(
                connection,
                name,
                state=after.state,
                failures=after.failures,
                openings=after.openings,
                not_before=after.not_before,
                reason=after.reason,
            )


def _moves_as(answer: Answer, check: Check | None) -> Outcome:
    """What the answer is to the provider's breaker."""
    if answer.is_about_the_person:
        return Outcome.CHECKED  # the vendor works
    if answer.outcome is Outcome.TIMEOUT and answer.detail == AFTER_PROMPT:
        return Outcome.MAINTENANCE
    if answer.refuses_us and check is None:
        return Outcome.PROVIDER_ERROR  # who refuses our parameters, and nothing else, is no use
    return answer.outcome
