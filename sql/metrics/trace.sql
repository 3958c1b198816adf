-- trace(): the rows behind a number. They are those that the agent's last refresh has seen, so their sums are the number
-- that the views show. occurred_at is the moment that decides the bucket: the turn's, or that of the conversation's
-- first turn.

CREATE TYPE agent_metrics.trace_row AS (
    conversation_id text, event_id text, occurred_at timestamptz, numerator numeric, denominator numeric, value double precision);
COMMENT ON TYPE agent_metrics.trace_row IS 'One row behind a number.';
COMMENT ON COLUMN agent_metrics.trace_row.conversation_id IS 'Conversation; NULL: the row is of none (a bill, an hour, an archived month).';
COMMENT ON COLUMN agent_metrics.trace_row.event_id IS 'Turn, business event, answer, bill, or run and case; NULL: the conversation as a whole.';
COMMENT ON COLUMN agent_metrics.trace_row.occurred_at IS 'The moment that decides the bucket.';
COMMENT ON COLUMN agent_metrics.trace_row.numerator IS 'What it adds to the numerator; NULL of a percentile.';
COMMENT ON COLUMN agent_metrics.trace_row.denominator IS 'What it adds to the denominator; NULL of a plain sum.';
COMMENT ON COLUMN agent_metrics.trace_row.value IS 'The value that a percentile is of.';

CREATE FUNCTION agent_metrics.trace(metric text, agent_id text, from_time timestamptz, to_time timestamptz)
RETURNS SETOF agent_metrics.trace_row
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan SET jit = off AS $function$
#variable_conflict use_column
DECLARE
    known record;
    base  text;
    mine  numeric;
    theirs numeric;
