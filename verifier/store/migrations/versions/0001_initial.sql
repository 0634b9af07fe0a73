-- The first schema. Frozen: later changes are migrations of their own.

CREATE TABLE verifier.clock (
  singleton BOOLEAN DEFAULT true NOT NULL,
  "offset" INTERVAL DEFAULT '0' NOT NULL,
  CONSTRAINT clock_pkey PRIMARY KEY (singleton),
  CONSTRAINT clock_one_row CHECK (singleton)
);

COMMENT ON TABLE verifier.clock IS 'The offset of verifier_now() from the raw clock; moved by tests and the demo only.';

INSERT INTO verifier.clock DEFAULT VALUES;

-- Business time. STABLE (one value a statement is all that callers need) so that it can meet an index.
CREATE FUNCTION verifier.verifier_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS
  'SELECT clock_timestamp() + (SELECT "offset" FROM verifier.clock)';

-- Where a row stands in the queue of its lane: urgent work goes ahead, and everything ages, so nothing starves.
CREATE FUNCTION verifier.turn_at(due timestamptz, priority integer) RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS
  $$SELECT due + (CASE priority WHEN 0 THEN interval '-1 day' WHEN 1 THEN interval '-1 hour'
                  WHEN 3 THEN interval '1 hour' ELSE interval '0' END)$$;

CREATE SEQUENCE verifier.verification_ids;

CREATE TABLE verifier.attempts (
  id BIGINT GENERATED ALWAYS AS IDENTITY,
  started_at TIMESTAMP WITH TIME ZONE DEFAULT verifier.verifier_now() NOT NULL,
  verification_id BIGINT NOT NULL,
  user_id BIGINT NOT NULL,
  data_version INTEGER NOT NULL,
  provider TEXT NOT NULL,
  lane TEXT NOT NULL,
  state TEXT DEFAULT 'started' NOT NULL,
  outcome TEXT,
  detail TEXT,
  code TEXT,
  billed TEXT,
  request_id TEXT,
  http_status SMALLINT,
  milliseconds INTEGER,
  completed_at TIMESTAMP WITH TIME ZONE,
  CONSTRAINT attempts_pkey PRIMARY KEY (id, started_at),
  CONSTRAINT attempts_state CHECK (state IN ('started', 'completed', 'released', 'lost')),
  CONSTRAINT attempts_outcome CHECK (outcome IN ('MATCHED', 'MISMATCHED', 'NO_RECORD', 'INVALID_INPUT', 'UNSUPPORTED_NUMBER', 'NUMBER_INACTIVE', 'CONSENT_MISSING', 'RATE_LIMITED', 'MAINTENANCE', 'PROVIDER_ERROR', 'TIMEOUT', 'NOT_SENT', 'AUTH_CONFIG', 'ARREARS')),
  CONSTRAINT attempts_billed CHECK (billed IN ('no', 'yes', 'maybe')),
  CONSTRAINT attempts_completed_has_outcome CHECK ((state = 'completed') = (outcome IS NOT NULL) AND (outcome IS NULL OR billed IS NOT NULL)),
  CONSTRAINT attempts_ended CHECK ((state IN ('completed', 'released')) = (completed_at IS NOT NULL))
)
 PARTITION BY RANGE (started_at);

CREATE INDEX attempts_verification_id_idx ON verifier.attempts (verification_id);

COMMENT ON TABLE verifier.attempts IS 'Calls to providers: written before the call, completed after it. ''lost'': the worker died, so whether the vendor was asked is unknown; ''released'': it was not asked.';

