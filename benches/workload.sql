-- The work that every SQL benchmark measures: `rows` turns over 90 days, 60 agents of three kinds, conversations of
-- about six turns, lognormal latency with a heavy tail. The same rows in every run: all randomness is a hash of
-- the row's number. Variables: rows.
CREATE SCHEMA bench;
CREATE FUNCTION bench.cpu_ms() RETURNS double precision LANGUAGE sql
RETURN split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::double precision / 1e6;
-- CPU time of backends that have ended, as the postmaster counted them in: fields 16 and 17 of its stat, in hundredths.
CREATE FUNCTION bench.ended_ms() RETURNS double precision LANGUAGE sql
RETURN (SELECT 10 * (s.field[14]::double precision + s.field[15]::double precision)
        FROM string_to_array(
            split_part(pg_read_file('/proc/' || split_part(pg_read_file('postmaster.pid'), E'\n', 1) || '/stat'), ') ',
                       2), ' ') AS s (field));
CREATE FUNCTION bench.uniform(seed bigint, salt integer) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ((hashint8extended(seed, salt) & 9007199254740991)::double precision + 0.5) / 9007199254740992;
CREATE FUNCTION bench.normal(seed bigint, salt integer) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN sqrt(-2 * ln(bench.uniform(seed, salt))) * cos(6.283185307179586 * bench.uniform(seed, salt + 1));

CREATE UNLOGGED TABLE bench.turns AS
SELECT 'agent-' || lpad((c.conversation % 60)::text, 2, '0') AS agent_id,
       timestamptz '2026-08-01 00:00:00+00'
           + (c.started * interval '90 days')
           + (n.turn * interval '40 seconds') * (0.5 + bench.uniform(i, 3)) AS occurred_at,
       'conversation-' || c.conversation AS conversation_id,
       'user-' || c.conversation % 200000 AS user_id,
       round(exp(6.7 + 0.6 * bench.normal(i, 5) + CASE WHEN bench.uniform(i, 7) < 0.02 THEN 1.5
                                                       ELSE 0 END)) AS latency_ms,
       (200 + 1800 * bench.uniform(i, 8))::bigint AS token_usage_input,
       (20 + 400 * bench.uniform(i, 9))::bigint AS token_usage_output,
       round((0.0005 + 0.01 * bench.uniform(i, 10))::numeric, 6) AS cost_usd,
       CASE WHEN n.turn = 5 AND bench.uniform(i, 11) < 0.95 THEN
           CASE WHEN bench.uniform(i, 12) < 0.9 THEN 'resolved' ELSE 'failure' END END AS outcome_label,
       CASE WHEN bench.uniform(i, 13) < 0.3 THEN '["lookup_order"]'::jsonb END AS tools_called,
       n.turn::integer AS turn_index
FROM generate_series(0::bigint, :rows - 1) AS i
CROSS JOIN LATERAL (SELECT i / 6 AS conversation, bench.uniform(i / 6, 1) AS started) c
CROSS JOIN LATERAL (SELECT i % 6 AS turn) n
ORDER BY occurred_at;
ANALYZE bench.turns;