BEGIN
    SELECT m.metric, m.measure INTO known FROM agent_metrics.metrics m WHERE m.metric = $1;
    IF known.metric IS NULL THEN
        RAISE EXCEPTION 'unknown metric "%"', $1
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'No row of agent_metrics.metrics has that name.',
                  HINT = 'SELECT metric FROM agent_kpi.metric_catalogue lists them.';
    END IF;
    IF NOT EXISTS (SELECT FROM agent_metrics.agents a WHERE a.agent_id = $2) THEN
        RAISE EXCEPTION 'unknown agent "%"', $2
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Only registered agents have numbers.',
                  HINT = 'agent_kpi.unregistered_agents lists agents whose events are kept but not rolled up.';
    END IF;
    IF $3 IS NULL OR $4 IS NULL OR $3 > $4 THEN
        RAISE EXCEPTION 'no span of time from % to %', coalesce($3::text, 'NULL'), coalesce($4::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'A number is of a day, an hour or another span; from is its first moment, to the first after it.',
                  HINT = 'SELECT * FROM agent_metrics.trace(''task_success_rate'', ''support-bot'', ''2026-03-01'', ''2026-03-02'');';
    END IF;

    -- Turns, and what is left of archived ones.
    IF $1 IN ('cost_per_unit_usd', 'cost_per_resolution_usd', 'cost_per_qualified_lead_usd', 'token_spend_usd', 'tokens_per_turn', 'latency_p50_ms', 'latency_p95_ms') THEN
        RETURN QUERY
        SELECT e.conversation_id, e.event_id::text, e.occurred_at,
               CASE WHEN $1 = 'tokens_per_turn' THEN (coalesce(e.token_usage_input, 0) + coalesce(e.token_usage_output, 0))::numeric
                    WHEN $1 NOT LIKE 'latency%' THEN e.cost_usd END,
               CASE WHEN $1 = 'tokens_per_turn' OR $1 LIKE 'latency%' THEN 1::numeric END,
               CASE WHEN $1 LIKE 'latency%' THEN e.latency_ms END
        FROM agent_metrics_internal.agent_watermarks w
        JOIN agent_metrics.agent_events e ON e.agent_id = w.agent_id
        WHERE w.agent_id = $2 AND e.agent_id = $2 AND e.occurred_at >= $3 AND e.occurred_at < $4 AND NOT e.is_eval
          AND (pg_visible_in_snapshot(e.recorded_in, w.snapshot) OR e.recorded_in <= w.foreign_to)
          AND CASE WHEN $1 = 'tokens_per_turn' THEN coalesce(e.token_usage_input, e.token_usage_output) IS NOT NULL
                   WHEN $1 LIKE 'latency%' THEN e.latency_ms IS NOT NULL ELSE e.cost_usd IS NOT NULL END
        UNION ALL
        SELECT NULL, 'archive ' || b.archive_id, b.bucket, CASE WHEN $1 = 'tokens_per_turn' THEN (b.tokens_input + b.tokens_output)::numeric ELSE b.cost_usd END,
               CASE WHEN $1 = 'tokens_per_turn' THEN b.token_turns::numeric END, NULL
        FROM agent_metrics_internal.archived_buckets b
        JOIN agent_metrics_internal.archives a ON a.archive_id = b.archive_id AND a.state IN ('detached', 'archived')
        WHERE b.agent_id = $2 AND b.bucket >= $3 AND b.bucket < $4 AND $1 NOT LIKE 'latency%'
          AND CASE WHEN $1 = 'tokens_per_turn' THEN b.token_turns ELSE b.cost_turns END > 0;
    END IF;
    IF $1 LIKE 'cost\_per\_%' THEN
        RETURN QUERY
        SELECT c.conversation_id, NULL::text, c.started_at, NULL::numeric, 1::numeric, NULL::double precision
        FROM agent_metrics.conversations c
        WHERE c.agent_id = $2 AND c.started_at >= $3 AND c.started_at < $4 AND c.is_unit;
    ELSIF $1 IN ('task_success_rate', 'deflection_rate', 'automation_rate', 'booking_conversion_rate') THEN
        RETURN QUERY
        SELECT c.conversation_id, NULL::text, c.started_at,
               CASE $1 WHEN 'task_success_rate' THEN c.is_success WHEN 'deflection_rate' THEN c.is_deflection
                       WHEN 'automation_rate' THEN c.is_automation ELSE c.is_booking END::integer::numeric, 1::numeric, NULL::double precision
        FROM agent_metrics.conversations c
        WHERE c.agent_id = $2 AND c.started_at >= $3 AND c.started_at < $4 AND c.has_outcome;
    ELSIF $1 = 'qualified_lead_rate' THEN
        RETURN QUERY
        SELECT (SELECT min(c.conversation_id) FROM agent_metrics.conversations c
                WHERE c.agent_id = l.agent_id AND c.lead_id = l.lead_id AND c.started_at = l.started_at),
               NULL::text, l.started_at, l.is_qualified::integer::numeric, 1::numeric, NULL::double precision
        FROM agent_metrics_internal.leads l
        WHERE l.agent_id = $2 AND l.started_at >= $3 AND l.started_at < $4;
    ELSIF known.measure = 'eval_cases' THEN
        RETURN QUERY
        SELECT NULL::text, format('%s, case %s', r.run_id, c.case_id), r.run_at, c.is_passed::integer::numeric, 1::numeric, NULL::double precision
        FROM agent_metrics.eval_runs r
        CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics_internal.eval_case_results x WHERE x.agent_id = r.agent_id AND x.run_id = r.run_id AND x.is_passed IS NOT NULL) c
        WHERE r.agent_id = $2 AND r.run_at >= $3 AND r.run_at < $4;
    ELSIF known.measure IS NOT NULL THEN
        IF known.measure = 'revenue' THEN
            -- hours: each active interval
            RETURN QUERY
            SELECT NULL::text, NULL::text, lower(h.active), CASE WHEN $1 = 'revenue_per_agent_hour_usd' THEN 0::numeric END, extract(epoch FROM upper(h.active) - lower(h.active)) / 3600, NULL::double precision
            FROM agent_metrics_internal.active_days d
            CROSS JOIN LATERAL unnest(d.spans) AS s (span)
            CROSS JOIN LATERAL (SELECT tstzrange(lower(s.span), greatest(lower(s.span), upper(s.span) - interval '30 minutes')) * tstzrange($3, $4) AS active) h
            WHERE d.agent_id = $2 AND d.bucket > $3 - interval '3 days' AND d.bucket < $4 AND NOT isempty(h.active);
        END IF;
        IF $1 = 'infra_cost_per_agent_hour_usd' THEN
            RETURN QUERY
            SELECT NULL::text, s.cost_id, s.occurred_at, s.amount_usd, NULL::numeric, NULL::double precision
            FROM agent_metrics.infrastructure_shares($2, $3, $4) s;
        ELSE
            base := CASE WHEN $1 = 'nps_delta' THEN (SELECT b.agent_id FROM agent_metrics.agents a JOIN agent_metrics.agents b ON b.agent_id = a.baseline_agent_id
                                                    WHERE a.agent_id = $2 AND a.actor = 'ai' AND b.actor = 'human') END;
            IF $1 = 'nps_delta' THEN
                SELECT sum(f.denominator) FILTER (WHERE f.agent_id = $2), sum(f.denominator) FILTER (WHERE f.agent_id = base) INTO mine, theirs
                FROM agent_metrics_internal.fact_days f
                WHERE f.agent_id IN ($2, base) AND f.measure = 'survey' AND f.bucket >= $3 AND f.bucket < $4;
                IF coalesce(mine, 0) < 30 OR coalesce(theirs, 0) < 30 THEN
                    RETURN;
                END IF;
            END IF;
            RETURN QUERY
            SELECT r.conversation_id, r.event_id, r.occurred_at,
                   CASE WHEN $1 <> 'nps_delta' THEN r.numerator WHEN r.agent_id = $2 THEN r.numerator * theirs ELSE - r.numerator * mine END,
                   CASE WHEN $1 <> 'nps_delta' THEN r.denominator WHEN r.agent_id = $2 THEN theirs ELSE 0 END, r.value
            FROM (SELECT array_agg(f.agent_id) AS agents, array_agg(f.conversation_id) AS ids
                  FROM agent_metrics_internal.conversation_facts f
                  WHERE f.agent_id IN ($2, base) AND f.measure = known.measure AND f.bucket > $3 - interval '3 days' AND f.bucket < $4) f
            CROSS JOIN LATERAL agent_metrics_internal.fact_rows(f.agents, f.ids) r
            WHERE r.measure = known.measure AND r.occurred_at >= $3 AND r.occurred_at < $4;
        END IF;
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics.trace(text, text, timestamptz, timestamptz) IS
    'The rows behind a metric of an agent over a span of time: the sum of numerator / the sum of denominator is the number; of a percentile, the percentile of value; of a plain sum, the sum of numerator. Agent hours and NPS are of whole report days.';

