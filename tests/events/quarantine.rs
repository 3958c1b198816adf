//! What cannot be ingested: kept with its reason, refused whole, or too large; who may deliver.

use crate::events::ingest::{SECOND, TEN, conversation, ingest, otlp, shop, span};
use crate::support::asserts::{assert_refused, assert_sqlstate};

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
        chat(
            "c",
            &[
                agent,
                conversation,
                ("gen_ai.usage.input_tokens", "5"),
                ("gen_ai.usage.cache_read.input_tokens", "9"),
            ],
        ),
        chat(
            "d",
            &[
                agent,
                conversation,
                ("gen_ai.usage.input_tokens", "\"many\""),
            ],
        ),
        chat("e", &[agent, conversation]).replace("startTimeUnixNano", "start"),
        chat("f", &[agent, conversation]).replace(&format!("\"{}\"", TEN + SECOND), "\"1\""),
        chat("", &[agent, conversation]),
        span("g", "", 0, &[("gen_ai.tool.name", "\"x\"")]).replace("\"trace\"", "\"other\""),
        chat("h", &[agent, conversation]).replace(
            "\"attributes\"",
            "\"events\": [{\"name\": \"gen_ai.evaluation.result\"}, \
             {\"name\": \"other\"}], \"attributes\"",
        ),
    ];
    // too long for an index, and not to be compressed
    let long: String = db
        .value("SELECT string_agg(md5(n::text), '') FROM generate_series(1, 1000) AS n")
        .unwrap();
    let pieces = [
        otlp(&spans),
        r#"{"resourceSpans": 7}"#.to_owned(),
        r#"{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"eventName": "gen_ai.evaluation.result"},
            {"body": "x"}]}]}]}"#
        .to_owned(),
        "5".to_owned(),
        r#"{"agent_id": "bot", "occurred_at": "2026-03-01T10:00:00Z", "conversation_id": "z",
            "lantency_ms": 5}"#
        .to_owned(),
        r#"{"agent_id": "bot", "occurred_at": "soon", "conversation_id": "z"}"#.to_owned(),
        r#"{"agent_id": "bot", "occurred_at": "2026-03-01T10:00:00Z", "conversation_id": "z",
            "latency_ms": -5}"#
        .to_owned(),
        r#"{"agent_id": "bot", "occurred_at": "2026-03-01T10:00:00Z", "conversation_id": "z",
            "cost_usd": 1e13}"#
        .to_owned(),
        r#"{"agent_id": "bot", "conversation_id": "z"}"#.to_owned(),
        format!(
            r#"{{"agent_id": "bot", "occurred_at": "2026-03-01T10:00:00Z", "conversation_id": "{}"}}"#,
            long
        ),
    ];
    let delivery = format!("[{}]", pieces.join(", "));
    assert_eq!(ingest(&db, &delivery), "2|0|11", "five wait");
    let reasons = "SELECT reason FROM agent_metrics.quarantined_events ORDER BY 1";
    assert_eq!(
        db.lines(
            "SELECT missing FROM agent_kpi.incomplete_traces
             UNION ALL SELECT waiting_turns::text FROM agent_metrics_internal.traces WHERE missing IS NOT NULL"
        )
        .len(),
        2
    );
    assert_eq!(
        db.lines(reasons),
        [
            "a span without traceId or spanId",
            "an evaluation without a name",
            "an evaluation without a name",
            "conversation_id cannot be 32000 bytes long",
            "cost_usd of a turn cannot be 10000000000000",
            "invalid input syntax for type timestamp with time zone: \"soon\"",
            "latency_ms of a turn cannot be -5",
            "no occurred_at",
            "not an object",
            "resourceSpans is no list",
            "unknown key \"lantency_ms\"",
        ]
    );
    assert_eq!(ingest(&db, &delivery), "0|2|11", "kept once");
    assert_eq!(
        db.lines("SELECT count(*) FROM agent_metrics.quarantined_events"),
        ["11"]
    );
    assert_eq!(
        db.lines(
            "SELECT agent_id, events FROM agent_kpi.quarantine
             WHERE reason IN ('not an object', 'no occurred_at', 'an evaluation without a name')
             ORDER BY reason"
        ),
        ["|2", "bot|1", "|1"]
    );
    // nothing is mended: all of it comes back, and what is mended is stored
    let state = "SELECT quarantine_id, md5(payload::text), md5(event::text)
                 FROM agent_metrics.quarantined_events ORDER BY 1";
    let before = db.lines(state);
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.retry_quarantined()"),
        ["0|0|11|5"]
    );
    assert_eq!(db.lines(state), before);
    db.exec(
        "UPDATE agent_metrics.quarantined_events
         SET event = event || '{\"conversation_id\": \"mended\", \"latency_ms\": 1000}'
                           || '{\"occurred_at\": \"2026-03-01T10:00:00Z\"}'
         WHERE reason = 'no occurred_at'",
    );
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.retry_quarantined('no occurred%')"),
        ["1|0|0|5"]
    );
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.retry_quarantined()"),
        ["0|0|10|5"]
    );
    assert_eq!(
        db.lines(
            "SELECT agent_id, latency_ms
             FROM agent_metrics.agent_events WHERE conversation_id = 'mended'"
        ),
        ["bot|1000"]
    );
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.retry_quarantined('nothing like it')"),
        ["0|0|0|5"]
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
        assert_sqlstate(&writer, sql, "42501");
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
            "jsonb_build_array(jsonb_build_object('agent_id', 'bot', 'occurred_at', now(),
                                                  'conversation_id', 'c'), repeat('x', 68000000))",
            "54000",
        ),
        (
            "(SELECT jsonb_build_object('agent_id', repeat('x', 300000000)))",
            "54000",
        ),
    ] {
        assert_sqlstate(
            &db,
            &format!("SELECT agent_metrics.ingest_events({argument})"),
            sqlstate,
        );
    }
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.ingest_events(NULL)"),
        ["0|0|0|0"]
    );
    assert_eq!(
        db.lines(
            "SELECT (SELECT count(*) FROM agent_metrics.agent_events),
                    (SELECT count(*) FROM agent_metrics.quarantined_events)"
        ),
        ["0|0"]
    );
}

