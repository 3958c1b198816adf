-- One size of benches/refresh.sql, in a database of its own: load, build, five rounds of the same
-- changes. Variables: rows; dimensions: how many are switched on, of five and six segments in turn.
SET jit = off;
SET max_parallel_workers_per_gather = 0;
SET client_min_messages = warning;
CREATE EXTENSION agent_metrics;
CREATE EXTENSION tdigest;
CREATE EXTENSION pageinspect;
SELECT agent_metrics.setup() \g /dev/null
INSERT INTO agent_metrics.dimensions (dimension, source, attribute, finest_level, is_active)
SELECT 'bench_' || n, 'event_column', (ARRAY['outcome_label', 'turn_index'])[1 + n % 2], 'hour', true
FROM generate_series(1, :dimensions) AS n;
\ir workload.sql
CREATE TABLE bench.results (bar text, cpu_ms double precision);
\ir load.sql
CREATE MATERIALIZED VIEW bench.hourly AS
SELECT agent_id, date_trunc('hour', occurred_at) AS hour, count(*) AS turns, count(outcome_label) AS labelled,
       count(*) FILTER (WHERE outcome_label = 'resolved') AS resolved, sum(cost_usd) AS cost_usd,
       sum(token_usage_input + token_usage_output) AS tokens, tdigest(latency_ms, 100) AS latency
FROM agent_metrics.agent_events GROUP BY 1, 2;
VACUUM ANALYZE;
-- A warm cache, of which this session has seen every page, as the scheduler's has that runs all day: the first touch of
-- 4 kB of shared memory costs a process microseconds.
SELECT count(get_raw_page(c.oid::regclass::text, n))
FROM pg_class c CROSS JOIN LATERAL generate_series(0, pg_relation_size(c.oid) / 8192 - 1) AS n
WHERE c.relnamespace IN ('agent_metrics'::regnamespace, 'agent_metrics_internal'::regnamespace)
  AND c.relkind IN ('r', 'i') \g /dev/null

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
