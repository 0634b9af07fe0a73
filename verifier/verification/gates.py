"""The gates of a claim: what a routed call must pass before it may be made.

In this order: the provider's rate, the check's daily cap, the person's two billed results a day,
the budgets. What does not pass stays as it was, or is put off. Each gate locks rows that other
claims and flushes lock too: every claim goes through them in this order, the budgets last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from sqlalchemy import Connection

from verifier.clock import business_date, next_business_day
from verifier.guidance import WaitingReason
from verifier.outcomes import Check, Lane
from verifier.store import billing, check_caps, providers, spending, turns
from verifier.verification.candidates import Asked
from verifier.verification.route import Ask, NoneAvailable
from verifier.verification.runtime import Runtime

#: Seconds until a lane looks again for what only an operator can bring back.
LOOK_AGAIN_SECONDS: Final = 60.0


@dataclass(slots=True)
class Passed:
    """``asked``: the calls that may be made, in ``call_in`` seconds each (by verification).

    ``wait``: seconds until the rates grant more. ``postponed``: rows that wait for something of
    their own. ``blocked``: nothing more of the lane can be paid this month. ``charged``: the month
    has a budget.
    """

    asked: list[Asked]
    call_in: dict[int, float] = field(default_factory=dict)
    wait: float = 0.0
    postponed: list[turns.Postponed] = field(default_factory=list)
    blocked: NoneAvailable | None = None
    charged: bool = False


def price_of(runtime: Runtime, ask: Ask, share: str) -> Decimal:
    """What a billed answer costs; urgent where somebody waits for it."""
    provider = runtime.config.providers[ask.provider]
    return provider.price_of(ask.check, urgent=share == "interactive")


class Gates:
    """The gates as they stand for one claim. ``share``: of the providers' rates."""

    def __init__(
        self,
        connection: Connection,
        runtime: Runtime,
        share: str,
        caps: Mapping[Check, int],
        now: datetime,
    ) -> None:
        self._connection = connection
        self._runtime = runtime
        self._share = share
        self._caps = caps
        self._now = now
        self._today = business_date(now, runtime.config.zone)

    def passing(self, asked: Sequence[Asked]) -> Passed:
        """Those of ``asked`` that may be made now."""
        passed = Passed(list(asked))
        if passed.asked:
            self._pace(passed)
            self._take_uses(passed)
            self._take_slots(passed)
            self._take_money(passed)
        return passed

    def _pace(self, passed: Passed) -> None:
        """Keep as many calls per provider as its rate grants, with the instant of each."""
        engine = self._runtime.config.engine
        share = (
            engine.interactive_share
            if self._share == "interactive"
            else 1 - engine.interactive_share
        )
        granted: dict[str, providers.Reservation] = {}
        wanted_of = Counter(asked.ask.provider for asked in passed.asked)
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
        paced: list[Asked] = []
        for asked in passed.asked:
            name = asked.ask.provider
            reservation = granted[name]
            if used[name] < reservation.count:
                passed.call_in[asked.candidate.row.id] = reservation.at(used[name])
                used[name] += 1
                paced.append(asked)
            else:
                passed.wait = max(
                    passed.wait,
                    reservation.at(reservation.count) - 0.5,
                    reservation.interval,
                )
        passed.asked = paced

    def _take_uses(self, passed: Passed) -> None:
        """Of each check as many as its cap still has; the rows of one that has not enough left are
        looked at again by the next claim, which sees that it is used up."""
        wanted = Counter(a.ask.check for a in passed.asked if a.ask.check is not None)
        for check, number in sorted(wanted.items()):
            cap = self._caps[check]
            if not check_caps.take(self._connection, check, self._today, number, cap):
                left = cap - check_caps.used(self._connection, self._today).get(check, 0)
                took = left > 0 and check_caps.take(self._connection, check, self._today, left, cap)
                left = left if took else 0
                passed.asked = _keep_first(passed.asked, check, left)

    def _take_slots(self, passed: Passed) -> None:
        """A person's two billed results a day; a check is not a result."""
        verifying = [a.candidate.row for a in passed.asked if a.ask.check is None]
        allowed = billing.take_billed_slots(
            self._connection,
            [(row.id, bytes(row.id_number_index)) for row in verifying],
            self._today,
        )
        if len(allowed) == len(verifying):
            return
        tomorrow = next_business_day(self._now, self._runtime.config.zone)
        passed.postponed += [
            turns.Postponed(row.id, tomorrow, WaitingReason.DAILY_CAP)
            for row in verifying
            if row.id not in allowed
        ]
        passed.asked = [
            a for a in passed.asked if a.ask.check is not None or a.candidate.row.id in allowed
        ]

    def _charged(self, asked: Asked) -> Decimal:
        """What it takes of a budget: more than any has, where it is paid in another currency."""
        config, price = self._runtime.config, price_of(self._runtime, asked.ask, self._share)
        foreign = config.providers[asked.ask.provider].currency != config.budget.currency
        return Decimal("Infinity") if price and foreign else price

    def _take_money(self, passed: Passed) -> None:
        """Charge the budgets before a call; without money left nothing is asked."""
        config, now = self._runtime.config, self._now
        budgets: dict[str, Decimal] = {}
        month = spending.month_scope(now, config.zone)
        if config.budget.per_month is not None:
            budgets[month] = config.budget.per_month
            passed.charged = True
        payers = {a.candidate.row.payer for a in passed.asked} - {None}
        if payers:
            budgets |= spending.batch_budgets(self._connection, payers)
        if not budgets or not passed.asked:
            return
        charges = [
            spending.Charge(
                self._charged(a),
                (month,)
                if a.candidate.row.payer is None
                else (month, spending.batch_scope(a.candidate.row.payer)),
            )
            for a in passed.asked
        ]
        granted = spending.charge(self._connection, charges, budgets)
        if all(granted):
            return
        refused = [a for a, yes in zip(passed.asked, granted, strict=True) if not yes]
        # Of a lock that this claim holds already.
        check_caps.give_back(
            self._connection,
            [(a.ask.check, self._today) for a in refused if a.ask.check is not None],
        )
        passed.asked = [a for a, yes in zip(passed.asked, granted, strict=True) if yes]
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
            lane = Lane(refused[0].candidate.row.lane)
            prices = [
                price_of(self._runtime, Ask(name), self._share)
                for name in self._runtime.names_for(lane)
            ]  # none, when the lane's last provider is gone and its rows owe checks
            if prices and spent + min(prices) > budgets[month]:
                # Nobody's turn until the next month, or until somebody raises it: the lane waits,
                # not a million rows.
                passed.blocked = again
                return
        # Others may still be paid, by a cheaper provider or another batch: out of their way.
        for asked in refused:
            due = again.until or now
            passed.postponed.append(turns.Postponed(asked.candidate.row.id, due, again.reason))


def _keep_first(asked: Sequence[Asked], check: Check, number: int) -> list[Asked]:
    """All but those of ``check`` beyond the first ``number``."""
    kept = []
    for one in asked:
        if one.ask.check is check:
            number -= 1
        if one.ask.check is not check or number >= 0:
            kept.append(one)
    return kept
