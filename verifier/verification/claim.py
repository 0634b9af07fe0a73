"""Claim: one transaction that locks due rows, routes them, and writes lease, token and attempts.

After its commit every row it returns is ours until the lease ends, and every call that is about to
be made is written down. Nothing is called here.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row

from verifier.clock import business_date, next_business_day
from verifier.outcomes import Lane
from verifier.store import billing, claims, lanes, planning, providers, records, turns
from verifier.store.engine import transaction
from verifier.verification import standing
from verifier.verification.decide import Settle, after_crash
from verifier.verification.jobs import Job, Sealed, Uncalled
from verifier.verification.past import Past, extend, from_rows
from verifier.verification.route import Ask, Choice, NoneAvailable, Route, route
from verifier.verification.runtime import Runtime

#: Seconds until a lane looks again for a provider that only an operator can bring back.
LOOK_AGAIN_SECONDS: Final = 60.0

#: Locks candidate rows: ``lock_due``, ``lock_suspect`` or ``lock_one`` with their arguments bound.
Source = Callable[[Connection, int], Sequence[Row[Any]]]


@dataclass(slots=True)
class Claimed:
    """What a claim brought.

    ``found`` counts locked rows, also those that were only postponed. ``wait`` is how many seconds
    the rate limit asks to wait when it granted less than wanted. ``blocked`` is set when no
    provider of the lane can be asked now.
    """

    jobs: list[Job] = field(default_factory=list)
    uncalled: list[Uncalled] = field(default_factory=list)
    found: int = 0
    wait: float = 0.0
    blocked: NoneAvailable | None = None
    closed: bool = False
    standing: standing.Standing | None = None


class _Candidate(NamedTuple):
    row: Row[Any]
    past: tuple[Past, ...]


def claim(
    connection: Connection,
    runtime: Runtime,
    lane: Lane,
    want: int,
    token: int,
    source: Source,
    share: str = "batch",
) -> Claimed:
    """Claim up to ``want`` rows of ``lane`` from ``source`` under ``token``."""
    if not lanes.is_open(connection, lane):
        return Claimed(closed=True)
    now_standing = standing.read(connection, runtime, lane)
    claimed = Claimed(standing=now_standing)
    only_probe = bool(now_standing.choices) and not now_standing.available
    if only_probe and not now_standing.probes:
        claimed.blocked = _blocked(now_standing)
        return claimed
    if want > 1:
        planning.by_key(connection)
    rows = source(connection, 1 if only_probe else want)
    if not rows:
        return claimed
    # Taken only when there is a row to ask about: an unused probe would hold the others off.
    probe = _take_probe(connection, runtime, now_standing)
    if only_probe and probe is None:
        claimed.blocked = _blocked(now_standing)
        return claimed
    claimed.found = len(rows)
    _Sorting(connection, runtime, lane, token, share, now_standing, probe, claimed).sort(rows)
    return claimed


def _blocked(now_standing: standing.Standing) -> NoneAvailable:
    reasons = (choice.reason for choice in now_standing.choices if choice.reason)
    return NoneAvailable(now_standing.back_at(), next(reasons, "provider_down"))


def give_back_unknown(runtime: Runtime, token: int) -> int:
    """After a claim whose commit was not answered: it may stand all the same.

    What it claimed was never called, so it is given back at once instead of being taken for lost
    when its lease ends. Returns how many rows.
    """
    with transaction() as connection:
        rows = claims.uncalled_of(connection, token)
        return claims.release(
            connection,
            token,
            [row.id for row in rows],
            [row.attempt_id for row in rows],
            zone=runtime.config.business_time_zone,
        )


def close_lane(connection: Connection, runtime: Runtime, lane: Lane) -> None:
    """Write down that nothing of the lane is worth a claim before a provider may be back.

    Looks again first: an operator may have resumed the provider since the claim.
    """
    now_standing = standing.read(connection, runtime, lane)
    if now_standing.choices and not now_standing.available and not now_standing.probes:
        blocked = _blocked(now_standing)
        until = blocked.until or now_standing.now + timedelta(seconds=LOOK_AGAIN_SECONDS)
        lanes.set_not_before(connection, lane, until, blocked.reason)


def _take_probe(
    connection: Connection, runtime: Runtime, now_standing: standing.Standing
) -> str | None:
    for name in now_standing.probes:
        if providers.take_probe(connection, name, runtime.config.engine.lease_seconds):
            return name
    return None


class _Sorting:
    """Sorts locked rows into calls, rows to settle uncalled, and rows that must wait."""

    def __init__(
        self,
        connection: Connection,
        runtime: Runtime,
        lane: Lane,
        token: int,
        share: str,
        now_standing: standing.Standing,
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
        self._asks: list[tuple[_Candidate, str]] = []
        self._raw_names: set[int] = set()
        #: Where every row goes that nothing is known about, and no probe: most rows.
        self._for_new: Route | None = None
        self._postponed: list[turns.Postponed] = []

    def sort(self, rows: Sequence[Row[Any]]) -> None:
        zone = self._runtime.config.zone
        self._move_strays([row for row in rows if row.user_lane != row.lane])
        for candidate in self._with_earlier_answers([r for r in rows if r.user_lane == r.lane]):
            self._route(candidate)
        today = business_date(rows[0].now, zone)
        self._pace()
        allowed = billing.take_billed_slots(
            self._connection,
            [(c.row.id, bytes(c.row.id_number_index)) for c, _ in self._asks],
            today,
        )
        tomorrow = next_business_day(rows[0].now, zone)
        self._postponed += [
            turns.Postponed(c.row.id, tomorrow, "daily_cap")
            for c, _ in self._asks
            if c.row.id not in allowed
        ]
        self._asks = [(c, provider) for c, provider in self._asks if c.row.id in allowed]
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
            if row.id in answers:
                answer = answers[row.id]
                day = business_date(answer.started_at, self._runtime.config.zone)
                past = extend(
                    past,
                    Past(
                        row.version,
                        answer.provider,
                        answer.outcome,
                        answer.detail,
                        answer.billed,
                        day,
                    ),
                )
                self._claimed.uncalled.append(_uncalled(row, past, None))
            else:
                candidates.append(_Candidate(row, past))
        return candidates

    def _route(self, candidate: _Candidate) -> None:
        choices: Sequence[Choice] = self._standing.choices
        if self._probe is not None:
            choices = [
                choice if choice.name != self._probe else replace(choice, available=True)
                for choice in choices
            ]
        if candidate.row.crashes:
            over = after_crash(
                candidate.past,
                self._standing.providers,
                candidate.row.now,
                self._runtime.config.zone,
            )
            if isinstance(over, Settle):
                self._claimed.uncalled.append(_uncalled(candidate.row, candidate.past, over))
                return
            if over is not None:
                row = candidate.row
                self._postponed.append(turns.Postponed(row.id, over.due_at, over.reason))
                return
        new = not candidate.past and self._probe is None
        found = self._for_new if new else None
        if found is None:
            found = route(
                self._lane,
                candidate.past,
                choices,
                len(self._runtime.config.providers),
                candidate.row.name_raw is not None,
            )
        if new:
            self._for_new = found
        if isinstance(found, Ask):
            if found.raw_name:
                self._raw_names.add(candidate.row.id)
            if found.provider == self._probe:
                self._probe = None  # one call asks whether it is back; the rest goes elsewhere
            self._asks.append((candidate, found.provider))
        elif isinstance(found, Settle):
            self._claimed.uncalled.append(_uncalled(candidate.row, candidate.past, found))
        else:
            self._postpone(candidate.row, found)

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
        for name, wanted in sorted(Counter(name for _, name in self._asks).items()):
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
        paced: list[tuple[_Candidate, str]] = []
        self._call_in: dict[int, float] = {}
        for candidate, name in self._asks:
            reservation = granted[name]
            if used[name] < reservation.count:
                self._call_in[candidate.row.id] = reservation.at(used[name])
                used[name] += 1
                paced.append((candidate, name))
            else:
                self._claimed.wait = max(
                    self._claimed.wait,
                    reservation.at(reservation.count) - 0.5,
                    reservation.interval,
                )
        self._asks = paced

    def _write(self) -> None:
        lease = self._runtime.config.engine.lease_seconds
        asked = time.monotonic()
        written = claims.write_claims(
            self._connection,
            [
                claims.NewAttempt(c.row.id, c.row.user_id, c.row.version, provider, self._lane)
                for c, provider in self._asks
            ],
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
        for candidate, provider in self._asks:
            row = candidate.row
            attempt_id, started = written[row.id]
            self._claimed.jobs.append(
                Job(
                    verification_id=row.id,
                    user_id=row.user_id,
                    data_version=row.version,
                    attempts=row.attempts + 1,
                    past=candidate.past,
                    provider=provider,
                    attempt_id=attempt_id,
                    started=started,
                    call_at=asked + self._call_in[row.id],
                    # Read before the statement, so ours ends no later than the database's.
                    lease_at=asked + lease,
                    sealed=Sealed(
                        row.platform,
                        row.reference,
                        row.phone,
                        row.name,
                        row.name_raw,
                        row.id_number,
                    ),
                    raw_name=row.id in self._raw_names,
                )
            )


def _uncalled(row: Row[Any], past: tuple[Past, ...], settle: Settle | None) -> Uncalled:
    return Uncalled(
        row.id, row.user_id, row.version, row.attempts, past, settle, row.name_raw is not None
    )
