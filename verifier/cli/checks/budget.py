"""The connection budget: how many connections to PostgreSQL the processes of a host may open.

A worker's parent and the beat have none, each child of a worker has one, a command or a service
that uses ``verifier.client`` has a small pool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from verifier.local.processes import WORKERS
from verifier.store.engine import OVERFLOW, POOL_SIZE

#: Process of the Procfile → its connections at most.
PER_PROCESS: Final = {name: children for name, (_, children) in WORKERS.items()}
PER_HOST: Final = sum(PER_PROCESS.values())
#: Of each command, and of each process of another service that imports the client.
PER_CLIENT: Final = POOL_SIZE + OVERFLOW

#: Two hosts during a deployment, one command, one process of another service.
WANTED: Final = 2 * PER_HOST + 2 * PER_CLIENT


@dataclass(frozen=True, slots=True)
class Budget:
    """``allowed``: what the server lets us have; ``others``: what somebody else uses of it."""

    allowed: int
    others: int

    @property
    def room(self) -> int:
        """What is left for us, whatever we have open now."""
        return max(0, self.allowed - self.others)

    @property
    def fits(self) -> bool:
        """Whether two hosts, an operator and a service fit at once."""
        return self.room >= WANTED

    @property
    def suffices(self) -> bool:
        """Whether one host fits, and a command beside it: with less, work fails."""
        return self.room >= PER_HOST + PER_CLIENT

    @property
    def hosts(self) -> int:
        """How many hosts fit beside an operator and a service."""
        return max(0, self.room - 2 * PER_CLIENT) // PER_HOST


def told() -> str:
    """The needs of one host, in words."""
    each = ", ".join(f"{name} {number}" for name, number in PER_PROCESS.items())
    return (
        f"a host of the Procfile opens at most {PER_HOST} ({each}, beat 0), "
        f"each command or client process {PER_CLIENT}"
    )
