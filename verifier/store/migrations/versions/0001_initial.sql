-- The first schema. Frozen once 0.1.0 is released: later changes are migrations of their own.

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
  deadline_hours INTEGER,
  loaded_to BIGINT DEFAULT 0 NOT NULL,
  snapshot_taken BOOLEAN DEFAULT false NOT NULL,
  rerun_of BIGINT,
  notify_task TEXT,
  notify_queue TEXT,
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
  CONSTRAINT batches_notify CHECK ((notify_task IS NULL) = (notify_queue IS NULL)),
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
  overdue_looked_at TIMESTAMP WITH TIME ZONE,
  CONSTRAINT control_pkey PRIMARY KEY (singleton),
  CONSTRAINT control_one_row CHECK (singleton)
);

COMMENT ON TABLE verifier.control IS 'The global stop, and when overdue work was last looked for.';

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
)
 WITH (fillfactor = 50);

CREATE INDEX users_id_number_index_idx ON verifier.users (id_number_index);

CREATE INDEX users_phone_index_idx ON verifier.users (phone_index);

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

CREATE TABLE verifier.endpoints (
  name TEXT NOT NULL,
  configured BOOLEAN DEFAULT true NOT NULL,
  events TEXT[] DEFAULT '{}' NOT NULL,
  max_events INTEGER DEFAULT 500 NOT NULL,
  cursor_xid xid8 DEFAULT pg_snapshot_xmin(pg_current_snapshot()) NOT NULL,
  cursor_id BIGINT DEFAULT 0 NOT NULL,
  failures INTEGER DEFAULT 0 NOT NULL,
  not_before TIMESTAMP WITH TIME ZONE,
  last_error TEXT,
  delivered_at TIMESTAMP WITH TIME ZONE,
  paused_at TIMESTAMP WITH TIME ZONE,
  paused_by TEXT,
  pause_reason TEXT,
  CONSTRAINT endpoints_pkey PRIMARY KEY (name),
  CONSTRAINT endpoints_counts CHECK (failures >= 0 AND max_events >= 1)
);

COMMENT ON TABLE verifier.endpoints IS 'Who is told what became of things: webhooks by name, and celery for tasks that callers named. cursor: how far the feed of settled verifications is cut into deliveries.';

CREATE TABLE verifier.deliveries (
  id BIGINT GENERATED ALWAYS AS IDENTITY,
  message_id UUID DEFAULT gen_random_uuid() NOT NULL,
  endpoint TEXT NOT NULL,
  event TEXT NOT NULL,
  payload JSONB NOT NULL,
  events INTEGER NOT NULL,
  state TEXT DEFAULT 'waiting' NOT NULL,
  tries INTEGER DEFAULT 0 NOT NULL,
  due_at TIMESTAMP WITH TIME ZONE DEFAULT verifier.verifier_now() NOT NULL,
  token BIGINT,
  lease_until TIMESTAMP WITH TIME ZONE,
  status SMALLINT,
  error TEXT,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT verifier.verifier_now() NOT NULL,
  trying_since TIMESTAMP WITH TIME ZONE,
  ended_at TIMESTAMP WITH TIME ZONE,
  CONSTRAINT deliveries_pkey PRIMARY KEY (id),
  CONSTRAINT deliveries_event CHECK (event IN ('verification.settled', 'verification.overdue', 'batch.done')),
  CONSTRAINT deliveries_state CHECK (state IN ('waiting', 'leased', 'delivered', 'dead')),
  CONSTRAINT deliveries_lease CHECK ((state = 'leased') = (token IS NOT NULL) AND (token IS NULL) = (lease_until IS NULL)),
  CONSTRAINT deliveries_ended CHECK ((state IN ('delivered', 'dead')) = (ended_at IS NOT NULL)),
  CONSTRAINT deliveries_dead_was_tried CHECK (state <> 'dead' OR trying_since IS NOT NULL),
  CONSTRAINT deliveries_counts CHECK (events >= 1 AND tries >= 0),
  CONSTRAINT deliveries_endpoint_fkey FOREIGN KEY(endpoint) REFERENCES verifier.endpoints (name)
);

