"""A product with receivers of webhooks, and verifications that settle as a flush settles them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.cli.settling import settle_all
from tests.engine.conftest import forget
from tests.feed import until_shown
from tests.intake.people import rows
from tests.notify.receiving import Receiver
from verifier import client
from verifier.notify import runtime
from verifier.notify.dispatch import dispatch
from verifier.store import batches, clock, demo
from verifier.store.engine import transaction


class Office:
    """Users who settle at a word, receivers, and the dispatcher in this process."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._home = home
        self._monkeypatch = monkeypatch
        self._stack = contextlib.ExitStack()
        self._blocks: dict[str, str] = {}

    def receiver(
        self, name: str = "shop", receiver: Receiver | None = None, **keys: Any
    ) -> Receiver:
        """A receiver and its ``[webhooks.NAME]``; ``keys`` go into the table as they are."""
        made = self._stack.enter_context(receiver or Receiver())
        self._monkeypatch.setenv(f"SECRET_OF_{name}", made.secret)
        table = {"url": made.url, "secret": f"env:SECRET_OF_{name}", "timeout": 1, **keys}
        self.table(f"webhooks.{name}", table)
        return made

    def table(self, name: str, keys: dict[str, Any]) -> None:
        """Write a table of the configuration, and begin anew with it."""
        lines = [f"{key} = {_toml(value)}" for key, value in keys.items()]
        self._blocks[name] = "\n".join([f"[{name}]", *lines, ""])
        self.configure()

    def remove(self, name: str) -> None:
        del self._blocks[name]
        self.configure()

    def configure(self) -> None:
        path = self._home / "verifier.toml"
        path.write_text("\n".join(self._blocks.values()), "utf-8")
        forget()
        runtime.reset()
        runtime.runtime()

    def batch(self, number: int = 3, seed: int = 1, **request: Any) -> int:
        """Submit so many new people; they wait."""
        people = [{**row, "platform": "default"} for row in rows(number, seed)]
        assert client.put_users(people).rejected_count == 0
        references = [row["reference"] for row in people]
        submitted = client.submit(references, caller="t", key=f"k{seed}", **request)
        assert submitted.total == number
        return submitted.batch

    def settle(
        self, outcome: Callable[[str], str] = lambda _: "MATCHED", *, shown: bool = True
    ) -> int:
        """Settle whatever waits, and finish batches as a sweep does. ``shown``: also wait until
        the feed shows it."""
        settled = settle_all(outcome)
        with transaction() as connection:
            batches.finish_completed(connection)
        if shown:
            until_shown()
        return settled

    def dispatch(self, stopping: Callable[[], bool] = lambda: False) -> dict[str, int]:
        return dispatch(stopping)

    def later(self, **delta: float) -> None:
        with transaction() as connection:
            clock.move_to(connection, clock.now(connection) + timedelta(**delta))

    def rows(self, sql: str, **parameters: Any) -> Sequence[Any]:
        with transaction() as connection:
            return connection.execute(text(sql), parameters).all()

    def deliveries(self, endpoint: str = "shop") -> Sequence[Any]:
        return self.rows(
            "SELECT * FROM verifier.deliveries WHERE endpoint = :endpoint ORDER BY id",
            endpoint=endpoint,
        )

    def endpoint(self, name: str = "shop") -> Any:
        (row,) = self.rows("SELECT * FROM verifier.endpoints WHERE name = :name", name=name)
        return row

    def close(self) -> None:
        self._stack.close()


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


@pytest.fixture
def office(product: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    forget()
    with transaction() as connection:
        demo.wipe(connection)
    made = Office(product, monkeypatch)
    yield made
    made.close()
    forget()
    runtime.reset()
