//! ingest_events: turns in their own form, as OpenTelemetry, OpenInference and Langfuse spans; once each, whatever comes.

use std::fmt::Write as _;
use std::thread;

use crate::books::{assert_books, refresh};
use crate::harness::{Db, Session, db};

/// Nanoseconds since 1970 of 2026-03-01 10:00 UTC.
pub const TEN: u64 = 1_772_359_200_000_000_000;
pub const SECOND: u64 = 1_000_000_000;

pub fn shop(name: &str) -> Db {
    let db = db(name);
    db.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'Head of Support');
         INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million) VALUES
             ('anthropic', 'large', 'input', 3), ('anthropic', 'large', 'cache_read', 0.30),
             ('anthropic', 'large', 'cache_write', 3.75), ('anthropic', 'large', 'output', 15)",
    );
    db
}

/// What ingest_events() says: stored|repeated|quarantined.
pub fn ingest(session: &Session, json: &str) -> String {
    session
        .lines(&format!(
            "SELECT * FROM agent_metrics.ingest_events($json${json}$json$)"
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
        r#"{{"traceId": "trace", "spanId": "{id}", "parentSpanId": "{parent}", "name": "{id}", "startTimeUnixNano": "{begins}",
            "endTimeUnixNano": "{}", "attributes": [{pairs}]}}"#,
        begins + SECOND
    )
}

