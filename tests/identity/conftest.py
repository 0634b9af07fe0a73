"""Property tests without a deadline: the box is shared, and slowness is not what they look for."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
