"""The retry policy, as one table: what an outcome that is not a result leads to.

==============  ======  =============  ==========================  ==================  =========
outcome         counts  calls a day    next try after              where               breaker
==============  ======  =============  ==========================  ==================  =========
TIMEOUT         yes     2 maybe        1 min … 10 min, jitter      another, else same  failure
PROVIDER_ERROR  yes     4              5 s … 5 min, jitter         same, then another  failure
NOT_SENT        no      –              1 s … 1 min, jitter         any                 failure
RATE_LIMITED    no      –              by scope, see below         any                 slow down
MAINTENANCE     no      –              at once; the provider waits any                 open
AUTH_CONFIG     no      –              at once; the provider waits any                 suspend
ARREARS         no      –              at once; the provider waits any                 suspend
==============  ======  =============  ==========================  ==================  =========

Caps are per verification and business day. Whatever was sent and not understood may have been
billed, whichever outcome it got, and shares TIMEOUT's cap. RATE_LIMITED by scope: ACCOUNT_QPS 1 to
5 s; NUMBER 24 h; IDENTITY_DAY the next business day at 00:10, both only when no other provider of
the lane is left: the limit is one vendor's, about one person, and is nothing to its breaker. Work
that has used up its day goes on the next one, on at most :data:`MOST_DAYS` days; then it settles
UNRESOLVED. Stop and wait objects are tenacity's; the schedule itself is the row's ``due_at``, so it
survives any process.
(Source: the outcome table of the domain rules, and the vendors' limits behind it.)
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from tenacity import RetryCallState, Retrying, stop_after_attempt, wait_none, wait_random
from tenacity.stop import stop_base
from tenacity.wait import wait_base, wait_exponential_jitter

from verifier.outcomes import Outcome


class Where(enum.Enum):
    """Which provider the next try prefers."""

    ANY = "any"
    ANOTHER = "another, else the same"
    SAME_THEN_ANOTHER = "the same once, then another"


class Effect(enum.Enum):
    """What the outcome does to the provider's breaker."""

    FAILURE = "failure"
    SLOW_DOWN = "slow down"
    OPEN = "open"
    SUSPEND = "suspend"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table. ``reason`` is what a waiting verification shows."""

    counts: bool
    stop: stop_base
    wait: wait_base
    where: Where
    effect: Effect
    reason: str


_NEVER: Final = stop_after_attempt(1_000_000)

RULES: Final[dict[Outcome, Rule]] = {
    Outcome.TIMEOUT: Rule(
        counts=True,
        stop=stop_after_attempt(2),
        wait=wait_exponential_jitter(multiplier=60, max=600, jitter=30),
        where=Where.ANOTHER,
        effect=Effect.FAILURE,
        reason="timeout",
    ),
    Outcome.PROVIDER_ERROR: Rule(
        counts=True,
        stop=stop_after_attempt(4),
        wait=wait_exponential_jitter(multiplier=5, max=300, exp_base=4, jitter=5),
        where=Where.SAME_THEN_ANOTHER,
        effect=Effect.FAILURE,
        reason="retry",
    ),
    Outcome.NOT_SENT: Rule(
        counts=False,
        stop=_NEVER,
        wait=wait_exponential_jitter(multiplier=1, max=60, jitter=2),
        where=Where.ANY,
        effect=Effect.FAILURE,
        reason="not_sent",
    ),
    Outcome.RATE_LIMITED: Rule(
        counts=False,
        stop=_NEVER,
        wait=wait_random(1, 5),
        where=Where.ANY,
        effect=Effect.SLOW_DOWN,
        reason="rate_limited",
    ),
    Outcome.MAINTENANCE: Rule(
        counts=False,
        stop=_NEVER,
        wait=wait_none(),
        where=Where.ANY,
        effect=Effect.OPEN,
        reason="maintenance",
    ),
    Outcome.AUTH_CONFIG: Rule(
        counts=False,
        stop=_NEVER,
        wait=wait_none(),
        where=Where.ANY,
        effect=Effect.SUSPEND,
        reason="provider_suspended",
    ),
    Outcome.ARREARS: Rule(
        counts=False,
        stop=_NEVER,
        wait=wait_none(),
        where=Where.ANY,
        effect=Effect.SUSPEND,
        reason="provider_suspended",
    ),
}

#: Calls a day whose billing is unknown (TIMEOUT's cap).
MAYBE_BILLED_STOP: Final = RULES[Outcome.TIMEOUT].stop

#: Business days on which exhausted work goes on before it settles UNRESOLVED.
MOST_DAYS: Final = 7

#: Hours after which a number that was asked about too often may be asked about again.
NUMBER_LIMIT_HOURS: Final = 24


def _state(attempt: int) -> RetryCallState:
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = attempt
    return state


def seconds_until_next(wait: wait_base, attempt: int) -> float:
    """Seconds to wait after the ``attempt``-th failure (1-based), with jitter."""
    return float(wait(_state(attempt)))


def exhausted(stop: stop_base, attempts: int) -> bool:
    """Whether ``attempts`` made so far are all that the policy allows."""
    return bool(stop(_state(attempts)))
