//! Tables of LiteLLM and Langfuse that are loaded into this warehouse, attached by their presets.

use crate::support::asserts::assert_no_rows;
use crate::support::{Db, db};

/// Turns as they came in.
fn turns(db: &Db) -> Vec<String> {
    db.lines(
        "SELECT agent_id, conversation_id, user_id, occurred_at, model, token_usage_input, token_usage_output,
                token_usage_cache_read, cost_usd
         FROM agent_metrics.agent_events ORDER BY occurred_at, event_id",
    )
}

#[test]
fn litellms_log_of_spending_is_followed() {
    let db = db("presets_litellm");
    // as LiteLLM makes it, messages included
    db.exec(
        r#"CREATE SCHEMA litellm;
           CREATE TABLE litellm."LiteLLM_SpendLogs" (
               request_id text PRIMARY KEY, call_type text NOT NULL, api_key text NOT NULL DEFAULT '',
               spend double precision NOT NULL DEFAULT 0, total_tokens integer NOT NULL DEFAULT 0,
               prompt_tokens integer NOT NULL DEFAULT 0, completion_tokens integer NOT NULL DEFAULT 0,
               "startTime" timestamp(3) NOT NULL, "endTime" timestamp(3) NOT NULL, "completionStartTime" timestamp(3),
               model text NOT NULL DEFAULT '', model_id text, model_group text, custom_llm_provider text, api_base text,
               "user" text, metadata jsonb DEFAULT '{}', cache_hit text, cache_key text, request_tags jsonb,
               team_id text, end_user text, requester_ip_address text, messages jsonb, response jsonb,
               session_id text, status text, mcp_namespaced_tool_name text, agent_id text);
           INSERT INTO litellm."LiteLLM_SpendLogs" (request_id, call_type, spend, total_tokens, prompt_tokens,
               completion_tokens, "startTime", "endTime", model, custom_llm_provider, "user", session_id, metadata,
               messages)
           VALUES ('chatcmpl-1', 'acompletion', 0.0028, 1100, 1000, 100, '2026-01-05 10:00:00',
                   '2026-01-05 10:00:01', 'gpt-x', 'openai', 'u-1', 'c-1', '{"user_api_key_alias": "support-bot"}',
                   '[{"role": "user", "content": "a secret of mine"}]'),
                  ('embed-1', 'aembedding', 0.0001, 10, 10, 0, '2026-01-05 10:00:00', '2026-01-05 10:00:01', 'embed',
                   'openai', 'u-1', 'c-1', '{"user_api_key_alias": "support-bot"}', NULL)"#,
    );
    let attach = r#"SELECT * FROM agent_metrics.attach_turns('litellm."LiteLLM_SpendLogs"', preset => 'litellm')"#;
    assert_eq!(
        db.lines(attach),
        ["litellm.\"LiteLLM_SpendLogs\"|compare|1|0|0|"]
    );
    assert_eq!(
        turns(&db),
        ["support-bot|c-1|u-1|2026-01-05 10:00:00+00|gpt-x|1000|100||0.0028"]
    );
    // what the table says later is what is, a smaller figure too
    db.exec(
        r#"UPDATE litellm."LiteLLM_SpendLogs" SET spend = 0.0011, completion_tokens = 50, total_tokens = 1050
           WHERE request_id = 'chatcmpl-1';
           INSERT INTO litellm."LiteLLM_SpendLogs" (request_id, call_type, spend, total_tokens, prompt_tokens,
               completion_tokens, "startTime", "endTime", model, custom_llm_provider, session_id, agent_id)
           VALUES ('chatcmpl-2', 'acompletion', 0.5, 30, 20, 10, '2026-01-05 11:00:00', '2026-01-05 11:00:01',
                   'gpt-x', 'openai', 'c-2', 'sales-bot');
           SELECT * FROM agent_metrics.sync_turns()"#,
    );
    assert_eq!(
        turns(&db),
        [
            "support-bot|c-1|u-1|2026-01-05 10:00:00+00|gpt-x|1000|50||0.0011",
            "sales-bot|c-2||2026-01-05 11:00:00+00|gpt-x|20|10||0.5"
        ]
    );
    // what LiteLLM deletes by its age stays in the books
    db.exec(
        r#"DELETE FROM litellm."LiteLLM_SpendLogs";
           SELECT * FROM agent_metrics.sync_turns('litellm."LiteLLM_SpendLogs"')"#,
    );
    assert_eq!(turns(&db).len(), 2);
    assert_no_rows(
        &db,
        "SELECT * FROM agent_metrics_internal.spans WHERE facts LIKE '%secret%'
         UNION ALL SELECT s.* FROM agent_metrics_internal.spans s, agent_metrics.quarantined_events q
         WHERE q.payload::text LIKE '%secret%'",
    );
    assert_eq!(
        db.number(
            r#"SELECT agent_metrics.detach_turns('litellm."LiteLLM_SpendLogs"', keep_turns => false)"#
        ),
        2.0
    );
    assert_eq!(turns(&db), [""; 0]);
}

