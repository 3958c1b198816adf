-- The one place where a metric's formula stands: measures (sums) become metric values (numerator, denominator,
-- value, interval, threshold, verdict). Everything in agent_kpi reads from here.
-- These views are internal; a view over them with a constant level reads only that level.

CREATE OR REPLACE VIEW agent_metrics_internal.report AS
SELECT z.time_zone, agent_metrics_internal.day_of(now(), z.time_zone) AS today
-- OFFSET 0: looked up once, not in every place that the zone is named
FROM (SELECT coalesce((SELECT s.value FROM agent_metrics.settings s WHERE s.name = 'report_time_zone'), 'UTC') AS time_zone OFFSET 0) z;
COMMENT ON VIEW agent_metrics_internal.report IS 'Time zone and present day of the reports: one row.';

-- Days reach from the agent's first day with data to today, data or not. Stray turns dated before 2015 or in the future
-- do not stretch the calendar; agent_kpi.implausible_times lists them.
CREATE OR REPLACE VIEW agent_metrics_internal.days AS
SELECT a.agent_id, d.day::date AS day, agent_metrics_internal.day_start(d.day::date, p.time_zone) AS bucket
FROM agent_metrics.agents a
CROSS JOIN agent_metrics_internal.report p
CROSS JOIN LATERAL generate_series(agent_metrics_internal.kpi_first_day(a.agent_id)::timestamp, p.today::timestamp, interval '1 day') AS d (day)
-- a day that the clock skipped is none; said so that the planner does not take this for rare
WHERE NOT agent_metrics_internal.day_of(agent_metrics_internal.day_start(d.day::date, p.time_zone), p.time_zone) > d.day::date;
COMMENT ON VIEW agent_metrics_internal.days IS 'The calendar of each agent.';

CREATE OR REPLACE VIEW agent_metrics_internal.daily_measures AS
SELECT d.agent_id, d.bucket, d.day,
       r.turns, r.token_turns, r.tokens_input, r.tokens_output, r.cost_turns, r.tool_calls, r.error_turns, r.cost_usd,
       r.latency, r.conversations, r.outcomes, r.successes, r.units, r.deflections, r.escalations, r.refusals, r.bookings,
       r.automations, r.unit_cost_usd, r.conversation_cost_usd, r.cost_usd_squared, r.tokens_squared, r.tokens_by_turns,
       r.turns_squared, r.leads, r.qualified_leads
FROM agent_metrics_internal.days d
LEFT JOIN agent_metrics_internal.rollups_day r ON r.agent_id = d.agent_id AND r.level = 'day' AND r.bucket = d.bucket;
COMMENT ON VIEW agent_metrics_internal.daily_measures IS 'Sums and sketches per agent and report day, days without data too.';

CREATE OR REPLACE VIEW agent_metrics_internal.hourly_measures AS
SELECT r.agent_id, r.bucket, agent_metrics_internal.day_of(r.bucket, p.time_zone) AS day,
       r.turns, r.token_turns, r.tokens_input, r.tokens_output, r.cost_turns, r.tool_calls, r.error_turns, r.cost_usd,
       r.latency, r.conversations, r.outcomes, r.successes, r.units, r.deflections, r.escalations, r.refusals, r.bookings,
       r.automations, r.unit_cost_usd, r.conversation_cost_usd, r.cost_usd_squared, r.tokens_squared, r.tokens_by_turns,
       r.turns_squared, r.leads, r.qualified_leads
FROM agent_metrics_internal.rollups_hour r CROSS JOIN agent_metrics_internal.report p;
COMMENT ON VIEW agent_metrics_internal.hourly_measures IS 'Sums and sketches per agent and hour with data.';

-- Each of the 30 report days that end yesterday, for an agent without data too.
CREATE OR REPLACE VIEW agent_metrics_internal.spark_measures AS
SELECT a.agent_id, n.bucket, n.day,
       r.turns, r.token_turns, r.tokens_input, r.tokens_output, r.cost_turns, r.tool_calls, r.error_turns, r.cost_usd,
       r.latency, r.conversations, r.outcomes, r.successes, r.units, r.deflections, r.escalations, r.refusals, r.bookings,
       r.automations, r.unit_cost_usd, r.conversation_cost_usd, r.cost_usd_squared, r.tokens_squared, r.tokens_by_turns,
       r.turns_squared, r.leads, r.qualified_leads
