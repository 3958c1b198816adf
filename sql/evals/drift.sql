-- drift: whether an agent still is what it was, from two runs over the same frozen cases.

CREATE FUNCTION agent_metrics.drift(run text, against text DEFAULT NULL, agent text DEFAULT NULL)
RETURNS TABLE (agent_id text, run_id text, metric text, against_run_id text, old_value double precision,
               new_value double precision, change double precision, tolerance double precision, is_worse boolean,
               compared bigint, broken_count bigint, mended_count bigint, p_value double precision,
               p_mid double precision, p_adjusted double precision, ci_low double precision, ci_high double precision,
               detectable_change double precision, broken_cases text[], mended_cases text[], state text, reason text)
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    points constant integer := 2;
    level  constant double precision := 0.05;
    agents text[] := ARRAY(SELECT r.agent_id
                           FROM agent_metrics.eval_runs r WHERE r.run_id = $1 AND ($3 IS NULL OR r.agent_id = $3));
    new_run record;
    old_run record;
    why     text;
BEGIN
    IF cardinality(agents) <> 1 THEN
        RAISE EXCEPTION '% "%"',
            CASE WHEN agents = '{}' THEN 'unknown eval run' ELSE 'several agents have an eval run' END, $1
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = CASE WHEN agents = '{}' THEN 'No row of agent_metrics.eval_runs has it.'
                                ELSE array_to_string(agents, ', ') END,
                  HINT = 'SELECT agent_id, run_id FROM agent_kpi.eval_runs lists them; '
                         'the third argument says whose run.';
    END IF;
    SELECT r.* INTO new_run FROM agent_metrics_internal.eval_run_sums r WHERE r.agent_id = agents[1] AND r.run_id = $1;
    IF $2 IS NULL THEN
        SELECT r.* INTO old_run FROM agent_metrics_internal.eval_run_sums r
        WHERE r.agent_id = agents[1] AND r.content_hash = new_run.content_hash
          AND (r.run_at, r.run_id) < (new_run.run_at, new_run.run_id)
          AND r.is_complete
        ORDER BY r.run_at DESC, r.run_id DESC LIMIT 1;
    ELSE
        SELECT r.* INTO old_run FROM agent_metrics_internal.eval_run_sums r
        WHERE r.run_id = $2 ORDER BY r.agent_id <> agents[1], r.agent_id LIMIT 1;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'unknown eval run "%"', $2
                USING ERRCODE = 'invalid_parameter_value',
                      DETAIL = 'No row of agent_metrics.eval_runs has it.',
                      HINT = 'SELECT agent_id, run_id FROM agent_kpi.eval_runs lists them.';
        END IF;
    END IF;
    why := CASE WHEN old_run.run_id IS NULL
                THEN format('there is no earlier run of %s over eval set %s', agents[1], new_run.eval_set)
                WHEN old_run.content_hash <> new_run.content_hash
                THEN format('the case sets differ: %s ran over %s, %s over %s', new_run.run_id, new_run.eval_set,
                            old_run.run_id, old_run.eval_set)
                WHEN NOT new_run.is_complete
                    THEN format('run %s has results of %s of its %s cases%s', new_run.run_id, new_run.cases,
                                new_run.case_count, CASE WHEN new_run.trials > 1
                                                         THEN format(', but not of all %s trials', new_run.trials) END)
                WHEN NOT old_run.is_complete
                    THEN format('run %s has results of %s of its %s cases%s', old_run.run_id, old_run.cases,
                                old_run.case_count, CASE WHEN old_run.trials > 1
                                                         THEN format(', but not of all %s trials', old_run.trials) END)
           END;
    IF why IS NOT NULL THEN
        RETURN QUERY SELECT agents[1], $1, 'eval_success_rate', old_run.run_id, NULL::float8,
                            agent_metrics.ratio(new_run.passed, new_run.graded), NULL::float8, points::float8,
                            NULL::boolean, NULL::bigint, NULL::bigint, NULL::bigint, NULL::float8, NULL::float8,
                            NULL::float8, NULL::float8, NULL::float8, NULL::float8, NULL::text[],
                            NULL::text[], 'refused', why;
        RETURN;
    END IF;
    RETURN QUERY
    WITH case_pair AS (
        SELECT c.case_id, o.is_passed AS passed_then, c.is_passed AS passes_now,
               c.latency_ms - o.latency_ms AS slower, (c.cost_usd - o.cost_usd)::double precision AS dearer
        FROM agent_metrics_internal.eval_case_results c
        JOIN agent_metrics_internal.eval_case_results o ON o.agent_id = old_run.agent_id AND o.run_id = old_run.run_id
         AND o.case_id = c.case_id
        WHERE c.agent_id = new_run.agent_id AND c.run_id = new_run.run_id
    ), paired_test AS (
        SELECT count(*) FILTER (WHERE p.passed_then IS NOT NULL AND p.passes_now IS NOT NULL) AS graded,
               count(*) FILTER (WHERE p.passed_then AND NOT p.passes_now) AS broken,
               count(*) FILTER (WHERE NOT p.passed_then AND p.passes_now) AS mended,
               array_agg(p.case_id ORDER BY p.case_id)
                   FILTER (WHERE p.passed_then AND NOT p.passes_now) AS broken_cases,
               array_agg(p.case_id ORDER BY p.case_id)
                   FILTER (WHERE NOT p.passed_then AND p.passes_now) AS mended_cases,
               count(p.slower) AS timed,
               agent_metrics.wilcoxon_signed_rank(array_agg(p.slower ORDER BY p.case_id)) AS p_slower,
               count(p.dearer) AS priced,
               agent_metrics.wilcoxon_signed_rank(array_agg(p.dearer ORDER BY p.case_id)) AS p_dearer
        FROM case_pair p
    ), measured_pair AS (
        SELECT 'eval_success_rate' AS metric, agent_metrics.ratio(old_run.passed, old_run.graded) AS was,
               agent_metrics.ratio(new_run.passed, new_run.graded) AS is_now,
               agent_metrics.ratio(100 * (new_run.passed * old_run.graded - old_run.passed * new_run.graded),
                                   old_run.graded * new_run.graded) AS change,
               points::double precision AS tolerance,
               new_run.passed * old_run.graded < old_run.passed * new_run.graded AS is_worse,
               agent_metrics_internal.moved_more_than(
                   old_run.passed, old_run.graded, new_run.passed, new_run.graded, points) AS fires,
               a.graded AS compared, a.broken, a.mended, agent_metrics.mcnemar_exact(a.broken, a.mended) AS p,
               agent_metrics.mcnemar_mid(a.broken, a.mended) AS p_mid,
               agent_metrics.bonett_price_low(a.broken, a.mended, a.graded) AS low,
               agent_metrics.bonett_price_high(a.broken, a.mended, a.graded) AS high,
               agent_metrics.minimum_detectable_change(
                   a.graded, agent_metrics.ratio(a.broken + a.mended, a.graded)) AS detectable,
               coalesce(a.broken_cases, '{}') AS broken_cases, coalesce(a.mended_cases, '{}') AS mended_cases
        FROM paired_test a
        UNION ALL
        SELECT v.metric, v.was, v.is_now, 100 * (v.is_now - v.was) / nullif(v.was, 0), v.tolerance::double precision,
               v.is_now > v.was, abs(v.is_now - v.was)::numeric * 100 > v.tolerance * v.was::numeric, v.compared, NULL,
               NULL, v.p, NULL, NULL, NULL, NULL, NULL, NULL
        FROM paired_test a
        CROSS JOIN LATERAL (VALUES
            ('eval_latency_p50_ms', old_run.latency_p50_ms, new_run.latency_p50_ms,
             new_run.latency_tolerance_percent, a.timed, a.p_slower),
            ('eval_cost_per_case_usd', agent_metrics.ratio(old_run.cost_usd, old_run.priced),
             agent_metrics.ratio(new_run.cost_usd, new_run.priced), new_run.cost_tolerance_percent, a.priced,
             a.p_dearer)) AS v (metric, was, is_now, tolerance, compared, p)
        WHERE v.was IS NOT NULL AND v.is_now IS NOT NULL AND v.compared > 0
    ), numbered_finding AS (
        SELECT m.*,
               (agent_metrics.benjamini_hochberg(
                   array_agg(m.p) OVER (ORDER BY m.metric ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)))
               [row_number() OVER (ORDER BY m.metric)] AS p_adjusted
        FROM measured_pair m
    )
    SELECT agents[1], $1, n.metric, old_run.run_id, n.was, n.is_now, n.change, n.tolerance, n.is_worse, n.compared,
           n.broken, n.mended, n.p, n.p_mid, n.p_adjusted, n.low, n.high, n.detectable, n.broken_cases, n.mended_cases,
           CASE WHEN n.fires AND n.p <= level THEN 'alert' WHEN n.fires THEN 'watch' ELSE 'ok' END,
           CASE WHEN n.fires AND n.p <= level THEN 'it moved beyond the tolerance, and more than noise does'
                WHEN n.fires THEN 'it moved beyond the tolerance, which noise does too'
                ELSE 'it stayed within the tolerance' END
    FROM numbered_finding n ORDER BY n.metric = 'eval_success_rate' DESC, n.metric;
END
$function$;
COMMENT ON FUNCTION agent_metrics.drift(text, text, text) IS
    'Compares a run with another over the same frozen cases, a row a metric: values, change, paired test, interval, '
    'broken and mended cases, and a state: ok, watch (beyond the tolerance), alert (and p <= 0.05), '
    'refused (other cases, or results missing). against NULL: the agent''s previous run over the set; '
    'agent NULL: the one that has the run.';