CREATE TYPE agent_metrics.explanation AS (
    metric text, agent_id text, day date, definition text, definition_version integer, value double precision, numerator numeric, denominator numeric,
    ci_low double precision, ci_high double precision, verdict text, needed bigint, threshold double precision, direction text, owner text, contact text,
    deputy text, review_on date, refreshed_at timestamptz, trace_rows bigint, trace_checksum text);
COMMENT ON TYPE agent_metrics.explanation IS 'Where a number comes from.';
COMMENT ON COLUMN agent_metrics.explanation.metric IS 'Metric.';
COMMENT ON COLUMN agent_metrics.explanation.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.explanation.day IS 'Report day.';
COMMENT ON COLUMN agent_metrics.explanation.definition IS 'The definition in words, as it was on the day.';
COMMENT ON COLUMN agent_metrics.explanation.definition_version IS 'Its version.';
COMMENT ON COLUMN agent_metrics.explanation.value IS 'Value.';
COMMENT ON COLUMN agent_metrics.explanation.numerator IS 'Numerator.';
COMMENT ON COLUMN agent_metrics.explanation.denominator IS 'Denominator.';
COMMENT ON COLUMN agent_metrics.explanation.ci_low IS 'Lower end of the 95% interval.';
COMMENT ON COLUMN agent_metrics.explanation.ci_high IS 'Upper end of the 95% interval.';
COMMENT ON COLUMN agent_metrics.explanation.verdict IS 'pass, breach, inconclusive or no_data; NULL without a threshold.';
COMMENT ON COLUMN agent_metrics.explanation.needed IS 'When inconclusive: how many more observations would settle it at the present rate.';
COMMENT ON COLUMN agent_metrics.explanation.threshold IS 'The line.';
COMMENT ON COLUMN agent_metrics.explanation.direction IS '+ when higher is better, - when lower is better.';
COMMENT ON COLUMN agent_metrics.explanation.owner IS 'Who answers for it.';
COMMENT ON COLUMN agent_metrics.explanation.contact IS 'How to reach the owner.';
COMMENT ON COLUMN agent_metrics.explanation.deputy IS 'Who answers when the owner does not.';
COMMENT ON COLUMN agent_metrics.explanation.review_on IS 'When the line is to be looked at again.';
COMMENT ON COLUMN agent_metrics.explanation.refreshed_at IS 'When the number was last brought up to date.';
COMMENT ON COLUMN agent_metrics.explanation.trace_rows IS 'Rows behind it.';
COMMENT ON COLUMN agent_metrics.explanation.trace_checksum IS 'Sum of a hash of each; the same rows give the same, in any order.';

