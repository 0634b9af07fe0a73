"""A vendor's rate limit: so many requests in any one second."""

from __future__ import annotations

from collections import deque


class RateWindow:
    """Sliding window of a second (or longer, when the rate is below one a second)."""

    def __init__(self, per_second: float) -> None:
        self._size = max(1, int(per_second))
        self._span = self._size / per_second
        self._taken: deque[float] = deque(maxlen=self._size)

    def allows(self, now: float) -> bool:
        """Whether one more request fits at ``now`` (monotonic seconds); if so it is counted."""
        if len(self._taken) == self._size and now - self._taken[0] < self._span:
            return False
        self._taken.append(now)
        return True

    def remaining(self, now: float) -> int:
        """How many more would fit now."""
        return self._size - sum(1 for at in self._taken if now - at < self._span)