CREATE INDEX deliveries_dead_idx ON verifier.deliveries (endpoint, id) WHERE state = 'dead';

CREATE INDEX deliveries_due_idx ON verifier.deliveries (endpoint, due_at, id) WHERE state IN ('waiting', 'leased');

CREATE INDEX deliveries_taken_idx ON verifier.deliveries (ended_at) WHERE state = 'delivered';

COMMENT ON TABLE verifier.deliveries IS 'The outbox: what is to be told to an endpoint. payload holds ids (of overdue ones also lane, cause and deadline, as they were then); the rest is read when it is sent. trying_since: the first failure since somebody last set it going.';


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
       o.due_at, o.deadline_at, o.priority, o.attempts, o.created_at, n.now, o.escalated_at
  FROM verifier.open_verifications o
  JOIN verifier.lanes l ON l.lane = o.lane
 CROSS JOIN (SELECT stopped_at, verifier.verifier_now() AS now FROM verifier.control OFFSET 0) n;

COMMENT ON VIEW verifier.waiting IS 'Why open work waits (cause) and until when, if that is known: its own state, its lane and the global stop taken together. What is being called right now (claimed) is stopped by nothing.';

-- ── For other services, in any language: docs/contract.md ─────────────────────────────────────────────
-- The rules are those of verifier/identity/reference.py and verifier/verification/submit.py; tests/store/test_sql_submit.py
-- holds the two ways to each other. Bodies are parsed now or have neither escapes nor unqualified names of ours: no setting of a caller
-- changes what they mean; verifier.submit, which has its owner's rights, fixes the search path for them.

-- What stands for an ASCII character, and for which: decimal digits of all scripts (ten a script), spaces, dashes, full-width forms.
-- Functions without arguments that never change are computed once a session.
CREATE FUNCTION verifier.foldable() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN (SELECT string_agg(chr(zero + digit), '' ORDER BY zero, digit)
            FROM generate_series(0, 9) AS digit, unnest(ARRAY[
              1632, 1776, 1984, 2406, 2534, 2662, 2790, 2918, 3046, 3174, 3302, 3430, 3558, 3664, 3792, 3872, 4160, 4240, 6112, 6160,
              6470, 6608, 6784, 6800, 6992, 7088, 7232, 7248, 42528, 43216, 43264, 43472, 43504, 43600, 44016, 65296, 66720, 68912,
              68928, 69734, 69872, 69942, 70096, 70384, 70736, 70864, 71248, 71360, 71376, 71386, 71472, 71904, 72016, 72688, 72784,
              73040, 73120, 73184, 73552, 90416, 92768, 92864, 93008, 93552, 118000, 120782, 120792, 120802, 120812, 120822, 123200,
              123632, 124144, 124401, 125264, 130032]) AS zero)
    || U&'\00A0\1680\2000\2001\2002\2003\2004\2005\2006\2007\2008\2009\200A\202F\205F\3000'
    || U&'\058A\05BE\1400\1806\2010\2011\2012\2013\2014\2015\2212\2E17\2E1A\2E3A\2E3B\2E40\2E5D\301C\3030\30A0\FE31\FE32\FE58\FE63\+010EAD'
    || (SELECT string_agg(chr(code + 65248), '' ORDER BY code) FROM generate_series(33, 126) AS code);

CREATE FUNCTION verifier.folds_to() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN repeat('0123456789', 76) || repeat(' ', 16) || repeat('-', 25)
    || (SELECT string_agg(chr(code), '' ORDER BY code) FROM generate_series(33, 126) AS code);