#[test]
fn langfuses_observations_traces_and_scores_belong_together() {
    let db = db("presets_langfuse");
    // as its scheduled exports have them, loaded by COPY: times are text in one, moments in another
    db.exec(
        r#"CREATE SCHEMA langfuse;
           CREATE TABLE langfuse.observations (
               id text PRIMARY KEY, trace_id text, type text, parent_observation_id text, start_time timestamp,
               end_time timestamp, name text, level text, environment text, provided_model_name text, input text,
               output text, usage_details text, cost_details jsonb, total_cost numeric, prompt_version integer,
               updated_at timestamptz);
           CREATE TABLE langfuse.traces (
               id text PRIMARY KEY, "timestamp" text, name text, environment text, session_id text, user_id text,
               release text, public boolean, bookmarked boolean, input text);
           CREATE TABLE langfuse.scores (
               id text PRIMARY KEY, "timestamp" timestamptz, trace_id text, observation_id text, name text,
               value double precision, data_type text, string_value text, source text, comment text);
           INSERT INTO langfuse.observations VALUES
               ('o-1', 't-1', 'SPAN', NULL, '2026-01-05 10:00:00', '2026-01-05 10:00:03', 'handle', 'DEFAULT',
                'production', NULL, 'a secret of mine', NULL, '{}', '{}', NULL, NULL, '2026-01-05 10:01'),
               ('o-2', 't-1', 'GENERATION', 'o-1', '2026-01-05 10:00:01', '2026-01-05 10:00:02', 'answer', 'DEFAULT',
                'production', 'gpt-x', 'a secret of mine', 'another secret',
                '{"input": 100, "output": 10, "total": 110}', '{"total": 0.001}', 0.001, 3, '2026-01-05 10:01');
           INSERT INTO langfuse.traces VALUES
               ('t-1', '2026-01-05 10:00:00.000000', 'support-bot', 'production', 'c-1', 'u-1', 'v7', false, false,
                'a secret of mine');
           INSERT INTO langfuse.scores VALUES
               ('s-1', '2026-01-05 11:00', 't-1', 'o-2', 'tone', 0.5, 'NUMERIC', NULL, 'EVAL', 'a secret')"#,
    );
    let attach = |table: &str| {
        db.lines(&format!(
            "SELECT * FROM agent_metrics.attach_turns('langfuse.{table}', preset => 'langfuse_{table}')"
        ))
    };
    // the conversation is with the trace
    assert_eq!(
        attach("observations"),
        ["langfuse.observations|compare|0|0|0|"]
    );
    assert_eq!(
        db.lines("SELECT turns FROM agent_kpi.incomplete_traces"),
        ["1"]
    );
    assert_eq!(attach("traces"), ["langfuse.traces|compare|1|0|0|"]);
    assert_eq!(attach("scores"), ["langfuse.scores|compare|1|0|0|"]);
    assert_eq!(
        turns(&db),
        ["support-bot|c-1|u-1|2026-01-05 10:00:01+00|gpt-x|100|10||0.001"]
    );
    let scores = || {
        db.lines(
            "SELECT conversation_id, criterion, score, scored_by FROM agent_metrics.turn_scores",
        )
    };
    assert_eq!(scores(), ["c-1|tone|0.5|eval"]);
    // later: another user of the trace, another score, a cost that was corrected
    db.exec(
        r#"UPDATE langfuse.traces SET user_id = 'u-2';
           UPDATE langfuse.scores SET value = 1, "timestamp" = '2026-01-05 12:00';
           UPDATE langfuse.observations SET cost_details = '{"total": 0.0005}', total_cost = 0.0005,
                                            updated_at = '2026-01-05 12:00' WHERE id = 'o-2';
           SELECT * FROM agent_metrics.sync_turns()"#,
    );
    assert_eq!(
        turns(&db),
        ["support-bot|c-1|u-2|2026-01-05 10:00:01+00|gpt-x|100|10||0.0005"]
    );
    assert_eq!(scores(), ["c-1|tone|1|eval"]);
    assert_no_rows(
        &db,
        "SELECT * FROM agent_metrics_internal.spans WHERE facts LIKE '%secret%'",
    );
    assert_no_rows(&db, "SELECT * FROM agent_metrics.quarantined_events");
    assert_eq!(
        db.error("SELECT agent_metrics.detach_turns('langfuse.traces', keep_turns => false)")
            .sqlstate,
        "55006"
    );
}