FROM agent_metrics.agents a
CROSS JOIN (
    SELECT p.today - n.days_ago AS day, agent_metrics_internal.day_start(p.today - n.days_ago, p.time_zone) AS bucket
    FROM agent_metrics_internal.report p CROSS JOIN generate_series(1, 30) AS n (days_ago)
    WHERE NOT agent_metrics_internal.day_of(agent_metrics_internal.day_start(p.today - n.days_ago, p.time_zone), p.time_zone) > p.today - n.days_ago OFFSET 0) n
LEFT JOIN agent_metrics_internal.rollups_day r ON r.agent_id = a.agent_id AND r.level = 'day' AND r.bucket = n.bucket
    -- nothing older need be looked at, wherever the day begins
    AND r.bucket > now() - interval '33 days';
COMMENT ON VIEW agent_metrics_internal.spark_measures IS 'Sums and sketches per agent and each of the 30 report days that end yesterday.';

CREATE OR REPLACE VIEW agent_metrics_internal.window_measures AS
SELECT a.agent_id, w.span, w.begins AS bucket, w.first_day AS day,
       sum(r.turns)::bigint AS turns, sum(r.token_turns)::bigint AS token_turns,
       sum(r.tokens_input)::bigint AS tokens_input, sum(r.tokens_output)::bigint AS tokens_output,
       sum(r.cost_turns)::bigint AS cost_turns, sum(r.tool_calls)::bigint AS tool_calls,
       sum(r.error_turns)::bigint AS error_turns, sum(r.cost_usd) AS cost_usd, agent_metrics.merge(r.latency) AS latency,
       sum(r.conversations)::bigint AS conversations, sum(r.outcomes)::bigint AS outcomes,
       sum(r.successes)::bigint AS successes, sum(r.units)::bigint AS units, sum(r.deflections)::bigint AS deflections,
       sum(r.escalations)::bigint AS escalations, sum(r.refusals)::bigint AS refusals, sum(r.bookings)::bigint AS bookings,
       sum(r.automations)::bigint AS automations, sum(r.unit_cost_usd) AS unit_cost_usd,
       sum(r.conversation_cost_usd) AS conversation_cost_usd, sum(r.cost_usd_squared) AS cost_usd_squared,
       sum(r.tokens_squared) AS tokens_squared, sum(r.tokens_by_turns) AS tokens_by_turns,
       sum(r.turns_squared) AS turns_squared, sum(r.leads)::bigint AS leads,
       sum(r.qualified_leads)::bigint AS qualified_leads, w.ends, w.last_day
FROM agent_metrics.agents a
CROSS JOIN (
    SELECT w.span, w.first_day, agent_metrics_internal.day_start(w.first_day, p.time_zone) AS begins, agent_metrics_internal.day_start(w.end_day, p.time_zone) AS ends,
           w.end_day - 1 AS last_day
    FROM agent_metrics_internal.report p
    CROSS JOIN LATERAL (VALUES ('30d', p.today - 30, p.today), ('previous_30d', p.today - 60, p.today - 30), ('to_today', p.today - 29, p.today + 1)) AS w (span, first_day, end_day) OFFSET 0) w
LEFT JOIN agent_metrics_internal.rollups_day r ON r.agent_id = a.agent_id AND r.level = 'day' AND r.bucket >= w.begins AND r.bucket < w.ends
GROUP BY a.agent_id, w.span, w.first_day, w.begins, w.ends, w.last_day;
COMMENT ON VIEW agent_metrics_internal.window_measures IS 'Sums and sketches per agent over the 30 report days that end yesterday (span 30d), over the 30 before (previous_30d), and over the 30 that end today (to_today), which thresholds are evaluated over.';

