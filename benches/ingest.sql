-- make bench-ingest: bars I1 to I3. The same rows go into agent_events, once setup() made it, and into a plain table
-- with the same columns, partitions and default id, and the three indexes any user has: primary key on a time-ordered
-- uuid, agent and time, conversation. CPU time of the backend (I3: transactions a second), seven rounds; a ratio is the
-- median of the rounds' own. The two tables take turns, and who is first changes, since a host's speed drifts: I1 by
-- round, I2 every 500 statements, I3 plain, ours, ours, plain. I2: statements as a client sends them; I3: pgbench,
-- statements prepared once. Variables: rows (a tenth of them is copied).
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
CREATE TABLE bench.columns (LIKE agent_metrics.agent_events INCLUDING DEFAULTS);
ALTER TABLE bench.columns DROP COLUMN recorded_in;
-- Made of a copy: of a table that lost a column, each row would be put into the shape of its partition.
CREATE TABLE bench.agent_events (LIKE bench.columns INCLUDING DEFAULTS) PARTITION BY RANGE (occurred_at);
ALTER TABLE bench.agent_events ADD PRIMARY KEY (event_id, occurred_at);
CREATE INDEX ON bench.agent_events (agent_id, occurred_at);
CREATE INDEX ON bench.agent_events (conversation_id);
SELECT format('CREATE TABLE bench.%I PARTITION OF bench.agent_events %s', c.relname, pg_get_expr(c.relpartbound, c.oid))
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'agent_metrics.agent_events'::regclass ORDER BY c.relname \gexec

SELECT 'agent_id, occurred_at, conversation_id, user_id, latency_ms, token_usage_input, token_usage_output, '
       'cost_usd, outcome_label, tools_called, turn_index' AS columns \gset
SELECT current_setting('data_directory') || '/bench_turns' AS file \gset
COPY (SELECT :columns FROM bench.turns ORDER BY occurred_at) TO :'file';

CREATE PROCEDURE bench.start() LANGUAGE sql AS $procedure$
    SELECT set_config('bench.begun', bench.cpu_ms()::text, false);
$procedure$;
CREATE PROCEDURE bench.stop(round integer, what text) LANGUAGE sql AS $procedure$
    INSERT INTO bench.results VALUES (round, what, bench.cpu_ms() - current_setting('bench.begun')::double precision);
$procedure$;

CREATE PROCEDURE bench.copy(round integer, who text, schema text, columns text, file text)
LANGUAGE plpgsql AS $procedure$
BEGIN
    CALL bench.start();
    EXECUTE format('COPY %I.agent_events (%s) FROM %L', schema, columns, file);
    CALL bench.stop(round, 'I1 ' || who);
    COMMIT;
END
$procedure$;
CREATE PROCEDURE bench.round(round integer, columns text, file text) LANGUAGE plpgsql AS $procedure$
BEGIN
    TRUNCATE agent_metrics.agent_events, bench.agent_events;
    COMMIT;
    IF round % 2 = 0 THEN
        CALL bench.copy(round, 'plain', 'bench', columns, file);
    END IF;
    CALL bench.copy(round, 'ours', 'agent_metrics', columns, file);
    IF round % 2 = 1 THEN
        CALL bench.copy(round, 'plain', 'bench', columns, file);
    END IF;
END
$procedure$;

-- What a client sends: one statement a row, each its own transaction. :columns and :round are psql's.
SELECT current_setting('data_directory') || '/bench_inserts.sql' AS inserts \gset
COPY (
    SELECT concat(CASE n % 500 WHEN 0 THEN format('SET search_path = %s; CALL bench.start(); ', w.schema) END,
                  format('INSERT INTO agent_events (:columns) VALUES (%L, %L, %L, %L, %s, %s, %s, %s, %L, %L, %s);',
                         agent_id, occurred_at, conversation_id, user_id, latency_ms, token_usage_input,
                         token_usage_output, cost_usd, outcome_label, tools_called, turn_index),
                  CASE n % 500 WHEN 499 THEN format(' CALL bench.stop(:round, %L);', 'I2 ' || w.who) END)
    FROM (SELECT row_number() OVER () - 1 AS n, * FROM bench.turns LIMIT 20000) t
    CROSS JOIN (VALUES (0, 'plain', 'bench'), (1, 'ours', 'agent_metrics')) AS w (number, who, schema)
    ORDER BY n / 500, (w.number + n / 500) % 2, n
) TO :'inserts';

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
WITH figure AS (
    SELECT round, what, CASE WHEN what LIKE 'I3%' THEN avg(figure) ELSE sum(figure) END AS figure
    FROM bench.results GROUP BY 1, 2
)
SELECT b.bar, b.what, round(percentile_cont(0.5) WITHIN GROUP (ORDER BY p.figure)::numeric, 1) AS plain,
       round(percentile_cont(0.5) WITHIN GROUP (ORDER BY o.figure)::numeric, 1) AS ours,
       round(percentile_cont(0.5) WITHIN GROUP (ORDER BY o.figure / p.figure)::numeric, 2) AS ratio,
       round(min(o.figure / p.figure)::numeric, 2) AS least, round(max(o.figure / p.figure)::numeric, 2) AS most,
       b.bar_text AS bar,
       CASE WHEN percentile_cont(0.5) WITHIN GROUP (ORDER BY o.figure / p.figure) BETWEEN b.low AND b.high THEN 'held'
            ELSE 'missed' END AS verdict
FROM (VALUES ('I1', 'COPY in time order', 0, 1.20, '<= 1.20'),
             ('I2', '20,000 rows, a transaction each', 0, 1.10, '<= 1.10'),
             ('I3', 'four clients that insert', 0.93, 'infinity'::double precision, '>= 0.93'))
                 AS b (bar, what, low, high, bar_text)
JOIN figure p ON p.what = b.bar || ' plain'
JOIN figure o ON o.what = b.bar || ' ours' AND o.round = p.round
GROUP BY b.bar, b.what, b.low, b.high, b.bar_text
ORDER BY b.bar;

\ir ingest_spans.sql
