-- make bench-refresh: bars R1 to R5 and S1. The same change is refreshed by REFRESH MATERIALIZED VIEW of an hourly
-- rollup (six columns and a sketch) and by agent_metrics.refresh(), in the same session; CPU time of the backend, jit
-- off. First on a tenth of the rows, in a database that is dropped again, then on all: R5. Variables: rows.
\set ON_ERROR_STOP 1
\set QUIET 1
\set all :rows
\set dimensions 0
SELECT :rows / 10 AS rows, current_database() AS home \gset
CREATE DATABASE bench_tenth;
\c bench_tenth
\ir refresh_work.sql
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu_ms) FILTER (WHERE bar = 'R1') AS r1,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu_ms) FILTER (WHERE bar = 'R2') AS r2,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu_ms) FILTER (WHERE bar = 'R3') AS r3
FROM bench.results \gset tenth_
\c :home
DROP DATABASE bench_tenth;
\set rows :all
\ir refresh_work.sql

\echo
\echo CPU milliseconds, medians of five rounds; ratio: REFRESH MATERIALIZED VIEW / refresh(), bars for 10 million rows
SELECT r.bar, b.what, round(m.matview::numeric, 1) AS baseline_ms, round(r.median::numeric, 1) AS ms,
       round(r.low::numeric, 1) AS least, round(r.high::numeric, 1) AS most,
       round((m.matview / r.median)::numeric, 1) AS ratio, b.bar_text AS bar,
       CASE WHEN b.limit_ms IS NULL AND m.matview / r.median >= b.ratio OR r.median <= b.limit_ms THEN 'held'
            ELSE 'missed' END AS verdict
FROM (SELECT bar, percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu_ms) AS median, min(cpu_ms) AS low, max(cpu_ms) AS high
      FROM bench.results WHERE bar <> 'matview' GROUP BY bar) r
CROSS JOIN (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu_ms) AS matview
            FROM bench.results WHERE bar = 'matview') m
JOIN (VALUES ('R1', '10,000 rows at the tail', 250, NULL::double precision, '>= 250 times less'),
             ('R2', '1,000 late rows over 30 days', 100, NULL, '>= 100 times less'),
             ('R3', '1,000 late labels over 30 days', 70, NULL, '>= 70 times less'),
             ('R4', 'nothing changed, 60 agents', NULL, 5, '<= 5 ms')) AS b (bar, what, ratio, limit_ms, bar_text)
  ON b.bar = r.bar
ORDER BY r.bar;
SELECT 'R5' AS bar, t.bar || ' on all rows / on a tenth of them' AS what,
       round((percentile_cont(0.5) WITHIN GROUP (ORDER BY r.cpu_ms) / t.ms)::numeric, 2) AS ratio, '<= 1.2' AS bar,
       CASE WHEN percentile_cont(0.5) WITHIN GROUP (ORDER BY r.cpu_ms) / t.ms <= 1.2 THEN 'held'
            ELSE 'missed' END AS verdict
FROM (VALUES ('R1', :tenth_r1::double precision), ('R2', :tenth_r2), ('R3', :tenth_r3)) AS t (bar, ms)
JOIN bench.results r ON r.bar = t.bar
GROUP BY t.bar, t.ms ORDER BY 2;
SELECT 'S1' AS bar, 'hour level, table and indexes' AS what,
       pg_size_pretty(pg_total_relation_size('agent_metrics_internal.rollups_hour')) AS size, count(*) AS groups,
       pg_size_pretty(pg_total_relation_size('bench.hourly')) AS matview, '<= 60 MB at 118,353 groups of 84 rows' AS bar
FROM agent_metrics_internal.rollups_hour;
SELECT count(*) AS differences_that_verify_finds FROM agent_metrics.verify();
