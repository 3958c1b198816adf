-- One row per agent and day or hour: the counts, and one column a metric, made of the metrics' rows. A view that is
-- there keeps its columns in their places, since dashboards rest on them: new ones go last, and one whose metric
-- is gone shows NULL.
DO $do$
DECLARE
    grain    text;
    columns  text;
    of_facts text;
    remark   record;
BEGIN
    FOREACH grain IN ARRAY ARRAY['daily', 'hourly'] LOOP
        SELECT coalesce(string_agg(format('max(%2$s) FILTER (WHERE s.measure = %1$L) AS %3$I, ', m.measure,
                   CASE WHEN m.fraction IS NOT NULL
                        THEN format('agent_metrics.percentile(s.sketch, %L::double precision)', m.fraction)
                        WHEN m.is_sum THEN 's.numerator::double precision'
                        ELSE 'agent_metrics.ratio(s.numerator, s.denominator)' END, m.metric), ''
                                   ORDER BY m.metric), '')
        INTO of_facts
        FROM agent_metrics.metrics m
        WHERE m.place IS NOT NULL AND (m.source = 'measurements' OR m.source = 'facts' AND grain = 'daily');

        WITH wanted_column (name, place, expression) AS (
            SELECT c.name, c.place, c.expression
            FROM agent_metrics_internal.wide_columns() c WHERE c.span IS NULL OR c.span = grain
            UNION ALL
            -- a metric that the agent does not have shows nothing
            SELECT m.metric, m.place,
                   CASE WHEN m.for_outcome IS NULL AND m.for_actor IS NULL THEN e.expression
                        ELSE format('CASE WHEN %s THEN %s END', concat_ws(' AND ',
                            CASE WHEN m.for_outcome IS NOT NULL THEN format('k.outcome_metric = %L', m.for_outcome) END,
                            CASE WHEN m.for_actor IS NOT NULL THEN format('a.actor = %L', m.for_actor) END),
                                    e.expression) END
            FROM agent_metrics.metrics m
            CROSS JOIN LATERAL (SELECT CASE m.source
                WHEN 'rollups' THEN CASE
                    WHEN m.fraction IS NOT NULL
                        THEN format('agent_metrics.percentile(r.latency, %L::double precision)', m.fraction)
                    WHEN m.denominator IS NULL
                        THEN format('(%s)::double precision',
                                    agent_metrics_internal.sum_of_measures(m.numerator, 'bucket'))
                    ELSE format('agent_metrics.ratio(%s, %s)',
                                agent_metrics_internal.sum_of_measures(m.numerator, 'bucket'),
                                agent_metrics_internal.sum_of_measures(m.denominator, 'bucket')) END
                WHEN 'infrastructure'
                    THEN 'agent_metrics.ratio(agent_metrics_internal.kpi_infrastructure_cost(r.agent_id, '
                         'r.day, 1), f.agent_hours)'
                WHEN 'survey'
                    THEN 'CASE WHEN f.has_survey THEN agent_metrics.ratio(agent_metrics_internal.kpi_nps(r.agent_id, '
                         'r.day, 1, ''numerator''), agent_metrics_internal.kpi_nps(r.agent_id, r.day, 1, '
                         '''denominator'')) END'
                WHEN 'eval_runs' THEN 'agent_metrics.ratio(agent_metrics_internal.kpi_eval(r.agent_id, r.day, 1, '
                                      '''passed''), agent_metrics_internal.kpi_eval(r.agent_id, r.day, 1, ''graded''))'
                ELSE format('f.%I', m.metric) END AS expression) e
            WHERE m.place IS NOT NULL
              AND (m.source IN ('rollups', 'measurements')
                   OR grain = 'daily' AND m.source IN ('facts', 'infrastructure', 'survey', 'eval_runs'))
        ), existing_column AS (
            SELECT a.attname::text AS name, a.attnum AS number FROM pg_attribute a
            WHERE a.attrelid = to_regclass('agent_kpi.agent_' || grain) AND a.attnum > 0
        )
        SELECT string_agg(
                   format('%s AS %I', coalesce(w.expression, 'NULL::double precision'), coalesce(w.name, p.name)),
                   E',\n       '
                   ORDER BY p.number, w.place, w.name)
        INTO columns
        FROM wanted_column w FULL JOIN existing_column p ON p.name = w.name;

        EXECUTE format($view$
CREATE OR REPLACE VIEW agent_kpi.agent_%1$s AS
SELECT %2$s
FROM agent_metrics_internal.%1$s_measures r
JOIN agent_metrics.agents a ON a.agent_id = r.agent_id
JOIN agent_metrics.agent_kinds k ON k.kind = a.kind
LEFT JOIN agent_metrics_internal.agent_watermarks w ON w.agent_id = r.agent_id %3$s$view$, grain, columns,
            CASE WHEN grain = 'daily' OR of_facts <> '' THEN format('LEFT JOIN (
    SELECT %1$s %2$s s.agent_id, s.bucket
    FROM agent_metrics_internal.%3$I s
    GROUP BY s.agent_id, s.bucket) f ON f.agent_id = r.agent_id AND f.bucket = r.bucket', of_facts,
                CASE grain WHEN 'daily' THEN
                    'max(s.numerator) FILTER (WHERE s.measure = ''revenue'') AS revenue_usd,
           max(s.denominator) FILTER (WHERE s.measure = ''revenue'') AS agent_hours,
           bool_or(s.measure = ''survey'') AS has_survey,' END,
                CASE grain WHEN 'daily' THEN 'fact_days' ELSE 'fact_hours' END) ELSE '' END);
        FOR remark IN
            SELECT a.attname, coalesce(m.definition, 'No metric has this column any more.') AS words
            FROM pg_attribute a LEFT JOIN agent_metrics.metrics m ON m.metric = a.attname AND m.place IS NOT NULL
            WHERE a.attrelid = to_regclass('agent_kpi.agent_' || grain) AND a.attnum > 0
        LOOP
            EXECUTE format('COMMENT ON COLUMN agent_kpi.agent_%s.%I IS %L', grain, remark.attname, remark.words);
        END LOOP;
    END LOOP;
