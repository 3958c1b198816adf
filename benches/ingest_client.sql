-- What a client of benches/ingest.sql does, by pgbench; the search_path says into which table.
\set agent random(0, 59)
\set conversation random(1, 1000000000)
\set latency random(1, 5000)
INSERT INTO agent_events (agent_id, occurred_at, conversation_id, user_id, latency_ms, token_usage_input,
                          token_usage_output, cost_usd, turn_index)
VALUES ('agent-' || :agent::text, now(), 'conversation-' || :conversation::text, 'user-' || :conversation::text,
        :latency::integer, 1200, 200, 0.004, 1);