CREATE FUNCTION agent_metrics.explain_metric(metric text, agent_id text, day date) RETURNS SETOF agent_metrics.explanation
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET jit = off AS $function$
#variable_conflict use_column
DECLARE
    zone    text := agent_metrics_internal.report_time_zone();
    rows    bigint;
    checked numeric;
BEGIN
    -- The name of metric and agent are checked there.
    SELECT count(*), sum(hashtextextended(t::text, 0)) INTO rows, checked
    FROM agent_metrics.trace($1, $2, agent_metrics_internal.day_start($3, zone), agent_metrics_internal.day_start($3 + 1, zone)) t;
    RETURN QUERY
    SELECT v.metric, v.agent_id, v.day, d.definition, d.definition_version, v.value, v.numerator, v.denominator, v.ci_low, v.ci_high, v.verdict,
           CASE WHEN v.verdict = 'inconclusive' AND v.unit = 'fraction'
                THEN agent_metrics_internal.observations_needed(v.value, v.threshold, v.effective_size::double precision) END,
           v.threshold, v.direction, v.owner, o.contact, coalesce(v.deputy, o.deputy),
           (SELECT t.review_on FROM agent_metrics.thresholds t
            WHERE t.agent_id = v.agent_id AND t.metric = v.metric AND t.effective_from <= v.day AND (t.effective_to IS NULL OR t.effective_to >= v.day)
            ORDER BY t.effective_from DESC LIMIT 1),
           v.refreshed_at, rows, checked::text
    FROM agent_metrics_internal.daily_values v
    LEFT JOIN agent_metrics.owners o ON o.owner = v.owner
    LEFT JOIN LATERAL (SELECT x.definition, x.definition_version FROM agent_metrics_internal.metric_definitions x
                       WHERE x.metric = v.metric AND x.effective_from <= v.day ORDER BY x.definition_version DESC LIMIT 1) d ON true
    WHERE v.agent_id = $2 AND v.metric = $1 AND v.day = $3;
END
$function$;
COMMENT ON FUNCTION agent_metrics.explain_metric(text, text, date) IS
    'Where a number comes from: definition and version, sums, interval, threshold and owner, freshness, and a count and checksum of the rows behind it. No row: the agent has no such day.';
