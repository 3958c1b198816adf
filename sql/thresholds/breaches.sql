-- Thresholds are evaluated over the 30 report days that end today, after each refresh. Only the verdict breach opens a
-- breach and only the verdict pass closes it, so a metric that wavers at its threshold, inconclusive, does neither.

CREATE TYPE agent_metrics.breach_change AS (
    breach_id text, agent_id text, metric text, change text, value double precision,
    threshold double precision, owner text);
COMMENT ON TYPE agent_metrics.breach_change IS 'What an evaluation of the thresholds changed.';
COMMENT ON COLUMN agent_metrics.breach_change.breach_id IS 'Breach.';
COMMENT ON COLUMN agent_metrics.breach_change.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.breach_change.metric IS 'Metric.';
COMMENT ON COLUMN agent_metrics.breach_change.change IS 'opened, reopened or closed.';
COMMENT ON COLUMN agent_metrics.breach_change.value IS 'Value over the window.';
COMMENT ON COLUMN agent_metrics.breach_change.threshold IS 'The threshold.';
COMMENT ON COLUMN agent_metrics.breach_change.owner IS 'Who answers for it.';

-- Called at once by two, the second finds done what the first did: a row is changed only while it is as it was seen,
-- and an index allows one open breach of an agent and metric.
CREATE FUNCTION agent_metrics.evaluate_thresholds() RETURNS SETOF agent_metrics.breach_change
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET jit = off AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH verdict AS MATERIALIZED (
        SELECT v.agent_id, v.metric, v.value, v.ci_low, v.ci_high, v.numerator, v.denominator, v.threshold, v.direction,
               v.owner, coalesce(v.deputy, o.deputy) AS deputy, v.verdict, v.day AS window_from, v.definition_version
        FROM agent_metrics_internal.window_values v
        LEFT JOIN agent_metrics.owners o ON o.owner = v.owner
        WHERE v.span = 'to_today' AND v.threshold IS NOT NULL
          AND EXISTS (SELECT 1 FROM agent_metrics.thresholds t WHERE t.agent_id = v.agent_id AND t.metric = v.metric)
    ), closed_breach AS (
        UPDATE agent_metrics_internal.breaches b SET closed_at = clock_timestamp(), evaluated_at = clock_timestamp()
        WHERE b.closed_at IS NULL
          AND NOT EXISTS (SELECT 1
                          FROM verdict v WHERE v.agent_id = b.agent_id AND v.metric = b.metric AND v.verdict <> 'pass')
        RETURNING b.breach_id, b.agent_id, b.metric, 'closed' AS change, b.threshold, b.owner
    ), updated_breach AS (
        -- an open breach shows the window last judged
        UPDATE agent_metrics_internal.breaches b
        SET value = v.value, ci_low = v.ci_low, ci_high = v.ci_high, numerator = v.numerator,
            denominator = v.denominator, threshold = v.threshold, owner = v.owner, deputy = v.deputy,
            window_from = v.window_from, window_to = v.window_from + 29, definition_version = v.definition_version,
            evaluated_at = clock_timestamp()
        FROM verdict v
        WHERE b.closed_at IS NULL AND v.agent_id = b.agent_id AND v.metric = b.metric AND v.verdict <> 'pass'
          AND (b.value, b.ci_low, b.ci_high, b.numerator, b.denominator, b.threshold, b.owner, b.deputy, b.window_from)
              IS DISTINCT FROM (v.value, v.ci_low, v.ci_high, v.numerator, v.denominator, v.threshold, v.owner,
                                v.deputy, v.window_from)
    ), breached_metric AS (
        SELECT v.* FROM verdict v
        WHERE v.verdict = 'breach'
          AND NOT EXISTS (SELECT 1 FROM agent_metrics_internal.breaches b
                          WHERE b.agent_id = v.agent_id AND b.metric = v.metric AND b.closed_at IS NULL)
    ), reopened_breach AS (
        UPDATE agent_metrics_internal.breaches b
        SET closed_at = NULL, reopened_at = clock_timestamp(), reopenings = b.reopenings + 1,
            evaluated_at = clock_timestamp(), value = v.value, ci_low = v.ci_low, ci_high = v.ci_high,
            numerator = v.numerator, denominator = v.denominator, threshold = v.threshold, owner = v.owner,
            deputy = v.deputy, window_from = v.window_from, window_to = v.window_from + 29,
            definition_version = v.definition_version
        FROM breached_metric v
        WHERE v.agent_id = b.agent_id AND v.metric = b.metric
          AND b.closed_at BETWEEN clock_timestamp() - interval '1 day' AND clock_timestamp() + interval '5 minutes'
          AND NOT EXISTS (SELECT 1 FROM agent_metrics_internal.breaches l
                          WHERE l.agent_id = b.agent_id AND l.metric = b.metric
                            AND (l.closed_at, l.breach_id) > (b.closed_at, b.breach_id))
        RETURNING b.breach_id, b.agent_id, b.metric, 'reopened' AS change, b.threshold, b.owner
    ), opened_breach AS (
        INSERT INTO agent_metrics_internal.breaches AS b (agent_id, metric, opened_at, window_from, window_to, value,
                                                          ci_low, ci_high, numerator, denominator, threshold, direction,
                                                          owner, deputy, definition_version, evaluated_at)
        SELECT v.agent_id, v.metric, clock_timestamp(), v.window_from, v.window_from + 29, v.value, v.ci_low, v.ci_high,
               v.numerator, v.denominator, v.threshold, v.direction, v.owner, v.deputy,
               v.definition_version, clock_timestamp()
        FROM breached_metric v
        WHERE NOT EXISTS (SELECT 1 FROM agent_metrics_internal.breaches b
                          WHERE b.agent_id = v.agent_id AND b.metric = v.metric
                            AND b.closed_at BETWEEN clock_timestamp()
                                - interval '1 day' AND clock_timestamp() + interval '5 minutes')
        ON CONFLICT (agent_id, metric) WHERE closed_at IS NULL DO NOTHING
        RETURNING b.breach_id, b.agent_id, b.metric, 'opened' AS change, b.threshold, b.owner
    )
    SELECT c.breach_id, c.agent_id, c.metric, c.change, v.value, c.threshold, c.owner
    FROM (SELECT * FROM closed_breach UNION ALL SELECT * FROM reopened_breach UNION ALL SELECT * FROM opened_breach) c
    LEFT JOIN verdict v ON v.agent_id = c.agent_id AND v.metric = c.metric
    ORDER BY c.agent_id, c.metric;
