"""Playing every part of the engine by hand, one step at a time, in any order.

A :class:`Player` is a worker whose calls are answered by the test: it claims, holds, gets answers
(late ones too), records (twice too) and dies by the engine's own functions, at the very boundary
between the engine and the threads that call. :data:`LAWS` are what must be true after every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Row, text

from verifier.carriers.base import Answer
from verifier.guidance import WaitingReason
from verifier.outcomes import Billed, Lane, Outcome
from verifier.store import claims, turns
from verifier.store.engine import engine, transaction
from verifier.verification.claim import claim
from verifier.verification.jobs import Called, Job, NotCalled, Uncalled
from verifier.verification.recording import Counts, flush
from verifier.verification.runtime import Runtime, new_token
from verifier.verification.standing import Standing

#: What a carrier may say, billed as the vendors document it.
ANSWERS: Final = (
    Answer(Outcome.MATCHED, None, Billed.YES),
    Answer(Outcome.MISMATCHED, "NAME", Billed.YES),
    Answer(Outcome.NO_RECORD, None, Billed.YES),
    Answer(Outcome.NO_RECORD, None, Billed.NO),
    Answer(Outcome.INVALID_INPUT, "NAME", Billed.NO),
    Answer(Outcome.INVALID_INPUT, "PARAM", Billed.NO),
    Answer(Outcome.UNSUPPORTED_NUMBER, None, Billed.NO),
    Answer(Outcome.NUMBER_INACTIVE, None, Billed.YES),
    Answer(Outcome.CONSENT_MISSING, None, Billed.NO),
    Answer(Outcome.TIMEOUT, None, Billed.MAYBE),
    Answer(Outcome.PROVIDER_ERROR, None, Billed.NO),
    Answer(Outcome.PROVIDER_ERROR, "BUG", Billed.MAYBE),
    Answer(Outcome.NOT_SENT, "REFUSED", Billed.NO),
    Answer(Outcome.RATE_LIMITED, "ACCOUNT_QPS", Billed.NO),
    Answer(Outcome.RATE_LIMITED, "NUMBER", Billed.NO),
    Answer(Outcome.RATE_LIMITED, "IDENTITY_DAY", Billed.NO),
    Answer(Outcome.MAINTENANCE, None, Billed.NO),
    Answer(Outcome.AUTH_CONFIG, None, Billed.NO),
    Answer(Outcome.ARREARS, None, Billed.NO),
)
MATCHED: Final = ANSWERS[0]


def says_something(outcome: Outcome, detail: str | None) -> bool:
    """Whether an answer is about the person, and not about us or the provider."""
    return outcome.is_result and not (outcome is Outcome.INVALID_INPUT and detail == "PARAM")


@dataclass
class Player:
    """One worker: its fencing token, calls in flight, and what it has not recorded yet."""

    runtime: Runtime
    token: int = field(default_factory=new_token)
    flying: list[Job] = field(default_factory=list)
    done: list[Called | Uncalled] = field(default_factory=list)
    recorded: list[Called | Uncalled] = field(default_factory=list)
    standing: Standing | None = None

    def claim_due(self, lane: Lane, want: int) -> int:
        return self._claim(lane, want, lambda c, limit: claims.lock_due(c, lane, limit))

    def claim_suspect(self, lane: Lane) -> int:
        return self._claim(lane, 1, lambda c, _: claims.lock_suspect(c, lane))

    def claim_one(self, verification: int) -> int:
        with transaction() as connection:
            lane = turns.lane_of(connection, verification)
        if lane is None:
            return 0
        return self._claim(lane, 1, lambda c, _: claims.lock_one(c, verification), "interactive")

    def _claim(
        self,
        lane: Lane,
        want: int,
        source: Callable[[Connection, int], Sequence[Row[Any]]],
        share: str = "batch",
    ) -> int:
        """Rows found, also those that were only postponed."""
        with transaction() as connection:
            claimed = claim(connection, self.runtime, lane, want, self.token, source, share)
        self.standing = claimed.standing or self.standing
        self.done += claimed.uncalled
        self.flying += claimed.jobs
        return claimed.found

    def hear(self, place: int, answer: Answer | NotCalled) -> None:
        """The call in flight at ``place`` ends so."""
        self.done.append(Called(self.flying.pop(place % len(self.flying)), answer, 1))

    def record(self, *, again: bool = False) -> frozenset[int]:
        """Flush; ``again``: also what the last flush wrote, as if its commit had gone unheard.

        Returns the users whose status this may change: held under the token until now, and a
        provider has said something about them.
        """
        todo = (self.recorded if again else []) + self.done
        with transaction() as connection:
            held = set(connection.scalars(_HELD, {"token": self.token}))
        flush(self.runtime, self.token, todo, self.standing, Counts())
        self.recorded, self.done = todo, []
        return frozenset(user for item in todo for user in _spoken_of(item) if user in held)

    def die(self) -> None:
        """Everything that was only in memory is gone."""
        self.token = new_token()
        self.flying, self.done, self.recorded = [], [], []


_HELD: Final = text("SELECT user_id FROM verifier.open_verifications WHERE token = :token")


def _spoken_of(item: Called | Uncalled) -> Sequence[int]:
    past, user = (
        (item.past, item.user_id)
        if isinstance(item, Uncalled)
        else (item.job.past, item.job.user_id)
    )
    said = [(p.outcome, p.detail) for p in past]
    if isinstance(item, Called) and isinstance(item.answer, Answer):
        said.append((item.answer.outcome, item.answer.detail))
    if isinstance(item, Uncalled) and item.settle is not None:
        said.append((Outcome.NO_RECORD, None))
    return [user] if any(says_something(*one) for one in said) else []


_DAY: Final = "CAST(a.started_at AT TIME ZONE 'Asia/Shanghai' AS date)"

_MAY_COST: Final = """(a.state IN ('started', 'lost')
    OR (a.state = 'completed' AND a.billed <> 'no'))"""

#: That the attempt ``a`` says what the row {0} ended with: by its result, or by what it found out
#: about the number.
_SAYS: Final = """(
    (a.purpose = 'verify' AND a.outcome = {0}.outcome AND {0}.detail IS DISTINCT FROM 'RECYCLED')
    OR ({0}.outcome = 'NUMBER_INACTIVE' AND a.purpose = 'status'
        AND a.fact IN ('CANCELLED', 'NOT_IN_NETWORK') AND {0}.detail = a.fact)
    OR ({0}.detail = 'RECYCLED' AND a.purpose = 'recycled' AND a.fact = 'CHANGED_HANDS')
    OR ({0}.outcome = 'UNSUPPORTED_NUMBER' AND a.purpose = 'carrier' AND a.carrier IS NOT NULL))"""

#: Law → a query for what breaks it. Each must find nothing, whatever has happened before.
LAWS: Final = {
    "one verdict a verification": """
        SELECT id FROM verifier.verifications GROUP BY id HAVING count(*) > 1
        UNION ALL SELECT id FROM verifier.verifications JOIN verifier.open_verifications USING (id)
    """,
    "only what a provider said about the present data settles a user": f"""
        SELECT u.id FROM verifier.users u WHERE u.outcome IS NOT NULL AND (
               (u.outcome = 'INVALID_INPUT' AND u.detail = 'PARAM') OR NOT EXISTS (
               SELECT FROM verifier.attempts a WHERE a.user_id = u.id AND a.state = 'completed'
                  AND a.data_version = u.version AND {_SAYS.format("u")}))
    """,  # noqa: S608 - constants only
    "a verification ends with what was said to it": f"""
        SELECT v.id FROM verifier.verifications v
         WHERE v.outcome NOT IN ('UNRESOLVED', 'CANCELLED') AND NOT EXISTS (
               SELECT FROM verifier.attempts a WHERE a.verification_id = v.id
                  AND a.data_version = v.data_version AND {_SAYS.format("v")})
    """,  # noqa: S608 - constants only
    "the account of a month is what its calls may cost": f"""
        SELECT coalesce(m.scope, c.scope) IS NULL FROM (
               SELECT 'month:' || to_char(a.started_at AT TIME ZONE 'Asia/Shanghai', 'YYYY-MM')
                      AS scope, sum(a.price) AS amount
                 FROM verifier.attempts a WHERE {_MAY_COST} AND a.price IS NOT NULL GROUP BY 1) c
          FULL JOIN (SELECT * FROM verifier.spending
                      WHERE starts_with(scope, 'month:')) m USING (scope)
         WHERE coalesce(m.amount, 0) <> coalesce(c.amount, 0)
    """,  # noqa: S608 - constants only
    "the account of a batch is what the calls it pays for may cost": f"""
        SELECT coalesce(b.scope, c.scope) IS NULL FROM (
               SELECT 'batch:' || a.payer AS scope, sum(a.price) AS amount
                 FROM verifier.attempts a
                WHERE {_MAY_COST} AND a.price IS NOT NULL AND a.payer IS NOT NULL GROUP BY 1) c
          FULL JOIN (SELECT * FROM verifier.spending
                      WHERE starts_with(scope, 'batch:')) b USING (scope)
         WHERE coalesce(b.amount, 0) <> coalesce(c.amount, 0)
    """,  # noqa: S608 - constants only
    "no batch passes its budget": """
        SELECT b.id FROM verifier.batches b JOIN verifier.spending s ON s.scope = 'batch:' || b.id
         WHERE s.amount > b.budget
    """,
    "only a batch with a budget is a payer": """
        SELECT o.id FROM verifier.open_verifications o JOIN verifier.batches b ON b.id = o.payer
         WHERE b.budget IS NULL
    """,
    "who is cancelled pays for nothing that others want": """
        SELECT o.id FROM verifier.open_verifications o JOIN verifier.batches p ON p.id = o.payer
          JOIN verifier.batch_items i ON i.verification_id = o.id
          JOIN verifier.batches b ON b.id = i.batch_id
         WHERE p.cancelled_at IS NOT NULL AND b.cancelled_at IS NULL AND b.paused_at IS NULL
           AND o.priority > 0
    """,
    "a running batch with a budget pays for what no other running one has": """
        SELECT o.id FROM verifier.open_verifications o
          JOIN verifier.batch_items i ON i.verification_id = o.id
          JOIN verifier.batches b ON b.id = i.batch_id
         WHERE o.payer IS NULL AND o.priority > 0
           AND b.paused_at IS NULL AND b.cancelled_at IS NULL
         GROUP BY o.id HAVING bool_and(b.budget IS NOT NULL)
    """,
    "every check that may have been made has used its cap": f"""
        SELECT c.used IS NULL FROM (
               SELECT a.purpose, {_DAY} AS day, count(*) AS number FROM verifier.attempts a
                WHERE a.purpose <> 'verify' AND a.state <> 'released' GROUP BY 1, 2) made
          LEFT JOIN verifier.check_uses c ON c.check_name = made.purpose AND c.day = made.day
         WHERE made.number > coalesce(c.used, 0)
    """,  # noqa: S608 - constants only
    "at most two calls that cost money a person and day": f"""
        SELECT min(a.id) FROM verifier.attempts a JOIN verifier.users u ON u.id = a.user_id
         WHERE a.purpose = 'verify' AND (a.state IN ('started', 'lost')
               OR (a.state = 'completed' AND a.billed <> 'no'))
         GROUP BY u.id_number_index, {_DAY} HAVING count(*) > 2
    """,  # noqa: S608 - constants only
    "nobody is dropped from a batch": """
        SELECT i.batch_id FROM verifier.batch_items i
          JOIN verifier.batches b ON b.id = i.batch_id
         WHERE b.state <> 'loading'
           AND NOT EXISTS (SELECT FROM verifier.open_verifications o
                            WHERE o.id = i.verification_id AND o.user_id = i.user_id)
           AND NOT EXISTS (SELECT FROM verifier.verifications v
                            WHERE v.id = i.verification_id AND v.user_id = i.user_id)
    """,
    "tallies are what the items say": """
        SELECT coalesce(t.batch_id, s.batch_id) FROM (
               SELECT batch_id, outcome, sum(count) AS number FROM verifier.batch_tallies
                GROUP BY batch_id, outcome) t
          FULL JOIN (
               SELECT i.batch_id, v.outcome, count(*) AS number FROM verifier.batch_items i
                 JOIN verifier.verifications v ON v.id = i.verification_id
                GROUP BY i.batch_id, v.outcome) s USING (batch_id, outcome)
         WHERE t.number IS DISTINCT FROM s.number
    """,
    "no batch ends early": """
        SELECT b.id FROM verifier.batches b WHERE b.state = 'done' AND (
               b.total <> (SELECT count(*) FROM verifier.batch_items i WHERE i.batch_id = b.id)
               OR EXISTS (SELECT FROM verifier.batch_items i WHERE i.batch_id = b.id
                  AND NOT EXISTS (
                      SELECT FROM verifier.verifications v WHERE v.id = i.verification_id)))
    """,
    "what is open says why, and when it is due": f"""
        SELECT w.id FROM verifier.waiting w
         WHERE coalesce(w.cause, '') NOT IN {tuple(map(str, WaitingReason))}
            OR w.due_at > w.now + interval '2 days'
            OR (w.state = 'waiting' AND w.due_at > w.now AND w.cause <> 'paused'
                AND (w.cause = 'new' OR w.until IS DISTINCT FROM w.due_at))
    """,  # noqa: S608 - constants only
    "no call is written down as under way that nobody makes": """
        SELECT a.id FROM verifier.attempts a WHERE a.state = 'started' AND NOT EXISTS (
               SELECT FROM verifier.open_verifications o
                WHERE o.attempt_id = a.id AND o.state = 'claimed')
    """,
    "a billed slot for every call that may cost money, and for no other": f"""
        SELECT coalesce(s.number, c.number) FROM (
               SELECT person, day, count(*) AS number FROM verifier.billed_slots
                GROUP BY person, day) s
          FULL JOIN (
               SELECT u.id_number_index AS person, {_DAY} AS day, count(*) AS number
                 FROM verifier.attempts a JOIN verifier.users u ON u.id = a.user_id
                WHERE a.purpose = 'verify' AND (a.state IN ('started', 'lost')
                      OR (a.state = 'completed' AND a.billed <> 'no'))
                GROUP BY 1, 2) c USING (person, day)
         WHERE s.number IS DISTINCT FROM c.number
    """,  # noqa: S608 - constants only
}

#: Calls that spent one of the day's attempts, by verification, data version and day.
SPENT: Final = f"""
    SELECT a.verification_id AS id, count(*) AS spent FROM verifier.attempts a
     WHERE a.purpose = 'verify'
       AND (a.state IN ('started', 'lost') OR a.outcome IN ('PROVIDER_ERROR', 'TIMEOUT')
            OR (a.outcome = 'INVALID_INPUT' AND a.detail = 'PARAM'))
     GROUP BY a.verification_id, a.data_version, {_DAY} HAVING count(*) > 4
"""  # noqa: S608 - constants only

_BROKEN: Final = " UNION ALL ".join(
    f"SELECT CAST('{law}' AS text) AS law FROM ({query}) AS broken"  # noqa: S608
    for law, query in LAWS.items()
)


class Court:
    """Looks at all laws at once. It has a connection of its own on which the question is prepared:
    to plan it costs far more than to ask it."""

    def __init__(self) -> None:
        self._connection = engine().connect().execution_options(isolation_level="AUTOCOMMIT")
        self._connection.exec_driver_sql(f"PREPARE laws AS {_BROKEN}")

    def broken(self) -> set[str]:
        """The names of the laws that do not hold now."""
        return set(self._connection.exec_driver_sql("EXECUTE laws").scalars())

    def close(self) -> None:
        self._connection.exec_driver_sql("DEALLOCATE laws")
        self._connection.close()


@contextmanager
def court() -> Iterator[Court]:
    """For the length of a test."""
    sitting = Court()
    try:
        yield sitting
    finally:
        sitting.close()
