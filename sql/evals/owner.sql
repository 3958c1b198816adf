-- What is frozen stays frozen.

-- The set's row is locked, so that a case that comes while the set is being frozen waits and is then refused.
CREATE OR REPLACE FUNCTION agent_metrics_internal.check_eval_case() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    of_set text := CASE WHEN TG_OP = 'DELETE' THEN OLD.eval_set ELSE NEW.eval_set END;
    frozen timestamptz;
BEGIN
    FOR frozen IN
        SELECT s.frozen_at FROM agent_metrics.eval_sets s
        WHERE s.eval_set = of_set OR (TG_OP = 'UPDATE' AND s.eval_set = OLD.eval_set) FOR SHARE
    LOOP
        IF frozen IS NOT NULL THEN
            RAISE EXCEPTION 'eval set "%" is frozen, so its case "%" cannot change', of_set,
                            CASE WHEN TG_OP = 'DELETE' THEN OLD.case_id ELSE NEW.case_id END
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      DETAIL = format('It was frozen at %s; runs over it can be compared only while its cases '
                                      'stay the same.', frozen),
                      HINT = 'Make a new set with a name of its own, copy the cases there, and freeze that.';
        END IF;
    END LOOP;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_eval_case() IS
    'Trigger: refuses any change of a case of a frozen set.';
REVOKE ALL ON FUNCTION agent_metrics_internal.check_eval_case() FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics_internal.check_eval_set() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        IF NOT EXISTS (SELECT 1 FROM agent_metrics.eval_sets s WHERE s.frozen_at IS NOT NULL) THEN
            RETURN NULL;
        END IF;
    ELSIF OLD.frozen_at IS NULL
          OR (TG_OP = 'UPDATE' AND (OLD.eval_set, OLD.case_count, OLD.content_hash, OLD.frozen_at)
                                   IS NOT DISTINCT FROM (NEW.eval_set, NEW.case_count, NEW.content_hash, NEW.frozen_at))
    THEN
        RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    RAISE EXCEPTION 'eval set % is frozen',
        CASE WHEN TG_OP = 'TRUNCATE' THEN 'of table ' || TG_ARGV[0] ELSE '"' || OLD.eval_set || '"' END
        USING ERRCODE = 'object_not_in_prerequisite_state',
              DETAIL = 'Runs over a set can be compared only while its cases stay the same.',
              HINT = 'Make a new set with a name of its own; the description and the tolerances of a frozen '
                     'set may still change.';
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_eval_set() IS
    'Trigger: refuses to change, delete or empty what is frozen.';
REVOKE ALL ON FUNCTION agent_metrics_internal.check_eval_set() FROM PUBLIC;

-- With the owner's rights, for a writer may not read the sets.
CREATE OR REPLACE FUNCTION agent_metrics_internal.check_eval_run() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    hash text;
BEGIN
    SELECT s.content_hash INTO hash FROM agent_metrics.eval_sets s WHERE s.eval_set = NEW.eval_set;
    IF hash IS NULL THEN
        RAISE EXCEPTION 'run "%" of agent "%" is over eval set "%", which is not frozen', NEW.run_id,
            NEW.agent_id, NEW.eval_set
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = CASE WHEN FOUND THEN 'The cases of that set may still change.'
                                ELSE 'There is no set of that name.' END,
                  HINT = 'SELECT agent_metrics.freeze_eval_set(eval_set) freezes a set of 200 cases and more.';
    END IF;
    NEW.content_hash := hash;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_eval_run() IS
    'Trigger: refuses a run over a set that is not frozen, and stamps the hash of the set.';
REVOKE ALL ON FUNCTION agent_metrics_internal.check_eval_run() FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics_internal.check_eval_results() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    wrong record;
BEGIN
    SELECT a.agent_id, a.run_id, a.case_id, a.trial, r.eval_set, r.trials INTO wrong
    FROM added a
    LEFT JOIN agent_metrics.eval_runs r ON r.agent_id = a.agent_id AND r.run_id = a.run_id
    WHERE r.run_id IS NULL OR a.trial > r.trials
       OR NOT EXISTS (SELECT 1 FROM agent_metrics.eval_cases c WHERE c.eval_set = r.eval_set AND c.case_id = a.case_id)
    ORDER BY a.agent_id, a.run_id, a.case_id LIMIT 1;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF wrong.eval_set IS NULL THEN
        RAISE EXCEPTION 'agent "%" has no eval run "%"', wrong.agent_id, wrong.run_id
            USING ERRCODE = 'foreign_key_violation',
                  DETAIL = 'Results belong to a run, whose row says which set it ran over.',
                  HINT = 'Insert the run into agent_metrics.eval_runs first, or call agent_metrics.record_eval_run().';
    ELSIF wrong.trial > wrong.trials THEN
        RAISE EXCEPTION 'trial % of case "%" is beyond the % trials of run "%"', wrong.trial, wrong.case_id,
            wrong.trials, wrong.run_id
            USING ERRCODE = 'check_violation',
                  DETAIL = 'The run''s row says how often each case is tried.',
                  HINT = 'Set eval_runs.trials before the results come.';
    END IF;
    RAISE EXCEPTION 'case "%" is not in eval set "%" of run "%"', wrong.case_id, wrong.eval_set, wrong.run_id
        USING ERRCODE = 'foreign_key_violation',
              DETAIL = 'A run''s results are those of the cases of its set.',
              HINT = 'Was it run over another set? That is another run, with that set''s name.';
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_eval_results() IS
    'Trigger: refuses results of an unknown run, of a case outside the run''s set, or of a trial too many.';
REVOKE ALL ON FUNCTION agent_metrics_internal.check_eval_results() FROM PUBLIC;
