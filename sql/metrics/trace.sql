-- trace(): the rows behind a number. They are those that the agent's last refresh has seen, so their sums are the
-- number that the views show; of a plain sum no row is 0. A metric whose row was changed is traced by the new row at
-- once, and shown by it after setup(). occurred_at is the moment that decides the bucket: the turn's, or that of the
-- conversation's first turn.

CREATE TYPE agent_metrics.trace_row AS (
    conversation_id text, event_id text, occurred_at timestamptz, numerator numeric, denominator numeric,
    value double precision);
COMMENT ON TYPE agent_metrics.trace_row IS 'One row behind a number.';
COMMENT ON COLUMN agent_metrics.trace_row.conversation_id IS
    'Conversation; NULL: the row is of none (a bill, an hour, an archived month).';
COMMENT ON COLUMN agent_metrics.trace_row.event_id IS
    'Turn, business event, answer, bill, or run and case; NULL: the conversation as a whole.';
COMMENT ON COLUMN agent_metrics.trace_row.occurred_at IS 'The moment that decides the bucket.';
COMMENT ON COLUMN agent_metrics.trace_row.numerator IS 'What it adds to the numerator; NULL of a percentile.';
COMMENT ON COLUMN agent_metrics.trace_row.denominator IS 'What it adds to the denominator; NULL of a plain sum.';
COMMENT ON COLUMN agent_metrics.trace_row.value IS 'The value that a percentile is of.';

-- What turns, conversations, leads and archived buckets add to sums of the rollups. A row that adds
-- nothing is left out.
CREATE FUNCTION agent_metrics_internal.trace_sums(
    numerator text[], denominator text[], is_percentile boolean, agent_id text,
    from_time timestamptz, to_time timestamptz)
RETURNS SETOF agent_metrics.trace_row
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET jit = off AS $function$
DECLARE
    source record;
    above  text;
    below  text;
BEGIN
    FOR source IN
        SELECT x.* FROM (VALUES
            ('turn', 'row', 'e.conversation_id, e.event_id::text', 'e.occurred_at', 'e.latency_ms',
             'agent_metrics_internal.agent_watermarks w JOIN agent_metrics.agent_events e ON e.agent_id = w.agent_id',
             'w.agent_id = $1 AND e.agent_id = $1 AND NOT e.is_eval
              AND (pg_visible_in_snapshot(e.recorded_in, w.snapshot) OR e.recorded_in <= w.foreign_to)'),
            ('turn', 'archive', 'NULL, ''archive '' || b.archive_id', 'b.bucket', 'NULL',
             'agent_metrics_internal.archived_buckets b JOIN agent_metrics_internal.archives a ON '
             'a.archive_id = b.archive_id',
             'b.agent_id = $1 AND a.is_counted'),
            ('conversation', 'row', 'c.conversation_id, NULL', 'c.started_at', 'NULL',
             'agent_metrics.conversations c', 'c.agent_id = $1'),
            ('lead', 'row', '(SELECT min(c.conversation_id) FROM agent_metrics.conversations c
                              WHERE c.agent_id = l.agent_id AND c.lead_id = l.lead_id AND c.started_at = l.started_at),
                                 NULL',
             'l.started_at', 'NULL', 'agent_metrics_internal.leads l', 'l.agent_id = $1'))
            AS x (grain, place, ids, moment, value, tables, condition)
        WHERE NOT (trace_sums.is_percentile AND x.place = 'archive')
    LOOP
        above := agent_metrics_internal.sum_of_measures(trace_sums.numerator, source.place, source.grain);
        below := agent_metrics_internal.sum_of_measures(trace_sums.denominator, source.place, source.grain);
        CONTINUE WHEN above = 'NULL' AND below = 'NULL';
        RETURN QUERY EXECUTE format($query$
            SELECT x.conversation_id, x.event_id, x.occurred_at,
                   -- a row that counts below the line and not above it adds 0 there
                   CASE WHEN x.denominator IS NOT NULL AND %8$L THEN coalesce(x.numerator, 0) ELSE x.numerator END,
                   x.denominator, x.value
            FROM (SELECT %1$s, %2$s, (%3$s)::numeric, (%4$s)::numeric, (%5$s)::double precision FROM %6$s
                  WHERE %7$s AND %2$s >= $2 AND %2$s < $3)
                 AS x (conversation_id, event_id, occurred_at, numerator, denominator, value)
            WHERE x.numerator IS NOT NULL OR x.denominator IS NOT NULL$query$,
            source.ids, source.moment, above, below,
            CASE WHEN trace_sums.is_percentile THEN source.value ELSE 'NULL' END, source.tables,
            source.condition,
            -- a cost that nobody knows is none, and no 0
            trace_sums.numerator IS NOT NULL AND NOT trace_sums.numerator <@ ARRAY['cost_usd'])
        USING trace_sums.agent_id, trace_sums.from_time, trace_sums.to_time;
    END LOOP;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.trace_sums(text[], text[], boolean, text, timestamptz, timestamptz) IS
    'The rows behind sums of the rollups. Internal: trace() uses it.';