CREATE OR REPLACE VIEW agent_metrics_internal.monthly_measures AS
SELECT r.agent_id, agent_metrics_internal.day_start(n.month, p.time_zone) AS bucket, n.month AS day,
       sum(r.turns)::bigint AS turns, sum(r.token_turns)::bigint AS token_turns,
       sum(r.tokens_input)::bigint AS tokens_input, sum(r.tokens_output)::bigint AS tokens_output,
       sum(r.cost_turns)::bigint AS cost_turns, sum(r.tool_calls)::bigint AS tool_calls,
       sum(r.error_turns)::bigint AS error_turns, sum(r.cost_usd) AS cost_usd, agent_metrics.merge(r.latency) AS latency,
       sum(r.conversations)::bigint AS conversations, sum(r.outcomes)::bigint AS outcomes,
       sum(r.successes)::bigint AS successes, sum(r.units)::bigint AS units, sum(r.deflections)::bigint AS deflections,
       sum(r.escalations)::bigint AS escalations, sum(r.refusals)::bigint AS refusals, sum(r.bookings)::bigint AS bookings,
       sum(r.automations)::bigint AS automations, sum(r.unit_cost_usd) AS unit_cost_usd,
       sum(r.conversation_cost_usd) AS conversation_cost_usd, sum(r.cost_usd_squared) AS cost_usd_squared,
       sum(r.tokens_squared) AS tokens_squared, sum(r.tokens_by_turns) AS tokens_by_turns,
       sum(r.turns_squared) AS turns_squared, sum(r.leads)::bigint AS leads,
       sum(r.qualified_leads)::bigint AS qualified_leads,
       agent_metrics_internal.day_start((n.month + interval '1 month')::date, p.time_zone) AS ends, (n.month + interval '1 month - 1 day')::date AS last_day,
       (n.month + interval '1 month')::date - n.month AS days
FROM agent_metrics_internal.rollups_day r
CROSS JOIN agent_metrics_internal.report p
CROSS JOIN LATERAL (SELECT date_trunc('month', agent_metrics_internal.day_of(r.bucket, p.time_zone)::timestamp)::date AS month) n
WHERE r.level = 'day'
GROUP BY r.agent_id, n.month, p.time_zone;
COMMENT ON VIEW agent_metrics_internal.monthly_measures IS 'Sums and sketches per agent and calendar month with data.';

-- The formulas, once for each of the sources above: a view over all of them at once would have its every branch
-- planned for each question. Step by step, sums, value, interval, each a subquery that the planner leaves alone, since one
-- of its columns is volatile (fenced_1 ...): otherwise it would copy each step into every expression that refers to it. A
-- condition still passes through, which OFFSET 0 would not let it, and there is less to join than with LATERAL. A metric's sums are in the rollups (r), or, where metrics.measure says so, in fact_days (s).
DO $do$
DECLARE
    source     text;
    -- how the sums of fact_days are found for a row of the source
    fact_days  text;
    days       text;
