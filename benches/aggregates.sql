-- make bench-aggregates: bars A1 to A7 and A9. CPU time of the backend and its parallel workers, jit off, seven rounds.
-- A ratio is the median of the rounds' own: what is compared ran one after the other.
-- Variables: rows.
\set ON_ERROR_STOP 1
\set QUIET 1
SET jit = off;
SET max_parallel_workers_per_gather = 0;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET work_mem = '1GB';
SET client_min_messages = warning;
CREATE EXTENSION agent_metrics;
CREATE EXTENSION tdigest;
\ir workload.sql
CREATE TABLE bench.results (round integer, what text, cpu_ms double precision);
CREATE UNLOGGED TABLE bench.hours AS
SELECT agent_id, date_trunc('hour', occurred_at) AS hour, count(*) AS turns,
       agent_metrics.quantile_sketch(latency_ms) AS sketch, tdigest(latency_ms, 100) AS digest
FROM bench.turns GROUP BY 1, 2;
VACUUM ANALYZE bench.hours;

-- Each query returns its aggregates, so none is planned away.
CREATE FUNCTION bench.measure(round integer, what text, query text, workers integer DEFAULT 0) RETURNS void
LANGUAGE plpgsql AS $function$
DECLARE
    plan text;
    begun double precision;
BEGIN
    PERFORM set_config('max_parallel_workers_per_gather', workers::text, true);
    plan := (SELECT string_agg(p, ' ') FROM bench.plan(query) AS p);
    IF position('Aggregate' IN plan) = 0 THEN
        RAISE EXCEPTION 'the aggregate of % was planned away', what;
    ELSIF workers > 0 AND position('Workers Planned: ' || workers IN plan) = 0 THEN
        RAISE EXCEPTION '% was to run with % workers', what, workers USING DETAIL = plan;
    END IF;
    begun := bench.cpu_ms() + CASE WHEN workers > 0 THEN bench.ended_ms() ELSE 0 END;
    EXECUTE query;
    INSERT INTO bench.results
    VALUES (round, what, bench.cpu_ms() + CASE WHEN workers > 0 THEN bench.ended_ms() ELSE 0 END - begun);
END
$function$;
CREATE FUNCTION bench.plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $function$
BEGIN
    RETURN QUERY EXECUTE 'EXPLAIN ' || query;
END
$function$;
CREATE FUNCTION bench.round(round integer) RETURNS void LANGUAGE plpgsql AS $function$
BEGIN
    PERFORM bench.measure(
        round, 'builtin', 'SELECT sum(latency_ms), avg(latency_ms), max(latency_ms) FROM bench.turns');
    PERFORM bench.measure(
        round, 'p50, p95', 'SELECT agent_metrics.p50(latency_ms), agent_metrics.p95(latency_ms) FROM bench.turns');
    PERFORM bench.measure(
        round, 'builtin, two workers', 'SELECT sum(latency_ms), avg(latency_ms), max(latency_ms) FROM bench.turns', 2);
    PERFORM bench.measure(round, 'p50, p95, two workers',
                          'SELECT agent_metrics.p50(latency_ms), agent_metrics.p95(latency_ms) FROM bench.turns', 2);
    PERFORM bench.measure(round, 'builtin by hour',
                          'SELECT count(s), count(a), count(m)
                           FROM (SELECT sum(latency_ms) AS s, avg(latency_ms) AS a, max(latency_ms) AS m
                                 FROM bench.turns GROUP BY agent_id, date_trunc(''hour'', occurred_at) OFFSET 0) x');
    PERFORM bench.measure(
        round, 'p50, p95 by hour',
        'SELECT count(s), count(a) FROM (SELECT agent_metrics.p50(latency_ms) AS s, agent_metrics.p95(latency_ms) AS a
                                         FROM bench.turns
                                         GROUP BY agent_id, date_trunc(''hour'', occurred_at) OFFSET 0) x');
    PERFORM bench.measure(round, 'scan of hours', 'SELECT max(agent_id), max(pg_column_size(sketch)) FROM bench.hours');
    PERFORM bench.measure(
        round, 'merge', 'SELECT agent_id, agent_metrics.merge(sketch) FROM bench.hours GROUP BY agent_id');
    PERFORM bench.measure(
        round, 'merge of tdigest', 'SELECT agent_id, tdigest(digest) FROM bench.hours GROUP BY agent_id');
END
$function$;
SELECT bench.round(0) \g /dev/null
TRUNCATE bench.results;
SELECT bench.round(i) FROM generate_series(1, 7) AS i \g /dev/null

CREATE TABLE bench.medians AS
SELECT what, percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu_ms) AS ms, min(cpu_ms) AS least, max(cpu_ms) AS most
FROM bench.results GROUP BY what;
\echo
\echo CPU milliseconds of the backend and its workers, medians of seven rounds over :rows rows
SELECT what, round(ms::numeric, 1) AS ms, round(least::numeric, 1) AS least, round(most::numeric, 1) AS most
FROM bench.medians ORDER BY what;
CREATE FUNCTION bench.ms(asked text) RETURNS double precision LANGUAGE sql
RETURN (SELECT m.ms FROM bench.medians m WHERE m.what = asked);
CREATE FUNCTION bench.ratio(ours text, theirs text) RETURNS double precision LANGUAGE sql
RETURN (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY a.cpu_ms / b.cpu_ms)
        FROM bench.results a JOIN bench.results b USING (round) WHERE a.what = ours AND b.what = theirs);

