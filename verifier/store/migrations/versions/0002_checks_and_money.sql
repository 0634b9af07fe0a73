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
  ADD COLUMN charged BOOLEAN DEFAULT false NOT NULL, ADD COLUMN raw_name BOOLEAN DEFAULT false NOT NULL, ADD COLUMN carrier TEXT,
  DROP CONSTRAINT attempts_outcome,
  ADD CONSTRAINT attempts_outcome CHECK (outcome IN ('MATCHED', 'MISMATCHED', 'NO_RECORD', 'INVALID_INPUT', 'UNSUPPORTED_NUMBER', 'NUMBER_INACTIVE', 'CONSENT_MISSING', 'RATE_LIMITED', 'MAINTENANCE', 'PROVIDER_ERROR', 'TIMEOUT', 'NOT_SENT', 'AUTH_CONFIG', 'ARREARS', 'CHECKED')),
  ADD CONSTRAINT attempts_purpose CHECK (purpose IN ('verify', 'status', 'recycled', 'carrier')),
  ADD CONSTRAINT attempts_fact CHECK (fact IN ('ACTIVE', 'SUSPENDED', 'CANCELLED', 'NOT_IN_NETWORK', 'SAME_HOLDER', 'CHANGED_HANDS', 'CARRIER', 'UNKNOWN')),
  ADD CONSTRAINT attempts_checked_has_fact CHECK ((outcome IS NOT NULL AND outcome = 'CHECKED') = (fact IS NOT NULL) AND (fact IS NULL OR purpose <> 'verify')),
  ADD CONSTRAINT attempts_price CHECK ((price IS NULL) = (currency IS NULL)),
  ADD CONSTRAINT attempts_carrier CHECK (carrier IN ('cmcc', 'cucc', 'ctcc', 'cbn', 'mvno'));

COMMENT ON TABLE verifier.attempts IS 'Calls to providers: written before the call, completed after it. ''lost'': the worker died, so whether the vendor was asked is unknown; ''released'': it was not asked. purpose: whose the number is (verify), or a check; price: of a billed answer, when the call was made; charged: to the month''s budget; carrier: who was looked up.';

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

-- verifier.submit takes a budget too. Whoever might call it before may call it now.
CREATE FUNCTION verifier.submit(
  caller text, key text, "references" text[] DEFAULT NULL, selection text DEFAULT NULL, platform text DEFAULT NULL,
  priority text DEFAULT 'normal', label text DEFAULT NULL, deadline_hours integer DEFAULT NULL,
  notify text DEFAULT NULL, notify_queue text DEFAULT NULL, budget numeric DEFAULT NULL
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
    WHEN NOT (submit.budget > 0 AND submit.budget < 100000000 AND submit.budget = round(submit.budget, 6))
      THEN 'The budget must be an amount above 0, below 100,000,000, with at most six decimals.'
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
    || CASE WHEN submit.notify IS NULL THEN '{}' ELSE jsonb_build_object('notify', submit.notify, 'notify_queue', queue) END
    || CASE WHEN submit.budget IS NULL THEN '{}' ELSE jsonb_build_object('budget', trim_scale(submit.budget)::text) END;
  digest := verifier.request_digest(described, whose, submit."references");

  INSERT INTO verifier.batches (caller, idempotency_key, request_digest, selection, priority, deadline_hours, label, notify_task, notify_queue, budget)
  VALUES (submit.caller, submit.key, digest, described, level, submit.deadline_hours, submit.label, submit.notify, queue, submit.budget)
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

REVOKE ALL ON FUNCTION verifier.submit(text, text, text[], text, text, text, text, integer, text, text, numeric) FROM PUBLIC;

DO $body$
DECLARE
  granted record;
BEGIN
  FOR granted IN
    SELECT a.grantee::regrole AS role, a.is_grantable
      FROM pg_proc p, aclexplode(p.proacl) a
     WHERE p.oid = 'verifier.submit(text, text, text[], text, text, text, text, integer, text, text)'::regprocedure AND a.grantee NOT IN (0, p.proowner)
  LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION verifier.submit(text, text, text[], text, text, text, text, integer, text, text, numeric) TO %s%s',
                   granted.role, CASE WHEN granted.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
  END LOOP;
END
$body$;

DROP FUNCTION verifier.submit(text, text, text[], text, text, text, text, integer, text, text);

COMMENT ON FUNCTION verifier.submit IS 'Ask for a verification inside your own transaction: docs/contract.md.';
