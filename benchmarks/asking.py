"""A backend service's process: verifies users one by one, and tells how long each took.

Reads (platform, reference) pairs as JSON from standard input; writes, for each, the milliseconds
that the caller waited and those that the carrier took.
"""

from __future__ import annotations

import json
import sys
import time

from verifier import client
from verifier.store import users
from verifier.store.engine import transaction


def ask(platform: str, reference: str) -> tuple[float, float]:
    began = time.perf_counter()
    state = client.verify_one(reference, platform=platform, timeout=30)
    waited = 1000 * (time.perf_counter() - began)
    if state.state != "settled":
        raise RuntimeError(f"{reference} waits after {waited:.0f} ms: {state.reason}")
    with transaction() as connection:
        user = users.find(connection, platform, reference)
        attempts = users.attempts_of(connection, user.id) if user is not None else []
    return waited, float(attempts[0].milliseconds)


def main() -> None:
    asked = json.load(sys.stdin)
    ask(*asked.pop())  # the process has its connections now
    json.dump([ask(platform, reference) for platform, reference in asked], sys.stdout)


if __name__ == "__main__":
    main()
