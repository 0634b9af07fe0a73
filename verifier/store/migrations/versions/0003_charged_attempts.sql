-- What an attempt was charged to, how the name was spelt in it, and who was looked up: an answer that comes late is then the same as one in time.

ALTER TABLE verifier.attempts ADD COLUMN charged BOOLEAN DEFAULT false NOT NULL, ADD COLUMN raw_name BOOLEAN DEFAULT false NOT NULL,
  ADD COLUMN carrier TEXT,
  ADD CONSTRAINT attempts_carrier CHECK (carrier IN ('cmcc', 'cucc', 'ctcc', 'cbn', 'mvno'));

COMMENT ON TABLE verifier.attempts IS 'Calls to providers: written before the call, completed after it. ''lost'': the worker died, so whether the vendor was asked is unknown; ''released'': it was not asked. purpose: whose the number is (verify), or a check; price: of a billed answer, when the call was made; charged: to the month''s budget; carrier: who was looked up.';

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
