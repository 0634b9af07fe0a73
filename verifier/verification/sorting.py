"""Sorting locked rows: which are called, by whom and when; which settle uncalled; which wait.

Whose lane changed is moved; whose earlier call was answered meanwhile is decided from that; the
rest is routed, and must pass the :mod:`.gates` before it is written down as a call.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from verifier.clock import business_date
from verifier.outcomes import Check, Lane
from verifier.store import check_caps, claims, providers, records, turns
from verifier.verification.candidates import Asked, Candidate, CheckPolicy
from verifier.verification.checking import owed
from verifier.verification.decide import Settle, after_crash
from verifier.verification.gates import LOOK_AGAIN_SECONDS, Gates, Passed, price_of
from verifier.verification.jobs import Job, Sealed, Uncalled
from verifier.verification.past import Past, extend, from_rows
from verifier.verification.route import Choice, NoneAvailable, Route, route
from verifier.verification.runtime import Runtime
from verifier.verification.standing import Standing


@dataclass(slots=True)
class Claimed:
    """What a claim brought.

    ``found`` counts locked rows, also those that were only postponed. ``wait`` is how many seconds
    the rate limit asks to wait when it granted less than wanted. ``blocked`` is set when no
    provider of the lane can be asked now, or paid.
    """

    jobs: list[Job] = field(default_factory=list)
    uncalled: list[Uncalled] = field(default_factory=list)
    found: int = 0
    wait: float = 0.0
    blocked: NoneAvailable | None = None
    closed: bool = False
    standing: Standing | None = None


class Sorting:
    """Sorts the rows of one claim; what it finds is added to ``claimed``."""

    def __init__(
        self,
        connection: Connection,
        runtime: Runtime,
        lane: Lane,
        token: int,
        share: str,
        now_standing: Standing,
        claimed: Claimed,
    ) -> None:
        self._connection = connection
        self._runtime = runtime
        self._lane = lane
        self._token = token
        self._share = share
        self._standing = now_standing
        #: Breakers whose probe this claim has tried to take: one call asks, not every row.
        self._probed: set[str] = set()
        self._claimed = claimed
        self._asked: list[Asked] = []
        #: Where every row goes that nothing is known about, and no probe: most rows.
        self._for_new: Route | None = None
        self._postponed: list[turns.Postponed] = []

    def sort(self, rows: Sequence[Row[Any]]) -> None:
        now: datetime = rows[0].now
        self._today = today = business_date(now, self._runtime.config.zone)
        self._move_strays([row for row in rows if row.user_lane != row.lane])
        self._policy = CheckPolicy(self._runtime, self._lane, self._standing)
        candidates = self._with_earlier_answers([r for r in rows if r.user_lane == r.lane])
        for candidate in self._within_caps(candidates, today):
            self._route(candidate)
        gates = Gates(self._connection, self._runtime, self._share, self._policy.caps, now)
        passed = gates.passing(self._asked)
        self._give_back_probes(passed)
        self._claimed.wait = passed.wait
        self._claimed.blocked = passed.blocked
        if passed.blocked is not None and not passed.asked:
            self._claimed.found = 0  # whatever else is due in the lane cannot be paid either
        self._write(passed)

    def _move_strays(self, rows: Sequence[Row[Any]]) -> None:
        if rows:
            turns.move_to_lane(
                self._connection, [row.id for row in rows], [row.user_lane for row in rows]
            )

    def _with_earlier_answers(self, rows: Sequence[Row[Any]]) -> list[Candidate]:
        """Rows with their past; a call whose worker lost the lease may have been answered since."""
        doubtful = [
            (row.attempt_id, row.attempt_started_at)
            for row in rows
            if row.crashes and row.attempt_id
        ]
        answers = records.earlier_answers(self._connection, doubtful) if doubtful else {}
        candidates = []
        for row in rows:
            past = from_rows(row.history or (), row.version)
            candidate = Candidate(row, past, self._policy.possible(row))
            if row.id in answers:
                answer = _as_past(answers[row.id], row.version, self._runtime)
                if past and past[-1].detail == claims.LOST:  # it was not: one call, one entry
                    past = past[:-1]
                past = extend(past, answer)
                self._claimed.uncalled.append(_uncalled(candidate._replace(past=past), None))
            else:
                candidates.append(candidate)
        return candidates

    def _within_caps(self, candidates: Sequence[Candidate], today: date) -> Iterable[Candidate]:
        """Without the checks whose uses of the day are gone: such rows go on without them."""
        if not any(owed(c.past, c.possible) for c in candidates):
            return candidates
        used = check_caps.used(self._connection, today)
        gone = frozenset(c for c, cap in self._policy.caps.items() if used.get(c, 0) >= cap)
        if not gone:
            return candidates
        return [c._replace(possible=c.possible.without(gone)) for c in candidates]

    def _route(self, candidate: Candidate) -> None:
        row, past = candidate.row, candidate.past
        if row.crashes:
            over = after_crash(
                past,
                self._standing.providers,
                row.now,
                self._runtime.config.zone,
                candidate.possible,
            )
            if isinstance(over, Settle):
                self._claimed.uncalled.append(_uncalled(candidate, over))
                return
            if over is not None:
                self._postponed.append(turns.Postponed(row.id, over.due_at, over.reason))
                return
        found = self._where(candidate)
        if isinstance(found, Settle):
            self._claimed.uncalled.append(_uncalled(candidate, found))
        elif isinstance(found, NoneAvailable):
            self._postpone(row, found)
        elif found.probe:
            breaker = self._runtime.breaker_of(found.provider, found.check)
            self._probed.add(breaker)
            if self._take_probe(breaker):
                self._asked.append(Asked(candidate, found))
            else:
                self._route(candidate)  # somebody else asks whether it is back
        else:
            self._asked.append(Asked(candidate, found))

    def _where(self, candidate: Candidate) -> Route:
        choices, checkers = self._standing.choices, self._standing.checkers
        if self._probed:
            choices = self._without_probes(choices, None)
            checkers = {c: self._without_probes(them, c) for c, them in checkers.items()}
        plain = (
            not candidate.past
            and not candidate.possible.carrier_first
            and not self._policy.divided
            and not any(choice.probe for choice in choices)
        )
        if plain and self._for_new is not None:
            return self._for_new
        found = route(
            self._lane,
            candidate.past,
            choices,
            len(self._runtime.config.providers),
            candidate.row.name_raw is not None,
            possible=candidate.possible,
            checkers=checkers,
            ticket=candidate.row.id,
            today=self._today,
        )
        if plain:
            self._for_new = found
        return found

    def _without_probes(self, choices: Iterable[Choice], check: Check | None) -> tuple[Choice, ...]:
        return tuple(
            replace(choice, probe=False)
            if self._runtime.breaker_of(choice.name, check) in self._probed
            else choice
            for choice in choices
        )

    def _take_probe(self, breaker: str) -> bool:
        lease = self._runtime.config.engine.lease_seconds
        return providers.take_probe(self._connection, breaker, lease)

    def _give_back_probes(self, passed: Passed) -> None:
        """Of calls that were put off: whoever is called next asks whether the provider is back."""
        made = {id(asked.ask) for asked in passed.asked}
        for asked in self._asked:
            if asked.ask.probe and id(asked.ask) not in made:
                breaker = self._runtime.breaker_of(asked.ask.provider, asked.ask.check)
                providers.give_back_probe(self._connection, breaker)

    def _postpone(self, row: Row[Any], nothing: NoneAvailable) -> None:
        due = nothing.until or row.now + timedelta(seconds=LOOK_AGAIN_SECONDS)
        self._postponed.append(turns.Postponed(row.id, due, nothing.reason))

    def _write(self, passed: Passed) -> None:
        config = self._runtime.config
        lease = config.engine.lease_seconds
        begun = time.monotonic()
        written = claims.write_claims(
            self._connection,
            [self._attempt(asked, passed.charged) for asked in passed.asked],
            token=self._token,
            lease_seconds=lease,
        )
        claims.claim_uncalled(
            self._connection,
            [u.verification_id for u in self._claimed.uncalled],
            token=self._token,
            lease_seconds=lease,
        )
        turns.postpone(self._connection, self._postponed + passed.postponed)
        for (row, past, possible), ask in passed.asked:
            attempt_id, started = written[row.id]
            self._claimed.jobs.append(
                Job(
                    verification_id=row.id,
                    user_id=row.user_id,
                    data_version=row.version,
                    attempts=row.attempts + 1,
                    past=past,
                    provider=ask.provider,
                    attempt_id=attempt_id,
                    started=started,
                    call_at=begun + passed.call_in[row.id],
                    # Read before the statement, so ours ends no later than the database's.
                    lease_at=begun + lease,
                    lane=self._lane,
                    sealed=Sealed(
                        row.platform,
                        row.reference,
                        row.phone,
                        row.name,
                        row.name_raw,
                        row.id_number,
                    ),
                    raw_name=ask.raw_name,
                    check=ask.check,
                    since=self._policy.since(row) if ask.check is not None else None,
                    possible=possible,
                    breaker=self._runtime.breaker_of(ask.provider, ask.check),
                    probe=ask.probe,
                )
            )

    def _attempt(self, asked: Asked, charged: bool) -> claims.NewAttempt:
        row, ask = asked.candidate.row, asked.ask
        price = price_of(self._runtime, ask, self._share)
        currency = self._runtime.config.providers[ask.provider].currency
        return claims.NewAttempt(
            row.id,
            row.user_id,
            row.version,
            ask.provider,
            self._lane,
            ask.check or "verify",
            price or None,
            currency if price else None,
            row.payer,
            charged,
            ask.raw_name,
        )


def _as_past(answer: records.CompletedAttempt, version: int, runtime: Runtime) -> Past:
    return Past(
        version,
        answer.provider,
        answer.outcome,
        answer.detail,
        answer.billed,
        business_date(answer.started_at, runtime.config.zone),
        check=answer.check,
        fact=answer.fact,
        carrier=answer.carrier,
        raw=answer.raw_name,
    )


def _uncalled(candidate: Candidate, settle: Settle | None) -> Uncalled:
    row, past, possible = candidate
    return Uncalled(
        row.id,
        row.user_id,
        row.version,
        row.attempts,
        past,
        settle,
        row.name_raw is not None,
        possible,
        Lane(row.lane),
    )
