"""What is measured of a contestant, the same for each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchmarks.processes import cpu_seconds
from benchmarks.stage import Run
from benchmarks.stub import Count


@dataclass(frozen=True, slots=True)
class Reading:
    """Seconds of CPU and transactions used until now."""

    worker: float
    others: float
    postgres: float
    transactions: int

    @classmethod
    def take(cls, run: Run, worker: int, *others: int) -> Reading:
        return cls(
            cpu_seconds(worker),
            sum(map(cpu_seconds, others)),
            run.stage.postgres_cpu(),
            run.transactions(),
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """One run over ``users``. ``seconds``: from the first answer of the carrier to the last."""

    users: int
    calls: int
    seconds: float
    worker_ms: float
    others_ms: float
    postgres_ms: float
    transactions: float
    #: (users done, MiB of the largest pool process)
    memory: list[tuple[int, float]] = field(default_factory=list)

    @classmethod
    def between(
        cls,
        before: Reading,
        after: Reading,
        users: int,
        seen: Count,
        memory: list[tuple[int, float]] | None = None,
    ) -> Measured:
        return cls(
            users=users,
            calls=seen.calls,
            seconds=seen.seconds,
            worker_ms=1000 * (after.worker - before.worker) / users,
            others_ms=1000 * (after.others - before.others) / users,
            postgres_ms=1000 * (after.postgres - before.postgres) / users,
            transactions=(after.transactions - before.transactions) / users,
            memory=memory or [],
        )

    @property
    def rate(self) -> float:
        return self.users / self.seconds

    def as_dict(self) -> dict[str, Any]:
        return {
            "users": self.users,
            "calls": self.calls,
            "users_per_second": round(self.rate, 1),
            "worker_cpu_ms_per_user": round(self.worker_ms, 4),
            "control_and_beat_cpu_ms_per_user": round(self.others_ms, 4),
            "postgres_cpu_ms_per_user": round(self.postgres_ms, 4),
            "transactions_per_user": round(self.transactions, 5),
            "memory_mib_by_users_done": self.memory,
        }
