//! ingest_events: turns in their own form, as OpenTelemetry, OpenInference and Langfuse spans; once each, whatever
//! comes. What is refused or kept apart is in quarantine.rs.

use std::fmt::Write as _;
use std::thread;

use crate::support::rollups::{assert_rollups, refresh};
use crate::support::{Db, Session, db, login};

/// Nanoseconds since 1970 of 2026-03-01 10:00 UTC.
pub const TEN: u64 = 1_772_359_200_000_000_000;
pub const SECOND: u64 = 1_000_000_000;

pub fn shop(name: &str) -> Db {
    let db = db(name);
    db.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'Head of Support');
         INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million) VALUES
             ('anthropic', 'large', 'input', 3), ('anthropic', 'large', 'cache_read', 0.30),
             ('anthropic', 'large', 'cache_write', 3.75), ('anthropic', 'large', 'output', 15),
             ('anthropic', 'large', 'cache_write_1h', 3.75)",
    );
    db
}

/// What ingest_events() says: stored|repeated|quarantined.
pub fn ingest(session: &Session, json: &str) -> String {
    session
        .lines(&format!(
            "SELECT stored, repeated, quarantined FROM agent_metrics.ingest_events($json${json}$json$)"
        ))
        .remove(0)
}

/// A span that lasts a second, from `at` seconds after ten. A value in quotes is text, any other a number.
pub fn span(id: &str, parent: &str, at: u64, attributes: &[(&str, &str)]) -> String {
    let (mut pairs, begins) = (String::new(), TEN + at * SECOND);
    for (key, value) in attributes {
        let kind = if value.starts_with('"') {
            "stringValue"
        } else {
            "intValue"
        };
        let comma = if pairs.is_empty() { "" } else { ", " };
        write!(
            pairs,
            r#"{comma}{{"key": "{key}", "value": {{"{kind}": {value}}}}}"#
        )
        .unwrap();
    }
    format!(
        r#"{{"traceId": "trace", "spanId": "{id}", "parentSpanId": "{parent}", "name": "{id}",
            "startTimeUnixNano": "{begins}",
            "endTimeUnixNano": "{}", "attributes": [{pairs}]}}"#,
        begins + SECOND
    )
}

pub fn otlp(spans: &[String]) -> String {
    format!(
        r#"{{"resourceSpans": [{{"resource": {{"attributes": [{{"key": "service.name",
            "value": {{"stringValue": "shop"}}}}]}},
            "scopeSpans": [{{"scope": {{"name": "test"}}, "spans": [{}]}}]}}]}}"#,
        spans.join(", ")
    )
}

/// An agent that calls a model twice and a tool in between; the agent's own span repeats the tokens.
pub fn conversation() -> Vec<String> {
    vec![
        span(
            "agent",
            "",
            0,
            &[
                ("gen_ai.operation.name", "\"invoke_agent\""),
                ("gen_ai.agent.name", "\"bot\""),
                ("gen_ai.conversation.id", "\"c-1\""),
                ("enduser.id", "\"u-1\""),
                ("gen_ai.usage.input_tokens", "12000"),
                ("gen_ai.usage.output_tokens", "600"),
            ],
        ),
        span(
            "first",
            "agent",
            1,
            &[
                ("gen_ai.operation.name", "\"chat\""),
                ("gen_ai.provider.name", "\"anthropic\""),
                ("gen_ai.request.model", "\"alias\""),
                ("gen_ai.response.model", "\"large\""),
                ("gen_ai.usage.input_tokens", "\"11000\""),
                ("gen_ai.usage.output_tokens", "500"),
                ("gen_ai.usage.cache_read.input_tokens", "8000"),
                ("gen_ai.usage.cache_creation.input_tokens", "2000"),
            ],
        ),
        span(
            "lookup",
            "agent",
            2,
            &[
                ("gen_ai.operation.name", "\"execute_tool\""),
                ("gen_ai.tool.name", "\"lookup_order\""),
            ],
        ),
        span(
            "refund",
            "first",
            1,
            &[
                ("gen_ai.operation.name", "\"execute_tool\""),
                ("gen_ai.tool.name", "\"refund\""),
                ("error.type", "\"timeout\""),
            ],
        ),
        span(
            "second",
            "agent",
            3,
            &[
                ("gen_ai.operation.name", "\"chat\""),
                ("gen_ai.system", "\"anthropic\""),
                ("gen_ai.response.model", "\"large\""),
                ("gen_ai.usage.prompt_tokens", "1000"),
                ("gen_ai.usage.completion_tokens", "100"),
                ("error.type", "\"overloaded\""),
            ],
        ),
        span("query", "lookup", 2, &[("db.system", "\"postgresql\"")]),
    ]
}

const TURNS: &str = "SELECT agent_id, conversation_id, user_id,
                     to_char(occurred_at AT TIME ZONE 'UTC', 'HH24:MI:SS'), latency_ms, provider,
                     model, token_usage_input, token_usage_output, token_usage_cache_read,
                     token_usage_cache_write, cost_usd, tools_called, error
                     FROM agent_metrics.agent_events ORDER BY occurred_at, event_id";

