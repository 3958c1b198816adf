-- The one place where a metric's formula stands: measures (sums) become metric values (numerator, denominator,
-- value, interval, threshold, verdict). Everything in agent_kpi reads from here.
-- These views are internal; a view over them with a constant level reads only that level.

CREATE OR REPLACE VIEW agent_metrics.report AS
SELECT z.time_zone, (now() AT TIME ZONE z.time_zone)::date AS today
-- OFFSET 0: looked up once, not in every place that the zone is named
FROM (SELECT coalesce((SELECT s.value FROM agent_metrics.settings s WHERE s.name = 'report_time_zone'), 'UTC') AS time_zone OFFSET 0) z;
COMMENT ON VIEW agent_metrics.report IS 'Time zone and present day of the reports: one row.';

-- Days reach from the agent's first day with data to today, data or not. Turns dated before 2015 or in the
-- future do not stretch the calendar; agent_kpi.implausible_times lists them.
CREATE OR REPLACE VIEW agent_metrics.days AS
SELECT a.agent_id, d.day::date AS day, d.day AT TIME ZONE p.time_zone AS bucket
FROM agent_metrics.agents a
CROSS JOIN agent_metrics.report p
CROSS JOIN LATERAL (
    SELECT r.bucket AS first_bucket FROM agent_metrics.rollups_day r
    WHERE r.agent_id = a.agent_id AND r.level = 'day' AND r.bucket >= '2015-01-01 00:00:00+00'
    ORDER BY r.bucket LIMIT 1) f
CROSS JOIN LATERAL generate_series((f.first_bucket AT TIME ZONE p.time_zone)::date::timestamp, p.today::timestamp, interval '1 day') AS d (day);
COMMENT ON VIEW agent_metrics.days IS 'The calendar of each agent.';

CREATE OR REPLACE VIEW agent_metrics.daily_measures AS
SELECT d.agent_id, d.bucket, d.day,
       r.turns, r.token_turns, r.tokens_input, r.tokens_output, r.cost_turns, r.tool_calls, r.error_turns, r.cost_usd,
       r.latency, r.conversations, r.outcomes, r.successes, r.units, r.deflections, r.escalations, r.refusals, r.bookings,
       r.automations, r.unit_cost_usd, r.conversation_cost_usd, r.cost_usd_squared, r.tokens_squared, r.tokens_by_turns,
       r.turns_squared, r.leads, r.qualified_leads
FROM agent_metrics.days d
LEFT JOIN agent_metrics.rollups_day r ON r.agent_id = d.agent_id AND r.level = 'day' AND r.bucket = d.bucket;
COMMENT ON VIEW agent_metrics.daily_measures IS 'Sums and sketches per agent and report day, days without data too.';

CREATE OR REPLACE VIEW agent_metrics.hourly_measures AS
SELECT r.agent_id, r.bucket, (r.bucket AT TIME ZONE p.time_zone)::date AS day,
       r.turns, r.token_turns, r.tokens_input, r.tokens_output, r.cost_turns, r.tool_calls, r.error_turns, r.cost_usd,
       r.latency, r.conversations, r.outcomes, r.successes, r.units, r.deflections, r.escalations, r.refusals, r.bookings,
       r.automations, r.unit_cost_usd, r.conversation_cost_usd, r.cost_usd_squared, r.tokens_squared, r.tokens_by_turns,
       r.turns_squared, r.leads, r.qualified_leads
FROM agent_metrics.rollups_hour r CROSS JOIN agent_metrics.report p;
COMMENT ON VIEW agent_metrics.hourly_measures IS 'Sums and sketches per agent and hour with data.';

-- Each of the 30 report days that end yesterday, for an agent without data too.
CREATE OR REPLACE VIEW agent_metrics.spark_measures AS
SELECT a.agent_id, n.bucket, n.day,
       r.turns, r.token_turns, r.tokens_input, r.tokens_output, r.cost_turns, r.tool_calls, r.error_turns, r.cost_usd,
       r.latency, r.conversations, r.outcomes, r.successes, r.units, r.deflections, r.escalations, r.refusals, r.bookings,
       r.automations, r.unit_cost_usd, r.conversation_cost_usd, r.cost_usd_squared, r.tokens_squared, r.tokens_by_turns,
       r.turns_squared, r.leads, r.qualified_leads
FROM agent_metrics.agents a
CROSS JOIN (
    SELECT p.today - n.days_ago AS day, (p.today - n.days_ago)::timestamp AT TIME ZONE p.time_zone AS bucket
    FROM agent_metrics.report p CROSS JOIN generate_series(1, 30) AS n (days_ago) OFFSET 0) n
