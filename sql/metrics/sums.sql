-- The sums that metrics are formed of, by day, hour, month and window. A view with a constant level
-- reads only that level.

CREATE OR REPLACE VIEW agent_metrics_internal.report AS
SELECT z.time_zone, agent_metrics_internal.day_of(now(), z.time_zone) AS today
-- OFFSET 0: looked up once, not in every place that the zone is named
FROM (SELECT coalesce((SELECT s.value FROM agent_metrics.settings s WHERE s.name = 'report_time_zone'),
                      'UTC') AS time_zone OFFSET 0) z;
COMMENT ON VIEW agent_metrics_internal.report IS 'Time zone and present day of the reports: one row.';

-- Days reach from the agent's first day with data to today, data or not. Stray turns dated before 2015 or in the future
-- do not stretch the calendar; agent_kpi.implausible_times lists them.
CREATE OR REPLACE VIEW agent_metrics_internal.days AS
SELECT a.agent_id, d.day::date AS day, agent_metrics_internal.day_start(d.day::date, p.time_zone) AS bucket
FROM agent_metrics.agents a
CROSS JOIN agent_metrics_internal.report p
CROSS JOIN LATERAL generate_series(agent_metrics_internal.kpi_first_day(a.agent_id)::timestamp, p.today::timestamp,
                                   interval '1 day') AS d (day)
-- a day that the clock skipped is none; said so that the planner does not take this for rare
WHERE NOT agent_metrics_internal.day_of(agent_metrics_internal.day_start(d.day::date, p.time_zone), p.time_zone)
          > d.day::date;
COMMENT ON VIEW agent_metrics_internal.days IS 'The calendar of each agent.';

DO $do$
DECLARE
    each_measure constant text := agent_metrics_internal.measure_list('r.%1$I');
    added        constant text := agent_metrics_internal.measure_list('%3$s(r.%1$I)::%2$s AS %1$I');
