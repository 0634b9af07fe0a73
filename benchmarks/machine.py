"""How fast this machine is just now, told by a piece of work that nobody here can make faster.

The promises in absolute time were set on a 2-core machine of 3.8 GHz on which one
``requests.Session.post`` to a stub cost 620 µs of CPU. Shared machines are slower, by another
factor from one minute to the next, so the same post is measured here before and after the parts.
"""

from __future__ import annotations

import time
from typing import Final

import requests

from benchmarks import stub

#: Microseconds of CPU that a post took where the promises were set.
REFERENCE: Final = 620.0
_POSTS: Final = 400


def yardstick() -> float:
    """Microseconds of CPU that ``Session.post`` takes here and now."""
    with stub.running(0.0) as carrier, requests.Session() as session:
        for _ in range(_POSTS // 4):
            session.post(carrier.url, json={"Phone": "0"}, timeout=5)
        began = time.thread_time()
        for _ in range(_POSTS):
            session.post(carrier.url, json={"Phone": "0"}, timeout=5)
        return 1e6 * (time.thread_time() - began) / _POSTS
