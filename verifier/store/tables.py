"""The tables. States and uniqueness are constraints here, not habits of the code.

Open work lives in the small hot table ``open_verifications`` (one row a user: the primary key *is*
the rule that a user has at most one). Settled verifications and attempts are append-only history,
partitioned by month. Times are UTC; columns compared with leases hold the raw database clock and
are named ``lease_until``, ``expires_at`` or ``probe_until``; all others hold ``verifier_now()``.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Sequence,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP, UUID
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

from verifier.events import Event
from verifier.guidance import WaitingReason
from verifier.outcomes import RESULTS, UNRESOLVED, Billed, Check, Fact, Lane, Outcome

SCHEMA = "verifier"

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    },
)


class Xid8(UserDefinedType[int]):
    """A 64-bit transaction id, for the commit-safe feed."""

    cache_ok = True

    def get_col_spec(self, **_kw: Any) -> str:
        return "xid8"


ischema_names["xid8"] = Xid8


def _instant(name: str, **kw: Any) -> Column[Any]:
    return Column(name, TIMESTAMP(timezone=True), **kw)


def _now(name: str) -> Column[Any]:
    return _instant(name, nullable=False, server_default=text("verifier.verifier_now()"))


def _one_of(column: str, values: Any) -> str:
    return f"{column} IN ({', '.join(repr(str(v)) for v in values)})"


#: Up to a hundred million, to the millionth.
_MONEY = Numeric(14, 6)

_LANES = tuple(Lane)
_SETTLED = (*RESULTS, UNRESOLVED, "CANCELLED")

verification_ids = Sequence("verification_ids", metadata=metadata, schema=SCHEMA)

clock = Table(
    "clock",
    metadata,
    Column("singleton", Boolean, primary_key=True, server_default=text("true")),
    Column("offset", Interval, nullable=False, server_default=text("'0'")),
    CheckConstraint("singleton", name="one_row"),
    comment="The offset of verifier_now() from the raw clock; moved by tests and the demo only.",
)

control = Table(
    "control",
    metadata,
    Column("singleton", Boolean, primary_key=True, server_default=text("true")),
    _instant("stopped_at"),
    Column("stopped_by", Text),
    Column("stop_reason", Text),
    _instant("overdue_looked_at"),
    CheckConstraint("singleton", name="one_row"),
    comment="The global stop, and when overdue work was last looked for.",
)

users = Table(
    "users",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("platform", Text, nullable=False),
    Column("reference", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("phone", LargeBinary, nullable=False),
    Column("name", LargeBinary, nullable=False),
    Column("name_raw", LargeBinary),
    Column("id_number", LargeBinary, nullable=False),
    Column("email", LargeBinary),
    Column("push_token", LargeBinary),
    Column("phone_index", LargeBinary, nullable=False),
    Column("id_number_index", LargeBinary, nullable=False),
    Column("identity_digest", LargeBinary, nullable=False),
    Column("contact_digest", LargeBinary, nullable=False),
    Column("lane", Text, nullable=False),
    _instant("carrier_seen_at"),
    _instant("matched_at"),
    Column("province", Text),
    Column("birth_decade", SmallInteger),
    Column("locale", Text, nullable=False, server_default=text("'zh'")),
    Column("time_zone", Text, nullable=False, server_default=text("'Asia/Shanghai'")),
    _instant("bound_at"),
    _instant("consent_at"),
    Column("status", Text, nullable=False, server_default=text("'unverified'")),
    Column("outcome", Text),
    Column("detail", Text),
    _instant("checked_at"),
    _now("data_changed_at"),
    _now("created_at"),
    UniqueConstraint("platform", "reference"),
    CheckConstraint(_one_of("status", ("unverified", "verified", "failed")), name="status"),
    CheckConstraint(_one_of("outcome", RESULTS), name="outcome"),
    CheckConstraint(
        "(status = 'unverified' AND outcome IS NULL) "
        "OR (status = 'verified' AND outcome IS NOT NULL AND outcome = 'MATCHED') "
        "OR (status = 'failed' AND outcome IS NOT NULL AND outcome <> 'MATCHED')",
        name="status_follows_outcome",
    ),
    CheckConstraint("(outcome IS NULL) = (checked_at IS NULL)", name="checked"),
    CheckConstraint(_one_of("lane", _LANES), name="lane"),
    CheckConstraint("version >= 1", name="version"),
    Index(None, "phone_index"),
    Index(None, "id_number_index"),
    # No index on status, outcome or checked_at, and room on the page: a verdict then writes one row
    # version and no index (HOT), instead of five indexes, two of them at random places.
    postgresql_with={"fillfactor": "50"},
    comment="People to verify. phone … push_token are ciphertext; *_index are keyed blind indexes. "
    "name_raw: the spelling as given, where the canonical one differs. lane: the carrier by "
    "segment, or the one that was looked up at carrier_seen_at. matched_at: when the present data "
    "last matched.",
)

batches = Table(
    "batches",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("caller", Text, nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("request_digest", LargeBinary, nullable=False),
    Column("label", Text),
    Column("selection", JSONB, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'loading'")),
    Column("priority", SmallInteger, nullable=False),
    Column("total", Integer, nullable=False, server_default=text("0")),
    Column("unknown", Integer, nullable=False, server_default=text("0")),
    Column("deadline_hours", Integer),  # null: what is configured when it is loaded
    Column("loaded_to", BigInteger, nullable=False, server_default=text("0")),
    Column("snapshot_taken", Boolean, nullable=False, server_default=text("false")),
    Column("rerun_of", BigInteger, ForeignKey("batches.id")),
    Column("notify_task", Text),
    Column("notify_queue", Text),
    _now("created_at"),
    _instant("finished_at"),
    _instant("cancelled_at"),
    _instant("paused_at"),
    Column("paused_by", Text),
    Column("pause_reason", Text),
    Column("budget", _MONEY),
    UniqueConstraint("caller", "idempotency_key"),
    CheckConstraint(_one_of("state", ("loading", "open", "done")), name="state"),
    CheckConstraint("(state = 'done') = (finished_at IS NOT NULL)", name="finished"),
    CheckConstraint("priority BETWEEN 0 AND 3", name="priority"),
    CheckConstraint("total >= 0 AND unknown >= 0", name="counts"),
    CheckConstraint("deadline_hours BETWEEN 1 AND 8760", name="deadline_hours"),
    CheckConstraint("(notify_task IS NULL) = (notify_queue IS NULL)", name="notify"),
    CheckConstraint("budget > 0", name="budget"),
    Index("batches_unfinished_idx", "id", postgresql_where=text("state <> 'done'")),
    comment="One request to verify many: loading, open, done. A key belongs to a caller.",
)

batch_items = Table(
    "batch_items",
    metadata,
    # No foreign key: items are only written in the transaction that holds their batch locked, and
    # checking the same batch for each of a million was a third of what a snapshot takes.
    Column("batch_id", BigInteger, nullable=False),
    Column("user_id", BigInteger, ForeignKey("users.id"), nullable=False),
    Column("verification_id", BigInteger, nullable=False),
    PrimaryKeyConstraint("batch_id", "user_id"),
    Index(None, "verification_id"),
    comment="Whom a batch asked for, and the verification that answers.",
)

batch_tallies = Table(
    "batch_tallies",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("batch_id", BigInteger, ForeignKey("batches.id", ondelete="CASCADE"), nullable=False),
    Column("outcome", Text, nullable=False),
    Column("count", Integer, nullable=False),
    CheckConstraint(_one_of("outcome", _SETTLED), name="outcome"),
    Index(None, "batch_id"),
    comment="Counter deltas: inserted per flush, folded by upkeep, so that no row is hot.",
)

open_verifications = Table(
    "open_verifications",
    metadata,
    Column("user_id", BigInteger, ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column(
        "id",
        BigInteger,
        nullable=False,
        server_default=text("nextval('verifier.verification_ids')"),
    ),
    Column("lane", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'waiting'")),
    Column("priority", SmallInteger, nullable=False),
    _instant("due_at", nullable=False),
    _instant("turn_at", nullable=False),
    Column("reason", Text, nullable=False),
    _instant("deadline_at", nullable=False),
    _instant("escalated_at"),
    Column("held", Boolean, nullable=False, server_default=text("false")),
    Column("history", JSONB, nullable=False, server_default=text("'[]'")),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    Column("crashes", SmallInteger, nullable=False, server_default=text("0")),
    Column("token", BigInteger),
    _instant("lease_until"),
    Column("attempt_id", BigInteger),
    _instant("attempt_started_at"),
    _now("created_at"),
    Column("payer", BigInteger),
    UniqueConstraint("id"),
    CheckConstraint(_one_of("state", ("waiting", "claimed", "quarantined")), name="state"),
    CheckConstraint(
        "(state = 'claimed') = (token IS NOT NULL) AND (token IS NULL) = (lease_until IS NULL)",
        name="claimed_has_lease",
    ),
    CheckConstraint(_one_of("lane", _LANES), name="lane"),
    CheckConstraint("priority BETWEEN 0 AND 3", name="priority"),
    CheckConstraint(_one_of("reason", WaitingReason), name="reason"),
    Index(
        "open_verifications_claim_idx",
        "lane",
        "turn_at",
        postgresql_where=text("state = 'waiting' AND NOT held"),
    ),
    Index(
        "open_verifications_lease_idx", "lease_until", postgresql_where=text("state = 'claimed'")
    ),
    postgresql_with={
        "fillfactor": "70",
        "autovacuum_vacuum_scale_factor": "0.02",
        "autovacuum_vacuum_threshold": "500",
        "autovacuum_vacuum_cost_delay": "0",
    },
    comment="Open work. The primary key is the promise: at most one open verification per user. "
    "payer: the batch out of whose budget its calls are paid, if it has one.",
)

verifications = Table(
    "verifications",
    metadata,
    Column("id", BigInteger, nullable=False),
    _now("settled_at"),
    Column("user_id", BigInteger, nullable=False),
    Column("data_version", Integer, nullable=False),
    Column("lane", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("detail", Text),
    Column("provider", Text),
    Column("attempts", SmallInteger, nullable=False),
    _instant("created_at", nullable=False),
    Column("xid", Xid8(), nullable=False, server_default=text("pg_current_xact_id()")),
    PrimaryKeyConstraint("id", "settled_at"),
    CheckConstraint(_one_of("outcome", _SETTLED), name="outcome"),
    Index(None, "user_id", "settled_at"),
    Index(None, "xid", "id"),
    postgresql_partition_by="RANGE (settled_at)",
    comment="Settled verifications, append-only, by month.",
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    _now("started_at"),
    Column("verification_id", BigInteger, nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("data_version", Integer, nullable=False),
    Column("provider", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'started'")),
    Column("outcome", Text),
    Column("detail", Text),
    Column("code", Text),
    Column("billed", Text),
    Column("request_id", Text),
    Column("http_status", SmallInteger),
    Column("milliseconds", Integer),
    _instant("completed_at"),
    Column("purpose", Text, nullable=False, server_default=text("'verify'")),
    Column("fact", Text),
    Column("price", _MONEY),
    Column("currency", Text),
    Column("payer", BigInteger),
    Column("charged", Boolean, nullable=False, server_default=text("false")),
    Column("raw_name", Boolean, nullable=False, server_default=text("false")),
    Column("carrier", Text),
    PrimaryKeyConstraint("id", "started_at"),
    CheckConstraint(_one_of("state", ("started", "completed", "released", "lost")), name="state"),
    CheckConstraint(_one_of("outcome", Outcome), name="outcome"),
    CheckConstraint(_one_of("billed", Billed), name="billed"),
    CheckConstraint(
        "(state = 'completed') = (outcome IS NOT NULL) AND (outcome IS NULL OR billed IS NOT NULL)",
        name="completed_has_outcome",
    ),
    CheckConstraint(
        "(state IN ('completed', 'released')) = (completed_at IS NOT NULL)", name="ended"
    ),
    CheckConstraint(_one_of("purpose", ("verify", *Check)), name="purpose"),
    CheckConstraint(_one_of("fact", Fact), name="fact"),
    CheckConstraint(
        "(outcome IS NOT NULL AND outcome = 'CHECKED') = (fact IS NOT NULL) "
        "AND (fact IS NULL OR purpose <> 'verify')",
        name="checked_has_fact",
    ),
    CheckConstraint("(price IS NULL) = (currency IS NULL)", name="price"),
    CheckConstraint(_one_of("carrier", _LANES), name="carrier"),
    Index(None, "verification_id"),
    postgresql_partition_by="RANGE (started_at)",
    comment="Calls to providers: written before the call, completed after it. 'lost': the worker "
    "died, so whether the vendor was asked is unknown; 'released': it was not asked. purpose: "
    "whose the number is (verify), or a check; price: of a billed answer, when the call was made; "
    "charged: to the month's budget; carrier: who was looked up.",
)

billed_slots = Table(
    "billed_slots",
    metadata,
    Column("person", LargeBinary, nullable=False),
    Column("day", Date, nullable=False),
    Column("slot", SmallInteger, nullable=False),
    Column("verification_id", BigInteger, nullable=False),
    PrimaryKeyConstraint("person", "day", "slot"),
    CheckConstraint("slot IN (1, 2)", name="two_a_day"),
    comment="At most two results that may be billed, per person (ID-number index) and day.",
)

spending = Table(
    "spending",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("amount", _MONEY, nullable=False, server_default=text("0")),
    _instant("exhausted_at"),
    Column("counted", Boolean, nullable=False, server_default=text("true")),
    comment="What is spent or may still be (billed, maybe billed, under way) of each budget: "
    "month:YYYY-MM, batch:ID. exhausted_at: a call was not begun for want of money. counted: what "
    "was spent before it was charged to is in it.",
)

check_uses = Table(
    "check_uses",
    metadata,
    Column("check_name", Text, nullable=False),
    Column("day", Date, nullable=False),
    Column("used", Integer, nullable=False),
    PrimaryKeyConstraint("check_name", "day"),
    CheckConstraint(_one_of("check_name", Check), name="check_name"),
    comment="How often each check was asked on a business day: its cap is taken from here.",
)

lanes = Table(
    "lanes",
    metadata,
    Column("lane", Text, primary_key=True),
    _instant("not_before"),
    Column("not_before_reason", Text),
    _instant("paused_at"),
    Column("paused_by", Text),
    Column("pause_reason", Text),
    CheckConstraint(_one_of("lane", _LANES), name="lane"),
    CheckConstraint(_one_of("not_before_reason", WaitingReason), name="not_before_reason"),
)

lane_slots = Table(
    "lane_slots",
    metadata,
    Column("lane", Text, ForeignKey("lanes.lane"), nullable=False),
    Column("slot", SmallInteger, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'free'")),
    Column("token", BigInteger),
    _instant("expires_at"),
    PrimaryKeyConstraint("lane", "slot"),
    CheckConstraint(_one_of("state", ("free", "rung", "held")), name="state"),
    CheckConstraint("(state = 'free') = (expires_at IS NULL)", name="lease"),
    CheckConstraint("(state = 'held') = (token IS NOT NULL)", name="token"),
    comment="Bounds the drains of a lane: rung (a message is on its way) or held (a drain runs).",
)

providers = Table(
    "providers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("state", Text, nullable=False, server_default=text("'closed'")),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("openings", Integer, nullable=False, server_default=text("0")),
    _instant("not_before"),
    Column("reason", Text),
    _instant("probe_until"),
    _instant("paused_at"),
    Column("paused_by", Text),
    Column("pause_reason", Text),
    CheckConstraint(_one_of("state", ("closed", "open", "suspended")), name="state"),
    CheckConstraint("state <> 'open' OR not_before IS NOT NULL", name="open_has_an_end"),
    comment="The breaker of each provider. suspended: our account there needs an operator.",
)

pacing = Table(
    "pacing",
    metadata,
    Column("name", Text, nullable=False),
    Column("share", Text, nullable=False),
    _instant("expires_at", nullable=False),
    PrimaryKeyConstraint("name", "share"),
    comment="Rate limits as the instant up to which calls are already promised (raw clock).",
)

job_runs = Table(
    "job_runs",
    metadata,
    Column("job", Text, nullable=False),
    Column("period", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'running'")),
    _instant("lease_until"),
    Column("token", BigInteger),
    Column("counts", JSONB, nullable=False, server_default=text("'{}'")),
    _now("started_at"),
    _instant("finished_at"),
    PrimaryKeyConstraint("job", "period"),
    CheckConstraint(_one_of("state", ("running", "done")), name="state"),
    CheckConstraint("(state = 'done') = (finished_at IS NOT NULL)", name="finished"),
    CheckConstraint(
        "state = 'done' OR (token IS NOT NULL AND lease_until IS NOT NULL)", name="lease"
    ),
    comment="Once per period, whatever the beats do: the row is the guard.",
)

reminders = Table(
    "reminders",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("user_id", BigInteger, ForeignKey("users.id"), nullable=False),
    Column("user_version", Integer, nullable=False),
    Column("day", Date, nullable=False),
    Column("step", SmallInteger, nullable=False),
    Column("channel", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("detail", Text),
    Column("template", Text, nullable=False),
    Column("locale", Text, nullable=False),
    Column("person", LargeBinary, nullable=False),
    Column("recipient", LargeBinary, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'planned'")),
    Column("reason", Text),
    _instant("due_at", nullable=False),
    Column("gateway", Text),
    Column("client_reference", Text),
    Column("message_id", Text),
    Column("code", Text),
    _now("planned_at"),
    _instant("sending_at"),
    _instant("ended_at"),
    Column("token", BigInteger),
    _instant("lease_until"),
    Column("tries", SmallInteger, nullable=False, server_default=text("0")),
    Column("reconciliations", SmallInteger, nullable=False, server_default=text("0")),
    UniqueConstraint("user_id", "day"),
    UniqueConstraint("person", "day"),
    UniqueConstraint("recipient", "day"),
    UniqueConstraint("gateway", "client_reference"),
    CheckConstraint(
        _one_of("state", ("planned", "sending", "sent", "rejected", "unknown", "skipped")),
        name="state",
    ),
    CheckConstraint(_one_of("channel", ("push", "sms")), name="channel"),
    CheckConstraint(
        "state IN ('planned', 'skipped') "
        "OR (client_reference IS NOT NULL AND gateway IS NOT NULL AND sending_at IS NOT NULL)",
        name="sending_is_written_down",
    ),
    CheckConstraint("(state IN ('planned', 'sending')) = (ended_at IS NULL)", name="ended"),
    CheckConstraint(
        "state <> 'sending' OR (token IS NOT NULL AND lease_until IS NOT NULL)", name="lease"
    ),
    CheckConstraint("step >= 1", name="step"),
    CheckConstraint(_one_of("outcome", RESULTS), name="outcome"),
    Index("reminders_due_idx", "due_at", postgresql_where=text("state = 'planned'")),
    Index("reminders_sending_idx", "sending_at", postgresql_where=text("state = 'sending'")),
    comment="One message a person and day. sending is never leased again, only reconciled.",
)

canaries = Table(
    "canaries",
    metadata,
    Column("queue", Text, nullable=False),
    Column("host", Text, nullable=False),
    _instant("seen_at", nullable=False),
    PrimaryKeyConstraint("queue", "host"),
    comment="When a worker of each queue last did anything (raw clock).",
)

endpoints = Table(
    "endpoints",
    metadata,
    Column("name", Text, primary_key=True),
    Column("configured", Boolean, nullable=False, server_default=text("true")),
    Column("events", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("max_events", Integer, nullable=False, server_default=text("500")),
    Column(
        "cursor_xid",
        Xid8(),
        nullable=False,
        server_default=text("pg_snapshot_xmin(pg_current_snapshot())"),
    ),
    Column("cursor_id", BigInteger, nullable=False, server_default=text("0")),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    _instant("not_before"),
    Column("last_error", Text),
    _instant("delivered_at"),
    _instant("paused_at"),
    Column("paused_by", Text),
    Column("pause_reason", Text),
    CheckConstraint("failures >= 0 AND max_events >= 1", name="counts"),
    comment="Who is told what became of things: webhooks by name, and celery for tasks that "
    "callers named. cursor: how far the feed of settled verifications is cut into deliveries.",
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("message_id", UUID, nullable=False, server_default=text("gen_random_uuid()")),
    Column("endpoint", Text, ForeignKey("endpoints.name"), nullable=False),
    Column("event", Text, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("events", Integer, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'waiting'")),
    Column("tries", Integer, nullable=False, server_default=text("0")),
    _now("due_at"),
    Column("token", BigInteger),
    _instant("lease_until"),
    Column("status", SmallInteger),
    Column("error", Text),
    _now("created_at"),
    _instant("trying_since"),
    _instant("ended_at"),
    CheckConstraint(_one_of("event", Event), name="event"),
    CheckConstraint(_one_of("state", ("waiting", "leased", "delivered", "dead")), name="state"),
    CheckConstraint(
        "(state = 'leased') = (token IS NOT NULL) AND (token IS NULL) = (lease_until IS NULL)",
        name="lease",
    ),
    CheckConstraint("(state IN ('delivered', 'dead')) = (ended_at IS NOT NULL)", name="ended"),
    CheckConstraint("state <> 'dead' OR trying_since IS NOT NULL", name="dead_was_tried"),
    CheckConstraint("events >= 1 AND tries >= 0", name="counts"),
    Index(
        "deliveries_due_idx",
        "endpoint",
        "due_at",
        "id",
        postgresql_where=text("state IN ('waiting', 'leased')"),
    ),
    Index("deliveries_dead_idx", "endpoint", "id", postgresql_where=text("state = 'dead'")),
    Index("deliveries_taken_idx", "ended_at", postgresql_where=text("state = 'delivered'")),
    comment="The outbox: what is to be told to an endpoint. payload holds ids (of overdue ones "
    "also lane, cause and deadline, as they were then); the rest is read when it is sent. "
    "trying_since: the first failure since somebody last set it going.",
)