CREATE TABLE verifier.batches (
  id BIGINT GENERATED ALWAYS AS IDENTITY,
  caller TEXT NOT NULL,
  idempotency_key TEXT NOT NULL,
  request_digest BYTEA NOT NULL,
  label TEXT,
  selection JSONB NOT NULL,
  state TEXT DEFAULT 'loading' NOT NULL,
  priority SMALLINT NOT NULL,
  total INTEGER DEFAULT 0 NOT NULL,
  unknown INTEGER DEFAULT 0 NOT NULL,
  deadline_hours INTEGER NOT NULL,
  loaded_to BIGINT DEFAULT 0 NOT NULL,
  snapshot_taken BOOLEAN DEFAULT false NOT NULL,
  rerun_of BIGINT,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT verifier.verifier_now() NOT NULL,
  finished_at TIMESTAMP WITH TIME ZONE,
  cancelled_at TIMESTAMP WITH TIME ZONE,
  paused_at TIMESTAMP WITH TIME ZONE,
  paused_by TEXT,
  pause_reason TEXT,
  CONSTRAINT batches_pkey PRIMARY KEY (id),
  CONSTRAINT batches_caller_idempotency_key_key UNIQUE (caller, idempotency_key),
  CONSTRAINT batches_state CHECK (state IN ('loading', 'open', 'done')),
  CONSTRAINT batches_finished CHECK ((state = 'done') = (finished_at IS NOT NULL)),
  CONSTRAINT batches_priority CHECK (priority BETWEEN 0 AND 3),
  CONSTRAINT batches_counts CHECK (total >= 0 AND unknown >= 0),
  CONSTRAINT batches_deadline_hours CHECK (deadline_hours BETWEEN 1 AND 8760),
  CONSTRAINT batches_rerun_of_fkey FOREIGN KEY(rerun_of) REFERENCES verifier.batches (id)
);

CREATE INDEX batches_unfinished_idx ON verifier.batches (id) WHERE state <> 'done';

COMMENT ON TABLE verifier.batches IS 'One request to verify many: loading, open, done. A key belongs to a caller.';

CREATE TABLE verifier.billed_slots (
  person BYTEA NOT NULL,
  day DATE NOT NULL,
  slot SMALLINT NOT NULL,
  verification_id BIGINT NOT NULL,
  CONSTRAINT billed_slots_pkey PRIMARY KEY (person, day, slot),
  CONSTRAINT billed_slots_two_a_day CHECK (slot IN (1, 2))
);

COMMENT ON TABLE verifier.billed_slots IS 'At most two results that may be billed, per person (ID-number index) and day.';

CREATE TABLE verifier.canaries (
  queue TEXT NOT NULL,
  host TEXT NOT NULL,
  seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
  CONSTRAINT canaries_pkey PRIMARY KEY (queue, host)
);

COMMENT ON TABLE verifier.canaries IS 'When a worker of each queue last did anything (raw clock).';

CREATE TABLE verifier.control (
  singleton BOOLEAN DEFAULT true NOT NULL,
  stopped_at TIMESTAMP WITH TIME ZONE,
  stopped_by TEXT,
  stop_reason TEXT,
  CONSTRAINT control_pkey PRIMARY KEY (singleton),
  CONSTRAINT control_one_row CHECK (singleton)
);

COMMENT ON TABLE verifier.control IS 'The global stop.';

CREATE TABLE verifier.job_runs (
  job TEXT NOT NULL,
  period TEXT NOT NULL,
  state TEXT DEFAULT 'running' NOT NULL,
  lease_until TIMESTAMP WITH TIME ZONE,
  token BIGINT,
  counts JSONB DEFAULT '{}' NOT NULL,
  started_at TIMESTAMP WITH TIME ZONE DEFAULT verifier.verifier_now() NOT NULL,
  finished_at TIMESTAMP WITH TIME ZONE,
  CONSTRAINT job_runs_pkey PRIMARY KEY (job, period),
  CONSTRAINT job_runs_state CHECK (state IN ('running', 'done')),
  CONSTRAINT job_runs_finished CHECK ((state = 'done') = (finished_at IS NOT NULL)),
  CONSTRAINT job_runs_lease CHECK (state = 'done' OR (token IS NOT NULL AND lease_until IS NOT NULL))
);

COMMENT ON TABLE verifier.job_runs IS 'Once per period, whatever the beats do: the row is the guard.';

CREATE TABLE verifier.lanes (
  lane TEXT NOT NULL,
  not_before TIMESTAMP WITH TIME ZONE,
  not_before_reason TEXT,
  paused_at TIMESTAMP WITH TIME ZONE,
  paused_by TEXT,
  pause_reason TEXT,
  CONSTRAINT lanes_pkey PRIMARY KEY (lane),
  CONSTRAINT lanes_lane CHECK (lane IN ('cmcc', 'cucc', 'ctcc', 'cbn', 'mvno')),
  CONSTRAINT lanes_not_before_reason CHECK (not_before_reason IN ('new', 'retry', 'maintenance', 'rate_limited', 'provider_down', 'not_sent', 'provider_suspended', 'daily_cap', 'timeout', 'lease_expired', 'data_changed', 'paused', 'no_provider', 'quarantined', 'next_day'))
);

CREATE TABLE verifier.pacing (
  name TEXT NOT NULL,
  share TEXT NOT NULL,
  expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
  CONSTRAINT pacing_pkey PRIMARY KEY (name, share)
);