pub fn otlp(spans: &[String]) -> String {
    format!(
        r#"{{"resourceSpans": [{{"resource": {{"attributes": [{{"key": "service.name", "value": {{"stringValue": "shop"}}}}]}},
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

const TURNS: &str = "SELECT agent_id, conversation_id, user_id, to_char(occurred_at AT TIME ZONE 'UTC', 'HH24:MI:SS'), latency_ms, provider, model,
    token_usage_input, token_usage_output, token_usage_cache_read, token_usage_cache_write, cost_usd, tools_called, error
    FROM agent_metrics.agent_events ORDER BY occurred_at, event_id";

#[test]
fn a_trace_becomes_a_turn_for_each_leaf_call_of_a_model() {
    let db = shop("ingest_trace");
    assert_eq!(ingest(&db, &otlp(&conversation())), "2|0|0");
    let turns = [
        r#"bot|c-1|u-1|10:00:01|1000|anthropic|large|11000|500|8000|2000|0.0204|[{"ok": false, "name": "refund"}, {"ok": true, "name": "lookup_order"}]|"#,
        "bot|c-1|u-1|10:00:03|1000|anthropic|large|1000|100|||0.0045||overloaded",
    ];
    assert_eq!(db.lines(TURNS), turns);
    assert_eq!(
        ingest(&db, &format!("[{}]", otlp(&conversation()))),
        "0|2|0"
    );
    refresh(&db);
    assert_books(&db);
    assert_eq!(
        db.lines("SELECT numerator, denominator FROM agent_kpi.kpi_daily WHERE metric = 'tokens_per_turn' AND day = '2026-03-01'"),
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
    assert_eq!(ingest(&db, &otlp(&wrapped)), "0|0|0", "neither is a leaf");
    wrapped[0] = wrapped[0].replace("\"parentSpanId\": \"inner\"", "\"parentSpanId\": \"\"");
    assert_eq!(ingest(&db, &otlp(&wrapped)), "1|0|0");
    assert_eq!(db.lines("SELECT agent_id, token_usage_input FROM agent_metrics.agent_events WHERE conversation_id = 'c-2'"), ["bot|7"]);
}

#[test]
fn openinference_langfuse_and_older_names_are_understood() {
    let db = shop("ingest_names");
    let usage = r#""{\"input\": 1000, \"output\": 500, \"input_cached_tokens\": 8000, \"input_cache_creation_5m\": 1500, \"input_cache_creation_1h\": 500}""#;
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
        db.lines("SELECT agent_id, conversation_id, user_id, model, prompt_version, token_usage_input, token_usage_output, token_usage_cache_read,
                         token_usage_cache_write, cost_usd, cost_usd = computed_cost_usd FROM agent_metrics.agent_events ORDER BY conversation_id"),
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
            .map(|n| format!(r#"{{"agent_id": "bot", "occurred_at": "2026-03-01T11:{n:02}:00Z", "conversation_id": "own-{n}", "latency_ms": {n}}}"#))
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
        db.lines("SELECT md5(string_agg(e::text, '|' ORDER BY e::text)), count(*) FROM agent_metrics.agent_events e UNION ALL SELECT md5(string_agg(q::text, '|')), count(*) FROM agent_metrics.quarantined_events q")
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
    db.exec("DELETE FROM agent_metrics.agent_events; DELETE FROM agent_metrics.quarantined_events");
    thread::scope(|scope| {
        for (session, n) in sessions.iter().zip(0..) {
            let events = &events;
            scope.spawn(move || ingest(session, &events(n)));
        }
    });
    assert_eq!(
        db.lines("SELECT count(*), count(DISTINCT event_id) FROM agent_metrics.agent_events UNION ALL SELECT count(*), 1 FROM agent_metrics.quarantined_events"),
        ["42|42", "1|1"]
    );
    refresh(&db);
    assert_books(&db);
}

#[test]
fn what_cannot_be_stored_is_kept_with_its_reason_and_can_be_tried_again() {
    let db = shop("ingest_quarantine");
    let chat = |id: &str, more: &[(&str, &str)]| {
        let mut attributes = vec![("gen_ai.operation.name", "\"chat\"")];
        attributes.extend_from_slice(more);
        span(id, "", 0, &attributes)
    };
    let (agent, conversation) = (
        ("gen_ai.agent.id", "\"bot\""),
        ("gen_ai.conversation.id", "\"c\""),
    );
    let spans = [
        chat("a", &[agent]),
        chat("b", &[conversation]),
        chat("c", &[agent, conversation, ("gen_ai.usage.input_tokens", "5"), ("gen_ai.usage.cache_read.input_tokens", "9")]),
        chat("d", &[agent, conversation, ("gen_ai.usage.input_tokens", "\"many\"")]),
        chat("e", &[agent, conversation]).replace("startTimeUnixNano", "start"),
        chat("f", &[agent, conversation]).replace(&format!("\"{}\"", TEN + SECOND), "\"1\""),
        chat("", &[agent, conversation]),
        span("g", "", 0, &[("gen_ai.tool.name", "\"x\"")]).replace("\"trace\"", "\"other\""),
        chat("h", &[agent, conversation]).replace("\"attributes\"", "\"events\": [{\"name\": \"gen_ai.evaluation.result\"}, {\"name\": \"other\"}], \"attributes\""),
    ];
    // too long for an index, and not to be compressed
    let long: String = db
        .value("SELECT string_agg(md5(n::text), '') FROM generate_series(1, 1000) AS n")
        .unwrap();
    let pieces = [
        otlp(&spans),
        r#"{"resourceSpans": 7}"#.to_owned(),
        r#"{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"eventName": "gen_ai.evaluation.result"}, {"body": "x"}]}]}]}"#.to_owned(),
        "5".to_owned(),
        r#"{"agent_id": "bot", "occurred_at": "2026-03-01T10:00:00Z", "conversation_id": "z", "lantency_ms": 5}"#.to_owned(),
        r#"{"agent_id": "bot", "occurred_at": "soon", "conversation_id": "z"}"#.to_owned(),
        r#"{"agent_id": "bot", "occurred_at": "2026-03-01T10:00:00Z", "conversation_id": "z", "latency_ms": -5}"#.to_owned(),
        r#"{"agent_id": "bot", "occurred_at": "2026-03-01T10:00:00Z", "conversation_id": "z", "cost_usd": 1e13}"#.to_owned(),
        r#"{"agent_id": "bot", "conversation_id": "z"}"#.to_owned(),
        format!(r#"{{"agent_id": "bot", "occurred_at": "2026-03-01T10:00:00Z", "conversation_id": "{}"}}"#, long),
    ];
    let delivery = format!("[{}]", pieces.join(", "));
    assert_eq!(ingest(&db, &delivery), "1|0|19");
    let reasons = "SELECT regexp_replace(reason, '^(index row).*', '\\1') FROM agent_metrics.quarantined_events ORDER BY 1";
    assert_eq!(
        db.lines(reasons),
        [
            "a log record is no turn",
            "a span without traceId or spanId",
            "a tool call whose turn did not come with it",
            "an evaluation without a name",
            "an evaluation without a name",
            "cost_usd of a turn cannot be 10000000000000",
            "index row",
            "input of tokens is \"many\", no whole number",
            "invalid input syntax for type timestamp with time zone: \"soon\"",
            "latency_ms of a turn cannot be -5",
            "more cached tokens than input tokens: input 5, cache read 9, cache write 0",
            "no agent_id",
            "no conversation_id",
            "no moment: startTimeUnixNano is missing",
            "no occurred_at",
            "not an object",
            "resourceSpans is no list",
            "the span ends before it begins",
            "unknown key \"lantency_ms\"",
        ]
    );
    assert_eq!(ingest(&db, &delivery), "0|1|19", "kept once");
    assert_eq!(
        db.lines("SELECT count(*) FROM agent_metrics.quarantined_events"),
        ["19"]
    );
    assert_eq!(
        db.lines("SELECT agent_id, events FROM agent_kpi.quarantine WHERE reason IN ('not an object', 'no conversation_id', 'an evaluation without a name') ORDER BY reason"),
        ["|2", "bot|1", "|1"]
    );
    // nothing is mended: all of it comes back, and what is mended is stored
    let state = "SELECT quarantine_id, md5(payload::text), md5(event::text) FROM agent_metrics.quarantined_events ORDER BY 1";
    let before = db.lines(state);
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.retry_quarantined()"),
        ["0|0|19"]
    );
    assert_eq!(db.lines(state), before);
    db.exec("UPDATE agent_metrics.quarantined_events SET event = event || '{\"conversation_id\": \"mended\"}' WHERE reason IN ('no conversation_id', 'no occurred_at')");
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.retry_quarantined('no conversation%')"),
        ["1|0|0"]
    );
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.retry_quarantined()"),
        ["0|0|18"]
    );
    assert_eq!(db.lines("SELECT agent_id, latency_ms FROM agent_metrics.agent_events WHERE conversation_id = 'mended'"), ["bot|1000"]);
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.retry_quarantined('nothing like it')"),
        ["0|0|0"]
    );
}

#[test]
fn a_writer_may_deliver_and_see_no_number() {
    let db = shop("ingest_writer");
    let role = format!("{}_writer", db.name());
    db.exec(&format!(
        "CREATE ROLE {role}; SELECT agent_metrics.grant_access('{role}', 'writer')"
    ));
    let writer = db.session();
    writer.exec(&format!("SET ROLE {role}"));
    assert_eq!(
        ingest(&writer, &format!("[{}, 5]", otlp(&conversation()))),
        "2|0|1"
    );
    assert_eq!(ingest(&writer, &otlp(&conversation())), "0|2|0");
    for sql in [
        "SELECT agent_metrics.retry_quarantined()",
        "SELECT agent_metrics.price_events()",
        "SELECT agent_metrics.import_focus('[]')",
        "UPDATE agent_metrics.token_prices SET usd_per_million = 0",
        "DELETE FROM agent_metrics.quarantined_events",
    ] {
        assert_eq!(writer.error(sql).sqlstate, "42501", "{sql}");
    }
    drop(writer);
    db.exec(&format!(
        "SELECT agent_metrics.revoke_access('{role}'); DROP ROLE {role}"
    ));
}

#[test]
fn a_delivery_that_is_none_changes_nothing() {
    let db = shop("ingest_refused");
    for (argument, sqlstate) in [
        ("'5'", "22023"),
        ("'\"text\"'", "22023"),
        ("'null'", "22023"),
        ("'{\"agent_id\": '", "22P02"),
        ("'[{\"agent_id\": \"\\u0000\"}]'", "22P05"),
        (
            "jsonb_build_array(jsonb_build_object('agent_id', 'bot', 'occurred_at', now(), 'conversation_id', 'c'), repeat('x', 68000000))",
            "54000",
        ),
        (
            "(SELECT jsonb_build_object('agent_id', repeat('x', 300000000)))",
            "54000",
        ),
    ] {
        let error = db.error(&format!("SELECT agent_metrics.ingest_events({argument})"));
        assert_eq!(error.sqlstate, sqlstate, "{error}");
    }
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.ingest_events(NULL)"),
        ["0|0|0"]
    );
    assert_eq!(
        db.lines("SELECT (SELECT count(*) FROM agent_metrics.agent_events), (SELECT count(*) FROM agent_metrics.quarantined_events)"),
        ["0|0"]
    );
}

/// A delivery of one span with a prompt of so many bytes, in SQL.
fn prompt(bytes: u64) -> String {
    format!(
        "(jsonb_build_object('resourceSpans', jsonb_build_array(jsonb_build_object('scopeSpans', jsonb_build_array(jsonb_build_object('spans', jsonb_build_array(
             jsonb_build_object('traceId', 'trace', 'spanId', 'huge', 'startTimeUnixNano', '{TEN}', 'attributes', jsonb_build_array(
                 '{{\"key\": \"gen_ai.operation.name\", \"value\": {{\"stringValue\": \"chat\"}}}}'::jsonb,
                 '{{\"key\": \"gen_ai.agent.id\", \"value\": {{\"stringValue\": \"bot\"}}}}'::jsonb,
                 '{{\"key\": \"gen_ai.conversation.id\", \"value\": {{\"stringValue\": \"c\"}}}}'::jsonb,
                 jsonb_build_object('key', 'gen_ai.prompt', 'value', jsonb_build_object('stringValue', repeat('x', {bytes}))))))))))))"
    )
}

