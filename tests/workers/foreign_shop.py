"""Somebody else's Celery application: its task writes down what it was told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from celery import Celery, Task

app = Celery("shop", broker=os.environ["VERIFIER_BROKER_URL"], set_as_current=False)
app.conf.update(
    broker_transport_options={"global_keyprefix": "vp:"},
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
)


@app.task(name="shop.on_verified", bind=True)
def on_verified(self: Task[Any, Any], /, **told: Any) -> None:
    with Path(os.environ["SHOP_TOLD"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps({**told, "task_id": self.request.id}) + "\n")