LEFT JOIN agent_metrics.rollups_day r ON r.agent_id = a.agent_id AND r.level = 'day' AND r.bucket = n.bucket;
COMMENT ON VIEW agent_metrics.spark_measures IS 'Sums and sketches per agent and each of the 30 report days that end yesterday.';

CREATE OR REPLACE VIEW agent_metrics.window_measures AS
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
       sum(r.qualified_leads)::bigint AS qualified_leads
FROM agent_metrics.agents a
CROSS JOIN (
    SELECT w.span, w.first_day, w.first_day::timestamp AT TIME ZONE p.time_zone AS begins, w.end_day::timestamp AT TIME ZONE p.time_zone AS ends
    FROM agent_metrics.report p
    CROSS JOIN LATERAL (VALUES ('30d', p.today - 30, p.today), ('previous_30d', p.today - 60, p.today - 30)) AS w (span, first_day, end_day) OFFSET 0) w
LEFT JOIN agent_metrics.rollups_day r ON r.agent_id = a.agent_id AND r.level = 'day' AND r.bucket >= w.begins AND r.bucket < w.ends
GROUP BY a.agent_id, w.span, w.first_day, w.begins;
COMMENT ON VIEW agent_metrics.window_measures IS 'Sums and sketches per agent over the 30 report days that end yesterday (span 30d), and over the 30 before (previous_30d).';

CREATE OR REPLACE VIEW agent_metrics.month_measures AS
SELECT m.agent_id, m.month AT TIME ZONE p.time_zone AS bucket, m.month::date AS day,
       m.turns, m.token_turns, m.tokens_input, m.tokens_output, m.cost_turns, m.tool_calls, m.error_turns, m.cost_usd, m.latency,
       m.conversations, m.outcomes, m.successes, m.units, m.deflections, m.escalations, m.refusals, m.bookings, m.automations,
       m.unit_cost_usd, m.conversation_cost_usd, m.cost_usd_squared, m.tokens_squared, m.tokens_by_turns, m.turns_squared, m.leads, m.qualified_leads,
       (m.month + interval '1 month') AT TIME ZONE p.time_zone AS ends
FROM agent_metrics.report p
CROSS JOIN LATERAL (
    SELECT r.agent_id, date_trunc('month', r.bucket AT TIME ZONE p.time_zone) AS month,
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
           sum(r.qualified_leads)::bigint AS qualified_leads
    FROM agent_metrics.rollups_day r
    WHERE r.level = 'day'
    GROUP BY r.agent_id, date_trunc('month', r.bucket AT TIME ZONE p.time_zone)) m;
COMMENT ON VIEW agent_metrics.month_measures IS 'Sums and sketches per agent and month of the report time zone; day is its first.';

-- The formulas, once for each of the sources above: a view over all of them at once would have its every branch
-- planned for each question.
DO $do$
DECLARE
    source text;
