"""The job as a Celery tutorial would do it: a task, a ``requests.post`` and a commit per user.

It signs like the product (TC3) and keeps the vendor's request id. It does not encrypt, fence,
record attempts, pace, survive a lost message or a wiped broker, or keep two requests for one user
apart. Settings are Celery's defaults.
"""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from typing import Any

import requests
from celery import Celery
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential

from verifier.signing import tc3

app = Celery("tutorial", broker=os.environ.get("TUTORIAL_BROKER_URL"))
engine = create_engine(os.environ.get("TUTORIAL_DATABASE_URL", "postgresql+psycopg2://"))


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    phone: Mapped[str]
    name: Mapped[str]
    id_number: Mapped[str]
    status: Mapped[str] = mapped_column(default="unverified")
    request_id: Mapped[str | None]
    checked_at: Mapped[datetime | None]


@app.task
def verify(user_id: int) -> None:
    with Session(engine) as session:
        user = session.get_one(User, user_id)
        response = ask(user)
        user.status = "verified" if response["Result"] == "0" else "failed"
        user.request_id = response["RequestId"]
        user.checked_at = datetime.now(UTC).replace(tzinfo=None)
        session.commit()


@retry(
    stop=stop_after_attempt(3),
    wait=wait_exponential(),
    retry=retry_if_exception_type(requests.RequestException),
)
def ask(user: User) -> dict[str, Any]:
    body = json.dumps({"IdCard": user.id_number, "Name": user.name, "Phone": user.phone}).encode()
    url = os.environ["TUTORIAL_CARRIER_URL"]
    timestamp = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "X-TC-Action": "PhoneVerification",
        "X-TC-Version": "2018-03-01",
        "X-TC-Timestamp": str(timestamp),
        "Authorization": tc3.authorization(
            secret_id=os.environ["BENCH_SECRET_ID"],
            secret_key=os.environ["BENCH_SECRET_KEY"],
            service="faceid",
            host=url.removeprefix("http://"),
            content_type="application/json",
            body=body,
            timestamp=timestamp,
        ),
    }
    response = requests.post(url, data=body, headers=headers, timeout=8)
    response.raise_for_status()
    answer: dict[str, Any] = response.json()["Response"]
    return answer