END
$function$;
COMMENT ON FUNCTION agent_metrics.evaluate_thresholds() IS
    'Judges every metric that has a threshold over the 30 report days that end today: opens, reopens (within a day of '
    'its closing) and closes breaches. Returns what changed.';

CREATE FUNCTION agent_metrics.acknowledge(breach_id text, by text, note text, action text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    known agent_metrics_internal.breaches;
BEGIN
    IF coalesce(btrim($2), '') = '' OR coalesce(btrim($3), '') = '' THEN
        RAISE EXCEPTION 'breach "%" cannot be acknowledged without %', $1,
            CASE WHEN coalesce(btrim($2), '') = '' THEN 'a name' ELSE 'a cause' END
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'An acknowledgement says who took the breach up and what the cause is.',
                  HINT = 'SELECT agent_metrics.acknowledge(breach_id, ''Head of Support'', ''the CRM was down'', '
                         '''retry for an hour'');';
    END IF;
    UPDATE agent_metrics_internal.breaches b
    SET acknowledged_at = clock_timestamp(), acknowledged_by = $2, cause = $3, action = $4
    WHERE b.breach_id = $1 AND b.acknowledged_at IS NULL;
    IF NOT FOUND THEN
        SELECT b.* INTO known FROM agent_metrics_internal.breaches b WHERE b.breach_id = $1;
        IF known.breach_id IS NULL THEN
            RAISE EXCEPTION 'unknown breach "%"', $1
                USING ERRCODE = 'invalid_parameter_value',
                      DETAIL = 'No breach has that id.',
                      HINT = 'SELECT breach_id, agent_id, metric FROM agent_kpi.open_breaches lists '
                             'those that are open.';
        END IF;
        RAISE EXCEPTION 'breach "%" is acknowledged already', $1
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = format('%s did so at %s: %s', known.acknowledged_by, known.acknowledged_at, known.cause),
                  HINT = 'Speak with him; what he wrote is kept.';
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics.acknowledge(text, text, text, text) IS
    'Says who took a breach up, what the cause is (note), and what is done about it.';