BEGIN
    FOREACH source IN ARRAY ARRAY['daily', 'hourly', 'spark', 'window', 'month'] LOOP
        EXECUTE format($view$
CREATE OR REPLACE VIEW agent_metrics.%1$s_values AS
SELECT %2$s r.agent_id, a.kind AS agent_kind, a.actor, m.metric, m.metric_class, m.unit, m.direction, m.definition, m.position,
       r.bucket, r.day, v.value, f.numerator, f.denominator, i.ci_low, i.ci_high, t.value AS threshold,
       CASE WHEN v.value IS NULL THEN 'no_data'
            WHEN t.value IS NULL THEN NULL
            WHEN m.direction = '+' AND coalesce(i.ci_low, v.value) >= t.value THEN 'pass'
            WHEN m.direction = '+' AND coalesce(i.ci_high, v.value) < t.value THEN 'breach'
            WHEN m.direction = '-' AND coalesce(i.ci_high, v.value) <= t.value THEN 'pass'
            WHEN m.direction = '-' AND coalesce(i.ci_low, v.value) > t.value THEN 'breach'
            ELSE 'inconclusive' END AS verdict,
       coalesce(t.owner, a.owner) AS owner, coalesce(f.pending, 0) AS pending, w.refreshed_at, a.display_name, k.outcome_metric
FROM agent_metrics.%1$s_measures r
JOIN agent_metrics.agents a ON a.agent_id = r.agent_id
JOIN agent_metrics.agent_kinds k ON k.kind = a.kind
JOIN agent_metrics.metrics m ON m.metric IN (
        'task_success_rate', 'cost_per_unit_usd', 'hallucination_rate', 'latency_p50_ms', 'latency_p95_ms', 'tokens_per_turn', 'token_spend_usd',
        'deflection_rate', 'qualified_lead_rate', 'automation_rate', 'booking_conversion_rate')
    AND (m.metric_class <> 'outcome' OR m.metric = k.outcome_metric OR (m.metric = 'booking_conversion_rate' AND k.outcome_metric = 'qualified_lead_rate'))
-- OFFSET 0 keeps each step from being copied into every expression that refers to it.
CROSS JOIN LATERAL (
    SELECT CASE m.metric
               WHEN 'task_success_rate' THEN r.successes
               WHEN 'deflection_rate' THEN r.deflections
               WHEN 'qualified_lead_rate' THEN r.qualified_leads
               WHEN 'automation_rate' THEN r.automations
               WHEN 'booking_conversion_rate' THEN r.bookings
               WHEN 'cost_per_unit_usd' THEN CASE WHEN r.cost_turns > 0 THEN r.cost_usd END
               WHEN 'tokens_per_turn' THEN r.tokens_input + r.tokens_output
               WHEN 'token_spend_usd' THEN CASE WHEN r.cost_turns > 0 THEN r.cost_usd END
           END::numeric AS numerator,
           CASE m.metric
               WHEN 'task_success_rate' THEN r.outcomes
               WHEN 'deflection_rate' THEN r.outcomes
               WHEN 'qualified_lead_rate' THEN r.leads
               WHEN 'automation_rate' THEN r.outcomes
               WHEN 'booking_conversion_rate' THEN r.outcomes
               WHEN 'cost_per_unit_usd' THEN r.units
               WHEN 'tokens_per_turn' THEN r.token_turns
               WHEN 'latency_p50_ms' THEN agent_metrics.sketch_count(r.latency)
               WHEN 'latency_p95_ms' THEN agent_metrics.sketch_count(r.latency)
           END::numeric AS denominator,
           CASE WHEN m.metric IN ('task_success_rate', 'deflection_rate', 'automation_rate', 'booking_conversion_rate', 'cost_per_unit_usd')
                THEN r.conversations - r.outcomes END AS pending,
           CASE m.metric
               WHEN 'latency_p50_ms' THEN 0.50::double precision
               WHEN 'latency_p95_ms' THEN 0.95::double precision
           END AS fraction
    OFFSET 0) f
CROSS JOIN LATERAL (
    SELECT CASE WHEN f.fraction IS NOT NULL THEN agent_metrics.percentile(r.latency, f.fraction)
                WHEN m.metric = 'token_spend_usd' THEN f.numerator::double precision
                ELSE agent_metrics.ratio(f.numerator, f.denominator) END AS value
    OFFSET 0) v
CROSS JOIN LATERAL (
    -- rates: Wilson. percentiles: order statistics read off the sketch. ratios: the delta method over conversations.
    -- plain sums have no interval: the value decides.
    SELECT CASE WHEN v.value IS NULL THEN NULL
                WHEN m.unit = 'fraction' THEN agent_metrics.wilson_low(agent_metrics.rate(f.numerator::bigint, f.denominator::bigint))
                WHEN f.fraction IS NOT NULL THEN agent_metrics.percentile_low(r.latency, f.fraction)
                ELSE greatest(v.value - d.half, 0) END AS ci_low,
           CASE WHEN v.value IS NULL THEN NULL
                WHEN m.unit = 'fraction' THEN agent_metrics.wilson_high(agent_metrics.rate(f.numerator::bigint, f.denominator::bigint))
                WHEN f.fraction IS NOT NULL THEN agent_metrics.percentile_high(r.latency, f.fraction)
                ELSE v.value + d.half END AS ci_high
    FROM (
        SELECT CASE m.metric
                   WHEN 'cost_per_unit_usd' THEN 1.959963984540054 * agent_metrics.ratio_error(
                        r.conversations, r.conversation_cost_usd, r.units, r.cost_usd_squared, r.unit_cost_usd, r.units)
                   WHEN 'tokens_per_turn' THEN 1.959963984540054 * agent_metrics.ratio_error(
                        r.conversations, r.tokens_input + r.tokens_output, r.token_turns, r.tokens_squared, r.tokens_by_turns, r.turns_squared)
               END AS half
        OFFSET 0) d
    OFFSET 0) i
-- a threshold holds from its day until the next one of the agent and metric
LEFT JOIN LATERAL (
    SELECT t.value, t.owner FROM agent_metrics.thresholds t
    WHERE t.agent_id = r.agent_id AND t.metric = m.metric AND t.effective_from <= r.day
    ORDER BY t.effective_from DESC LIMIT 1) t ON true
LEFT JOIN agent_metrics.agent_watermarks w ON w.agent_id = r.agent_id
$view$, source, CASE source WHEN 'window' THEN 'r.span,' ELSE '' END);
        EXECUTE format('COMMENT ON VIEW agent_metrics.%1$I IS %2$L', source || '_values',
                       format('One row per agent, metric and row of %s_measures: the metric and how it was come by.', source));
    END LOOP;
END
$do$;
