-- The workload as turns of 60 registered agents, with their rollups built. Variables: rows.
\echo loading :rows turns
INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, user_id, latency_ms, token_usage_input,
    token_usage_output, cost_usd, outcome_label, tools_called, turn_index)
SELECT agent_id, occurred_at, conversation_id, user_id, latency_ms, token_usage_input, token_usage_output, cost_usd,
       outcome_label, tools_called, turn_index FROM bench.turns;
SELECT count(agent_metrics.register_agent(
    'agent-' || lpad(i::text, 2, '0'), (ARRAY['support', 'sales', 'ops'])[1 + i % 3], 'Owner'))
FROM generate_series(0, 59) AS i \g /dev/null
VACUUM ANALYZE;
\echo building the rollups
SELECT bench.cpu_ms() AS begun \gset
SELECT count(*) FROM agent_metrics.refresh() \g /dev/null
SELECT round(:rows / ((bench.cpu_ms() - :begun) / 1000)) AS built_per_second \gset
\echo first build: :built_per_second turns a second
VACUUM ANALYZE;
