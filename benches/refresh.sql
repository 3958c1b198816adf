-- make bench-refresh: bars R1 to R4 and S1. The same change is refreshed by REFRESH MATERIALIZED VIEW of an hourly
-- rollup (six columns and a sketch) and by agent_metrics.refresh(), in the same session; CPU time of the backend, jit off.
-- Variables: rows.
\set ON_ERROR_STOP 1
\set QUIET 1
SET jit = off;
SET max_parallel_workers_per_gather = 0;
SET client_min_messages = warning;
CREATE EXTENSION agent_metrics;
CREATE EXTENSION tdigest;
SELECT agent_metrics.setup() \g /dev/null
\ir workload.sql
CREATE TABLE bench.results (bar text, cpu_ms double precision);
CREATE FUNCTION bench.cpu_ms() RETURNS double precision LANGUAGE sql
RETURN split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::double precision / 1e6;

\echo loading :rows turns
INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, user_id, latency_ms, token_usage_input,
    token_usage_output, cost_usd, outcome_label, tools_called, turn_index)
SELECT agent_id, occurred_at, conversation_id, user_id, latency_ms, token_usage_input, token_usage_output, cost_usd,
       outcome_label, tools_called, turn_index FROM bench.turns;
SELECT count(agent_metrics.register_agent('agent-' || lpad(i::text, 2, '0'), (ARRAY['support', 'sales', 'ops'])[1 + i % 3], 'Owner'))
FROM generate_series(0, 59) AS i \g /dev/null
VACUUM ANALYZE;
\echo building the rollups
SELECT bench.cpu_ms() AS begun \gset
SELECT count(*) FROM agent_metrics.refresh() \g /dev/null
SELECT round(:rows / ((bench.cpu_ms() - :begun) / 1000)) AS built_per_second \gset
\echo first build: :built_per_second turns a second
CREATE MATERIALIZED VIEW bench.hourly AS
SELECT agent_id, date_trunc('hour', occurred_at) AS hour, count(*) AS turns, count(outcome_label) AS labelled,
       count(*) FILTER (WHERE outcome_label = 'resolved') AS resolved, sum(cost_usd) AS cost_usd,
       sum(token_usage_input + token_usage_output) AS tokens, tdigest(latency_ms, 100) AS latency
FROM agent_metrics.agent_events GROUP BY 1, 2;
VACUUM ANALYZE;

\set round 1
\ir refresh_round.sql
\set round 2
\ir refresh_round.sql
\set round 3
\ir refresh_round.sql
\set round 4
\ir refresh_round.sql
\set round 5
\ir refresh_round.sql

\echo
\echo CPU milliseconds, medians of five rounds; ratio: REFRESH MATERIALIZED VIEW / refresh(), bars for 10 million rows
SELECT r.bar, b.what, round(m.matview::numeric, 1) AS baseline_ms, round(r.median::numeric, 1) AS ms, round(r.low::numeric, 1) AS least,
       round(r.high::numeric, 1) AS most, round((m.matview / r.median)::numeric, 1) AS ratio, b.bar_text AS bar,
       CASE WHEN b.limit_ms IS NULL AND m.matview / r.median >= b.ratio OR r.median <= b.limit_ms THEN 'held' ELSE 'missed' END AS verdict
FROM (SELECT bar, percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu_ms) AS median, min(cpu_ms) AS low, max(cpu_ms) AS high
      FROM bench.results WHERE bar <> 'matview' GROUP BY bar) r
CROSS JOIN (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu_ms) AS matview FROM bench.results WHERE bar = 'matview') m
JOIN (VALUES ('R1', '10,000 rows at the tail', 250, NULL::double precision, '>= 250 times less'), ('R2', '1,000 late rows over 30 days', 100, NULL, '>= 100 times less'),
             ('R3', '1,000 late labels over 30 days', 70, NULL, '>= 70 times less'), ('R4', 'nothing changed, 60 agents', NULL, 5, '<= 5 ms')) AS b (bar, what, ratio, limit_ms, bar_text)
  ON b.bar = r.bar
ORDER BY r.bar;
SELECT 'S1' AS bar, 'hour level, table and indexes' AS what, pg_size_pretty(pg_total_relation_size('agent_metrics.rollups_hour')) AS size,
       count(*) AS groups, pg_size_pretty(pg_total_relation_size('bench.hourly')) AS matview, '<= 60 MB at 118,353 groups of 84 rows' AS bar
FROM agent_metrics.rollups_hour;
SELECT count(*) AS differences_that_verify_finds FROM agent_metrics.verify();
