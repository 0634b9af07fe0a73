"""The breaker of a provider: a pure step from what a flush brought to the provider's next state.

*closed*: used. *open*: nothing is asked before ``not_before``; then one probe. *suspended*: our
account or credentials are refused, an operator must mend it and resume. A closed breaker may carry
a short ``not_before`` too: the vendor asked us to slow down. The row lives in PostgreSQL, so every
process sees it and a wiped Redis forgets nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from tenacity.wait import wait_exponential_jitter

from verifier.outcomes import Outcome
from verifier.resilience.retry import RULES, Effect, seconds_until_next

#: Consecutive failed calls that open the breaker.
FAILURES_TO_OPEN: Final = 8

_OPEN_WAIT: Final = {
    "maintenance": wait_exponential_jitter(multiplier=30, max=3600, jitter=15),
    "provider_down": wait_exponential_jitter(multiplier=5, max=600, jitter=5),
}


@dataclass(frozen=True, slots=True)
class Breaker:
    """The stored state. ``openings`` counts how often it opened without a success in between."""

    state: str = "closed"
    failures: int = 0
    openings: int = 0
    not_before: datetime | None = None
    reason: str | None = None

    def available(self, now: datetime) -> bool:
        """Whether ordinary calls may be made."""
        return self.state == "closed" and (self.not_before is None or self.not_before <= now)

    def probe_due(self, now: datetime) -> bool:
        """Whether one call may ask if the provider is back."""
        return self.state == "open" and (self.not_before is None or self.not_before <= now)


def step(
    breaker: Breaker,
    outcomes: Mapping[Outcome, int],
    now: datetime,
    retry_after: float | None = None,
) -> Breaker:
    """The state after a flush brought ``outcomes`` (with counts). ``retry_after``: seconds the
    vendor asked for, the longest of them."""
    if breaker.state == "suspended":
        return breaker
    effects: dict[Effect, int] = {}
    successes = 0
    for outcome, count in outcomes.items():
        if outcome.is_answer:
            successes += count
        else:
            effect = RULES[outcome].effect
            effects[effect] = effects.get(effect, 0) + count
    if effects.get(Effect.SUSPEND):
        worst = Outcome.ARREARS if outcomes.get(Outcome.ARREARS) else Outcome.AUTH_CONFIG
        return Breaker("suspended", breaker.failures, breaker.openings, None, str(worst))
    if breaker.state == "open" and not breaker.probe_due(now):
        return breaker  # calls begun before it opened come back late, and the vendor named a time
    # A busy answer among many results is not a closed counter: most of the flush decides.
    if effects.get(Effect.OPEN, 0) > successes:
        return _opened(breaker, "maintenance", now, retry_after)
    failures = effects.get(Effect.FAILURE, 0)
    if successes:
        slowed = breaker.state == "closed" and breaker.not_before is not None
        still = slowed and not breaker.available(now)  # one good answer does not end the pause
        calm = Breaker(
            not_before=breaker.not_before if still else None,
            reason=breaker.reason if still else None,
        )
    else:
        calm = replace(breaker, failures=breaker.failures + failures)
        if calm.failures >= FAILURES_TO_OPEN or (failures and breaker.state == "open"):
            return _opened(calm, "provider_down", now, retry_after)
    if effects.get(Effect.SLOW_DOWN):
        until = now + timedelta(seconds=min(retry_after or 1.0, 3600.0))
        until = max(until, calm.not_before or until)
        return replace(calm, not_before=until, reason="rate_limited")
    return calm


def _opened(breaker: Breaker, reason: str, now: datetime, retry_after: float | None) -> Breaker:
    openings = breaker.openings + 1
    seconds = seconds_until_next(_OPEN_WAIT[reason], openings)
    seconds = max(seconds, min(retry_after or 0.0, 3600.0))
    return Breaker("open", 0, openings, now + timedelta(seconds=seconds), reason)