COMMENT ON TABLE verifier.pacing IS 'Rate limits as the instant up to which calls are already promised (raw clock).';

CREATE TABLE verifier.providers (
  name TEXT NOT NULL,
  state TEXT DEFAULT 'closed' NOT NULL,
  failures INTEGER DEFAULT 0 NOT NULL,
  openings INTEGER DEFAULT 0 NOT NULL,
  not_before TIMESTAMP WITH TIME ZONE,
  reason TEXT,
  probe_until TIMESTAMP WITH TIME ZONE,
  paused_at TIMESTAMP WITH TIME ZONE,
  paused_by TEXT,
  pause_reason TEXT,
  CONSTRAINT providers_pkey PRIMARY KEY (name),
  CONSTRAINT providers_state CHECK (state IN ('closed', 'open', 'suspended')),
  CONSTRAINT providers_open_has_an_end CHECK (state <> 'open' OR not_before IS NOT NULL)
);

COMMENT ON TABLE verifier.providers IS 'The breaker of each provider. suspended: our account there needs an operator.';

CREATE TABLE verifier.users (
  id BIGINT GENERATED ALWAYS AS IDENTITY,
  platform TEXT NOT NULL,
  reference TEXT NOT NULL,
  version INTEGER DEFAULT 1 NOT NULL,
  phone BYTEA NOT NULL,
  name BYTEA NOT NULL,
  name_raw BYTEA,
  id_number BYTEA NOT NULL,
  email BYTEA,
  push_token BYTEA,
  phone_index BYTEA NOT NULL,
  id_number_index BYTEA NOT NULL,
  identity_digest BYTEA NOT NULL,
  contact_digest BYTEA NOT NULL,
  lane TEXT NOT NULL,
  province TEXT,
  birth_decade SMALLINT,
  locale TEXT DEFAULT 'zh' NOT NULL,
  time_zone TEXT DEFAULT 'Asia/Shanghai' NOT NULL,
  bound_at TIMESTAMP WITH TIME ZONE,
  consent_at TIMESTAMP WITH TIME ZONE,
  status TEXT DEFAULT 'unverified' NOT NULL,
  outcome TEXT,
  detail TEXT,
  checked_at TIMESTAMP WITH TIME ZONE,
  data_changed_at TIMESTAMP WITH TIME ZONE DEFAULT verifier.verifier_now() NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT verifier.verifier_now() NOT NULL,
  CONSTRAINT users_pkey PRIMARY KEY (id),
  CONSTRAINT users_platform_reference_key UNIQUE (platform, reference),
  CONSTRAINT users_status CHECK (status IN ('unverified', 'verified', 'failed')),
  CONSTRAINT users_outcome CHECK (outcome IN ('MATCHED', 'MISMATCHED', 'NO_RECORD', 'INVALID_INPUT', 'UNSUPPORTED_NUMBER', 'NUMBER_INACTIVE', 'CONSENT_MISSING')),
  CONSTRAINT users_status_follows_outcome CHECK ((status = 'unverified' AND outcome IS NULL) OR (status = 'verified' AND outcome IS NOT NULL AND outcome = 'MATCHED') OR (status = 'failed' AND outcome IS NOT NULL AND outcome <> 'MATCHED')),
  CONSTRAINT users_checked CHECK ((outcome IS NULL) = (checked_at IS NULL)),
  CONSTRAINT users_lane CHECK (lane IN ('cmcc', 'cucc', 'ctcc', 'cbn', 'mvno')),
  CONSTRAINT users_version CHECK (version >= 1)
);

CREATE INDEX users_id_number_index_idx ON verifier.users (id_number_index);

CREATE INDEX users_phone_index_idx ON verifier.users (phone_index);

CREATE INDEX users_to_do_idx ON verifier.users (status, id) WHERE status <> 'verified';

COMMENT ON TABLE verifier.users IS 'People to verify. phone … push_token are ciphertext; *_index are keyed blind indexes. name_raw: the spelling as given, where the canonical one differs.';

