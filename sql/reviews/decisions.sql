-- Keep or replace: the answer of a quarter.

CREATE FUNCTION agent_metrics.decide(
    agent_id text, decision text, "by" text, reason text, replaced_by text DEFAULT NULL, at timestamptz DEFAULT now())
RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    answered date := date_trunc(
        'quarter', agent_metrics_internal.day_of($6, agent_metrics_internal.report_time_zone())::timestamp)::date;
    made     text;
BEGIN
    PERFORM agent_metrics_internal.check_registered($1);
    IF $2 IS NULL OR $2 NOT IN ('keep', 'replace', 'sunset') THEN
        RAISE EXCEPTION 'impossible decision "%" about agent "%"', $2, $1
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Would we deploy it from scratch today? One keeps, replaces or sunsets an agent.',
                  HINT = 'Say keep, replace or sunset.';
    ELSIF coalesce(btrim($3), '') = '' OR coalesce(btrim($4), '') = '' THEN
        RAISE EXCEPTION 'the decision about agent "%" has no %', $1,
            CASE WHEN coalesce(btrim($3), '') = '' THEN 'author' ELSE 'reason' END
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'A decision that nobody can be asked about later is none.',
                  HINT = 'SELECT agent_metrics.decide(agent_id, ''keep'', ''Head of Support'', ''cheaper than last '
                         'quarter, and no worse'');';
    ELSIF $5 IS NOT NULL AND ($2 <> 'replace' OR $5 = $1) THEN
        RAISE EXCEPTION 'agent "%" cannot be replaced by "%" with the decision to % it', $1, $5, $2
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'A successor is another agent, and comes with the decision to replace.',
                  HINT = 'Leave replaced_by out, or decide to replace.';
    END IF;
    INSERT INTO agent_metrics.decisions (
        agent_id, quarter, decision, decided_by, reason, replaced_by, snapshot, decided_at)
    SELECT $1, answered, $2, $3, $4, $5,
           jsonb_build_object(
               'tiles',
               (SELECT coalesce(
                    jsonb_agg(jsonb_build_object('metric', t.metric, 'value', t.value_30d, 'ci_low', t.ci_low,
                                                 'ci_high', t.ci_high, 'numerator', t.numerator,
                                                 'denominator', t.denominator, 'threshold', t.threshold,
                                                 'verdict', t.verdict, 'previous', t.previous_30d)
                              ORDER BY t.position), '[]')
                FROM agent_kpi.cfo_tiles t WHERE t.agent_id = $1),
               'eval_run', (SELECT to_jsonb(r) FROM agent_kpi.eval_runs r
                            WHERE r.agent_id = $1 AND r.is_complete ORDER BY r.run_at DESC LIMIT 1),
               'refreshed_at', (SELECT w.refreshed_at
                                FROM agent_metrics_internal.agent_watermarks w WHERE w.agent_id = $1)), $6
    RETURNING decision_id INTO made;
    UPDATE agent_metrics.agents a SET sunset_at = CASE $2 WHEN 'sunset' THEN $6 END, replaced_by = $5
    WHERE a.agent_id = $1 AND (a.sunset_at, a.replaced_by) IS DISTINCT FROM (CASE $2 WHEN 'sunset' THEN $6 END, $5);
    UPDATE agent_metrics_internal.alerts a SET acknowledged_by = $3, acknowledged_at = $6, note = $2
    WHERE a.agent_id = $1 AND a.kind IN ('decision_due', 'decision_overdue') AND a.acknowledged_at IS NULL;
    RETURN made;
END
$function$;
COMMENT ON FUNCTION agent_metrics.decide(text, text, text, text, text, timestamptz) IS
    'Answers the quarter''s question about an agent: keep, replace or sunset, by whom and why. '
    'Stored for good with the numbers of that moment. Returns the id of the decision.';
