"""``queue why``: the strongest cause is told, with its remedy and its end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from verifier.cli.why import Group, LaneStanding, ProviderStanding, as_object, why

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=30)
UP = ProviderStanding("a", "closed", True, None, None)
HELD = Group("waiting", "paused", 30, 0, 0, None)
CALLED = Group("claimed", "new", 1, 0, 0, None)
DOWN = ProviderStanding("b", "open", False, "maintenance", LATER)
SUSPENDED = ProviderStanding("c", "suspended", False, "ARREARS", None)
DUE = Group("waiting", "new", 5, 5, 0, None)
CLOSED = Group("waiting", "maintenance", 4, 4, 0, LATER)
NOT_DUE = Group("waiting", "next_day", 7, 0, 0, LATER)

PAUSED = ProviderStanding("d", "paused", False, "paused by me", None)
STOPPED = Group("waiting", "paused", 2, 2, 0, None)

LANE = LaneStanding(
    lane="cmcc",
    stopped_by=None,
    stop_reason=None,
    paused_by=None,
    pause_reason=None,
    draining=0,
    worker_seen=True,
    any_provider=True,
    providers=(UP,),
    groups=(DUE,),
)


@pytest.mark.parametrize(
    ("lane", "cause", "until"),
    [
        (LANE, "working", None),
        (replace(LANE, groups=()), "idle", None),
        (replace(LANE, worker_seen=False), "no_worker", None),
        (replace(LANE, worker_seen=False, groups=(NOT_DUE,)), "next_day", LATER),
        (replace(LANE, groups=(NOT_DUE, Group("waiting", "retry", 1, 0, 0, NOW))), "next_day",
         LATER),
        (replace(LANE, groups=(NOT_DUE, CLOSED)), "maintenance", LATER),
        (replace(LANE, groups=(NOT_DUE, STOPPED), providers=(PAUSED,)), "paused", None),
        (replace(LANE, groups=(CALLED,)), "working", None),
        (replace(LANE, groups=(Group("quarantined", "quarantined", 1, 0, 0, None),)),
         "quarantined", None),
        (replace(LANE, groups=(HELD,)), "paused", None),
        (replace(LANE, groups=(HELD, NOT_DUE)), "next_day", LATER),
        (replace(LANE, groups=(HELD, DUE)), "working", None),
        (replace(LANE, groups=(CLOSED,)), "maintenance", LATER),
        (replace(LANE, groups=(CLOSED, CALLED)), "maintenance", LATER),
        (replace(LANE, groups=(NOT_DUE, CALLED)), "working", None),
        (replace(LANE, groups=(NOT_DUE,), providers=(DOWN,)), "next_day", LATER),
        (replace(LANE, groups=(CLOSED,), providers=(DOWN,)), "maintenance", LATER),
        (replace(LANE, providers=(DOWN,)), "provider_down", LATER),
        (replace(LANE, providers=(DOWN, UP)), "working", None),
        (replace(LANE, providers=(SUSPENDED,)), "provider_down", None),
        (replace(LANE, providers=()), "working", None),
        (replace(LANE, providers=(), any_provider=False), "no_provider", None),
        (replace(LANE, providers=(DOWN,), paused_by="me"), "paused", None),
        (replace(LANE, paused_by="me", stopped_by="you"), "stopped", None),
    ],
)  # fmt: skip
def test_the_strongest_cause_is_told(
    lane: LaneStanding, cause: str, until: datetime | None
) -> None:
    found = why(lane)
    assert (found.cause, found.until) == (cause, until)


def test_a_provider_that_only_an_operator_can_bring_back_has_its_remedy() -> None:
    assert why(replace(LANE, providers=(SUSPENDED,))).fix == "`verifier provider resume c`"
    assert why(replace(LANE, providers=(DOWN, SUSPENDED))).fix is None


def test_providers_that_are_paused_are_no_batches_that_are() -> None:
    found = why(replace(LANE, groups=(NOT_DUE, STOPPED), providers=(PAUSED,)))
    assert found.text == "no provider of the lane can be asked (d: paused by me)"
    assert found.fix == "`verifier provider resume d`"


def test_a_closed_lane_names_the_providers_that_cannot_be_asked() -> None:
    text = why(replace(LANE, groups=(CLOSED,), providers=(DOWN,))).text
    assert text == "no provider of the lane can be asked (b: maintenance)"
    assert why(replace(LANE, groups=(CLOSED,))).text == "the lane waits (maintenance)"


def test_a_lane_is_counted_over_its_groups() -> None:
    view = as_object(replace(LANE, groups=(DUE, NOT_DUE)))
    assert (view["open"], view["due"], view["overdue"]) == (12, 5, 0)