-- The rows behind sums of fact_days. NPS: of both agents over a common denominator, as in kpi_nps(). Revenue and
-- infrastructure: each active interval adds its hours below the line.
CREATE FUNCTION agent_metrics_internal.trace_facts(
    source text, measure text, is_percentile boolean, is_sum boolean, agent_id text,
    from_time timestamptz, to_time timestamptz)
RETURNS SETOF agent_metrics.trace_row
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET jit = off AS $function$
#variable_conflict use_column
DECLARE
    base   text;
    mine   numeric;
    theirs numeric;
BEGIN
    IF trace_facts.measure = 'revenue' THEN
        RETURN QUERY
        SELECT NULL::text, NULL::text, lower(h.active), CASE trace_facts.source WHEN 'facts' THEN 0::numeric END,
               extract(epoch FROM upper(h.active) - lower(h.active)) / 3600, NULL::double precision
        FROM agent_metrics_internal.active_days d
        CROSS JOIN LATERAL unnest(d.spans) AS s (span)
        CROSS JOIN LATERAL (
            SELECT tstzrange(lower(s.span), greatest(lower(s.span), upper(s.span) - interval '30 minutes'))
                   * tstzrange(trace_facts.from_time, trace_facts.to_time) AS active) h
        WHERE d.agent_id = trace_facts.agent_id AND d.bucket > trace_facts.from_time - interval '3 days'
          AND d.bucket < trace_facts.to_time AND NOT isempty(h.active);
    END IF;
    IF trace_facts.source = 'infrastructure' THEN
        RETURN QUERY
        SELECT NULL::text, s.cost_id, s.occurred_at, s.amount_usd, NULL::numeric, NULL::double precision
        FROM agent_metrics.infrastructure_shares(trace_facts.agent_id, trace_facts.from_time, trace_facts.to_time) s;
        RETURN;
    END IF;
    IF trace_facts.source = 'survey' THEN
        base := (SELECT b.agent_id FROM agent_metrics.agents a
                 JOIN agent_metrics.agents b ON b.agent_id = a.baseline_agent_id
                 WHERE a.agent_id = trace_facts.agent_id AND a.actor = 'ai' AND b.actor = 'human');
        SELECT sum(f.denominator) FILTER (WHERE f.agent_id = trace_facts.agent_id),
               sum(f.denominator) FILTER (WHERE f.agent_id = base)
        INTO mine, theirs
        FROM agent_metrics_internal.fact_days f
        WHERE f.agent_id IN (trace_facts.agent_id, base) AND f.measure = trace_facts.measure
          AND f.bucket >= trace_facts.from_time AND f.bucket < trace_facts.to_time;
        IF coalesce(mine, 0) < 30 OR coalesce(theirs, 0) < 30 THEN
            RETURN;
        END IF;
    END IF;
    RETURN QUERY
    SELECT r.conversation_id, r.event_id, r.occurred_at,
           CASE WHEN trace_facts.is_percentile THEN NULL
                WHEN base IS NULL THEN r.numerator
                WHEN r.agent_id = base THEN - r.numerator * mine
                ELSE r.numerator * theirs END,
           CASE WHEN trace_facts.is_sum THEN NULL
                WHEN trace_facts.is_percentile THEN 1
                WHEN base IS NULL THEN r.denominator WHEN r.agent_id = base THEN 0 ELSE theirs END,
           CASE WHEN trace_facts.is_percentile THEN r.value END
    FROM (SELECT array_agg(f.agent_id) AS agents, array_agg(f.conversation_id) AS ids
          FROM agent_metrics_internal.conversation_facts f
          WHERE f.agent_id IN (trace_facts.agent_id, base) AND f.measure = trace_facts.measure
            AND f.bucket > trace_facts.from_time - interval '3 days' AND f.bucket < trace_facts.to_time) f
    CROSS JOIN LATERAL agent_metrics_internal.fact_rows(f.agents, f.ids) r
    WHERE r.measure = trace_facts.measure AND r.occurred_at >= trace_facts.from_time
      AND r.occurred_at < trace_facts.to_time AND (r.value IS NOT NULL OR NOT trace_facts.is_percentile);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.trace_facts(
    text, text, boolean, boolean, text, timestamptz, timestamptz) IS
    'The rows behind sums of facts. Internal: trace() uses it.';

