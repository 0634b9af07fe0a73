"""Why work waits is derived in one place, from its own row, its lane and the global stop."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from verifier.guidance import WaitingReason
from verifier.outcomes import Lane
from verifier.store import clock, demo, lanes, operations, users, waiting
from verifier.store.engine import transaction

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SOON = NOW + timedelta(hours=1)
LATER = NOW + timedelta(hours=2)
PAST = NOW - timedelta(hours=1)

STOP = "UPDATE verifier.control SET stopped_at = now()"
PAUSE = "UPDATE verifier.lanes SET paused_at = now() WHERE lane = 'cmcc'"
PAUSE_ANOTHER = "UPDATE verifier.lanes SET paused_at = now() WHERE lane = 'cucc'"
CLOSE = """UPDATE verifier.lanes SET not_before = '2030-01-01 01:00+00',
                  not_before_reason = 'maintenance' WHERE lane = 'cmcc'"""
CLOSE_UNSAID = "UPDATE verifier.lanes SET not_before = '2030-01-01 01:00+00' WHERE lane = 'cmcc'"
REOPENED = CLOSE.replace("2030", "2029")


@pytest.fixture(autouse=True)
def user(product: Path) -> int:
    """A user of lane cmcc, in an empty house where it is about :data:`NOW`."""
    with transaction() as connection:
        demo.wipe(connection)
        operations.start(connection)
        for lane in Lane:
            lanes.resume(connection, lane)
        clock.move_to(connection, NOW)
        found: int = connection.execute(
            text("""
                INSERT INTO verifier.users (platform, reference, phone, name, id_number,
                       phone_index, id_number_index, identity_digest, contact_digest, lane)
                VALUES ('p', 'u', '', '', '', '', '', '', '', 'cmcc') RETURNING id
            """)
        ).scalar_one()
        return found


def open_for(
    user: int,
    *statements: str,
    state: str = "waiting",
    held: bool = False,
    due_at: datetime = PAST,
    reason: str = "retry",
) -> None:
    claimed = state == "claimed"
    with transaction() as connection:
        connection.execute(
            text("""
                INSERT INTO verifier.open_verifications (user_id, lane, state, priority, due_at,
                       turn_at, reason, deadline_at, held, token, lease_until)
                VALUES (:user, 'cmcc', :state, 2, :due, :due, :reason, :past, :held, :token, :lease)
            """),
            {
                "user": user,
                "state": state,
                "due": due_at,
                "reason": reason,
                "past": PAST,
                "held": held,
                "token": 1 if claimed else None,
                "lease": LATER if claimed else None,
            },
        )
        for statement in statements:
            connection.execute(text(statement))


@pytest.mark.parametrize(
    ("statements", "row", "cause", "until"),
    [
        ((), {}, "retry", None),
        ((), {"due_at": LATER}, "retry", LATER),
        ((), {"held": True}, "paused", None),
        ((), {"held": True, "due_at": LATER}, "paused", None),
        ((STOP,), {}, "paused", None),
        ((STOP,), {"due_at": LATER}, "paused", None),
        ((PAUSE,), {}, "paused", None),
        ((PAUSE, CLOSE), {}, "paused", None),
        ((PAUSE_ANOTHER,), {}, "retry", None),
        ((CLOSE,), {}, "maintenance", SOON),
        ((CLOSE_UNSAID,), {}, "provider_down", SOON),
        ((CLOSE,), {"due_at": LATER}, "retry", LATER),
        ((REOPENED,), {}, "retry", None),
        ((STOP, PAUSE, CLOSE), {"state": "quarantined"}, "quarantined", None),
        ((STOP, PAUSE, CLOSE), {"state": "claimed", "held": True}, "retry", None),
    ],
)
def test_everybody_is_told_the_same_cause_and_time(
    user: int,
    statements: tuple[str, ...],
    row: dict[str, object],
    cause: str,
    until: datetime | None,
) -> None:
    open_for(user, *statements, **row)  # type: ignore[arg-type]
    with transaction() as connection:
        found = users.find(connection, "p", "u")
        (lane,) = waiting.by_lane(connection)
        (late,) = waiting.overdue(connection, 10)
        (counted,) = waiting.overdue_by_cause(connection)
    assert found is not None
    assert (found.cause, found.until) == (cause, until)
    assert (lane.lane, lane.cause, lane.number, lane.until) == ("cmcc", cause, 1, until)
    assert (late.cause, late.until) == (cause, until)
    assert (counted.cause, counted.number, counted.oldest) == (cause, 1, PAST)
    WaitingReason(cause)  # one that a person can be told


def test_what_is_due_by_its_own_time_is_counted_so_whatever_the_lane_waits_for(user: int) -> None:
    open_for(user, CLOSE)
    with transaction() as connection:
        assert [row.due for row in waiting.by_lane(connection)] == [1]
        connection.execute(text("UPDATE verifier.open_verifications SET due_at = :l"), {"l": LATER})
        assert [row.due for row in waiting.by_lane(connection)] == [0]


def test_the_lane_is_that_of_the_work_not_of_the_number_changed_since(user: int) -> None:
    open_for(user)
    with transaction() as connection:
        connection.execute(text("UPDATE verifier.users SET lane = 'cucc'"))
        lanes.pause(connection, Lane.CUCC, by="op", reason=None)
        assert [(row.lane, row.cause) for row in waiting.by_lane(connection)] == [("cmcc", "retry")]
        found = users.find(connection, "p", "u")
        assert found is not None
        assert found.cause == "retry"


def test_a_user_with_nothing_open_waits_for_nothing() -> None:
    with transaction() as connection:
        operations.stop(connection, by="op", reason=None)
        found = users.find(connection, "p", "u")
    assert found is not None
    assert (found.verification_id, found.cause, found.until) == (None, None, None)
