"""Users in, and a million of them submitted: what it takes before the first call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from benchmarks.stage import Command, Run, Stage, say, unique

#: Users really imported before the others are made as copies of them, in SQL: what a submission
#: takes does not depend on what the ciphertext says.
_ORIGINALS: Final = 5_000
_NOWHERE: Final = "http://127.0.0.1:9"

_COPY: Final = """
    INSERT INTO verifier.users (platform, reference, phone, name, name_raw, id_number, email,
           push_token, phone_index, id_number_index, identity_digest, contact_digest, lane,
           province, birth_decade, locale, time_zone, bound_at, consent_at)
    SELECT platform, reference || '-' || to_hex(copy), phone, name, name_raw, id_number, email,
           push_token, phone_index, id_number_index, identity_digest, contact_digest, lane,
           province, birth_decade, locale, time_zone, bound_at, consent_at
      FROM verifier.users CROSS JOIN generate_series(2, %s) AS copy
"""
_FORGET: Final = """
    TRUNCATE verifier.batches, verifier.batch_items, verifier.batch_tallies,
             verifier.open_verifications, verifier.verifications, verifier.attempts
"""


@dataclass(frozen=True, slots=True)
class Took:
    """One command over ``number`` rows: its own CPU and PostgreSQL's, and wall time, in seconds."""

    number: int
    cpu: float
    postgres_cpu: float
    wall: float

    @property
    def rate(self) -> float:
        """Rows a second of wall time."""
        return self.number / self.wall

    @property
    def cpu_rate(self) -> float:
        """Rows a second of the command's own CPU."""
        return self.number / self.cpu

    def as_dict(self) -> dict[str, Any]:
        return {
            "rows": self.number,
            "wall_seconds": round(self.wall, 2),
            "cpu_seconds": round(self.cpu, 2),
            "postgres_cpu_seconds": round(self.postgres_cpu, 2),
            "rows_per_second": round(self.rate),
            "rows_per_cpu_second": round(self.cpu_rate),
        }


def measure_import(stage: Stage, users: int) -> Took:
    """``verifier user import`` of a CSV file with every column, into an empty database."""
    run = stage.new_run(_NOWHERE)
    run.verifier("db", "upgrade")
    file = stage.people(users)
    run.settle_down()
    say(f"import: {users:,} people")
    return _timed(run, users, "user", "import", file)


def measure_submit(stage: Stage, users: int) -> tuple[Took, Took]:
    """``verifier verify submit`` of everybody, then of a list of everybody."""
    run = stage.new_run(_NOWHERE)
    run.verifier("db", "upgrade")
    copies = -(-users // _ORIGINALS)
    run.verifier("user", "import", stage.people(_ORIGINALS))
    run.ask(_COPY, copies)
    run.settle_down()
    number = _ORIGINALS * copies
    say(f"submit: {number:,} users, by selection and by list")
    listed = run.listed()
    everybody = _timed(run, number, "verify", "submit", "--all", "--key", unique("all"))
    _forget(run)
    by_list = _timed(run, number, "verify", "submit", "--from", listed, "--key", unique("list"))
    return everybody, by_list


def _forget(run: Run) -> None:
    run.ask(_FORGET)
    run.settle_down()


def _timed(run: Run, number: int, *arguments: Any) -> Took:
    before = run.stage.postgres_cpu()
    done: Command = run.verifier(*arguments)
    return Took(number, done.cpu, run.stage.postgres_cpu() - before, done.wall)
