-- The numbers: numerator, denominator, value, interval, threshold and verdict of each metric, made of its row in
-- agent_metrics.metrics. Everything in agent_kpi reads from here. setup() makes these views again, so a metric that was
-- added is shown from the next setup() on.

-- One view for each of the sources: a view over all of them at once would have its every branch planned for each
-- question. Each step (sums, value, interval) is a subquery that the planner leaves alone, since one of its columns is
-- volatile (fenced_1 ...): otherwise it would copy the step into every expression that refers to it. A condition still
-- passes through, which OFFSET 0 would not let it, and there is less to join than with LATERAL. A metric's sums are in
-- the rollups (r), or in fact_days (s), or are asked of a function.
DO $do$
DECLARE
    source      text;
    is_divided  boolean;  -- by segment
    fact_days   text;  -- how the sums of fact_days are found for a row of the source
    days        text;  -- how many report days a row of the source has; 0: an hour
    of_rollups  text;  -- the metrics whose sums are in the rollups
    numerators  text;
    denominators text;
    halves      text;
BEGIN
    -- no metric comes or changes between this view and the last that is made of them
    LOCK TABLE agent_metrics.metrics IN SHARE MODE;
    SELECT string_agg(quote_literal(m.metric), ', ' ORDER BY m.metric),
           string_agg(
               format('WHEN %L THEN %s', m.metric, agent_metrics_internal.sum_of_measures(m.numerator, 'bucket')), ' '
               ORDER BY m.metric),
           string_agg(
               format('WHEN %L THEN %s', m.metric, agent_metrics_internal.sum_of_measures(m.denominator, 'bucket')), ' '
               ORDER BY m.metric),
           coalesce(string_agg(format('WHEN %L THEN agent_metrics_internal.ratio_error(%s)', m.metric,
                                      agent_metrics_internal.delta_method(m.numerator, m.denominator)), ' '
                               ORDER BY m.metric)
                        FILTER (WHERE m.interval_method = 'delta'), '')
    INTO of_rollups, numerators, denominators, halves
    FROM agent_metrics.metrics m WHERE m.source = 'rollups';

    FOREACH source IN ARRAY ARRAY['daily', 'hourly', 'spark', 'window', 'monthly', 'segment_daily', 'segment_hourly',
                                  'segment_monthly'] LOOP
        is_divided := source LIKE 'segment%';
        days := CASE WHEN source LIKE '%hourly' THEN '0' WHEN source = 'window' THEN '30'
                     WHEN source LIKE '%monthly' THEN 'r.days' ELSE '1' END;
        fact_days := CASE
            WHEN source = 'hourly' THEN $facts$LEFT JOIN agent_metrics_internal.fact_hours s
                  ON s.agent_id = r.agent_id AND s.measure = m.measure AND s.bucket = r.bucket$facts$
            WHEN source IN ('window', 'monthly') THEN $facts$LEFT JOIN LATERAL (
                    SELECT sum(x.facts)::bigint AS facts, sum(x.numerator) AS numerator,
                           sum(x.denominator) AS denominator, sum(x.numerator_squared) AS numerator_squared,
                           sum(x.denominator_squared) AS denominator_squared, sum(x.product) AS product,
                           agent_metrics.merge(x.sketch) AS sketch
                    FROM agent_metrics_internal.fact_days x
                    WHERE x.agent_id = r.agent_id AND x.measure = m.measure AND x.bucket >= r.bucket
                      AND x.bucket < r.ends
                ) s ON m.measure IS NOT NULL$facts$
            ELSE $facts$LEFT JOIN agent_metrics_internal.fact_days s
                  ON s.agent_id = r.agent_id AND s.measure = m.measure AND s.bucket = r.bucket$facts$ END;
        IF is_divided THEN
            fact_days := format($facts$LEFT JOIN LATERAL (
                    SELECT sum(x.facts)::bigint AS facts, sum(x.numerator) AS numerator,
                           sum(x.denominator) AS denominator, sum(x.numerator_squared) AS numerator_squared,
                           sum(x.denominator_squared) AS denominator_squared, sum(x.product) AS product,
                           agent_metrics.merge(x.sketch) AS sketch
                    FROM agent_metrics_internal.segment_facts x
                    WHERE x.agent_id = r.agent_id AND x.dimension = r.dimension AND x.segment = r.segment
                      AND x.measure = m.measure AND x.level = %L AND x.bucket >= r.bucket AND x.bucket %s
                ) s ON m.measure IS NOT NULL$facts$,
                CASE source WHEN 'segment_hourly' THEN 'hour' ELSE 'day' END,
                CASE source WHEN 'segment_monthly' THEN '< r.ends' ELSE '<= r.bucket' END);
        END IF;
        -- One statement: a view is one; its steps are told above.
        EXECUTE format($view$
CREATE OR REPLACE VIEW agent_metrics_internal.%1$s_values AS
SELECT %2$s l.agent_id, l.agent_kind, l.actor, l.metric, l.metric_class, l.unit, l.direction, l.definition, l.position,
       l.bucket, l.day, l.value, l.numerator, l.denominator, l.ci_low, l.ci_high, t.value AS threshold,
       CASE WHEN l.value IS NULL THEN 'no_data'
            WHEN t.value IS NULL THEN NULL
            -- too close to the threshold for a sketch
            WHEN %11$s AND l.fraction IS NOT NULL
             AND least(abs(l.ci_low - t.value), abs(l.ci_high - t.value)) * 64 <= t.value
                THEN coalesce(agent_metrics_internal.kpi_exact_verdict(
                         l.agent_id, l.metric, l.day, l.bucket, l.days, l.fraction, l.direction, t.value), u.verdict)
            ELSE u.verdict END AS verdict,
       coalesce(t.owner, l.owner) AS owner, coalesce(l.pending, 0) AS pending, w.refreshed_at, l.display_name,
       l.outcome_metric, coalesce(l.effective_size, l.denominator) AS effective_size, l.definition_version, t.deputy,
       l.interval_method, l.has_denominator
FROM (
    -- The interval. Order statistics are read off the sketch. The delta method is over conversations, or over turns.
    -- Two labels of the same conversations: Newcombe. Plain sums, and what is per hour, have no interval:
    -- the value decides.
    SELECT l.*, clock_timestamp() AS fenced_4,
           CASE WHEN l.value IS NULL THEN NULL ELSE CASE l.interval_method
                WHEN 'order_statistics' THEN agent_metrics.percentile_low(l.sketch, l.fraction)
                WHEN 'newcombe' THEN agent_metrics_internal.gap_low(
                    l.fact_denominator, l.fact_denominator_squared, l.fact_numerator,
                    l.fact_numerator_squared, l.fact_product)
                WHEN 'difference' THEN l.value - l.half
                WHEN 'delta' THEN CASE WHEN l.is_signed THEN l.value - l.half
                                       WHEN l.half IS NOT NULL THEN greatest(l.value - l.half, 0) END
                WHEN 'weighted_wilson' THEN CASE WHEN l.value BETWEEN 0 AND 1
                    THEN agent_metrics_internal.weighted_low(l.value, l.effective_size) END
                -- the row may say so before setup() was called for it
                WHEN 'wilson' THEN CASE WHEN l.numerator BETWEEN 0 AND l.denominator
                    THEN agent_metrics.wilson_low(agent_metrics.rate(l.numerator::bigint, l.denominator::bigint)) END
                                                    END
           END AS ci_low,
           CASE WHEN l.value IS NULL THEN NULL ELSE CASE l.interval_method
                WHEN 'order_statistics' THEN agent_metrics.percentile_high(l.sketch, l.fraction)
                WHEN 'newcombe' THEN agent_metrics_internal.gap_high(
                    l.fact_denominator, l.fact_denominator_squared, l.fact_numerator,
                    l.fact_numerator_squared, l.fact_product)
                WHEN 'difference' THEN l.value + l.half
                WHEN 'delta' THEN CASE WHEN l.unit <> 'fraction' THEN l.value + l.half
                                       WHEN l.half IS NOT NULL THEN least(l.value + l.half, 1) END
                WHEN 'weighted_wilson' THEN CASE WHEN l.value BETWEEN 0 AND 1
                    THEN agent_metrics_internal.weighted_high(l.value, l.effective_size) END
                -- the row may say so before setup() was called for it
                WHEN 'wilson' THEN CASE WHEN l.numerator BETWEEN 0 AND l.denominator
                    THEN agent_metrics.wilson_high(agent_metrics.rate(l.numerator::bigint, l.denominator::bigint)) END
                                                    END
           END AS ci_high
    FROM (
        -- half of it, where it is symmetric
        SELECT l.*, clock_timestamp() AS fenced_3,
               1.959963984540054 * CASE
                   WHEN l.interval_method = 'delta'
                       THEN CASE l.metric WHEN NULL THEN NULL %9$s ELSE agent_metrics_internal.ratio_error(
                           l.facts, l.fact_numerator, l.fact_denominator, l.fact_numerator_squared, l.fact_product,
                           l.fact_denominator_squared) END
                   WHEN l.interval_method = 'difference' AND l.value IS NOT NULL
                       THEN agent_metrics_internal.kpi_nps(l.agent_id, l.day, l.days, 'error')::double precision
               END AS half
        FROM (
            -- the value
            SELECT l.*, clock_timestamp() AS fenced_2,
                   CASE WHEN l.fraction IS NOT NULL THEN agent_metrics.percentile(l.sketch, l.fraction)
                        WHEN NOT l.has_denominator THEN l.numerator::double precision
                        ELSE agent_metrics.ratio(l.numerator, l.denominator) END AS value
            FROM (
                -- the sums
                SELECT %2$s r.agent_id, m.kind AS agent_kind, m.actor, m.owner, m.display_name, m.outcome_metric,
                       m.metric, m.metric_class, m.unit, m.direction, m.definition, m.definition_version, m.position,
                       m.interval_method, m.fraction, m.has_denominator, m.is_signed, r.bucket, r.day,
                       r.%6$s AS threshold_day,
                       %3$s AS days, r.conversations, r.conversation_cost_usd, r.units, r.unit_cost_usd,
                       r.cost_usd_squared, r.tokens_input + r.tokens_output AS tokens, r.token_turns, r.tokens_squared,
                       r.tokens_by_turns, r.turns_squared, s.facts, s.numerator AS fact_numerator,
                       s.denominator AS fact_denominator, s.numerator_squared AS fact_numerator_squared,
                       s.denominator_squared AS fact_denominator_squared, s.product AS fact_product,
                       clock_timestamp() AS fenced_1,
                       CASE m.metric WHEN NULL THEN NULL %7$s ELSE CASE m.source
                           WHEN 'infrastructure' THEN CASE WHEN s.denominator > 0
                               THEN agent_metrics_internal.kpi_infrastructure_cost(r.agent_id, r.day, %3$s) END
                           WHEN 'survey' THEN CASE WHEN s.facts > 0
                               THEN agent_metrics_internal.kpi_nps(r.agent_id, r.day, %3$s, 'numerator') END
                           WHEN 'eval_runs' THEN agent_metrics_internal.kpi_eval(r.agent_id, r.day, %3$s, 'passed')
                           ELSE CASE WHEN m.fraction IS NULL THEN s.numerator END END END::numeric AS numerator,
                       CASE m.metric WHEN NULL THEN NULL %8$s ELSE CASE m.source
                           WHEN 'survey' THEN CASE WHEN s.facts > 0
                               THEN agent_metrics_internal.kpi_nps(r.agent_id, r.day, %3$s, 'denominator') END
                           WHEN 'eval_runs' THEN agent_metrics_internal.kpi_eval(r.agent_id, r.day, %3$s, 'graded')
                           ELSE CASE WHEN m.fraction IS NOT NULL THEN agent_metrics.sketch_count(s.sketch)
                                     WHEN m.has_denominator THEN s.denominator END END END::numeric AS denominator,
                       CASE WHEN m.has_pending THEN r.conversations - r.outcomes END AS pending,
                       CASE m.source WHEN 'rollups' THEN r.latency ELSE s.sketch END AS sketch,
                       -- of weighted facts: how many equally weighted ones would say as much (Kish)
                       CASE WHEN s.denominator_squared > 0
                            THEN agent_metrics.ratio(s.denominator * s.denominator, s.denominator_squared)
                       END AS effective_size
                FROM agent_metrics_internal.%1$s_measures r
                JOIN (SELECT a.agent_id, a.kind, a.actor, a.owner, a.display_name, k.outcome_metric,
                             m.metric, m.metric_class, m.unit, m.direction, m.definition, m.definition_version,
                             m.position, m.source, m.measure, m.fraction, m.interval_method, m.has_pending,
                             CASE m.source WHEN 'rollups' THEN m.denominator IS NOT NULL
                                           ELSE NOT m.is_sum END AS has_denominator,
                             -- what a user measures may be less than nothing
                             m.source = 'measurements' AND m.unit <> 'fraction' AS is_signed,
                             clock_timestamp() AS fenced_0
                      FROM agent_metrics.agents a
                      JOIN agent_metrics.agent_kinds k ON k.kind = a.kind
                      JOIN agent_metrics.metrics m ON (m.metric IN (%10$s) %5$s)
                       AND CASE WHEN k.outcome_metric <> m.for_outcome OR a.actor <> m.for_actor THEN false
                                ELSE true END) m ON m.agent_id = r.agent_id
                %4$s) l) l) l) l
-- a threshold holds from its day until its last, or the next one of the agent and metric; a window has
-- that of its last day
LEFT JOIN LATERAL (
    SELECT t.value, t.owner, t.deputy FROM agent_metrics.thresholds t
    WHERE t.agent_id = l.agent_id AND t.metric = l.metric
      AND t.effective_from <= l.threshold_day AND (t.effective_to IS NULL OR t.effective_to >= l.threshold_day)
    ORDER BY t.effective_from DESC LIMIT 1) t ON true
CROSS JOIN LATERAL (
    SELECT CASE WHEN l.direction = '+' AND coalesce(l.ci_low, l.value) >= t.value THEN 'pass'
                WHEN l.direction = '+' AND coalesce(l.ci_high, l.value) < t.value THEN 'breach'
                WHEN l.direction = '-' AND coalesce(l.ci_high, l.value) <= t.value THEN 'pass'
                WHEN l.direction = '-' AND coalesce(l.ci_low, l.value) > t.value THEN 'breach'
                ELSE 'inconclusive' END AS verdict) u
LEFT JOIN agent_metrics_internal.agent_watermarks w ON w.agent_id = l.agent_id
$view$, source, CASE WHEN source = 'window' THEN 'span,' WHEN is_divided THEN 'dimension, segment,' ELSE '' END,
            days, fact_days,
            CASE WHEN source LIKE '%hourly' THEN 'OR m.source = ''measurements'''
                 -- agent hours, bills, surveys of two agents and runs are of no segment
                 WHEN is_divided
                     THEN 'OR m.source = ''measurements'' OR m.source = ''facts'' AND m.measure <> ''revenue'''
                 ELSE 'OR m.source IN (''facts'', ''measurements'', ''infrastructure'', ''survey'', ''eval_runs'')' END,
            CASE WHEN source IN ('window', 'monthly', 'segment_monthly') THEN 'last_day' ELSE 'day' END,
            coalesce(numerators, ''), coalesce(denominators, ''), halves, coalesce(of_rollups, 'NULL'),
            -- the exact values are looked up of a whole agent alone
            CASE WHEN is_divided THEN 'false' ELSE 'true' END);
        EXECUTE format('COMMENT ON VIEW agent_metrics_internal.%1$I IS %2$L', source || '_values',
                       format('One row per agent, metric and row of %s_measures: the metric and how it '
                              'was come by.', source));
    END LOOP;
END
$do$;