CREATE TABLE verifier.verifications (
  id BIGINT NOT NULL,
  settled_at TIMESTAMP WITH TIME ZONE DEFAULT verifier.verifier_now() NOT NULL,
  user_id BIGINT NOT NULL,
  data_version INTEGER NOT NULL,
  lane TEXT NOT NULL,
  outcome TEXT NOT NULL,
  detail TEXT,
  provider TEXT,
  attempts SMALLINT NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE NOT NULL,
  xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
  CONSTRAINT verifications_pkey PRIMARY KEY (id, settled_at),
  CONSTRAINT verifications_outcome CHECK (outcome IN ('MATCHED', 'MISMATCHED', 'NO_RECORD', 'INVALID_INPUT', 'UNSUPPORTED_NUMBER', 'NUMBER_INACTIVE', 'CONSENT_MISSING', 'UNRESOLVED', 'CANCELLED'))
)
 PARTITION BY RANGE (settled_at);

CREATE INDEX verifications_user_id_settled_at_idx ON verifier.verifications (user_id, settled_at);

CREATE INDEX verifications_xid_id_idx ON verifier.verifications (xid, id);

COMMENT ON TABLE verifier.verifications IS 'Settled verifications, append-only, by month.';

CREATE TABLE verifier.batch_items (
  batch_id BIGINT NOT NULL,
  user_id BIGINT NOT NULL,
  verification_id BIGINT NOT NULL,
  CONSTRAINT batch_items_pkey PRIMARY KEY (batch_id, user_id),
  CONSTRAINT batch_items_batch_id_fkey FOREIGN KEY(batch_id) REFERENCES verifier.batches (id) ON DELETE CASCADE,
  CONSTRAINT batch_items_user_id_fkey FOREIGN KEY(user_id) REFERENCES verifier.users (id)
);

CREATE INDEX batch_items_verification_id_idx ON verifier.batch_items (verification_id);

COMMENT ON TABLE verifier.batch_items IS 'Whom a batch asked for, and the verification that answers.';

CREATE TABLE verifier.batch_tallies (
  id BIGINT GENERATED ALWAYS AS IDENTITY,
  batch_id BIGINT NOT NULL,
  outcome TEXT NOT NULL,
  count INTEGER NOT NULL,
  CONSTRAINT batch_tallies_pkey PRIMARY KEY (id),
  CONSTRAINT batch_tallies_outcome CHECK (outcome IN ('MATCHED', 'MISMATCHED', 'NO_RECORD', 'INVALID_INPUT', 'UNSUPPORTED_NUMBER', 'NUMBER_INACTIVE', 'CONSENT_MISSING', 'UNRESOLVED', 'CANCELLED')),
  CONSTRAINT batch_tallies_batch_id_fkey FOREIGN KEY(batch_id) REFERENCES verifier.batches (id) ON DELETE CASCADE
);

CREATE INDEX batch_tallies_batch_id_idx ON verifier.batch_tallies (batch_id);

COMMENT ON TABLE verifier.batch_tallies IS 'Counter deltas: inserted per flush, folded by upkeep, so that no row is hot.';

CREATE TABLE verifier.lane_slots (
  lane TEXT NOT NULL,
  slot SMALLINT NOT NULL,
  state TEXT DEFAULT 'free' NOT NULL,
  token BIGINT,
  expires_at TIMESTAMP WITH TIME ZONE,
  CONSTRAINT lane_slots_pkey PRIMARY KEY (lane, slot),
  CONSTRAINT lane_slots_state CHECK (state IN ('free', 'rung', 'held')),
  CONSTRAINT lane_slots_lease CHECK ((state = 'free') = (expires_at IS NULL)),
  CONSTRAINT lane_slots_token CHECK ((state = 'held') = (token IS NOT NULL)),
  CONSTRAINT lane_slots_lane_fkey FOREIGN KEY(lane) REFERENCES verifier.lanes (lane)
);

COMMENT ON TABLE verifier.lane_slots IS 'Bounds the drains of a lane: rung (a message is on its way) or held (a drain runs).';