#[test]
fn a_span_of_a_gigabyte_changes_nothing() {
    let db = shop("ingest_gigabyte");
    let refused = |sql: &str, names: &str| {
        let error = db.error(sql);
        assert_eq!(error.sqlstate, "54000", "{error}");
        assert!(error.message.contains(names), "{error}");
        error
    };
    let limit: u64 = 268_435_455;
    let ingest = |delivery: &str| format!("SELECT * FROM agent_metrics.ingest_events({delivery})");
    // what the server refuses: a text of a gigabyte, a string beyond jsonb's, strings that are too much together
    refused(&ingest(&prompt(1 << 30)), "requested length too large");
    refused(&ingest(&prompt(limit + 1)), "string too long");
    refused(&ingest(&prompt(limit)), "exceeds the maximum");
    // and what we do: as large as the server takes, just too large, and too large once it is unpacked
    for (delivery, size) in [
        (prompt(limit - 4096), "255 MB"),
        (prompt(16 * 1024 * 1024), "16 MB"),
    ] {
        let error = refused(&ingest(&delivery), &format!("a delivery of {size}"));
        assert!(
            error.detail.contains("16 MB at most") && error.hint.contains("leave prompts"),
            "{error}"
        );
    }
    db.exec(&format!(
        "CREATE TABLE spool AS SELECT {} AS delivery",
        prompt(20_000_000)
    ));
    assert!(db.number("SELECT pg_column_size(delivery) FROM spool") < 1e6);
    refused(
        "SELECT agent_metrics.ingest_events(delivery) FROM spool",
        "a delivery of 19 MB",
    );
    // a resource is said again for each span
    refused(
        "SELECT agent_metrics.ingest_events(jsonb_build_object('resourceSpans', jsonb_build_array(jsonb_build_object(
             'resource', jsonb_build_object('attributes', jsonb_build_array(jsonb_build_object('key', 'x', 'value', jsonb_build_object('stringValue', repeat('x', 1000000))))),
             'scopeSpans', jsonb_build_array(jsonb_build_object('spans', (SELECT jsonb_agg(jsonb_build_object('traceId', 't', 'spanId', n)) FROM generate_series(1, 300) AS n)))))))",
        "286 MB over its spans",
    );
    assert_eq!(
        db.lines("SELECT (SELECT count(*) FROM agent_metrics.agent_events), (SELECT count(*) FROM agent_metrics.quarantined_events), (SELECT count(*) FROM agent_metrics.changes)"),
        ["0|0|0"]
    );
    // a prompt of a megabyte is a span like any other
    assert_eq!(db.lines(&ingest(&prompt(1_000_000))), ["1|0|0"]);
}
