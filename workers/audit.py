"""The nightly audit. Guarded by a unique row a night; a tick that comes too often does nothing."""

from __future__ import annotations

from typing import Any

from verifier.audit import nightly
from verifier.clock import parse_time
from workers.app import app


@app.task(name="verifier.audit.run")
def run(at: str | None = None, **_newer: Any) -> dict[str, Any]:
    """Run tonight's audit if it is due (``at``: the timetable's hour) and nobody has run it."""
    return nightly.tick(parse_time(at) if at else None)