CREATE FUNCTION verifier.folded(value text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $body$
BEGIN
  RETURN CASE WHEN octet_length(value) = length(value) THEN value
              ELSE translate(value, verifier.foldable(), verifier.folds_to()) END;
END
$body$;

-- What a folded text has in it between delimiters: 'phone', 'id_number' (with a right check digit) or null.
CREATE FUNCTION verifier.number_in(folded text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN CASE
    WHEN folded COLLATE "C" !~ '[0-9]{11}' THEN NULL
    WHEN folded COLLATE "C" ~ '(?<![0-9A-Za-z])(?:\+?86|0086|0)?1[3-9][0-9]{9}(?![0-9A-Za-z])' THEN 'phone'
    WHEN EXISTS (
      SELECT FROM regexp_matches(folded COLLATE "C",
               '(?<![0-9A-Za-z])([0-9]{6}(?:18|19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{3}[0-9Xx])(?![0-9A-Za-z])',
               'g') AS found (digits)
       WHERE upper(right(found.digits[1], 1)) = substr('10X98765432', 1 + (
               SELECT sum(substr(found.digits[1], place::int, 1)::int * weight)::int % 11
                 FROM unnest(ARRAY[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]) WITH ORDINALITY AS w (weight, place)), 1))
    THEN 'id_number' END;

-- What may stand around a reference and does not belong to it.
CREATE FUNCTION verifier.surroundings() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN U&'\0009\000A\000B\000C\000D\001C\001D\001E\001F\0020\0085\00A0\1680\2000\2001\2002\2003\2004\2005\2006\2007\2008\2009\200A\2028\2029\202F\205F\3000';

-- Why a platform or reference cannot be one; null when it can.
CREATE FUNCTION verifier.reference_fault(value text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $body$
DECLARE
  kept text;
BEGIN
  -- What nearly every reference is: nothing to trim, no phone or ID number. (A bounded repetition would be ten times slower.)
  IF value COLLATE "C" ~ '^[!-~]+$' AND length(value) <= 128 AND translate(value, '().-_/', '') COLLATE "C" !~ '[0-9]{11}' THEN
    RETURN NULL;
  END IF;
  kept := btrim(value, verifier.surroundings());
  IF kept IS NULL OR kept = '' THEN
    RETURN 'is empty';
  ELSIF length(kept) > 128 THEN
    RETURN 'is too long';
  ELSIF kept COLLATE "C" ~ $re$[\u0001-\u001F\u007F-\u009F\u00AD\u0600-\u0605\u061C\u06DD\u070F\u0890\u0891\u08E2\u180E\u200B-\u200F\u2028-\u202E\u2060-\u2064\u2066-\u206F\uFEFF\uFFF9-\uFFFB\U000110BD\U000110CD\U00013430-\U0001343F\U0001BCA0-\U0001BCA3\U0001D173-\U0001D17A\U000E0001\U000E0020-\U000E007F]$re$ THEN
    RETURN 'contains a control or invisible character';
  END IF;
  kept := verifier.folded(normalize(kept, NFC));
  RETURN CASE coalesce(verifier.number_in(kept), verifier.number_in(translate(kept, ' ().-_/', '')))
    WHEN 'phone' THEN 'looks like a phone number; use an id of your own'
    WHEN 'id_number' THEN 'looks like an ID number; use an id of your own' END;
END
$body$;

-- Why a caller, key or label cannot be stored and shown in clear; null when it can.
CREATE FUNCTION verifier.name_fault(value text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $body$
DECLARE
  folded text;
BEGIN
  IF value IS NULL OR length(value) NOT BETWEEN 1 AND 200 OR value COLLATE "C" ~ $re$[\u0001-\u001F\u007F-\u00A0\u00AD\u0600-\u0605\u061C\u06DD\u070F\u0890\u0891\u08E2\u1680\u180E\u2000-\u200F\u2028-\u202F\u205F-\u2064\u2066-\u206F\u3000\uE000-\uF8FF\uFEFF\uFFF9-\uFFFB\U000110BD\U000110CD\U00013430-\U0001343F\U0001BCA0-\U0001BCA3\U0001D173-\U0001D17A\U000E0001\U000E0020-\U000E007F\U000F0000-\U000FFFFD\U00100000-\U0010FFFD]$re$ THEN
    RETURN 'must be 1 to 200 printable characters';
  END IF;
  folded := verifier.folded(value);
  IF coalesce(verifier.number_in(folded), verifier.number_in(translate(folded, ' ().-_/', ''))) IS NOT NULL
     OR folded COLLATE "C" ~ '[^ @]+@[^ @]+[.][^ @]+' THEN
    RETURN 'has a phone number, an ID number or an e-mail address in it';
  END IF;
  RETURN NULL;
END
$body$;

-- What makes a request the same: what is stored of it, and whom it lists in any order (Request.digest computes it as well).
CREATE FUNCTION verifier.request_digest(described jsonb, platform text, listed text[]) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN sha256(convert_to(
    (SELECT string_agg(concat(length(name), ':', name, length(value), ':', value), '' ORDER BY name COLLATE "C")
       FROM jsonb_each_text(described) AS field (name, value) WHERE value IS NOT NULL)
    || coalesce((SELECT string_agg(concat(length(platform), ':', platform, length(reference), ':', reference), '' ORDER BY reference COLLATE "C")
                   FROM (SELECT DISTINCT reference FROM unnest(listed) AS reference) AS whom), ''), 'UTF8'));

-- Makes the batch of (caller, key) in the caller's own transaction and returns its id: it exists if and when that commits.
-- The sweep loads it within seconds. VF400: the request cannot be meant; VF409: the key was used for another request.
CREATE FUNCTION verifier.submit(
  caller text, key text, "references" text[] DEFAULT NULL, selection text DEFAULT NULL, platform text DEFAULT NULL,
  priority text DEFAULT 'normal', label text DEFAULT NULL, deadline_hours integer DEFAULT NULL,
  notify text DEFAULT NULL, notify_queue text DEFAULT NULL
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
  whose text := coalesce(submit.platform, 'default');
  level smallint := array_position(ARRAY['high', 'normal', 'low'], submit.priority);
  queue text := CASE WHEN submit.notify IS NOT NULL THEN coalesce(submit.notify_queue, 'celery') END;
  listed integer;
  refusal text;
  described jsonb;
  digest bytea;
  batch bigint;
  known bytea;
  taken integer;
BEGIN
  refusal := CASE
    WHEN (submit.selection IS NULL) = (submit."references" IS NULL) THEN 'Submit either a selection or a list of references.'
    WHEN submit.selection NOT IN ('all', 'unverified', 'failed') THEN 'The selection must be all, unverified or failed.'
    WHEN level IS NULL THEN 'The priority must be high, normal or low.'
    WHEN submit.deadline_hours NOT BETWEEN 1 AND 8760 THEN 'The deadline must be 1 to 8760 hours.'
    WHEN submit.notify IS NULL AND submit.notify_queue IS NOT NULL THEN 'notify_queue without notify: name the task that is to be sent there.'
    WHEN submit.notify COLLATE "C" !~ '^[A-Za-z][A-Za-z0-9_.:-]{0,199}$' OR submit.notify ~ '^(verifier|workers|celery)[.]'
      THEN 'notify must name a task of yours: a letter, then letters, digits, dots, dashes; at most 200.'
    WHEN queue COLLATE "C" !~ '^[A-Za-z][A-Za-z0-9_.:-]{0,199}$' OR queue ~ '^(unacked|celeryev|verify[.]|verifier|vp:)|[.]pidbox'
         OR queue IN ('interactive', 'control', 'remind', 'notify')
      THEN 'notify_queue must name a queue of yours, and none of the verifier.'
    WHEN cardinality(submit."references") = 0 THEN 'The list of references is empty.'
    WHEN cardinality(submit."references") > 1000000 THEN 'At most 1000000 references make one batch.'
    ELSE (SELECT format('The %s %s.', field.name, field.fault)
            FROM (VALUES ('caller', verifier.name_fault(submit.caller)), ('key', verifier.name_fault(submit.key)),
                         ('label', verifier.name_fault(coalesce(submit.label, '-'))),
                         ('notify', verifier.name_fault(coalesce(submit.notify, '-'))),
                         ('notify_queue', verifier.name_fault(coalesce(submit.notify_queue, '-'))),
                         ('platform', verifier.reference_fault(whose))) AS field (name, fault)
           WHERE field.fault IS NOT NULL LIMIT 1) END;
  IF refusal IS NULL THEN
    SELECT format('Reference %s of the list %s.', l.place, f.fault) INTO refusal
      FROM unnest(submit."references") WITH ORDINALITY AS l (reference, place)
     CROSS JOIN LATERAL verifier.reference_fault(l.reference) AS f (fault)
     WHERE f.fault IS NOT NULL LIMIT 1;
  END IF;
  IF refusal IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'VF400', MESSAGE = refusal,
      HINT = 'Nothing was stored. The parameters of verifier.submit are described in docs/contract.md.';
  END IF;

  SELECT count(DISTINCT reference COLLATE "C") INTO listed FROM unnest(submit."references") AS reference;
  described := jsonb_build_object('priority', submit.priority, 'rerun_of', NULL)
    || CASE WHEN submit.selection IS NULL THEN jsonb_build_object('listed', listed)
            ELSE jsonb_build_object('selection', submit.selection) END
    || CASE WHEN submit.selection IS NULL OR submit.platform IS NULL THEN '{}' ELSE jsonb_build_object('platform', submit.platform) END
    || CASE WHEN submit.deadline_hours IS NULL THEN '{}' ELSE jsonb_build_object('deadline_hours', submit.deadline_hours) END
    || CASE WHEN submit.notify IS NULL THEN '{}' ELSE jsonb_build_object('notify', submit.notify, 'notify_queue', queue) END;
  digest := verifier.request_digest(described, whose, submit."references");

  INSERT INTO verifier.batches (caller, idempotency_key, request_digest, selection, priority, deadline_hours, label, notify_task, notify_queue)
  VALUES (submit.caller, submit.key, digest, described, level, submit.deadline_hours, submit.label, submit.notify, queue)
  ON CONFLICT (caller, idempotency_key) DO NOTHING RETURNING id INTO batch;
  IF batch IS NULL THEN
    SELECT b.id, b.request_digest INTO STRICT batch, known FROM verifier.batches b
     WHERE b.caller = submit.caller AND b.idempotency_key = submit.key;
    IF known <> digest THEN
      RAISE EXCEPTION USING ERRCODE = 'VF409',
        MESSAGE = format('The key %L was already used by %L for another request (batch %s).', submit.key, submit.caller, batch),
        HINT = 'Use a new key for a new request, or repeat the old request unchanged.';
    END IF;
    RETURN batch;
  END IF;

  INSERT INTO verifier.batch_items (batch_id, user_id, verification_id)
  SELECT batch, chosen.id, nextval('verifier.verification_ids')
    FROM (SELECT u.id FROM (SELECT DISTINCT reference FROM unnest(submit."references") AS reference) AS l
            JOIN verifier.users u ON u.platform = whose AND u.reference = l.reference
          UNION ALL
          SELECT u.id FROM verifier.users u
           WHERE submit.selection = 'all' AND (submit.platform IS NULL OR u.platform = submit.platform)
          UNION ALL
          SELECT u.id FROM verifier.users u
           WHERE u.status = submit.selection AND u.status <> 'verified' AND (submit.platform IS NULL OR u.platform = submit.platform)
         ) AS chosen
   ORDER BY chosen.id;
  GET DIAGNOSTICS taken = ROW_COUNT;
  UPDATE verifier.batches SET snapshot_taken = true, total = taken,
         unknown = CASE WHEN submit.selection IS NULL THEN listed - taken ELSE 0 END
   WHERE id = batch;
  RETURN batch;
END
$body$;

REVOKE ALL ON FUNCTION verifier.submit FROM PUBLIC;

COMMENT ON FUNCTION verifier.submit IS 'Ask for a verification inside your own transaction: docs/contract.md.';

CREATE VIEW verifier.results AS
SELECT u.platform, u.reference, u.status, u.outcome, u.detail, u.checked_at, w.cause AS waiting_for, w.until AS waiting_until
  FROM verifier.users u LEFT JOIN verifier.waiting w ON w.user_id = u.id;

COMMENT ON VIEW verifier.results IS 'How each user stands. waiting_for is null when nothing is open.';

CREATE VIEW verifier.batch_progress AS
SELECT b.id AS batch, b.caller, b.idempotency_key AS key, b.label, b.state, b.total, b.unknown, coalesce(t.settled, 0) AS settled,
       coalesce(t.outcomes, '{}') AS outcomes, b.paused_at IS NOT NULL AS paused, b.cancelled_at IS NOT NULL AS cancelled,
       b.created_at, b.finished_at
  FROM verifier.batches b
  LEFT JOIN LATERAL (SELECT sum(o.number)::integer AS settled, jsonb_object_agg(o.outcome, o.number) AS outcomes
                       FROM (SELECT outcome, sum(count)::integer AS number FROM verifier.batch_tallies
                              WHERE batch_id = b.id GROUP BY outcome) AS o) AS t ON true;

COMMENT ON VIEW verifier.batch_progress IS 'How far each batch is; outcomes counts its settled items.';

CREATE VIEW verifier.batch_results AS
SELECT i.batch_id AS batch, u.platform, u.reference, v.outcome, v.detail, v.settled_at, w.cause AS waiting_for, w.until AS waiting_until
  FROM verifier.batch_items i
  JOIN verifier.users u ON u.id = i.user_id
  LEFT JOIN verifier.verifications v ON v.id = i.verification_id
  LEFT JOIN verifier.waiting w ON w.id = i.verification_id;

COMMENT ON VIEW verifier.batch_results IS 'What came of each user a batch asked for; outcome is null until it is settled.';

-- Only transactions below the oldest that still runs: whatever commits late comes after a cursor taken from here.
CREATE VIEW verifier.changes AS
SELECT v.xid AS transaction, v.id AS verification, u.platform, u.reference, v.outcome, v.detail, v.settled_at
  FROM verifier.verifications v JOIN verifier.users u ON u.id = v.user_id
 WHERE v.xid < pg_snapshot_xmin(pg_current_snapshot());

COMMENT ON VIEW verifier.changes IS 'The feed of settled verifications. Read it in order of (transaction, verification), after the last pair you have seen.';

INSERT INTO verifier.control DEFAULT VALUES;
INSERT INTO verifier.endpoints (name) VALUES ('celery');
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
  -- Whoever reads the history meanwhile is waited for briefly: behind this lock everybody waits.
  PERFORM set_config('lock_timeout', '2s', true);
  FOR history IN SELECT * FROM (VALUES ('attempts', 'started_at'), ('verifications', 'settled_at')) AS h (name, key) LOOP
    part := format('%s_%s', history.name, to_char(first AT TIME ZONE 'UTC', 'YYYY_MM'));
    CONTINUE WHEN to_regclass('verifier.' || part) IS NOT NULL;
    EXECUTE format('LOCK TABLE verifier.%I IN ACCESS EXCLUSIVE MODE', history.name);
    CONTINUE WHEN to_regclass('verifier.' || part) IS NOT NULL;
    EXECUTE format('CREATE TABLE verifier.%I (LIKE verifier.%I INCLUDING ALL EXCLUDING IDENTITY)', part, history.name);
    IF history.name = 'attempts' THEN
      -- Every row is written twice, before and after its call: the second version fits on the same page.
      EXECUTE format('ALTER TABLE verifier.%I SET (fillfactor = 40)', part);
    END IF;
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
