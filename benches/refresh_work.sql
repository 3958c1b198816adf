-- One size of benches/refresh.sql, in a database of its own: load, build, five rounds of the same changes. Variables: rows.
SET jit = off;
SET max_parallel_workers_per_gather = 0;
SET client_min_messages = warning;
CREATE EXTENSION agent_metrics;
CREATE EXTENSION tdigest;
CREATE EXTENSION pg_prewarm;
SELECT agent_metrics.setup() \g /dev/null
\ir workload.sql
CREATE TABLE bench.results (bar text, cpu_ms double precision);
\ir load.sql
CREATE MATERIALIZED VIEW bench.hourly AS
SELECT agent_id, date_trunc('hour', occurred_at) AS hour, count(*) AS turns, count(outcome_label) AS labelled,
       count(*) FILTER (WHERE outcome_label = 'resolved') AS resolved, sum(cost_usd) AS cost_usd,
       sum(token_usage_input + token_usage_output) AS tokens, tdigest(latency_ms, 100) AS latency
FROM agent_metrics.agent_events GROUP BY 1, 2;
VACUUM ANALYZE;
-- a warm cache
SELECT sum(pg_prewarm(c.oid::regclass)) FROM pg_class c WHERE c.relnamespace = 'agent_metrics'::regnamespace AND c.relkind IN ('r', 'i') \g /dev/null

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
