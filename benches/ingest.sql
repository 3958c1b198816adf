-- make bench-ingest: bars I1 to I3. The same rows go into agent_events, once setup() made it, and into a plain table with
-- the same columns, partitions and default id, and the three indexes any user has: primary key on a time-ordered uuid,
-- agent and time, conversation. CPU time of the backend (I3: transactions a second), seven rounds; a ratio is the
-- median of the rounds' own. I2: statements as a client sends them; I3: pgbench, statements prepared once. Variables: rows (a tenth of them is copied).
\set ON_ERROR_STOP 1
\set QUIET 1
SET client_min_messages = warning;
CREATE EXTENSION agent_metrics;
SELECT agent_metrics.setup() \g /dev/null
SELECT :rows / 10 AS rows \gset
\ir workload.sql
SELECT agent_metrics.ensure_partitions() \g /dev/null
CREATE TABLE bench.results (round integer, what text, figure double precision);

-- The plain table: what a user would have without us.
CREATE TABLE bench.agent_events (LIKE agent_metrics.agent_events INCLUDING DEFAULTS) PARTITION BY RANGE (occurred_at);
ALTER TABLE bench.agent_events DROP COLUMN recorded_in;
ALTER TABLE bench.agent_events ADD PRIMARY KEY (event_id, occurred_at);
CREATE INDEX ON bench.agent_events (agent_id, occurred_at);
CREATE INDEX ON bench.agent_events (conversation_id);
SELECT format('CREATE TABLE bench.%I PARTITION OF bench.agent_events %s', c.relname, pg_get_expr(c.relpartbound, c.oid))
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'agent_metrics.agent_events'::regclass ORDER BY c.relname \gexec

\set columns 'agent_id, occurred_at, conversation_id, user_id, latency_ms, token_usage_input, token_usage_output, cost_usd, outcome_label, tools_called, turn_index'
SELECT current_setting('data_directory') || '/bench_turns' AS file \gset
COPY (SELECT :columns FROM bench.turns ORDER BY occurred_at) TO :'file';

CREATE PROCEDURE bench.measure(round integer, what text, statement text) LANGUAGE plpgsql AS $procedure$
DECLARE
    begun double precision;
BEGIN
    begun := bench.cpu_ms();
    EXECUTE statement;
    INSERT INTO bench.results VALUES (round, what, bench.cpu_ms() - begun);
    COMMIT;
END
$procedure$;
-- What a client sends: one statement a row, each its own transaction.
SELECT current_setting('data_directory') || '/bench_inserts.sql' AS inserts \gset
COPY (SELECT format('INSERT INTO agent_events (:columns) VALUES (%L, %L, %L, %L, %s, %s, %s, %s, %L, %L, %s);', :columns)
      FROM (SELECT * FROM bench.turns LIMIT 20000) t) TO :'inserts';

CREATE PROCEDURE bench.round(round integer, columns text, file text) LANGUAGE plpgsql AS $procedure$
BEGIN
    TRUNCATE agent_metrics.agent_events, bench.agent_events;
    COMMIT;
    CALL bench.measure(round, 'I1 plain', format('COPY bench.agent_events (%s) FROM %L', columns, file));
    CALL bench.measure(round, 'I1 ours', format('COPY agent_metrics.agent_events (%s) FROM %L', columns, file));
END
$procedure$;
CALL bench.round(0, :'columns', :'file');
TRUNCATE bench.results;
\set round 1
\ir ingest_round.sql
\set round 2
\ir ingest_round.sql
\set round 3
\ir ingest_round.sql
\set round 4
\ir ingest_round.sql
\set round 5
\ir ingest_round.sql
\set round 6
\ir ingest_round.sql
\set round 7
\ir ingest_round.sql

\echo
\echo Medians of seven rounds; I1, I2: CPU milliseconds; I3: transactions a second
SELECT b.bar, b.what, round(percentile_cont(0.5) WITHIN GROUP (ORDER BY p.figure)::numeric, 1) AS plain,
       round(percentile_cont(0.5) WITHIN GROUP (ORDER BY o.figure)::numeric, 1) AS ours,
       round(percentile_cont(0.5) WITHIN GROUP (ORDER BY o.figure / p.figure)::numeric, 2) AS ratio,
       round(min(o.figure / p.figure)::numeric, 2) AS least, round(max(o.figure / p.figure)::numeric, 2) AS most, b.bar_text AS bar,
       CASE WHEN percentile_cont(0.5) WITHIN GROUP (ORDER BY o.figure / p.figure) BETWEEN b.low AND b.high THEN 'held' ELSE 'missed' END AS verdict
FROM (VALUES ('I1', 'COPY in time order', 0, 1.10, '<= 1.10'), ('I2', '20,000 rows, a transaction each', 0, 1.10, '<= 1.10'),
             ('I3', 'four clients that insert', 0.93, 'infinity'::double precision, '>= 0.93')) AS b (bar, what, low, high, bar_text)
JOIN bench.results p ON p.what = b.bar || ' plain'
JOIN bench.results o ON o.what = b.bar || ' ours' AND o.round = p.round
GROUP BY b.bar, b.what, b.low, b.high, b.bar_text
ORDER BY b.bar;
