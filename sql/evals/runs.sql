-- Eval sets and their runs.

CREATE FUNCTION agent_metrics.freeze_eval_set(eval_set text) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    least constant integer := 200;
    found_set record;
    cases     integer;
    hash      text;
BEGIN
    -- The lock first and the cases in the next statement, which sees those that it waited for.
    SELECT s.* INTO found_set FROM agent_metrics.eval_sets s WHERE s.eval_set = $1 FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'unknown eval set "%"', $1
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'No row of agent_metrics.eval_sets has that name.',
                  HINT = 'Insert the set, then its cases into agent_metrics.eval_cases, then freeze it.';
    END IF;
    IF found_set.frozen_at IS NOT NULL THEN
        RETURN found_set.content_hash;
    END IF;
    -- One line a case in canonical JSON, lines by case_id byte by byte: the order of insertion is nowhere in it.
    SELECT count(*), encode(sha256(convert_to(string_agg(encode(sha256(convert_to(
               jsonb_build_array(c.case_id, c.category, c.input, c.expected)::text, 'UTF8')), 'hex'), E'\n'
                                                         ORDER BY c.case_id COLLATE "C"), 'UTF8')), 'hex')
    INTO cases, hash
    FROM agent_metrics.eval_cases c WHERE c.eval_set = $1;
    IF cases < least THEN
        RAISE EXCEPTION 'eval set "%" has % cases', $1, cases
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = format('A set is frozen with %s cases and more: with fewer no change that matters could be '
                                  'told from noise.', least),
                  HINT = format('Add %s more to agent_metrics.eval_cases.', least - cases);
    END IF;
    UPDATE agent_metrics.eval_sets s SET case_count = cases, content_hash = hash, frozen_at = now()
    WHERE s.eval_set = $1;
    RETURN hash;
END
$function$;
COMMENT ON FUNCTION agent_metrics.freeze_eval_set(text) IS
    'Freezes a set of 200 cases and more: no case changes afterwards. Returns the hash of its content, '
    'which does not depend on the order of the cases; again, the same.';

CREATE FUNCTION agent_metrics.record_eval_run(
    agent_id text, run_id text, eval_set text, results jsonb, run_at timestamptz DEFAULT NULL,
    agent_version text DEFAULT NULL, model text DEFAULT NULL, prompt_version text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    wrong  text;
    tried  integer;
    cases  bigint;
    wanted bigint;
BEGIN
    IF jsonb_typeof($4) IS DISTINCT FROM 'array'
       OR jsonb_path_exists($4, '$[*] ? (@.type() != "object" || !exists(@.case_id))') THEN
        RAISE EXCEPTION 'results of run "%" are no list of results', $2
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'It is a JSON array of objects, each with case_id and passed (true, false, '
                           'or null for one that is not graded).',
                  HINT = '[{"case_id": "c-1", "passed": true, "latency_ms": 840, "cost_usd": 0.01, '
                         '"trial": 1, "error": null}]';
    END IF;
    SELECT min(d.case_id), max(d.most) INTO wrong, tried
    FROM (SELECT CASE WHEN count(*) > 1 THEN r.case_id END AS case_id, max(r.trial) OVER () AS most
          FROM (SELECT x ->> 'case_id' AS case_id, coalesce((x ->> 'trial')::integer, 1) AS trial
                FROM jsonb_array_elements($4) AS x) r
          GROUP BY r.case_id, r.trial) d;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'case "%" comes twice in run "%"', wrong, $2
            USING ERRCODE = 'unique_violation',
                  DETAIL = 'Each case has one result a trial.',
                  HINT = 'Number repeated trials with "trial": 1, 2, ...';
    END IF;
    IF EXISTS (SELECT 1 FROM agent_metrics.eval_runs r WHERE r.agent_id = $1 AND r.run_id = $2) THEN
        RAISE EXCEPTION 'run "%" of agent "%" is recorded already', $2, $1
            USING ERRCODE = 'unique_violation',
                  DETAIL = 'A run is recorded once: what was compared with it rests on it.',
                  HINT = 'Give another run an id of its own, such as its date.';
    END IF;
    INSERT INTO agent_metrics.eval_runs (
        agent_id, run_id, eval_set, run_at, trials, agent_version, model, prompt_version)
    VALUES ($1, $2, $3, coalesce($5, now()), coalesce(tried, 1), $6, $7, $8);
    INSERT INTO agent_metrics.eval_results (
        agent_id, run_id, case_id, trial, passed, error, latency_ms, token_usage_input, token_usage_output, cost_usd)
    SELECT $1, $2, x ->> 'case_id', coalesce((x ->> 'trial')::integer, 1), (x ->> 'passed')::boolean, x ->> 'error',
           (x ->> 'latency_ms')::double precision, (x ->> 'token_usage_input')::bigint,
           (x ->> 'token_usage_output')::bigint, (x ->> 'cost_usd')::numeric
    FROM jsonb_array_elements($4) AS x;
    SELECT count(DISTINCT r.case_id), max(s.case_count) INTO cases, wanted
    FROM agent_metrics.eval_sets s LEFT JOIN agent_metrics.eval_results r ON r.agent_id = $1 AND r.run_id = $2
    WHERE s.eval_set = $3;
    IF cases < wanted THEN
        RAISE EXCEPTION 'run "%" has results of % of the % cases of eval set "%"', $2, cases, wanted, $3
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'A rate over part of a set is not the rate over the set.',
                  HINT = 'Give every case; one that could not be graded has "passed": null, one that failed to '
                         'run has an "error".';
    END IF;
    RETURN (SELECT count(*) FROM agent_metrics.eval_results r WHERE r.agent_id = $1 AND r.run_id = $2);
END
$function$;
COMMENT ON FUNCTION agent_metrics.record_eval_run(text, text, text, jsonb, timestamptz, text, text, text) IS
    'Stores a run over a frozen set and all its results, a JSON array of objects with case_id, passed, error, trial, '
    'latency_ms, token_usage_input, token_usage_output, cost_usd. Returns how many; an error, and nothing stored, '
    'when one is missing, twice or not of the set. NULL run_at: now.';