CREATE TABLE verifier.open_verifications (
  user_id BIGINT NOT NULL,
  id BIGINT DEFAULT nextval('verifier.verification_ids') NOT NULL,
  lane TEXT NOT NULL,
  state TEXT DEFAULT 'waiting' NOT NULL,
  priority SMALLINT NOT NULL,
  due_at TIMESTAMP WITH TIME ZONE NOT NULL,
  turn_at TIMESTAMP WITH TIME ZONE NOT NULL,
  reason TEXT NOT NULL,
  deadline_at TIMESTAMP WITH TIME ZONE NOT NULL,
  escalated_at TIMESTAMP WITH TIME ZONE,
  held BOOLEAN DEFAULT false NOT NULL,
  history JSONB DEFAULT '[]' NOT NULL,
  attempts SMALLINT DEFAULT 0 NOT NULL,
  crashes SMALLINT DEFAULT 0 NOT NULL,
  token BIGINT,
  lease_until TIMESTAMP WITH TIME ZONE,
  attempt_id BIGINT,
  attempt_started_at TIMESTAMP WITH TIME ZONE,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT verifier.verifier_now() NOT NULL,
  CONSTRAINT open_verifications_pkey PRIMARY KEY (user_id),
  CONSTRAINT open_verifications_id_key UNIQUE (id),
  CONSTRAINT open_verifications_state CHECK (state IN ('waiting', 'claimed', 'quarantined')),
  CONSTRAINT open_verifications_claimed_has_lease CHECK ((state = 'claimed') = (token IS NOT NULL) AND (token IS NULL) = (lease_until IS NULL)),
  CONSTRAINT open_verifications_lane CHECK (lane IN ('cmcc', 'cucc', 'ctcc', 'cbn', 'mvno')),
  CONSTRAINT open_verifications_priority CHECK (priority BETWEEN 0 AND 3),
  CONSTRAINT open_verifications_reason CHECK (reason IN ('new', 'retry', 'maintenance', 'rate_limited', 'provider_down', 'not_sent', 'provider_suspended', 'daily_cap', 'timeout', 'lease_expired', 'data_changed', 'paused', 'no_provider', 'quarantined', 'next_day')),
  CONSTRAINT open_verifications_user_id_fkey FOREIGN KEY(user_id) REFERENCES verifier.users (id)
)
 WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX open_verifications_claim_idx ON verifier.open_verifications (lane, turn_at) WHERE state = 'waiting' AND NOT held;

CREATE INDEX open_verifications_lease_idx ON verifier.open_verifications (lease_until) WHERE state = 'claimed';

COMMENT ON TABLE verifier.open_verifications IS 'Open work. The primary key is the promise: at most one open verification per user.';

CREATE TABLE verifier.reminders (
  id BIGINT GENERATED ALWAYS AS IDENTITY,
  user_id BIGINT NOT NULL,
  user_version INTEGER NOT NULL,
  day DATE NOT NULL,
  step SMALLINT NOT NULL,
  channel TEXT NOT NULL,
  outcome TEXT NOT NULL,
  detail TEXT,
  template TEXT NOT NULL,
  locale TEXT NOT NULL,
  person BYTEA NOT NULL,
  recipient BYTEA NOT NULL,
  state TEXT DEFAULT 'planned' NOT NULL,
  reason TEXT,
  due_at TIMESTAMP WITH TIME ZONE NOT NULL,
  gateway TEXT,
  client_reference TEXT,
  message_id TEXT,
  code TEXT,
  planned_at TIMESTAMP WITH TIME ZONE DEFAULT verifier.verifier_now() NOT NULL,
  sending_at TIMESTAMP WITH TIME ZONE,
  ended_at TIMESTAMP WITH TIME ZONE,
  token BIGINT,
  lease_until TIMESTAMP WITH TIME ZONE,
  tries SMALLINT DEFAULT 0 NOT NULL,
  reconciliations SMALLINT DEFAULT 0 NOT NULL,
  CONSTRAINT reminders_pkey PRIMARY KEY (id),
  CONSTRAINT reminders_user_id_day_key UNIQUE (user_id, day),
  CONSTRAINT reminders_person_day_key UNIQUE (person, day),
  CONSTRAINT reminders_recipient_day_key UNIQUE (recipient, day),
  CONSTRAINT reminders_gateway_client_reference_key UNIQUE (gateway, client_reference),
  CONSTRAINT reminders_state CHECK (state IN ('planned', 'sending', 'sent', 'rejected', 'unknown', 'skipped')),
  CONSTRAINT reminders_channel CHECK (channel IN ('push', 'sms')),
  CONSTRAINT reminders_sending_is_written_down CHECK (state IN ('planned', 'skipped') OR (client_reference IS NOT NULL AND gateway IS NOT NULL AND sending_at IS NOT NULL)),
  CONSTRAINT reminders_ended CHECK ((state IN ('planned', 'sending')) = (ended_at IS NULL)),
  CONSTRAINT reminders_lease CHECK (state <> 'sending' OR (token IS NOT NULL AND lease_until IS NOT NULL)),
  CONSTRAINT reminders_step CHECK (step >= 1),
  CONSTRAINT reminders_outcome CHECK (outcome IN ('MATCHED', 'MISMATCHED', 'NO_RECORD', 'INVALID_INPUT', 'UNSUPPORTED_NUMBER', 'NUMBER_INACTIVE', 'CONSENT_MISSING')),
  CONSTRAINT reminders_user_id_fkey FOREIGN KEY(user_id) REFERENCES verifier.users (id)
);

