-- make bench-segments: what six dimensions cost the build and R1 to R3, against the same without, and a question of
-- thirty days. CPU time of the backend, jit off. Variables: rows.
\set ON_ERROR_STOP 1
\set QUIET 1
SELECT current_database() AS home \gset
CREATE DATABASE bench_undivided;
\c bench_undivided
\set dimensions 0
\ir refresh_work.sql
\set plain_built :built_per_second
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu_ms) FILTER (WHERE bar = 'R1') AS r1,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu_ms) FILTER (WHERE bar = 'R2') AS r2,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu_ms) FILTER (WHERE bar = 'R3') AS r3
FROM bench.results \gset plain_
\c :home
DROP DATABASE bench_undivided;
\set dimensions 6
\ir refresh_work.sql

\echo
\echo CPU milliseconds, medians of five rounds, with six dimensions and with none
SELECT t.bar, round(t.ms::numeric, 1) AS none_ms,
       round((percentile_cont(0.5) WITHIN GROUP (ORDER BY r.cpu_ms))::numeric, 1) AS six_ms,
       round((percentile_cont(0.5) WITHIN GROUP (ORDER BY r.cpu_ms) / t.ms)::numeric, 2) AS ratio, '<= 1.5' AS bar,
       CASE WHEN percentile_cont(0.5) WITHIN GROUP (ORDER BY r.cpu_ms) / t.ms <= 1.5 THEN 'held'
            ELSE 'missed' END AS verdict
FROM (VALUES ('R1', :plain_r1::double precision), ('R2', :plain_r2), ('R3', :plain_r3)) AS t (bar, ms)
JOIN bench.results r ON r.bar = t.bar
GROUP BY t.bar, t.ms ORDER BY 1;
SELECT 'build' AS bar, :plain_built AS none_per_s, :built_per_second AS six_per_s,
       round(:plain_built / :built_per_second, 2) AS ratio, '<= 1.5' AS bar,
       CASE WHEN :plain_built <= 1.5 * :built_per_second THEN 'held' ELSE 'missed' END AS verdict;

-- the same thirty days, eleven times
CREATE TABLE bench.asked (cpu_ms double precision);
DO $do$
DECLARE
    begun double precision;
    last  date := (SELECT max(s.bucket)::date FROM agent_metrics_internal.segment_days s WHERE s.agent_id = 'agent-07');
BEGIN
    FOR n IN 1 .. 11 LOOP
        begun := bench.cpu_ms();
        EXECUTE format('SELECT * FROM agent_kpi.kpi_segments_daily WHERE agent_id = ''agent-07'' AND '
                       'dimension = ''bench_1'' AND metric = ''task_success_rate'' AND day > %L', last - 30);
        INSERT INTO bench.asked VALUES (bench.cpu_ms() - begun);
    END LOOP;
END
$do$;
SELECT 'segments' AS bar, 'kpi_segments_daily, one agent, dimension and metric, 30 days' AS what,
       round((percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu_ms))::numeric, 2) AS ms, '<= 5 ms' AS bar,
       CASE WHEN percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu_ms) <= 5 THEN 'held' ELSE 'missed' END AS verdict
FROM bench.asked;
SELECT 'size' AS bar, pg_size_pretty(pg_total_relation_size('agent_metrics_internal.segment_hours')) AS hours,
       pg_size_pretty(pg_total_relation_size('agent_metrics_internal.segment_days')) AS days;
SELECT count(*) AS differences_that_verify_finds FROM agent_metrics.verify();