#[test]
fn a_trace_becomes_a_turn_for_each_leaf_call_of_a_model() {
    let db = shop("ingest_trace");
    assert_eq!(ingest(&db, &otlp(&conversation())), "2|0|0");
    let turns = [
        concat!(
            "bot|c-1|u-1|10:00:01|1000|anthropic|large|11000|500|8000|2000|0.0204|",
            r#"[{"ok": false, "name": "refund"}, {"ok": true, "name": "lookup_order"}]|"#
        ),
        "bot|c-1|u-1|10:00:03|1000|anthropic|large|1000|100|||0.0045||overloaded",
    ];
    assert_eq!(db.lines(TURNS), turns);
    assert_eq!(
        ingest(&db, &format!("[{}]", otlp(&conversation()))),
        "0|2|0"
    );
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(
        db.lines(
            "SELECT numerator, denominator
             FROM agent_kpi.kpi_daily WHERE metric = 'tokens_per_turn' AND day = '2026-03-01'"
        ),
        ["12600|2"]
    );
    // an inference span above another repeats its tokens; a loop of parents ends
    let mut wrapped = vec![
        span(
            "outer",
            "inner",
            10,
            &[
                ("gen_ai.operation.name", "\"chat\""),
                ("gen_ai.agent.id", "\"bot\""),
                ("gen_ai.conversation.id", "\"c-2\""),
                ("gen_ai.usage.input_tokens", "7"),
            ],
        ),
        span(
            "inner",
            "outer",
            11,
            &[
                ("gen_ai.operation.name", "\"chat\""),
                ("gen_ai.usage.input_tokens", "7"),
            ],
        ),
    ];
    assert_eq!(
        ingest(&db, &otlp(&wrapped)),
        "1|0|0",
        "each stands by itself, and one has a name"
    );
    wrapped[0] = wrapped[0].replace("\"parentSpanId\": \"inner\"", "\"parentSpanId\": \"\"");
    let other = otlp(&wrapped)
        .replace("\"trace\"", "\"other trace\"")
        .replace("\"c-2\"", "\"c-3\"");
    assert_eq!(ingest(&db, &other), "1|0|0");
    assert_eq!(
        db.lines(
            "SELECT agent_id, token_usage_input
             FROM agent_metrics.agent_events WHERE conversation_id = 'c-3'"
        ),
        ["bot|7"]
    );
}

#[test]
fn openinference_langfuse_and_older_names_are_understood() {
    let db = shop("ingest_names");
    let usage = concat!(
        r#""{\"input\": 1000, \"output\": 500, \"input_cached_tokens\": 8000, "#,
        r#"\"input_cache_creation_5m\": 1500, \"input_cache_creation_1h\": 500}""#
    );
    let spans = [
        span(
            "oi",
            "",
            0,
            &[
                ("openinference.span.kind", "\"LLM\""),
                ("agent.name", "\"bot\""),
                ("session.id", "\"s-1\""),
                ("llm.model_name", "\"large\""),
                ("llm.token_count.prompt", "11000"),
                ("llm.token_count.completion", "500"),
                ("llm.token_count.prompt_details.cache_read", "8000"),
                ("llm.token_count.prompt_details.cache_write", "2000"),
                ("llm.cost.total", "\"0.02\""),
            ],
        ),
        span(
            "lf",
            "",
            1,
            &[
                ("langfuse.observation.type", "\"generation\""),
                ("traceloop.workflow.name", "\"bot\""),
                ("langfuse.session.id", "\"s-2\""),
                ("langfuse.user.id", "\"u\""),
                ("langfuse.observation.model.name", "\"large\""),
                ("langfuse.observation.usage_details", usage),
                ("langfuse.observation.prompt.version", "3"),
            ],
        ),
        span(
            "lf2",
            "",
            2,
            &[
                ("langfuse.observation.type", "\"generation\""),
                ("agent.name", "\"bot\""),
                ("session.id", "\"s-3\""),
                ("langfuse.observation.model.name", "\"large\""),
                ("langfuse.observation.usage_details.input", "10"),
                ("langfuse.observation.usage_details.output", "5"),
                (
                    "langfuse.observation.cost_details",
                    r#""{\"total\": 0.25}""#,
                ),
            ],
        ),
        span(
            "old",
            "",
            3,
            &[
                ("llm.request.type", "\"chat\""),
                ("traceloop.entity.name", "\"bot\""),
                ("session.id", "\"s-4\""),
                ("gen_ai.request.model", "\"large\""),
                ("gen_ai.usage.prompt_tokens", "11000"),
                ("gen_ai.usage.completion_tokens", "500"),
                ("gen_ai.usage.cache_read_input_tokens", "8000"),
                ("gen_ai.usage.cache_creation_input_tokens", "2000"),
            ],
        ),
        span(
            "chain",
            "",
            4,
            &[
                ("openinference.span.kind", "\"CHAIN\""),
                ("llm.model_name", "\"large\""),
            ],
        ),
        span(
            "embed",
            "",
            4,
            &[
                ("gen_ai.operation.name", "\"embeddings\""),
                ("gen_ai.request.model", "\"small\""),
            ],
        ),
    ];
    assert_eq!(ingest(&db, &otlp(&spans)), "4|0|0");
    assert_eq!(
        db.lines(
            "SELECT agent_id, conversation_id, user_id, model, prompt_version, token_usage_input,
                    token_usage_output, token_usage_cache_read, token_usage_cache_write, cost_usd,
                    cost_usd = computed_cost_usd
             FROM agent_metrics.agent_events ORDER BY conversation_id"
        ),
        [
            "bot|s-1||large||11000|500|8000|2000|0.02|",
            "bot|s-2|u|large|3|11000|500|8000|2000|0.0204|t",
            "bot|s-3||large||10|5|||0.25|",
            "bot|s-4||large||11000|500|8000|2000|0.0204|t",
        ]
    );
}

