-- trace() and explain_metric() of a segment: the rows of the whole, of which those are left that count for it.

CREATE FUNCTION agent_metrics_internal.check_segment(dimension text, segment text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM agent_metrics_internal.active_dimensions() d WHERE d.dimension = $1) THEN
        RAISE EXCEPTION 'dimension "%" is not switched on', coalesce($1, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = format('Switched on: %s.', coalesce((SELECT string_agg(d.dimension, ', ')
                                                                FROM agent_metrics_internal.active_dimensions() d),
                                                               'none')),
                  HINT = 'Switch it on by is_active in agent_metrics.dimensions; the next refresh builds it.';
    ELSIF $2 IS NULL THEN
        RAISE EXCEPTION 'no segment of dimension "%" is given', $1
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Turns and conversations without a value are the segment (none).',
                  HINT = 'SELECT DISTINCT segment FROM agent_kpi.kpi_segments_monthly lists them.';
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_segment(text, text) IS
    'Refuses a dimension that is not switched on. Internal: trace() uses it.';

-- What archived turns add to sums of a segment; a dimension that an archive does not know is (none) there.
CREATE FUNCTION agent_metrics_internal.trace_archived_segment(
    numerator text[], denominator text[], agent_id text, from_time timestamptz, to_time timestamptz, dimension text,
    segment text)
RETURNS SETOF agent_metrics.trace_row
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET jit = off AS $function$
DECLARE
    above text := agent_metrics_internal.sum_of_measures(numerator, 'archive', 'turn');
    below text := agent_metrics_internal.sum_of_measures(denominator, 'archive', 'turn');
BEGIN
    IF above = 'NULL' AND below = 'NULL' THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE format($query$
        SELECT NULL::text, 'archive ' || x.archive_id, x.bucket,
               CASE WHEN x.denominator IS NOT NULL AND %3$L THEN coalesce(x.numerator, 0) ELSE x.numerator END,
               x.denominator, NULL::double precision
        FROM (SELECT b.archive_id, b.bucket, (%1$s)::numeric AS numerator, (%2$s)::numeric AS denominator
              FROM agent_metrics_internal.archived_segments b
              WHERE b.agent_id = $1 AND b.bucket >= $2 AND b.bucket < $3 AND b.dimension = $4 AND b.segment = $5
              UNION ALL
              SELECT b.archive_id, b.bucket, (%1$s)::numeric, (%2$s)::numeric
              FROM agent_metrics_internal.archived_buckets b
              WHERE b.agent_id = $1 AND b.bucket >= $2 AND b.bucket < $3 AND $5 = '(none)'
                AND NOT EXISTS (SELECT 1 FROM agent_metrics_internal.archived_segments s
                                WHERE s.archive_id = b.archive_id AND s.agent_id = b.agent_id AND s.dimension = $4)) x
        JOIN agent_metrics_internal.archives a ON a.archive_id = x.archive_id AND a.is_counted
        WHERE x.numerator IS NOT NULL OR x.denominator IS NOT NULL$query$, above, below,
        -- as in trace_sums()
        numerator IS NOT NULL AND NOT numerator <@ ARRAY['cost_usd'])
    USING agent_id, from_time, to_time, dimension, segment;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.trace_archived_segment(
    text[], text[], text, timestamptz, timestamptz, text, text) IS
    'What archived turns add to sums of a segment. Internal: trace() uses it.';

CREATE FUNCTION agent_metrics.trace(
    metric text, agent_id text, from_time timestamptz, to_time timestamptz, dimension text, segment text)
RETURNS SETOF agent_metrics.trace_row
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET jit = off AS $function$
#variable_conflict use_column
DECLARE
    known record;
    reads text;  -- how a turn is asked for its own value; NULL: it has its conversation's
BEGIN
    PERFORM agent_metrics_internal.check_may_trace();
    PERFORM agent_metrics_internal.check_segment($5, $6);
    SELECT m.source, m.numerator, m.denominator, m.fraction, m.measure INTO known
    FROM agent_metrics.metrics m WHERE m.metric = $1;
    IF known.source NOT IN ('rollups', 'facts', 'measurements') OR known.measure = 'revenue' THEN
        RAISE EXCEPTION 'metric "%" has no segments', $1
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'It is made of agent hours, bills, two agents or runs, which belong to an agent as a whole.',
                  HINT = format('SELECT * FROM agent_metrics.trace(%L, %L, %L, %L);', $1, $2, $3, $4);
    END IF;
    SELECT d.reads INTO reads FROM agent_metrics_internal.active_dimensions() d WHERE d.dimension = $5;
    RETURN QUERY EXECUTE format($query$
        SELECT x.conversation_id, x.event_id, x.occurred_at, x.numerator, x.denominator, x.value
        FROM (SELECT t.*, CASE WHEN t.event_id IS NOT NULL AND %1$L THEN (
                              SELECT agent_metrics_internal.segment_name(%2$s) FROM agent_metrics.agent_events e
                              WHERE e.agent_id = $2 AND e.occurred_at = t.occurred_at AND e.event_id::text = t.event_id)
                          ELSE coalesce((SELECT v.segments ->> $5 FROM agent_metrics_internal.conversation_segments v
                                         WHERE v.conversation_id = t.conversation_id AND v.agent_id = $2),
                                        '(none)') END AS own
              FROM agent_metrics.trace($1, $2, $3, $4) t
              WHERE t.conversation_id IS NOT NULL) x
        WHERE $6 = CASE WHEN x.own = '(none)' OR EXISTS (SELECT 1 FROM agent_metrics.dimension_segments f
                                                         WHERE f.agent_id = $2 AND f.dimension = $5
                                                           AND f.segment = x.own) THEN x.own
                   ELSE '(other)' END$query$,
        -- what is measured of a turn is of its conversation all the same
        known.source = 'rollups' AND reads IS NOT NULL, coalesce(reads, 'NULL'))
    USING $1, $2, $3, $4, $5, $6;
    IF known.source = 'rollups' AND known.fraction IS NULL THEN
        RETURN QUERY SELECT * FROM agent_metrics_internal.trace_archived_segment(
                         known.numerator, known.denominator, $2, $3, $4, $5, $6);
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics.trace(text, text, timestamptz, timestamptz, text, text) IS
    'The rows behind a metric of a segment, as of the whole: turns that have its value, and conversations that count '
    'for it.';

CREATE FUNCTION agent_metrics.explain_metric(metric text, agent_id text, day date, dimension text, segment text)
RETURNS SETOF agent_metrics.explanation
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET jit = off AS $function$
#variable_conflict use_column
DECLARE
    zone    text;
    rows    bigint;
    checked numeric;
BEGIN
    zone := agent_metrics_internal.report_time_zone();
    -- All names are checked there.
    SELECT count(*), sum(hashtextextended(t::text, 0)) INTO rows, checked
    FROM agent_metrics.trace($1, $2, agent_metrics_internal.day_start($3, zone),
                             agent_metrics_internal.day_start($3 + 1, zone), $4, $5) t;
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
    FROM agent_metrics_internal.segment_daily_values v
    LEFT JOIN agent_metrics.owners o ON o.owner = v.owner
    LEFT JOIN LATERAL (SELECT x.definition, x.definition_version FROM agent_metrics_internal.metric_definitions x
                       WHERE x.metric = v.metric AND x.effective_from <= v.day
                       ORDER BY x.definition_version DESC LIMIT 1) d ON true
    WHERE v.agent_id = $2 AND v.metric = $1 AND v.day = $3 AND v.dimension = $4 AND v.segment = $5;
END
$function$;
COMMENT ON FUNCTION agent_metrics.explain_metric(text, text, date, text, text) IS
    'Where a number of a segment comes from, as explain_metric() of the whole. No row: the segment has no such day.';