/// A delivery of one span with a prompt of so many bytes, in SQL.
fn prompt(bytes: u64) -> String {
    format!(
        "(jsonb_build_object('resourceSpans', jsonb_build_array(jsonb_build_object(
             'scopeSpans', jsonb_build_array(jsonb_build_object('spans', jsonb_build_array(
                 jsonb_build_object('traceId', 'trace', 'spanId', 'huge', 'startTimeUnixNano', '{TEN}',
                                    'attributes', jsonb_build_array(
                                        '{{\"key\": \"gen_ai.operation.name\", '
                                        '\"value\": {{\"stringValue\": \"chat\"}}}}'::jsonb,
                                        '{{\"key\": \"gen_ai.agent.id\", '
                                        '\"value\": {{\"stringValue\": \"bot\"}}}}'::jsonb,
                                        '{{\"key\": \"gen_ai.conversation.id\", '
                                        '\"value\": {{\"stringValue\": \"c\"}}}}'::jsonb,
                                        jsonb_build_object(
                                            'key', 'gen_ai.prompt',
                                            'value', jsonb_build_object('stringValue', repeat('x', {bytes}))))))))))))"
    )
}

#[test]
fn a_span_of_a_gigabyte_changes_nothing() {
    let db = shop("ingest_gigabyte");
    let refused = |sql: &str, names: &str| assert_refused(&db, sql, "54000", names);
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
    // a resource is said for each span, and read once
    db.exec(
        "SELECT agent_metrics.ingest_events(jsonb_build_object(
             'resourceSpans', jsonb_build_array(jsonb_build_object(
                 'resource', jsonb_build_object('attributes', jsonb_build_array(jsonb_build_object(
                                 'key', 'x', 'value', jsonb_build_object(
                                                          'stringValue', repeat('x', 1000000))))),
                 'scopeSpans',
                 jsonb_build_array(jsonb_build_object(
                     'spans', (SELECT jsonb_agg(jsonb_build_object('traceId', 't', 'spanId', n))
                               FROM generate_series(1, 300) AS n)))))))",
    );
    assert!(db.number("SELECT pg_total_relation_size('agent_metrics_internal.spans')") < 1e6);
    assert_eq!(
        db.lines(
            "SELECT (SELECT count(*) FROM agent_metrics.agent_events),
                    (SELECT count(*) FROM agent_metrics.quarantined_events),
                    (SELECT count(*) FROM agent_metrics_internal.changes)"
        ),
        ["0|0|0"]
    );
    // a prompt of a megabyte is a span like any other
    assert_eq!(db.lines(&ingest(&prompt(1_000_000))), ["1|0|0|0"]);
}
