-- One round of benches/refresh.sql. Variable: round. Each change is new in each round; its own cost is not measured.
SELECT bench.cpu_ms() AS begun \gset
REFRESH MATERIALIZED VIEW bench.hourly;
INSERT INTO bench.results SELECT 'matview', bench.cpu_ms() - :begun;

INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, user_id, latency_ms, token_usage_input,
    token_usage_output, cost_usd, outcome_label, tools_called, turn_index)
SELECT agent_id, timestamptz '2026-10-30 06:00:00+00' + :round * interval '3 hours' + n * interval '0.78 seconds',
       'tail-' || :round || '-' || conversation_id, user_id, latency_ms, token_usage_input, token_usage_output,
       cost_usd, outcome_label, tools_called, turn_index
FROM (SELECT t.*, row_number() OVER (ORDER BY occurred_at) AS n
      FROM bench.turns t WHERE right(conversation_id, -13)::bigint BETWEEN :round * 2000 AND :round * 2000 + 1666) t;
SELECT bench.cpu_ms() AS begun \gset
SELECT count(*) FROM agent_metrics.refresh() \g /dev/null
INSERT INTO bench.results SELECT 'R1', bench.cpu_ms() - :begun;

INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, user_id, latency_ms, token_usage_input,
    token_usage_output, cost_usd, tools_called, turn_index)
SELECT agent_id, occurred_at + interval '1 second', conversation_id, user_id, latency_ms, token_usage_input,
       token_usage_output, cost_usd, tools_called, 6
FROM (SELECT * FROM bench.turns WHERE occurred_at > '2026-09-30' AND outcome_label = 'resolved'
      ORDER BY hashtextextended(conversation_id, :round) LIMIT 1000) t;
SELECT bench.cpu_ms() AS begun \gset
SELECT count(*) FROM agent_metrics.refresh() \g /dev/null
INSERT INTO bench.results SELECT 'R2', bench.cpu_ms() - :begun;

UPDATE agent_metrics.agent_events e SET outcome_label = 'failure'
FROM (SELECT * FROM bench.turns WHERE occurred_at > '2026-09-30' AND outcome_label = 'resolved'
      ORDER BY hashtextextended(conversation_id, :round + 100) LIMIT 1000) t
WHERE e.agent_id = t.agent_id AND e.occurred_at = t.occurred_at AND e.conversation_id = t.conversation_id;
SELECT bench.cpu_ms() AS begun \gset
SELECT count(*) FROM agent_metrics.refresh() \g /dev/null
INSERT INTO bench.results SELECT 'R3', bench.cpu_ms() - :begun;

SELECT bench.cpu_ms() AS begun \gset
SELECT count(*) FROM agent_metrics.refresh() \g /dev/null
INSERT INTO bench.results SELECT 'R4', bench.cpu_ms() - :begun;
