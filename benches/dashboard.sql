-- make bench-dashboard: bars D1 and D2. What a BI tool asks of the views, against the same from raw events; CPU time of
-- the backend with planning, jit off, medians of seven rounds. Variables: rows.
\set ON_ERROR_STOP 1
\set QUIET 1
SET jit = off;
SET max_parallel_workers_per_gather = 0;
SET client_min_messages = warning;
CREATE EXTENSION agent_metrics;
SELECT agent_metrics.setup() \g /dev/null
\ir workload.sql
-- The tiles show the days that end yesterday, so the ninety days of the work do too.
UPDATE bench.turns
SET occurred_at = occurred_at + (date_trunc('day', now(), 'UTC') - timestamptz '2026-10-30 00:00:00+00');
VACUUM FULL ANALYZE bench.turns;
\ir load.sql
CREATE TABLE bench.results (what text, cpu_ms double precision);

-- Thirty days of one agent, the day literals as a BI tool writes them.
CREATE FUNCTION bench.raw() RETURNS text LANGUAGE sql RETURN replace(replace($query$
    SELECT (e.occurred_at AT TIME ZONE 'UTC')::date AS day, percentile_disc(0.95) WITHIN GROUP (ORDER BY e.latency_ms),
           count(*) FILTER (WHERE o.is_success)::double precision / nullif(count(o.label), 0),
           sum(e.cost_usd) / nullif(count(*) FILTER (WHERE o.is_unit), 0)
    FROM agent_metrics.agent_events e LEFT JOIN agent_metrics.outcomes o ON o.label = e.outcome_label
    WHERE e.agent_id = 'agent-07' AND e.occurred_at >= '<from> UTC' AND e.occurred_at < '<to> UTC' GROUP BY 1$query$,
    '<from>', (current_date - 30)::text), '<to>', current_date::text);
-- agent, from_day, to_day: literals, or parameters.
CREATE FUNCTION bench.view(agent text, from_day text, to_day text) RETURNS text LANGUAGE sql RETURN format($query$
    SELECT k.day, k.metric, k.value FROM agent_kpi.kpi_daily k
    WHERE k.agent_id = %s AND k.day >= %s AND k.day < %s
      AND k.metric IN ('latency_p95_ms', 'task_success_rate', 'cost_per_unit_usd')$query$, agent, from_day, to_day);
CREATE FUNCTION bench.counted(query text) RETURNS text LANGUAGE sql
RETURN format('SELECT count(q) FROM (%s OFFSET 0) q', query);
-- A statement is planned each time; what a driver has prepared, JDBC's after five uses, is planned once.
SELECT 'PREPARE thirty_days (text, date, date) AS ' || bench.counted(bench.view('$1', '$2', '$3')) \gexec
CREATE FUNCTION bench.measure(what text, statement text, times integer) RETURNS void LANGUAGE plpgsql AS $function$
DECLARE
    begun double precision := bench.cpu_ms();
    n     bigint;
BEGIN
    FOR i IN 1 .. times LOOP
        EXECUTE statement INTO STRICT n;
        IF n = 0 THEN
            RAISE EXCEPTION '% finds nothing', what;
        END IF;
    END LOOP;
    INSERT INTO bench.results VALUES (what, (bench.cpu_ms() - begun) / times);
END
$function$;
CREATE FUNCTION bench.round() RETURNS void LANGUAGE plpgsql AS $function$
BEGIN
    PERFORM bench.measure('raw', bench.counted(bench.raw()), 1);
    PERFORM bench.measure(
        'kpi_daily', bench.counted(bench.view(quote_literal('agent-07'), quote_literal(current_date - 30),
                                              quote_literal(current_date))), 20);
    PERFORM bench.measure('kpi_daily, prepared',
        format('EXECUTE thirty_days (%L, %L, %L)', 'agent-07', current_date - 30, current_date), 20);
    PERFORM bench.measure('cfo_tiles', bench.counted('SELECT * FROM agent_kpi.cfo_tiles'), 1);
    PERFORM bench.measure('cfo_spark', bench.counted('SELECT * FROM agent_kpi.cfo_spark'), 1);
END
$function$;
SELECT bench.round() \g /dev/null
TRUNCATE bench.results;
SELECT bench.round() FROM generate_series(1, 7) \g /dev/null

CREATE TABLE bench.medians AS
SELECT what, percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu_ms) AS ms, min(cpu_ms) AS least, max(cpu_ms) AS most
FROM bench.results GROUP BY what;
\echo
\echo CPU milliseconds, medians of seven rounds over :rows rows
SELECT what, round(ms::numeric, 2) AS ms, round(least::numeric, 2) AS least, round(most::numeric, 2) AS most
FROM bench.medians ORDER BY what;
SELECT 'D1' AS bar, '30 days of one agent: raw events / ' || v.what AS what,
       round((r.ms / v.ms)::numeric, 1)::text AS figure, '>= 100' AS bar,
       CASE WHEN r.ms / v.ms >= 100 THEN 'held' ELSE 'missed' END AS verdict
FROM bench.medians r, bench.medians v WHERE r.what = 'raw' AND v.what LIKE 'kpi_daily%'
UNION ALL
SELECT 'D2', 'cfo_tiles and cfo_spark of 60 agents', round(sum(ms)::numeric, 1) || ' ms', '<= 100 ms',
       CASE WHEN sum(ms) <= 100 THEN 'held' ELSE 'missed' END
FROM bench.medians WHERE what LIKE 'cfo%';