BEGIN
    EXECUTE format($view$
CREATE OR REPLACE VIEW agent_metrics_internal.daily_measures AS
SELECT d.agent_id, d.bucket, d.day, %s
FROM agent_metrics_internal.days d
LEFT JOIN agent_metrics_internal.rollups_day r ON r.agent_id = d.agent_id AND r.level = 'day'
 AND r.bucket = d.bucket$view$, each_measure);

    EXECUTE format($view$
CREATE OR REPLACE VIEW agent_metrics_internal.hourly_measures AS
SELECT r.agent_id, r.bucket, agent_metrics_internal.day_of(r.bucket, p.time_zone) AS day, %s
FROM agent_metrics_internal.rollups_hour r CROSS JOIN agent_metrics_internal.report p$view$, each_measure);

    -- each of the 30 report days that end yesterday, for an agent without data too
    EXECUTE format($view$
CREATE OR REPLACE VIEW agent_metrics_internal.spark_measures AS
SELECT a.agent_id, n.bucket, n.day, %s
FROM agent_metrics.agents a
CROSS JOIN (
    SELECT d.day, agent_metrics_internal.day_start(d.day, p.time_zone) AS bucket
    FROM agent_metrics_internal.report p
    CROSS JOIN generate_series(1, 30) AS n (days_ago)
    CROSS JOIN LATERAL (SELECT p.today - n.days_ago AS day) d
    WHERE NOT agent_metrics_internal.day_of(agent_metrics_internal.day_start(d.day, p.time_zone), p.time_zone) > d.day
    OFFSET 0) n
LEFT JOIN agent_metrics_internal.rollups_day r ON r.agent_id = a.agent_id AND r.level = 'day' AND r.bucket = n.bucket
    -- nothing older need be looked at, wherever the day begins
    AND r.bucket > now() - interval '33 days'$view$, each_measure);

    EXECUTE format($view$
CREATE OR REPLACE VIEW agent_metrics_internal.window_measures AS
SELECT a.agent_id, w.span, w.begins AS bucket, w.first_day AS day, %s, w.ends, w.last_day
FROM agent_metrics.agents a
CROSS JOIN (
    SELECT w.span, w.first_day, w.end_day - 1 AS last_day,
           agent_metrics_internal.day_start(w.first_day, p.time_zone) AS begins,
           agent_metrics_internal.day_start(w.end_day, p.time_zone) AS ends
    FROM agent_metrics_internal.report p
    CROSS JOIN LATERAL (VALUES ('30d', p.today - 30, p.today), ('previous_30d', p.today - 60, p.today - 30),
                               ('to_today', p.today - 29, p.today + 1)) AS w (span, first_day, end_day)
    OFFSET 0) w
LEFT JOIN agent_metrics_internal.rollups_day r
  ON r.agent_id = a.agent_id AND r.level = 'day' AND r.bucket >= w.begins AND r.bucket < w.ends
GROUP BY a.agent_id, w.span, w.first_day, w.begins, w.ends, w.last_day$view$, added);

    EXECUTE format($view$
CREATE OR REPLACE VIEW agent_metrics_internal.monthly_measures AS
SELECT r.agent_id, agent_metrics_internal.day_start(n.month, p.time_zone) AS bucket, n.month AS day, %s,
       agent_metrics_internal.day_start((n.month + interval '1 month')::date, p.time_zone) AS ends,
       (n.month + interval '1 month - 1 day')::date AS last_day, (n.month + interval '1 month')::date - n.month AS days
FROM agent_metrics_internal.rollups_day r
CROSS JOIN agent_metrics_internal.report p
CROSS JOIN LATERAL (
    SELECT date_trunc('month', agent_metrics_internal.day_of(r.bucket, p.time_zone)::timestamp)::date AS month) n
WHERE r.level = 'day'
GROUP BY r.agent_id, n.month, p.time_zone$view$, added);

    -- The same by segment, of those that are there. A dimension that was switched off is not shown.
    EXECUTE format($view$
CREATE OR REPLACE VIEW agent_metrics_internal.segment_daily_measures AS
SELECT r.agent_id, r.dimension, r.segment, r.bucket, agent_metrics_internal.day_of(r.bucket, p.time_zone) AS day, %s
FROM agent_metrics_internal.segment_days r
JOIN agent_metrics.dimensions d ON d.dimension = r.dimension AND d.is_active
CROSS JOIN agent_metrics_internal.report p$view$, each_measure);

    EXECUTE format($view$
CREATE OR REPLACE VIEW agent_metrics_internal.segment_hourly_measures AS
SELECT r.agent_id, r.dimension, r.segment, r.bucket, agent_metrics_internal.day_of(r.bucket, p.time_zone) AS day, %s
FROM agent_metrics_internal.segment_hours r
JOIN agent_metrics.dimensions d ON d.dimension = r.dimension AND d.is_active AND d.finest_level = 'hour'
CROSS JOIN agent_metrics_internal.report p$view$, each_measure);

    EXECUTE format($view$
CREATE OR REPLACE VIEW agent_metrics_internal.segment_monthly_measures AS
SELECT r.agent_id, r.dimension, r.segment, agent_metrics_internal.day_start(n.month, p.time_zone) AS bucket,
       n.month AS day, %s,
       agent_metrics_internal.day_start((n.month + interval '1 month')::date, p.time_zone) AS ends,
       (n.month + interval '1 month - 1 day')::date AS last_day, (n.month + interval '1 month')::date - n.month AS days
FROM agent_metrics_internal.segment_days r
JOIN agent_metrics.dimensions d ON d.dimension = r.dimension AND d.is_active
CROSS JOIN agent_metrics_internal.report p
CROSS JOIN LATERAL (
    SELECT date_trunc('month', agent_metrics_internal.day_of(r.bucket, p.time_zone)::timestamp)::date AS month) n
GROUP BY r.agent_id, r.dimension, r.segment, n.month, p.time_zone$view$, added);
END
$do$;
COMMENT ON VIEW agent_metrics_internal.segment_daily_measures IS
    'Sums and sketches per agent, segment and report day with data.';
COMMENT ON VIEW agent_metrics_internal.segment_hourly_measures IS
    'Sums and sketches per agent, segment and hour with data, of dimensions that have hours.';
COMMENT ON VIEW agent_metrics_internal.segment_monthly_measures IS
    'Sums and sketches per agent, segment and calendar month with data.';
COMMENT ON VIEW agent_metrics_internal.daily_measures IS
    'Sums and sketches per agent and report day, days without data too.';
COMMENT ON VIEW agent_metrics_internal.hourly_measures IS 'Sums and sketches per agent and hour with data.';
COMMENT ON VIEW agent_metrics_internal.spark_measures IS
    'Sums and sketches per agent and each of the 30 report days that end yesterday.';
COMMENT ON VIEW agent_metrics_internal.window_measures IS
    'Sums and sketches per agent over the 30 report days that end yesterday (span 30d), '
    'over the 30 before (previous_30d), '
    'and over the 30 that end today (to_today), which thresholds are evaluated over.';
COMMENT ON VIEW agent_metrics_internal.monthly_measures IS 'Sums and sketches per agent and calendar month with data.';