WITH error AS MATERIALIZED (
    SELECT 'A4' AS bar,
           max(abs(agent_metrics.percentile(m.sketch, f.fraction) - e.exact[f.position]) / e.exact[f.position]) AS error
    FROM (SELECT agent_id, agent_metrics.merge(sketch) AS sketch
          FROM bench.hours WHERE hour < '2026-08-31' GROUP BY agent_id) m
    JOIN (SELECT agent_id, percentile_disc(ARRAY[0.5, 0.9, 0.95, 0.99]) WITHIN GROUP (ORDER BY latency_ms) AS exact
          FROM bench.turns WHERE occurred_at < '2026-08-31' GROUP BY agent_id) e ON e.agent_id = m.agent_id
    CROSS JOIN unnest(ARRAY[0.5, 0.9, 0.95, 0.99]) WITH ORDINALITY AS f (fraction, position)
    UNION ALL
    SELECT 'A5', max(abs(agent_metrics.percentile(h.sketch, f.fraction) - x.exact[f.position]) / x.exact[f.position])
    FROM (SELECT agent_id, date_trunc('hour', occurred_at) AS hour,
                 percentile_disc(ARRAY[0.5, 0.9, 0.95, 0.99]) WITHIN GROUP (ORDER BY latency_ms) AS exact
          FROM bench.turns GROUP BY 1, 2 HAVING count(*) >= 20) x
    JOIN bench.hours h ON h.agent_id = x.agent_id AND h.hour = x.hour
    CROSS JOIN unnest(ARRAY[0.5, 0.9, 0.95, 0.99]) WITH ORDINALITY AS f (fraction, position)
)
SELECT b.bar, b.what, b.figure, b.bar_text AS bar, CASE WHEN b.held THEN 'held' ELSE 'missed' END AS verdict
FROM (
    SELECT 'A1' AS bar, 'p50 and p95 of the table / sum, avg, max' AS what,
           round(bench.ratio('p50, p95', 'builtin')::numeric, 2)::text AS figure, '<= 0.85' AS bar_text,
           bench.ratio('p50, p95', 'builtin') <= 0.85 AS held
    UNION ALL SELECT 'A2', 'the same, two workers, CPU of all',
           round(bench.ratio('p50, p95, two workers', 'builtin, two workers')::numeric, 2)::text, '<= 0.90',
           bench.ratio('p50, p95, two workers', 'builtin, two workers') <= 0.90
    UNION ALL SELECT 'A3', 'the same by agent and hour',
           round(bench.ratio('p50, p95 by hour', 'builtin by hour')::numeric, 2)::text, '<= 1.00',
           bench.ratio('p50, p95 by hour', 'builtin by hour') <= 1.00
    UNION ALL SELECT e.bar, CASE e.bar WHEN 'A4' THEN 'largest error, 60 agents, 30 days merged from hours'
                                       ELSE 'largest error of a single hour of 20 rows and more' END,
           round((100 * e.error)::numeric, 3) || ' %', '<= 0.79 %', e.error <= 0.0079 FROM error e
    UNION ALL SELECT 'A6', 'mean stored bytes of an hour', round(avg(pg_column_size(sketch)), 1)::text, '<= 180',
                     avg(pg_column_size(sketch)) <= 180
              FROM bench.hours
    UNION ALL SELECT 'A7', 'million merges a second, scan taken off',
           round((count(*) / 1e3 / (bench.ms('merge') - bench.ms('scan of hours')))::numeric, 2)::text || ', '
           || round(((bench.ms('merge of tdigest') - bench.ms('scan of hours'))
                     / (bench.ms('merge') - bench.ms('scan of hours')))::numeric, 1) || ' x tdigest',
           '>= 2.5, or 10 x tdigest',
           count(*) / 1e3 / (bench.ms('merge') - bench.ms('scan of hours')) >= 2.5
           OR (bench.ms('merge of tdigest') - bench.ms('scan of hours'))
              / (bench.ms('merge') - bench.ms('scan of hours')) >= 10
              FROM bench.hours) b
