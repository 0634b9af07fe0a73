"""Money as operators see it: what providers cost, what is left of a budget, what a batch would
cost."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from verifier.cli import talk
from verifier.clock import at_local, business_date
from verifier.config import Config, config
from verifier.errors import UsageError
from verifier.outcomes import Lane
from verifier.store import clock, costs
from verifier.store.engine import transaction

_COUNTS = ("calls", "billed", "free", "maybe")
_MIDNIGHT = time(0, 0)


def amount(value: Decimal | None) -> str | None:
    """``12.50``: at least two decimals, no idle ones."""
    if value is None:
        return None
    shown = f"{value.normalize():f}"
    whole, _, rest = shown.partition(".")
    return f"{whole}.{rest.ljust(2, '0')}"


def day_begins(text: str, option: str) -> datetime:
    """The first instant of a business day. Raises UsageError."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} must be a day.", fix="Write it as 2026-11-01; it begins at 00:00 there."
        ) from None
    return at_local(day, _MIDNIGHT, config().zone)


def report(since: str | None, until: str | None) -> dict[str, Any]:
    """What ``provider cost`` shows. ``since``: this month if None. Raises UsageError."""
    current = config()
    with transaction() as connection:
        now = clock.now(connection)
        month = at_local(business_date(now, current.zone).replace(day=1), _MIDNIGHT, current.zone)
        begun = day_begins(since, "--since") if since else month
        ended = day_begins(until, "--until") if until else None
        if ended is not None and ended <= begun:
            raise UsageError(
                "--until must be after --since.", fix="It is the first day that no longer counts."
            )
        rows = costs.by_provider(connection, begun, ended)
        # From the attempts, like the rest: what is charged is counted only while workers run.
        this_month = costs.by_provider(connection, month, None)
    limit = current.budget.per_month
    return {
        "since": begun,
        "until": ended,
        "providers": [
            {
                "provider": row.provider,
                "purpose": row.purpose,
                **{name: getattr(row, name) for name in _COUNTS},
                "cost": amount(row.cost),
                "maybe_cost": amount(row.maybe_cost),
                "currency": row.currency,
            }
            for row in rows
        ],
        "totals": _totals(rows),
        "month_budget": None
        if limit is None
        else {
            "budget": amount(limit),
            "spent_or_under_way": amount(
                sum((row.cost + row.maybe_cost for row in this_month), Decimal(0))
            ),
            "currency": current.budget.currency,
        },
    }


def _totals(rows: Any) -> list[dict[str, Any]]:
    """A sum a currency: sums of two currencies mean nothing."""
    sums: dict[str, list[Decimal]] = {}
    for row in rows:
        if row.currency is not None:
            total = sums.setdefault(row.currency, [Decimal(0), Decimal(0)])
            total[0] += row.cost
            total[1] += row.maybe_cost
    return [
        {"currency": currency, "cost": amount(cost), "maybe_cost": amount(maybe)}
        for currency, (cost, maybe) in sorted(sums.items())
    ]


def print_report(view: Mapping[str, Any]) -> None:
    if not view["providers"]:
        talk.say(f"no calls since {talk.at(view['since'])}")
    columns = ("provider", "purpose", *_COUNTS, "cost", "maybe_cost", "currency")
    talk.table(columns, ([row[name] for name in columns] for row in view["providers"]))
    for total in view["totals"]:
        talk.say(
            f"{total['cost']} {total['currency']} billed"
            + (f", {total['maybe_cost']} maybe" if total["maybe_cost"] != "0.00" else "")
            + f" since {talk.at(view['since'])}"
            + (f" until {talk.at(view['until'])}" if view["until"] else "")
        )
    month = view["month_budget"]
    if month is not None:
        talk.say(
            f"this month: {month['spent_or_under_way']} of {month['budget']} {month['currency']}"
        )


def of_batch(batch: int) -> list[dict[str, Any]]:
    """What the calls about a batch's users cost, a row a currency."""
    with transaction() as connection:
        rows = costs.of_batch(connection, batch)
    return [
        {
            **{name: getattr(row, name) for name in _COUNTS},
            "cost": amount(row.cost),
            "maybe_cost": amount(row.maybe_cost),
            "currency": row.currency,
        }
        for row in rows
    ]


def estimate(found: Mapping[Lane, int]) -> list[dict[str, Any]]:
    """What a submission would cost, a row a currency: if everybody is billed once by whom each is
    asked first, and the most that the policy lets happen (two billed results a person and day)."""
    current = config()
    sums: dict[str, list[Decimal]] = {}
    for lane, users in found.items():
        first = _first_price(current, lane)
        if first is not None:
            currency, price, dearest = first
            total = sums.setdefault(currency, [Decimal(0), Decimal(0)])
            total[0] += price * users
            total[1] += dearest * users * 2
    return [
        {"currency": currency, "expected": amount(expected), "at_most_a_day": amount(most)}
        for currency, (expected, most) in sorted(sums.items())
        if most
    ]


def _first_price(current: Config, lane: Lane) -> tuple[str, Decimal, Decimal] | None:
    """Currency, price of the first to be asked (of a divided lane: on average), and the dearest."""
    names = current.providers_of(lane)
    if not names:
        return None
    rows = {name: current.providers[name] for name in names}
    first = rows[names[0]]
    weights = current.lanes[lane].weights if lane in current.lanes else {}
    price = first.price
    if weights:
        shares = {name: Decimal(str(weight)) for name, weight in weights.items()}
        price = sum((rows[n].price * w for n, w in shares.items()), Decimal(0)) / sum(
            shares.values()
        )
    same = [row.price for row in rows.values() if row.currency == first.currency]
    return first.currency, round(price, 6), max(same)
