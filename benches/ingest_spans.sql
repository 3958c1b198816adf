-- Bar O2, the end of benches/ingest.sql: a delivery of one trace of 1,000 spans against one of four traces of 250. What
-- looks at each pair of a trace's spans takes four times as long. CPU time, seven rounds, who is first changes; a ratio
-- is the median of the rounds' own. Nothing stays. It needs bench.cpu_ms() of workload.sql.
CREATE TABLE bench.deliveries (what text, delivery jsonb);
INSERT INTO bench.deliveries
SELECT w.what,
       jsonb_build_object('resourceSpans', jsonb_build_array(jsonb_build_object(
           'scopeSpans', jsonb_build_array(jsonb_build_object('spans', (
               -- an agent, and below it by turns a call of a model and a tool
               SELECT jsonb_agg(jsonb_build_object('traceId', w.what || ' ' || t.n, 'spanId', s.n::text,
                                                   'parentSpanId', CASE WHEN s.n > 1 THEN '1' ELSE '' END, 'name', 'x',
                                                   'startTimeUnixNano', (1767607200000000000
                                                                         + s.n::bigint * 1000000000)::text,
                                                   'endTimeUnixNano', (1767607200500000000
                                                                       + s.n::bigint * 1000000000)::text,
                                                   'attributes', jsonb_build_array(
                                                       jsonb_build_object('key', 'gen_ai.operation.name',
                                                                          'value', jsonb_build_object('stringValue',
                                                                              CASE WHEN s.n = 1 THEN 'invoke_agent'
                                                                                   WHEN s.n % 2 = 0 THEN 'chat'
                                                                                   ELSE 'execute_tool' END)),
                                                       jsonb_build_object(
                                                           'key', CASE WHEN s.n = 1 THEN 'gen_ai.agent.name'
                                                                       ELSE 'gen_ai.tool.name' END,
                                                           'value', jsonb_build_object('stringValue', 'bot')),
                                                       jsonb_build_object(
                                                           'key', CASE WHEN s.n = 1 THEN 'gen_ai.conversation.id'
                                                                       ELSE 'x' END,
                                                           'value', jsonb_build_object('stringValue', 'c-' || t.n)))))
               FROM generate_series(1, w.traces) AS t (n) CROSS JOIN generate_series(1, 1000 / w.traces) AS s (n)))))))
FROM (VALUES ('four of 250', 4), ('one of 1,000', 1)) AS w (what, traces);
CREATE TABLE bench.span_results (round integer, what text, figure double precision);
DO $do$
DECLARE
    one    record;
    begun  double precision;
    taken  double precision;
    stored bigint;
BEGIN
    FOR round IN 0 .. 7 LOOP
        FOR one IN SELECT d.* FROM bench.deliveries d ORDER BY (d.what = 'one of 1,000') = (round % 2 = 0) LOOP
            BEGIN
                begun := bench.cpu_ms();
                SELECT i.stored INTO stored FROM agent_metrics.ingest_events(one.delivery) i;
                taken := bench.cpu_ms() - begun;
                ASSERT stored = 500, stored;
                RAISE EXCEPTION USING ERRCODE = 'assert_failure', MESSAGE = 'taken back';
            EXCEPTION WHEN assert_failure THEN
                IF SQLERRM <> 'taken back' THEN
                    RAISE;
                END IF;
            END;
            INSERT INTO bench.span_results VALUES (round, one.what, taken);
        END LOOP;
    END LOOP;
END
$do$;

\echo
\echo A trace of 1,000 spans; CPU milliseconds
SELECT 'O2' AS bar, 'one trace of 1,000 spans' AS what,
       round(percentile_cont(0.5) WITHIN GROUP (ORDER BY f.figure)::numeric, 1) AS four_of_250,
       round(percentile_cont(0.5) WITHIN GROUP (ORDER BY o.figure)::numeric, 1) AS one_of_1000,
       round(percentile_cont(0.5) WITHIN GROUP (ORDER BY o.figure / f.figure)::numeric, 2) AS ratio,
       round(min(o.figure / f.figure)::numeric, 2) AS least, round(max(o.figure / f.figure)::numeric, 2) AS most,
       '<= 1.20' AS bar, CASE WHEN percentile_cont(0.5) WITHIN GROUP (ORDER BY o.figure / f.figure) <= 1.20 THEN 'held'
                              ELSE 'missed' END AS verdict
FROM bench.span_results f JOIN bench.span_results o ON o.round = f.round AND o.what = 'one of 1,000'
WHERE f.what = 'four of 250' AND f.round > 0;