END
$do$;
COMMENT ON VIEW agent_kpi.agent_daily IS
    'One row per agent and report day, days without data too. Unique: agent_id, day.';
COMMENT ON COLUMN agent_kpi.agent_daily.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.agent_daily.agent_kind IS 'Kind of agent.';
COMMENT ON COLUMN agent_kpi.agent_daily.actor IS 'ai or human.';
COMMENT ON COLUMN agent_kpi.agent_daily.day IS 'Report day.';
COMMENT ON COLUMN agent_kpi.agent_daily.turns IS 'Turns.';
COMMENT ON COLUMN agent_kpi.agent_daily.conversations IS 'Conversations that began.';
COMMENT ON COLUMN agent_kpi.agent_daily.with_outcome IS 'Of them, with an outcome.';
COMMENT ON COLUMN agent_kpi.agent_daily.pending IS 'Of them, without one yet.';
COMMENT ON COLUMN agent_kpi.agent_daily.successes IS 'Successes.';
COMMENT ON COLUMN agent_kpi.agent_daily.units IS 'Units of work.';
COMMENT ON COLUMN agent_kpi.agent_daily.escalations IS 'Conversations handed to a human.';
COMMENT ON COLUMN agent_kpi.agent_daily.refusals IS 'Conversations that ended in a refusal.';
COMMENT ON COLUMN agent_kpi.agent_daily.tool_calls IS 'Tool calls.';
COMMENT ON COLUMN agent_kpi.agent_daily.error_turns IS 'Turns with an error.';
COMMENT ON COLUMN agent_kpi.agent_daily.refreshed_at IS 'When the numbers were last brought up to date.';
COMMENT ON COLUMN agent_kpi.agent_daily.revenue_usd IS 'Charges less refunds of conversations that began on the day.';
COMMENT ON COLUMN agent_kpi.agent_daily.agent_hours IS 'Hours in which the agent was active.';

COMMENT ON VIEW agent_kpi.agent_hourly IS 'One row per agent and hour with data. Unique: agent_id, hour.';
COMMENT ON COLUMN agent_kpi.agent_hourly.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.agent_hourly.agent_kind IS 'Kind of agent.';
COMMENT ON COLUMN agent_kpi.agent_hourly.actor IS 'ai or human.';
COMMENT ON COLUMN agent_kpi.agent_hourly.hour IS 'Start of the hour.';
COMMENT ON COLUMN agent_kpi.agent_hourly.turns IS 'Turns.';
COMMENT ON COLUMN agent_kpi.agent_hourly.conversations IS 'Conversations that began.';
COMMENT ON COLUMN agent_kpi.agent_hourly.with_outcome IS 'Of them, with an outcome.';
COMMENT ON COLUMN agent_kpi.agent_hourly.pending IS 'Of them, without one yet.';
COMMENT ON COLUMN agent_kpi.agent_hourly.successes IS 'Successes.';
COMMENT ON COLUMN agent_kpi.agent_hourly.units IS 'Units of work.';
COMMENT ON COLUMN agent_kpi.agent_hourly.escalations IS 'Conversations handed to a human.';
COMMENT ON COLUMN agent_kpi.agent_hourly.refusals IS 'Conversations that ended in a refusal.';
COMMENT ON COLUMN agent_kpi.agent_hourly.tool_calls IS 'Tool calls.';
COMMENT ON COLUMN agent_kpi.agent_hourly.error_turns IS 'Turns with an error.';
COMMENT ON COLUMN agent_kpi.agent_hourly.refreshed_at IS 'When the numbers were last brought up to date.';

CREATE OR REPLACE VIEW agent_kpi.agent_daily_sketch AS
SELECT r.agent_id, a.kind AS agent_kind, a.actor, r.day, r.latency AS latency_sketch,
       agent_metrics.sketch_count(r.latency) AS latency_count
FROM agent_metrics_internal.daily_measures r
JOIN agent_metrics.agents a ON a.agent_id = r.agent_id
WHERE r.latency IS NOT NULL;
COMMENT ON VIEW agent_kpi.agent_daily_sketch IS
    'Latency sketches, for percentiles over spans of your own: percentile(merge(latency_sketch), 0.95). '
    'Unique: agent_id, day.';
COMMENT ON COLUMN agent_kpi.agent_daily_sketch.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.agent_daily_sketch.agent_kind IS 'Kind of agent.';
COMMENT ON COLUMN agent_kpi.agent_daily_sketch.actor IS 'ai or human.';
COMMENT ON COLUMN agent_kpi.agent_daily_sketch.day IS 'Report day.';
COMMENT ON COLUMN agent_kpi.agent_daily_sketch.latency_sketch IS 'Quantile sketch of latency_ms.';
COMMENT ON COLUMN agent_kpi.agent_daily_sketch.latency_count IS 'Turns in it.';