ORDER BY b.bar;

-- Memory, each in a session of its own: the peak of its own pages above what it began with.
CREATE FUNCTION bench.own_mb() RETURNS numeric LANGUAGE sql
RETURN (SELECT round(
            (substring(s.status FROM 'VmHWM:\s+(\d+)')::bigint - substring(s.status FROM 'RssShmem:\s+(\d+)')::bigint)
            / 1024.0, 1)
        FROM pg_read_file('/proc/self/status') AS s (status));
CREATE TABLE bench.memory (what text, bound_mb numeric, mb numeric);
\c -
SET jit = off; SET max_parallel_workers_per_gather = 0;
SELECT agent_metrics.p95(1), bench.own_mb() AS before \gset
SELECT agent_metrics.p95(latency_ms) FROM bench.turns \g /dev/null
INSERT INTO bench.memory SELECT :rows || ' rows in one group', 4, bench.own_mb() - :before;
\c -
SET jit = off; SET max_parallel_workers_per_gather = 0; SET enable_sort = off; SET work_mem = '2GB';
SELECT agent_metrics.p95(1), bench.own_mb() AS before \gset
SELECT count(s) FROM (SELECT agent_metrics.quantile_sketch(x % 977) AS s
                      FROM (SELECT generate_series(1, :rows) AS x) v GROUP BY x / 10 OFFSET 0) g \g /dev/null
INSERT INTO bench.memory SELECT :rows / 10 || ' groups of ten', 50.0 * :rows / 1000000, bench.own_mb() - :before;
SELECT what, mb, '<= ' || round(bound_mb) AS bar, CASE WHEN mb <= bound_mb THEN 'held' ELSE 'missed' END AS verdict
FROM bench.memory;

-- A9: 100,000 sketches of four kilobytes, stored compressed, sorted at work_mem 4 MB, against the same bytes as bytea.
CREATE TABLE bench.wide AS
WITH w AS MATERIALIZED (
    SELECT (SELECT agent_metrics.quantile_sketch(power(2::double precision, (i % 4000) / 64.0 - 20 + g % 7))
            FROM generate_series(1, 4100 + g) AS i) AS sketch
    FROM generate_series(1, 250) AS g)
SELECT x.sketch, x.sketch::bytea AS bytes FROM w AS x, generate_series(1, 400) AS n ORDER BY n;
CREATE TABLE bench.peaks (what text, mb numeric);
\c -
SET jit = off; SET max_parallel_workers_per_gather = 0; SET work_mem = '4MB';
SELECT agent_metrics.p95(1), bench.own_mb() AS before \gset
SELECT count(*) FROM (SELECT bytes FROM bench.wide ORDER BY bytes OFFSET 1) x \g /dev/null
INSERT INTO bench.peaks SELECT 'bytea', bench.own_mb() - :before;
\c -
SET jit = off; SET max_parallel_workers_per_gather = 0; SET work_mem = '4MB';
SELECT agent_metrics.p95(1), bench.own_mb() AS before \gset
SELECT count(*) FROM (SELECT sketch FROM bench.wide ORDER BY sketch OFFSET 1) x \g /dev/null
INSERT INTO bench.peaks SELECT 'sketch', bench.own_mb() - :before;
SELECT 'A9' AS bar, 'peak of sorting 100,000 sketches / the same as bytea' AS what, s.mb || ' MB' AS figure,
       b.mb || ' MB' AS baseline, round(s.mb / b.mb, 2) AS ratio, '<= 1.50' AS bar,
       CASE WHEN s.mb <= 1.5 * b.mb THEN 'held' ELSE 'missed' END AS verdict
FROM bench.peaks s, bench.peaks b WHERE s.what = 'sketch' AND b.what = 'bytea';

-- What the planner makes of GROUP BY agent_id, date_trunc('hour', occurred_at), before and after the statistics that
-- setup() puts on agent_events.
\c -
SET jit = off; SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 1000;
SELECT 'SELECT agent_id, date_trunc(''hour'', occurred_at), agent_metrics.p95(latency_ms) '
       'FROM bench.turns GROUP BY 1, 2' AS by_hour \gset
\echo before: :by_hour
EXPLAIN :by_hour;
CREATE STATISTICS bench.turns_by_hour (ndistinct) ON agent_id, (date_trunc('hour', occurred_at)) FROM bench.turns;
ANALYZE bench.turns;
\echo after:
EXPLAIN :by_hour;
SELECT count(*) AS groups FROM bench.hours;
