"""The audit's tests live in the world of the reminders'."""

from __future__ import annotations

from tests.reminders.conftest import world

__all__ = ["world"]