#[test]
fn the_same_batch_in_any_order_and_in_parallel_is_the_same_rows_as_once() {
    let db = shop("ingest_again");
    let events = |order: u64| {
        let mut events: Vec<String> = (0..40_u64)
            .map(|n| {
                format!(
                    r#"{{"agent_id": "bot", "occurred_at": "2026-03-01T11:{n:02}:00Z",
                        "conversation_id": "own-{n}", "latency_ms": {n}}}"#
                )
            })
            .collect();
        events.push(otlp(&conversation()));
        events.push(r#"{"agent_id": "bot"}"#.to_owned());
        events.sort_by_key(|event| {
            (event.len() as u64 + event.bytes().map(u64::from).sum::<u64>() * (order + 7)) % 41
        });
        format!("[{}]", events.join(","))
    };
    assert_eq!(ingest(&db, &events(0)), "42|0|1");
    let state = |db: &Db| {
        db.lines(
            "SELECT md5(string_agg(e::text, '|' ORDER BY e::text)), count(*)
             FROM agent_metrics.agent_events e
             UNION ALL SELECT md5(string_agg(q::text, '|')), count(*)
                       FROM agent_metrics.quarantined_events q",
        )
    };
    let once = state(&db);
    let sessions: Vec<Session> = (0..4).map(|_| db.session()).collect();
    thread::scope(|scope| {
        for (session, worker) in sessions.iter().zip(0..) {
            let events = &events;
            scope.spawn(move || {
                for n in 0..25 {
                    assert_eq!(ingest(session, &events(worker * 25 + n)), "0|42|1");
                }
            });
        }
    });
    assert_eq!(state(&db), once);
    // and from nothing, all at once
    db.exec(
        "DELETE FROM agent_metrics.agent_events; DELETE FROM agent_metrics.quarantined_events;
         DELETE FROM agent_metrics_internal.span_keys; DELETE FROM agent_metrics_internal.spans;
         DELETE FROM agent_metrics_internal.traces",
    );
    thread::scope(|scope| {
        for (session, n) in sessions.iter().zip(0..) {
            let events = &events;
            scope.spawn(move || ingest(session, &events(n)));
        }
    });
    assert_eq!(
        db.lines(
            "SELECT count(*), count(DISTINCT event_id) FROM agent_metrics.agent_events
             UNION ALL SELECT count(*), 1 FROM agent_metrics.quarantined_events"
        ),
        ["42|42", "1|1"]
    );
    refresh(&db);
    assert_rollups(&db);
}

#[test]
fn a_writer_stages_a_file_as_the_documents_say() {
    let db = shop("setup_staging");
    let (name, writer) = login(&db, "writer");
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{name}', 'writer')"
    ));
    let page = include_str!("../../docs/ingest.md");
    let blocks: Vec<&str> = page
        .split("```sql\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .filter(|block| block.contains("staging") || block.contains("answers"))
        .collect();
    assert_eq!(blocks.len(), 3);
    for block in &blocks {
        writer.exec(block);
    }
    // loaded again, each counts once
    let (_, insert) = blocks[1].split_once(";   -- as").unwrap();
    let (_, insert) = insert.split_once('\n').unwrap();
    writer.exec(insert);
    assert_eq!(
        db.lines(
            "SELECT occurred_at AT TIME ZONE 'UTC', conversation_id, latency_ms, cost_usd, outcome_label,
                    token_usage_input
             FROM agent_metrics.agent_events WHERE agent_id = 'chat-bot' ORDER BY 1, 2"
        ),
        [
            "2026-03-01 08:00:00|T-1|1400|0.0051||",
            "2026-03-01 08:01:00|T-1|900|0.0032|resolved|",
            "2026-03-01 09:00:00|c-4||||1200"
        ]
    );
    db.exec(&format!("DROP OWNED BY {name}; DROP ROLE {name}"));
}
