"""Queue ``notify``: what others are told. Its worker process serves nothing else.

============================  ======================================  ==========================
task                          what it does                            retry policy
============================  ======================================  ==========================
``verifier.notify.dispatch``  sends webhooks and callers' tasks       ``verifier.notify.policy``
============================  ======================================  ==========================
"""

from __future__ import annotations

from typing import Any

from verifier.notify.dispatch import dispatch as dispatch_due
from workers.app import app
from workers.shutdown import drain_flag


@app.task(name="verifier.notify.dispatch")
def dispatch(**_newer: Any) -> dict[str, int]:
    """Cut what settled into deliveries, and send what is due."""
    return dispatch_due(drain_flag)
