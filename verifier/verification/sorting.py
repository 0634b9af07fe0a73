"""Sorting locked rows: which are called, by whom and when; which settle uncalled; which wait.

In this order: whose lane changed is moved; whose earlier call was answered meanwhile is decided
from that; the rest is routed, and then must pass, each in its turn, the provider's rate, the
check's daily cap, the person's two billed results a day, and the budgets. What does not pass stays
as it was. The tables that others lock too are locked in that order, in every claim.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row

from verifier.clock import business_date, next_business_day
from verifier.guidance import WaitingReason
from verifier.outcomes import Check, Lane
from verifier.store import billing, checks, claims, providers, records, spending, turns
from verifier.verification.checking import Possible, owed
from verifier.verification.decide import Settle, after_crash
from verifier.verification.jobs import Job, Sealed, Uncalled
from verifier.verification.past import Past, extend, from_rows
from verifier.verification.route import Ask, Choice, NoneAvailable, Route, route
from verifier.verification.runtime import Runtime
from verifier.verification.standing import Standing

#: Seconds until a lane looks again for what only an operator can bring back.
LOOK_AGAIN_SECONDS: Final = 60.0


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


class _Candidate(NamedTuple):
    row: Row[Any]
    past: tuple[Past, ...]
    possible: Possible


class _Asked(NamedTuple):
    """A row and the call that is meant for it."""

    candidate: _Candidate
    ask: Ask


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
        probe: str | None,
        claimed: Claimed,
    ) -> None:
        self._connection = connection
        self._runtime = runtime
        self._lane = lane
        self._token = token
        self._share = share
        self._standing = now_standing
        self._probe = probe
        self._claimed = claimed
        self._asked: list[_Asked] = []
        #: Where every row goes that nothing is known about, and no probe: most rows.
        self._for_new: Route | None = None
        self._postponed: list[turns.Postponed] = []
        self._call_in: dict[int, float] = {}

    def sort(self, rows: Sequence[Row[Any]]) -> None:
        now: datetime = rows[0].now
        today = business_date(now, self._runtime.config.zone)
        self._move_strays([row for row in rows if row.user_lane != row.lane])
        self._policy = _CheckPolicy(self._runtime, self._lane, self._standing)
        candidates = self._with_earlier_answers([r for r in rows if r.user_lane == r.lane])
        for candidate in self._within_caps(candidates, today):
            self._route(candidate)
        self._pace()
        self._take_uses(today)
        self._take_slots(now, today)
        self._take_money(now)
        self._write()

    def _move_strays(self, rows: Sequence[Row[Any]]) -> None:
        if rows:
            turns.move_to_lane(
                self._connection, [row.id for row in rows], [row.user_lane for row in rows]
            )

    def _with_earlier_answers(self, rows: Sequence[Row[Any]]) -> list[_Candidate]:
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
            candidate = _Candidate(row, past, self._policy.possible(row))
            if row.id in answers:
                answer = _as_past(answers[row.id], row.version, self._runtime)
                past = extend(past, answer)
                self._claimed.uncalled.append(_uncalled(candidate._replace(past=past), None))
            else:
                candidates.append(candidate)
        return candidates

    def _within_caps(self, candidates: Sequence[_Candidate], today: date) -> Iterable[_Candidate]:
        """Without the checks whose uses of the day are gone: such rows go on without them."""
        if not any(owed(c.past, c.possible) for c in candidates):
            return candidates
        used = checks.used(self._connection, today)
        gone = frozenset(c for c, cap in self._policy.caps.items() if used.get(c, 0) >= cap)
        if not gone:
            return candidates
        return [
            c._replace(possible=replace(c.possible, checks=c.possible.checks - gone))
            for c in candidates
        ]

    def _route(self, candidate: _Candidate) -> None:
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
        elif found.probe and not self._take_probe(found.provider):
            again = NoneAvailable(None, "provider_down")
            self._postpone(row, again)
        else:
            if found.provider == self._probe and found.check is None:
                self._probe = None  # one call asks whether it is back; the rest goes elsewhere
            self._asked.append(_Asked(candidate, found))

    def _where(self, candidate: _Candidate) -> Route:
        plain = (
            not candidate.past
            and self._probe is None
            and not candidate.possible.carrier_first
            and not self._policy.divided
        )
        if plain and self._for_new is not None:
            return self._for_new
        choices: Sequence[Choice] = self._standing.choices
        if self._probe is not None:
            choices = [
                choice if choice.name != self._probe else replace(choice, available=True)
                for choice in choices
            ]
        found = route(
            self._lane,
            candidate.past,
            choices,
            len(self._runtime.config.providers),
            candidate.row.name_raw is not None,
            possible=candidate.possible,
            checkers=self._standing.checkers,
            ticket=candidate.row.id,
        )
        if plain:
            self._for_new = found
        return found

    def _take_probe(self, name: str) -> bool:
        lease = self._runtime.config.engine.lease_seconds
        return providers.take_probe(self._connection, name, lease)

    def _postpone(self, row: Row[Any], nothing: NoneAvailable) -> None:
        due = nothing.until or row.now + timedelta(seconds=LOOK_AGAIN_SECONDS)
        self._postponed.append(turns.Postponed(row.id, due, nothing.reason))

    def _pace(self) -> None:
        """Keep as many calls per provider as its rate grants, with the instant of each."""
        engine = self._runtime.config.engine
        share = (
            engine.interactive_share
            if self._share == "interactive"
            else 1 - engine.interactive_share
        )
        granted: dict[str, providers.Reservation] = {}
        wanted_of = Counter(asked.ask.provider for asked in self._asked)
        for name, wanted in sorted(wanted_of.items()):
            rate = self._runtime.config.providers[name].qps * share
            granted[name] = providers.reserve(
                self._connection,
                name,
                self._share,
                want=wanted,
                rate=rate,
                burst=max(1, int(rate / 10)),
            )
        used: Counter[str] = Counter()
        paced: list[_Asked] = []
        for asked in self._asked:
            name = asked.ask.provider
            reservation = granted[name]
            if used[name] < reservation.count:
                self._call_in[asked.candidate.row.id] = reservation.at(used[name])
                used[name] += 1
                paced.append(asked)
            else:
                self._claimed.wait = max(
                    self._claimed.wait,
                    reservation.at(reservation.count) - 0.5,
                    reservation.interval,
                )
        self._asked = paced

    def _take_uses(self, today: date) -> None:
        """Of each check as many as its cap still has; the rows of one that has not enough left are
        looked at again by the next claim, which sees that it is used up."""
        wanted = Counter(a.ask.check for a in self._asked if a.ask.check is not None)
        for check, number in sorted(wanted.items()):
            cap = self._policy.caps[check]
            if not checks.take(self._connection, check, today, number, cap):
                left = cap - checks.used(self._connection, today).get(check, 0)
                if left <= 0 or not checks.take(self._connection, check, today, left, cap):
                    left = 0
                self._asked = _keep_first(self._asked, check, left)

    def _take_slots(self, now: datetime, today: date) -> None:
        """A person's two billed results a day; a check is not a result."""
        verifying = [a.candidate.row for a in self._asked if a.ask.check is None]
        allowed = billing.take_billed_slots(
            self._connection, [(row.id, bytes(row.id_number_index)) for row in verifying], today
        )
        if len(allowed) == len(verifying):
            return
        tomorrow = next_business_day(now, self._runtime.config.zone)
        self._postponed += [
            turns.Postponed(row.id, tomorrow, WaitingReason.DAILY_CAP)
            for row in verifying
            if row.id not in allowed
        ]
        self._asked = [
            a for a in self._asked if a.ask.check is not None or a.candidate.row.id in allowed
        ]

    def _take_money(self, now: datetime) -> None:
        """Charge the budgets before a call; without money left nothing is asked."""
        config = self._runtime.config
        budgets: dict[str, Decimal] = {}
        month = spending.month_scope(now, config.zone)
        if config.budget.per_month is not None:
            budgets[month] = config.budget.per_month
        payers = {a.candidate.row.payer for a in self._asked} - {None}
        if payers:
            budgets |= spending.batch_budgets(self._connection, payers)
        if not budgets or not self._asked:
            return
        charges = [
            spending.Charge(
                self._price(a.ask),
                (month,)
                if a.candidate.row.payer is None
                else (month, spending.batch_scope(a.candidate.row.payer)),
            )
            for a in self._asked
        ]
        granted = spending.charge(self._connection, charges, budgets)
        if all(granted):
            return
        refused = [a for a, yes in zip(self._asked, granted, strict=True) if not yes]
        self._asked = [a for a, yes in zip(self._asked, granted, strict=True) if yes]
        billing.free_billed_slots(
            self._connection,
            [
                (a.candidate.row.id, a.candidate.row.user_id, now)
                for a in refused
                if a.ask.check is None
            ],
            str(config.zone),
        )
        again = NoneAvailable(now + timedelta(seconds=LOOK_AGAIN_SECONDS), WaitingReason.BUDGET)
        if month in budgets:
            spent = spending.spent(self._connection, [month])[month]
            if spent + min(self._price(a.ask) for a in refused) > budgets[month]:
                # Nobody's turn until the next month, or until somebody raises it: the lane waits,
                # not a million rows.
                self._claimed.blocked = again
                if not self._asked:
                    self._claimed.found = 0
                return
        # Only their batch has no money left: out of the others' way, until the sweep pauses it.
        for asked in refused:
            self._postpone(asked.candidate.row, again)

    def _price(self, ask: Ask) -> Decimal:
        provider = self._runtime.config.providers[ask.provider]
        return provider.price_of(ask.check, urgent=self._share == "interactive")

    def _write(self) -> None:
        config = self._runtime.config
        lease = config.engine.lease_seconds
        begun = time.monotonic()
        written = claims.write_claims(
            self._connection,
            [self._attempt(asked) for asked in self._asked],
            token=self._token,
            lease_seconds=lease,
        )
        claims.claim_uncalled(
            self._connection,
            [u.verification_id for u in self._claimed.uncalled],
            token=self._token,
            lease_seconds=lease,
        )
        turns.postpone(self._connection, self._postponed)
        for (row, past, possible), ask in self._asked:
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
                    call_at=begun + self._call_in[row.id],
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
                )
            )

    def _attempt(self, asked: _Asked) -> claims.NewAttempt:
        row, ask = asked.candidate.row, asked.ask
        price = self._price(ask)
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
        )