CREATE INDEX reminders_due_idx ON verifier.reminders (due_at) WHERE state = 'planned';

CREATE INDEX reminders_sending_idx ON verifier.reminders (sending_at) WHERE state = 'sending';

COMMENT ON TABLE verifier.reminders IS 'One message a person and day. sending is never leased again, only reconciled.';


-- OFFSET 0: the time and the global stop are read once a statement, not once a row.
CREATE VIEW verifier.waiting AS
SELECT o.user_id, o.id, o.lane, o.state, o.held, o.reason,
       CASE WHEN o.state = 'quarantined' THEN 'quarantined'
            WHEN o.state = 'claimed' THEN o.reason
            WHEN o.held OR l.paused_at IS NOT NULL OR n.stopped_at IS NOT NULL THEN 'paused'
            WHEN o.due_at > n.now THEN o.reason
            WHEN l.not_before > n.now THEN coalesce(l.not_before_reason, 'provider_down')
            ELSE o.reason END AS cause,
       CASE WHEN o.state <> 'waiting' THEN NULL
            WHEN o.held OR l.paused_at IS NOT NULL OR n.stopped_at IS NOT NULL THEN NULL
            WHEN o.due_at > n.now THEN o.due_at
            WHEN l.not_before > n.now THEN l.not_before END AS until,
       o.due_at, o.deadline_at, o.priority, o.attempts, o.created_at, n.now
  FROM verifier.open_verifications o
  JOIN verifier.lanes l ON l.lane = o.lane
 CROSS JOIN (SELECT stopped_at, verifier.verifier_now() AS now FROM verifier.control OFFSET 0) n;

COMMENT ON VIEW verifier.waiting IS 'Why open work waits (cause) and until when, if that is known: its own state, its lane and the global stop taken together. What is being called right now (claimed) is stopped by nothing.';

INSERT INTO verifier.control DEFAULT VALUES;
INSERT INTO verifier.lanes (lane) VALUES ('cmcc'), ('cucc'), ('ctcc'), ('cbn'), ('mvno');

CREATE TABLE verifier.verifications_default PARTITION OF verifier.verifications DEFAULT;
CREATE TABLE verifier.attempts_default PARTITION OF verifier.attempts DEFAULT;

-- Makes the month of an instant a partition of its own in both histories. Rows that came too early and
-- lie in the default partition move with it. True when something was created.
CREATE FUNCTION verifier.ensure_partition(at timestamptz) RETURNS boolean LANGUAGE plpgsql AS $body$
DECLARE
  first timestamptz := date_trunc('month', at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
  next timestamptz := (date_trunc('month', at AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC';
  history record;
  part text;
  made boolean := false;
BEGIN
  FOR history IN SELECT * FROM (VALUES ('attempts', 'started_at'), ('verifications', 'settled_at')) AS h (name, key) LOOP
    part := format('%s_%s', history.name, to_char(first AT TIME ZONE 'UTC', 'YYYY_MM'));
    CONTINUE WHEN to_regclass('verifier.' || part) IS NOT NULL;
    EXECUTE format('LOCK TABLE verifier.%I IN ACCESS EXCLUSIVE MODE', history.name);
    CONTINUE WHEN to_regclass('verifier.' || part) IS NOT NULL;
    EXECUTE format('CREATE TABLE verifier.%I (LIKE verifier.%I INCLUDING ALL EXCLUDING IDENTITY)', part, history.name);
    EXECUTE format('WITH moved AS (DELETE FROM verifier.%I WHERE %I >= %L AND %I < %L RETURNING *)
                    INSERT INTO verifier.%I SELECT * FROM moved',
                   history.name || '_default', history.key, first, history.key, next, part);
    EXECUTE format('ALTER TABLE verifier.%I ATTACH PARTITION verifier.%I FOR VALUES FROM (%L) TO (%L)',
                   history.name, part, first, next);
    made := true;
  END LOOP;
  RETURN made;
END
$body$;

SELECT verifier.ensure_partition(verifier.verifier_now() + make_interval(months => ahead))
  FROM generate_series(0, 2) AS ahead;