BEGIN
    FOREACH source IN ARRAY ARRAY['daily', 'hourly', 'spark', 'window', 'monthly'] LOOP
        days := CASE source WHEN 'hourly' THEN '0' WHEN 'window' THEN '30' WHEN 'monthly' THEN 'r.days' ELSE '1' END;
        fact_days := CASE
            WHEN source = 'hourly' THEN 'CROSS JOIN (SELECT NULL::bigint AS facts, NULL::numeric AS numerator, NULL::numeric AS denominator,
                NULL::numeric AS numerator_squared, NULL::numeric AS denominator_squared, NULL::numeric AS product,
                NULL::agent_metrics.quantile_sketch AS sketch) s'
            WHEN source = 'window' OR source = 'monthly' THEN 'LEFT JOIN LATERAL (
                SELECT sum(x.facts)::bigint AS facts, sum(x.numerator) AS numerator, sum(x.denominator) AS denominator,
                       sum(x.numerator_squared) AS numerator_squared, sum(x.denominator_squared) AS denominator_squared, sum(x.product) AS product,
                       agent_metrics.merge(x.sketch) AS sketch
                FROM agent_metrics_internal.fact_days x
                WHERE x.agent_id = r.agent_id AND x.measure = m.measure AND x.bucket >= r.bucket AND x.bucket < r.ends) s ON m.measure IS NOT NULL'
            ELSE 'LEFT JOIN agent_metrics_internal.fact_days s ON s.agent_id = r.agent_id AND s.measure = m.measure AND s.bucket = r.bucket' END;
        EXECUTE format($view$
CREATE OR REPLACE VIEW agent_metrics_internal.%1$s_values AS
SELECT %2$s l.agent_id, l.agent_kind, l.actor, l.metric, l.metric_class, l.unit, l.direction, l.definition, l.position,
       l.bucket, l.day, l.value, l.numerator, l.denominator, l.ci_low, l.ci_high, t.value AS threshold,
       CASE WHEN l.value IS NULL THEN 'no_data'
            WHEN t.value IS NULL THEN NULL
            -- too close to the line for a sketch
            WHEN l.fraction IS NOT NULL AND least(abs(l.ci_low - t.value), abs(l.ci_high - t.value)) * 64 <= t.value
                THEN coalesce(agent_metrics_internal.kpi_exact_verdict(l.agent_id, l.metric, l.day, l.bucket, l.days, l.fraction, l.direction, t.value), u.verdict)
            ELSE u.verdict END AS verdict,
       coalesce(t.owner, l.owner) AS owner, coalesce(l.pending, 0) AS pending, w.refreshed_at, l.display_name, l.outcome_metric,
       coalesce(l.effective_size, l.denominator) AS effective_size, l.definition_version, t.deputy
FROM (
    -- The interval. Rates: Wilson, of weighted ones on the effective size. percentiles: order statistics read off the sketch. ratios: the
    -- delta method over conversations, or over turns. two labels of the same conversations: Newcombe. plain sums, and what
    -- is per hour, have no interval: the value decides.
    SELECT l.*, clock_timestamp() AS fenced_4,
           CASE WHEN l.value IS NULL THEN NULL
                WHEN l.fraction IS NOT NULL THEN agent_metrics.percentile_low(l.sketch, l.fraction)
                WHEN l.metric = 'self_report_gap' THEN agent_metrics_internal.gap_low(l.fact_denominator, l.fact_denominator_squared, l.fact_numerator, l.fact_numerator_squared, l.fact_product)
                WHEN l.unit = 'points' THEN l.value - l.half
                WHEN l.metric = 'instruction_following_score' OR l.unit <> 'fraction' THEN CASE WHEN l.half IS NOT NULL THEN greatest(l.value - l.half, 0) END
                WHEN l.measure <> 'eval_cases' THEN agent_metrics_internal.weighted_low(l.value, l.effective_size)
                ELSE agent_metrics.wilson_low(agent_metrics.rate(l.numerator::bigint, l.denominator::bigint)) END AS ci_low,
           CASE WHEN l.value IS NULL THEN NULL
                WHEN l.fraction IS NOT NULL THEN agent_metrics.percentile_high(l.sketch, l.fraction)
                WHEN l.metric = 'self_report_gap' THEN agent_metrics_internal.gap_high(l.fact_denominator, l.fact_denominator_squared, l.fact_numerator, l.fact_numerator_squared, l.fact_product)
                WHEN l.metric = 'instruction_following_score' THEN CASE WHEN l.half IS NOT NULL THEN least(l.value + l.half, 1) END
                WHEN l.unit <> 'fraction' THEN l.value + l.half
                WHEN l.measure <> 'eval_cases' THEN agent_metrics_internal.weighted_high(l.value, l.effective_size)
                ELSE agent_metrics.wilson_high(agent_metrics.rate(l.numerator::bigint, l.denominator::bigint)) END AS ci_high
    FROM (
        -- half of it, where it is symmetric
        SELECT l.*, clock_timestamp() AS fenced_3,
               1.959963984540054 * CASE l.metric
                   WHEN 'cost_per_unit_usd' THEN agent_metrics_internal.ratio_error(
                        l.conversations, l.conversation_cost_usd, l.units, l.cost_usd_squared, l.unit_cost_usd, l.units)
                   WHEN 'cost_per_resolution_usd' THEN agent_metrics_internal.ratio_error(
                        l.conversations, l.conversation_cost_usd, l.units, l.cost_usd_squared, l.unit_cost_usd, l.units)
                   WHEN 'cost_per_qualified_lead_usd' THEN agent_metrics_internal.ratio_error(
                        l.conversations, l.conversation_cost_usd, l.units, l.cost_usd_squared, l.unit_cost_usd, l.units)
                   WHEN 'tokens_per_turn' THEN agent_metrics_internal.ratio_error(
                        l.conversations, l.tokens, l.token_turns, l.tokens_squared, l.tokens_by_turns, l.turns_squared)
                   WHEN 'instruction_following_score' THEN agent_metrics_internal.ratio_error(
                        l.facts, l.fact_numerator, l.fact_denominator, l.fact_numerator_squared, l.fact_product, l.fact_denominator_squared)
                   WHEN 'nps_delta' THEN CASE WHEN l.value IS NOT NULL THEN agent_metrics_internal.kpi_nps(l.agent_id, l.day, l.days, 'error')::double precision END
               END AS half
        FROM (
            -- the value
            SELECT l.*, clock_timestamp() AS fenced_2,
                   CASE WHEN l.fraction IS NOT NULL THEN agent_metrics.percentile(l.sketch, l.fraction)
                        WHEN l.metric = 'token_spend_usd' THEN l.numerator::double precision
                        ELSE agent_metrics.ratio(l.numerator, l.denominator) END AS value
            FROM (
                -- the sums
                SELECT %2$s r.agent_id, m.kind AS agent_kind, m.actor, m.owner, m.display_name, m.outcome_metric, m.metric, m.metric_class, m.unit,
                       m.direction, m.definition, m.definition_version, m.position, m.measure, r.bucket, r.day, r.%6$s AS threshold_day, %3$s AS days,
                       r.conversations, r.conversation_cost_usd, r.units, r.unit_cost_usd, r.cost_usd_squared, r.tokens_input + r.tokens_output AS tokens,
                       r.token_turns, r.tokens_squared, r.tokens_by_turns, r.turns_squared, s.facts, s.numerator AS fact_numerator,
                       s.denominator AS fact_denominator, s.numerator_squared AS fact_numerator_squared,
                       s.denominator_squared AS fact_denominator_squared, s.product AS fact_product, clock_timestamp() AS fenced_1,
                       CASE m.metric
                           WHEN 'task_success_rate' THEN r.successes
                           WHEN 'deflection_rate' THEN r.deflections
                           WHEN 'qualified_lead_rate' THEN r.qualified_leads
                           WHEN 'automation_rate' THEN r.automations
                           WHEN 'booking_conversion_rate' THEN r.bookings
                           WHEN 'cost_per_unit_usd' THEN CASE WHEN r.cost_turns > 0 THEN r.cost_usd END
                           WHEN 'cost_per_resolution_usd' THEN CASE WHEN r.cost_turns > 0 THEN r.cost_usd END
                           WHEN 'cost_per_qualified_lead_usd' THEN CASE WHEN r.cost_turns > 0 THEN r.cost_usd END
                           WHEN 'tokens_per_turn' THEN r.tokens_input + r.tokens_output
                           WHEN 'token_spend_usd' THEN CASE WHEN r.cost_turns > 0 THEN r.cost_usd END
                           WHEN 'infra_cost_per_agent_hour_usd' THEN CASE WHEN s.denominator > 0 THEN agent_metrics_internal.kpi_infrastructure_cost(r.agent_id, r.day, %3$s) END
                           WHEN 'nps_delta' THEN CASE WHEN s.facts > 0 THEN agent_metrics_internal.kpi_nps(r.agent_id, r.day, %3$s, 'numerator') END
                           WHEN 'eval_success_rate' THEN agent_metrics_internal.kpi_eval(r.agent_id, r.day, %3$s, 'passed')
                           ELSE s.numerator
                       END::numeric AS numerator,
                       CASE m.metric
                           WHEN 'task_success_rate' THEN r.outcomes
                           WHEN 'deflection_rate' THEN r.outcomes
                           WHEN 'qualified_lead_rate' THEN r.leads
                           WHEN 'automation_rate' THEN r.outcomes
                           WHEN 'booking_conversion_rate' THEN r.outcomes
                           WHEN 'cost_per_unit_usd' THEN r.units
                           WHEN 'cost_per_resolution_usd' THEN r.units
                           WHEN 'cost_per_qualified_lead_usd' THEN r.units
                           WHEN 'tokens_per_turn' THEN r.token_turns
                           WHEN 'latency_p50_ms' THEN agent_metrics.sketch_count(r.latency)
                           WHEN 'latency_p95_ms' THEN agent_metrics.sketch_count(r.latency)
                           WHEN 'nps_delta' THEN CASE WHEN s.facts > 0 THEN agent_metrics_internal.kpi_nps(r.agent_id, r.day, %3$s, 'denominator') END
                           WHEN 'eval_success_rate' THEN agent_metrics_internal.kpi_eval(r.agent_id, r.day, %3$s, 'graded')
                           ELSE s.denominator
                       END::numeric AS denominator,
                       CASE WHEN m.metric IN ('task_success_rate', 'deflection_rate', 'automation_rate', 'booking_conversion_rate', 'cost_per_unit_usd',
                                              'cost_per_resolution_usd', 'cost_per_qualified_lead_usd')
                            THEN r.conversations - r.outcomes END AS pending,
                       CASE m.metric
                           WHEN 'latency_p50_ms' THEN 0.50::double precision
                           WHEN 'latency_p95_ms' THEN 0.95::double precision
                           WHEN 'time_to_resolution_p50_s' THEN 0.50::double precision
                           WHEN 'time_to_resolution_p95_s' THEN 0.95::double precision
                       END AS fraction,
                       CASE m.measure WHEN 'resolutions' THEN s.sketch ELSE r.latency END AS sketch,
                       -- of weighted facts: how many equally weighted ones would say as much (Kish)
                       CASE WHEN s.denominator_squared > 0 THEN agent_metrics.ratio(s.denominator * s.denominator, s.denominator_squared) END AS effective_size
                FROM agent_metrics_internal.%1$s_measures r
                JOIN (SELECT a.agent_id, a.kind, a.actor, a.owner, a.display_name, k.outcome_metric, m.*, clock_timestamp() AS fenced_0
                      FROM agent_metrics.agents a
                      JOIN agent_metrics.agent_kinds k ON k.kind = a.kind
                      JOIN agent_metrics.metrics m ON (m.metric IN (
                        'task_success_rate', 'cost_per_unit_usd', 'latency_p50_ms', 'latency_p95_ms', 'tokens_per_turn', 'token_spend_usd',
                        'deflection_rate', 'qualified_lead_rate', 'automation_rate', 'booking_conversion_rate', 'cost_per_resolution_usd', 'cost_per_qualified_lead_usd')
                        %5$s)
                    AND CASE m.metric WHEN 'deflection_rate' THEN k.outcome_metric = 'deflection_rate'
                                      WHEN 'cost_per_resolution_usd' THEN k.outcome_metric = 'deflection_rate'
                                      WHEN 'qualified_lead_rate' THEN k.outcome_metric = 'qualified_lead_rate'
                                      WHEN 'booking_conversion_rate' THEN k.outcome_metric = 'qualified_lead_rate'
                                      WHEN 'cost_per_qualified_lead_usd' THEN k.outcome_metric = 'qualified_lead_rate'
                                      WHEN 'automation_rate' THEN k.outcome_metric = 'automation_rate'
                                      WHEN 'nps_delta' THEN a.actor = 'ai'
                                      ELSE true END) m ON m.agent_id = r.agent_id
                %4$s) l) l) l) l
-- a threshold holds from its day until its last, or the next one of the agent and metric; a window has that of its last day
LEFT JOIN LATERAL (
    SELECT t.value, t.owner, t.deputy FROM agent_metrics.thresholds t
    WHERE t.agent_id = l.agent_id AND t.metric = l.metric AND t.effective_from <= l.threshold_day AND (t.effective_to IS NULL OR t.effective_to >= l.threshold_day)
    ORDER BY t.effective_from DESC LIMIT 1) t ON true
CROSS JOIN LATERAL (
    SELECT CASE WHEN l.direction = '+' AND coalesce(l.ci_low, l.value) >= t.value THEN 'pass'
                WHEN l.direction = '+' AND coalesce(l.ci_high, l.value) < t.value THEN 'breach'
                WHEN l.direction = '-' AND coalesce(l.ci_high, l.value) <= t.value THEN 'pass'
                WHEN l.direction = '-' AND coalesce(l.ci_low, l.value) > t.value THEN 'breach'
                ELSE 'inconclusive' END AS verdict) u
LEFT JOIN agent_metrics_internal.agent_watermarks w ON w.agent_id = l.agent_id
$view$, source, CASE source WHEN 'window' THEN 'span,' ELSE '' END, days, fact_days,
            CASE source WHEN 'hourly' THEN '' ELSE 'OR m.measure IS NOT NULL' END, CASE WHEN source IN ('window', 'monthly') THEN 'last_day' ELSE 'day' END);
        EXECUTE format('COMMENT ON VIEW agent_metrics_internal.%1$I IS %2$L', source || '_values',
                       format('One row per agent, metric and row of %s_measures: the metric and how it was come by.', source));
    END LOOP;
END
$do$;