-- Said here, since the server would name the first table that it comes to, and no way out.
CREATE FUNCTION agent_metrics_internal.check_may_trace() RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF NOT has_table_privilege('agent_metrics.agent_events', 'SELECT') THEN
        RAISE EXCEPTION 'role "%" may not read the turns behind a number', current_user
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = 'Level reader holds the views of agent_kpi: no turn, and nobody whom an agent spoke with.',
                  HINT = format('SELECT * FROM agent_kpi.failing_conversations shows conversations to readers; '
                                'the tables'' owner may give more: SELECT agent_metrics.grant_access(%L, ''admin'');',
                                current_user);
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_may_trace() IS
    'Refuses whoever may not read turns. Internal: trace() and explain_metric() use it.';

CREATE FUNCTION agent_metrics.trace(metric text, agent_id text, from_time timestamptz, to_time timestamptz)
RETURNS SETOF agent_metrics.trace_row
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET jit = off AS $function$
#variable_conflict use_column
DECLARE
    known record;
BEGIN
    PERFORM agent_metrics_internal.check_may_trace();
    SELECT m.metric, m.source, m.numerator, m.denominator, m.measure, m.fraction, m.is_sum INTO known
    FROM agent_metrics.metrics m WHERE m.metric = $1;
    IF known.metric IS NULL THEN
        RAISE EXCEPTION 'unknown metric "%"', $1
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'No row of agent_metrics.metrics has that name.',
                  HINT = 'SELECT metric FROM agent_kpi.metric_catalogue lists them.';
    END IF;
    PERFORM agent_metrics_internal.check_registered($2);
    IF $3 IS NULL OR $4 IS NULL OR $3 > $4 THEN
        RAISE EXCEPTION 'no span of time from % to %', coalesce($3::text, 'NULL'), coalesce($4::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'A number is of a day, an hour or another span; from is its first moment, '
                           'to the first after it.',
                  HINT = 'SELECT * FROM agent_metrics.trace(''task_success_rate'', ''support-bot'', '
                         '''2026-03-01'', ''2026-03-02'');';
    END IF;
    IF known.source = 'rollups' THEN
        RETURN QUERY SELECT * FROM agent_metrics_internal.trace_sums(
                         known.numerator, known.denominator, known.fraction IS NOT NULL, $2, $3, $4);
    ELSIF known.source = 'eval_runs' THEN
        RETURN QUERY
        SELECT NULL::text, format('%s, case %s', r.run_id, c.case_id), r.run_at, c.is_passed::integer::numeric,
               1::numeric, NULL::double precision
        FROM agent_metrics.eval_runs r
        CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics_internal.eval_case_results x
                            WHERE x.agent_id = r.agent_id AND x.run_id = r.run_id AND x.is_passed IS NOT NULL) c
        WHERE r.agent_id = $2 AND r.run_at >= $3 AND r.run_at < $4;
    ELSIF known.measure IS NOT NULL THEN
        RETURN QUERY SELECT * FROM agent_metrics_internal.trace_facts(
                         known.source, known.measure, known.fraction IS NOT NULL, known.is_sum, $2, $3, $4);
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics.trace(text, text, timestamptz, timestamptz) IS
    'The rows behind a metric of an agent over a span of time: the sum of numerator / the sum of denominator is the '
    'number; of a percentile, the percentile of value; of a plain sum, the sum of numerator. '
    'Agent hours and NPS are of whole report days.';

CREATE TYPE agent_metrics.explanation AS (
    metric text, agent_id text, day date, definition text, definition_version integer, value double precision,
    numerator numeric, denominator numeric, ci_low double precision, ci_high double precision, verdict text,
    needed bigint, threshold double precision, direction text, owner text, contact text, deputy text, review_on date,
    refreshed_at timestamptz, trace_rows bigint, trace_checksum text);
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
COMMENT ON COLUMN agent_metrics.explanation.verdict IS
    'pass, breach, inconclusive or no_data; NULL without a threshold.';
COMMENT ON COLUMN agent_metrics.explanation.needed IS
    'When inconclusive: how many more observations would settle it at the present rate.';
COMMENT ON COLUMN agent_metrics.explanation.threshold IS 'The threshold.';
COMMENT ON COLUMN agent_metrics.explanation.direction IS '+ when higher is better, - when lower is better.';
COMMENT ON COLUMN agent_metrics.explanation.owner IS 'Who answers for it.';
COMMENT ON COLUMN agent_metrics.explanation.contact IS 'How to reach the owner.';
COMMENT ON COLUMN agent_metrics.explanation.deputy IS 'Who answers when the owner does not.';
COMMENT ON COLUMN agent_metrics.explanation.review_on IS 'When the threshold is to be looked at again.';
COMMENT ON COLUMN agent_metrics.explanation.refreshed_at IS 'When the number was last brought up to date.';
COMMENT ON COLUMN agent_metrics.explanation.trace_rows IS 'Rows behind it.';
COMMENT ON COLUMN agent_metrics.explanation.trace_checksum IS
    'Sum of a hash of each; the same rows give the same, in any order.';

CREATE FUNCTION agent_metrics.explain_metric(metric text, agent_id text, day date)
RETURNS SETOF agent_metrics.explanation
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET jit = off AS $function$
#variable_conflict use_column
DECLARE
    zone    text;
    rows    bigint;
    checked numeric;
BEGIN
    PERFORM agent_metrics_internal.check_may_trace();
    zone := agent_metrics_internal.report_time_zone();
    -- The name of metric and agent are checked there.
    SELECT count(*), sum(hashtextextended(t::text, 0)) INTO rows, checked
    FROM agent_metrics.trace($1, $2, agent_metrics_internal.day_start($3, zone),
                             agent_metrics_internal.day_start($3 + 1, zone)) t;
    RETURN QUERY
    SELECT v.metric, v.agent_id, v.day, d.definition, d.definition_version, v.value, v.numerator, v.denominator,
           v.ci_low, v.ci_high, v.verdict,
           CASE WHEN v.verdict = 'inconclusive' AND v.unit = 'fraction'
                THEN agent_metrics_internal.observations_needed(
                    v.value, v.threshold, v.effective_size::double precision) END,
           v.threshold, v.direction, v.owner, o.contact, coalesce(v.deputy, o.deputy),
           (SELECT t.review_on FROM agent_metrics.thresholds t
            WHERE t.agent_id = v.agent_id AND t.metric = v.metric AND t.effective_from <= v.day
              AND (t.effective_to IS NULL OR t.effective_to >= v.day)
            ORDER BY t.effective_from DESC LIMIT 1),
           v.refreshed_at, rows, checked::text
    FROM agent_metrics_internal.daily_values v
    LEFT JOIN agent_metrics.owners o ON o.owner = v.owner
    LEFT JOIN LATERAL (SELECT x.definition, x.definition_version FROM agent_metrics_internal.metric_definitions x
                       WHERE x.metric = v.metric AND x.effective_from <= v.day
                       ORDER BY x.definition_version DESC LIMIT 1) d ON true
    WHERE v.agent_id = $2 AND v.metric = $1 AND v.day = $3;
END
$function$;
COMMENT ON FUNCTION agent_metrics.explain_metric(text, text, date) IS
    'Where a number comes from: definition and version, sums, interval, threshold and owner, freshness, '
    'and a count and checksum of the rows behind it. No row: the agent has no such day.';
