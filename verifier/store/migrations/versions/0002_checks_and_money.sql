-- Checks beside a verification (is the number dead, did it change hands, who carries it now), what calls cost, and budgets.
-- Columns are added without a default that would rewrite a table; constraints look at every row once. Who is verified has matched.

ALTER TABLE verifier.users ADD COLUMN carrier_seen_at TIMESTAMP WITH TIME ZONE, ADD COLUMN matched_at TIMESTAMP WITH TIME ZONE;

UPDATE verifier.users SET matched_at = checked_at WHERE status = 'verified';

COMMENT ON TABLE verifier.users IS 'People to verify. phone … push_token are ciphertext; *_index are keyed blind indexes. name_raw: the spelling as given, where the canonical one differs. lane: the carrier by segment, or the one that was looked up at carrier_seen_at. matched_at: when the present data last matched.';

ALTER TABLE verifier.batches ADD COLUMN budget NUMERIC(14, 6),
  ADD CONSTRAINT batches_budget CHECK (budget > 0);

ALTER TABLE verifier.open_verifications ADD COLUMN payer BIGINT,
  DROP CONSTRAINT open_verifications_reason,
  ADD CONSTRAINT open_verifications_reason CHECK (reason IN ('new', 'retry', 'maintenance', 'rate_limited', 'provider_down', 'not_sent', 'provider_suspended', 'daily_cap', 'timeout', 'lease_expired', 'data_changed', 'paused', 'no_provider', 'quarantined', 'next_day', 'budget'));

COMMENT ON TABLE verifier.open_verifications IS 'Open work. The primary key is the promise: at most one open verification per user. payer: the batch out of whose budget its calls are paid, if it has one.';

ALTER TABLE verifier.lanes DROP CONSTRAINT lanes_not_before_reason,
  ADD CONSTRAINT lanes_not_before_reason CHECK (not_before_reason IN ('new', 'retry', 'maintenance', 'rate_limited', 'provider_down', 'not_sent', 'provider_suspended', 'daily_cap', 'timeout', 'lease_expired', 'data_changed', 'paused', 'no_provider', 'quarantined', 'next_day', 'budget'));

ALTER TABLE verifier.attempts ADD COLUMN purpose TEXT DEFAULT 'verify' NOT NULL,
  ADD COLUMN fact TEXT, ADD COLUMN price NUMERIC(14, 6), ADD COLUMN currency TEXT, ADD COLUMN payer BIGINT,
  DROP CONSTRAINT attempts_outcome,
  ADD CONSTRAINT attempts_outcome CHECK (outcome IN ('MATCHED', 'MISMATCHED', 'NO_RECORD', 'INVALID_INPUT', 'UNSUPPORTED_NUMBER', 'NUMBER_INACTIVE', 'CONSENT_MISSING', 'RATE_LIMITED', 'MAINTENANCE', 'PROVIDER_ERROR', 'TIMEOUT', 'NOT_SENT', 'AUTH_CONFIG', 'ARREARS', 'CHECKED')),
  ADD CONSTRAINT attempts_purpose CHECK (purpose IN ('verify', 'status', 'recycled', 'carrier')),
  ADD CONSTRAINT attempts_fact CHECK (fact IN ('ACTIVE', 'SUSPENDED', 'CANCELLED', 'NOT_IN_NETWORK', 'SAME_HOLDER', 'CHANGED_HANDS', 'CARRIER', 'UNKNOWN')),
  ADD CONSTRAINT attempts_checked_has_fact CHECK ((outcome IS NOT NULL AND outcome = 'CHECKED') = (fact IS NOT NULL) AND (fact IS NULL OR purpose <> 'verify')),
  ADD CONSTRAINT attempts_price CHECK ((price IS NULL) = (currency IS NULL));

COMMENT ON TABLE verifier.attempts IS 'Calls to providers: written before the call, completed after it. ''lost'': the worker died, so whether the vendor was asked is unknown; ''released'': it was not asked. purpose: whose the number is (verify), or a check; price: of a billed answer, when the call was made.';

CREATE TABLE verifier.spending (
  scope TEXT NOT NULL,
  amount NUMERIC(14, 6) DEFAULT 0 NOT NULL,
  exhausted_at TIMESTAMP WITH TIME ZONE,
  counted BOOLEAN DEFAULT true NOT NULL,
  CONSTRAINT spending_pkey PRIMARY KEY (scope)
);

COMMENT ON TABLE verifier.spending IS 'What is spent or may still be (billed, maybe billed, under way) of each budget: month:YYYY-MM, batch:ID. exhausted_at: a call was not begun for want of money. counted: what was spent before it was charged to is in it.';

CREATE TABLE verifier.check_uses (
  check_name TEXT NOT NULL,
  day DATE NOT NULL,
  used INTEGER NOT NULL,
  CONSTRAINT check_uses_pkey PRIMARY KEY (check_name, day),
  CONSTRAINT check_uses_check_name CHECK (check_name IN ('status', 'recycled', 'carrier'))
);

COMMENT ON TABLE verifier.check_uses IS 'How often each check was asked on a business day: its cap is taken from here.';