class _CheckPolicy:
    """Which checks the configuration allows about the lane's rows, and who could answer them."""

    def __init__(self, runtime: Runtime, lane: Lane, now_standing: Standing) -> None:
        config = runtime.config
        policy = config.checks
        self.caps = {
            Check.STATUS: policy.status.daily_cap,
            Check.RECYCLED: policy.recycled.daily_cap,
            Check.CARRIER: policy.carrier.daily_cap,
        }
        #: Whether the lane's calls are divided among its providers, each user by itself.
        self.divided = lane in config.lanes and bool(config.lanes[lane].weights)
        self._zone = config.zone
        allowed = {
            Check.STATUS: policy.status.enabled and lane in policy.status.lanes,
            Check.RECYCLED: policy.recycled.enabled,
            Check.CARRIER: policy.carrier.enabled,
        }
        answered = frozenset(c for c, yes in allowed.items() if yes and c in now_standing.checkers)
        self._always = answered & {Check.STATUS}
        self._recycled = answered & {Check.RECYCLED}
        self._carrier = answered & {Check.CARRIER}
        self._fresh = timedelta(days=policy.carrier.fresh_days)
        self._first = policy.carrier.when == "first"
        self._plain = Possible(self._always)

    def possible(self, row: Row[Any]) -> Possible:
        found = self._always
        if self._recycled and row.matched_before:
            found |= self._recycled
        stale = bool(self._carrier) and (
            row.carrier_seen_at is None or row.carrier_seen_at < row.now - self._fresh
        )
        if stale:
            found |= self._carrier
        if found == self._plain.checks:
            return self._plain
        return Possible(found, carrier_first=stale and self._first)

    def since(self, row: Row[Any]) -> date | None:
        """The day since which one person should have held the number: when it was bound, or else
        when it last matched."""
        since = row.bound_at or row.checked_at
        return business_date(since, self._zone) if since is not None else None


def _keep_first(asked: Sequence[_Asked], check: Check, number: int) -> list[_Asked]:
    """All but those of ``check`` beyond the first ``number``."""
    kept = []
    for one in asked:
        if one.ask.check is check:
            number -= 1
        if one.ask.check is not check or number >= 0:
            kept.append(one)
    return kept


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
    )


def _uncalled(candidate: _Candidate, settle: Settle | None) -> Uncalled:
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
    )
