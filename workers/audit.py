"""The nightly audit. Guarded by a unique row a night; a tick that comes too often does nothing."""

from __future__ import annotations

from typing import Any

from verifier.audit import nightly
from workers.app import app


@app.task(name="verifier.audit.run")
def run(**_newer: Any) -> dict[str, Any]:
    """Run tonight's audit if it is due and nobody has run it."""
    return nightly.tick()
