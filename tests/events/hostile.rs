//! What a caller sends is bounded in time, depth and length, wherever it enters; and readers see nothing of it.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::events::ingest::{SECOND, TEN, conversation, ingest, otlp, shop, span};
use crate::support::asserts::{assert_no_rows, assert_sqlstate};
use crate::support::{Db, Session};

/// A document of so many levels.
fn nested(levels: usize) -> String {
    "[".repeat(levels) + &"]".repeat(levels)
}

/// One trace: its spans beside each other or each below the one before it, turns and tools by turns.
fn trace(spans: usize, is_chain: bool) -> String {
    let mut list = String::new();
    for n in 0..spans {
        let parent = if is_chain { n.wrapping_sub(1) } else { 0 };
        let kind = if n % 2 == 0 { "chat" } else { "execute_tool" };
        write!(
            list,
            r#"{}{{"traceId": "t{spans}", "spanId": "{n}", "parentSpanId": "{parent}", "startTimeUnixNano": "{}",
                "endTimeUnixNano": "{}",
                "attributes": [{{"key": "gen_ai.operation.name", "value": {{"stringValue": "{kind}"}}}},
                               {{"key": "gen_ai.agent.id", "value": {{"stringValue": "bot"}}}},
                               {{"key": "gen_ai.conversation.id", "value": {{"stringValue": "c"}}}},
                               {{"key": "gen_ai.response.id", "value": {{"stringValue": "same"}}}}]}}"#,
            if n == 0 { "" } else { "," },
            TEN + n as u64 * SECOND,
            TEN + (n as u64 + 1) * SECOND,
        )
        .unwrap();
    }
    format!(r#"{{"resourceSpans": [{{"scopeSpans": [{{"spans": [{list}]}}]}}]}}"#)
}

/// The least of three times that a delivery takes, in milliseconds of the backend's own, since a machine may have other
/// work; nothing of it stays.
fn least(db: &Session, delivery: &str) -> f64 {
    let spent =
        "SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::double precision / 1e6";
    (0..3)
        .map(|_| {
            db.exec("BEGIN");
            let begun = db.number(spent);
            ingest(db, delivery);
            let taken = db.number(spent) - begun;
            db.exec("ROLLBACK");
            taken
        })
        .fold(f64::INFINITY, f64::min)
}

#[test]
fn four_times_the_events_take_about_four_times_the_time() {
    let db = shop("hostile_square");
    let bad = |count: usize| {
        let events: Vec<String> = (0..count)
            .map(|n| {
                format!(
                    r#"{{"agent_id": "bot", "occurred_at": "2026-03-01T10:00:00Z",
                        "conversation_id": "c-{n}", "latency_ms": {}}}"#,
                    if n % 2 == 0 { -5 } else { 5 }
                )
            })
            .collect();
        format!("[{}]", events.join(","))
    };
    let judged = |count: usize| {
        let events: Vec<String> = (0..count)
            .map(|n| format!(r#"{{"evaluation": "e{n}", "score": 1, "response_id": "same"}}"#))
            .collect();
        format!("[{}, {}]", trace(count, false), events.join(","))
    };
    let star = |count: usize| trace(count, false);
    let chain = |count: usize| trace(count, true);
    let lists = |count: usize| {
        let list = vec![r#"{"scopeSpans": [{"spans": []}]}"#; count];
        format!(r#"{{"resourceSpans": [{}]}}"#, list.join(","))
    };
    type Make<'a> = &'a dyn Fn(usize) -> String;
    let kinds: [(&str, usize, Make); 5] = [
        ("star", 500, &star),
        ("chain", 500, &chain),
        ("bad", 500, &bad),
        ("judged", 500, &judged),
        ("lists", 20_000, &lists),
    ];
    for (name, count, delivery) in kinds {
        let (few, many) = (
            least(&db, &delivery(count)),
            least(&db, &delivery(4 * count)),
        );
        assert!(
            many < 8.0 * few,
            "{name}: {count} in {few} ms, four times as many in {many} ms"
        );
    }
}

#[test]
fn a_delivery_stops_when_its_time_is_over() {
    let db = shop("hostile_timeout");
    let delivery = trace(20_000, true);
    db.exec("SET statement_timeout = '300ms'");
    let begun = Instant::now();
    assert_sqlstate(
        &db,
        &format!("SELECT agent_metrics.ingest_events($json${delivery}$json$)"),
        "57014",
    );
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn every_second_event_is_refused_and_every_other_stored() {
    let db = shop("hostile_halves");
    // casts, constraints, bounds of length and of time
    let event = |n: usize| match n % 10 {
        1 => r#""occurred_at": "soon""#.to_owned(),
        3 => r#""occurred_at": "2026-03-01T10:00:00Z", "latency_ms": -5"#.to_owned(),
        5 => format!(
            r#""occurred_at": "2026-03-01T10:00:00Z", "model": "{}""#,
            "m".repeat(257)
        ),
        7 => r#""occurred_at": "20000-03-01T10:00:00Z""#.to_owned(),
        9 => format!(
            r#""occurred_at": "2026-03-01T10:00:00Z", "tools_called": {}"#,
            nested(65)
        ),
        _ => r#""occurred_at": "2026-03-01T10:00:00Z""#.to_owned(),
    };
    let events: Vec<String> = (0..1000)
        .map(|n| {
            format!(
                r#"{{"agent_id": "bot", "conversation_id": "c-{n}", {}}}"#,
                event(n)
            )
        })
        .collect();
    let delivery = format!("[{}]", events.join(","));
    assert_eq!(ingest(&db, &delivery), "500|0|500");
    assert_eq!(
        db.lines(
            "SELECT count(*), count(*) FILTER (WHERE substr(conversation_id, 3)::integer % 2 = 0)
             FROM agent_metrics.agent_events"
        ),
        ["500|500"]
    );
    assert_eq!(
        db.lines("SELECT reason, events FROM agent_kpi.quarantine ORDER BY reason"),
        [
            "a text is no timestamp|100",
            "latency_ms cannot be what it is|100",
            "model is too long|100",
            "occurred_at is out of time|100",
            "too many levels of JSON|100",
        ]
    );
    assert_eq!(ingest(&db, &delivery), "0|500|500");
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.retry_quarantined('model is too long')"),
        ["0|0|100|0"]
    );
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.retry_quarantined()"),
        ["0|0|500|0"]
    );
}

#[test]
fn what_is_too_deep_is_kept_as_its_beginning_and_the_rest_is_stored() {
    let db = shop("hostile_depth");
    let mut spans = conversation();
    spans.push(
        span("deep", "agent", 4, &[("gen_ai.operation.name", "\"chat\"")]).replace(
            "\"attributes\": [",
            &format!(
                "\"attributes\": [{{\"key\": \"x\", \"value\": {{\"arrayValue\": \
                 {{\"values\": {}}}}}}}, ",
                nested(3000)
            ),
        ),
    );
    let own = |levels: usize| {
        format!(
            r#"{{"agent_id": "bot", "occurred_at": "2026-03-01T10:00:00Z", "conversation_id": "d", "prompt": {}}}"#,
            nested(levels)
        )
    };
    let log = format!(
        r#"{{"resourceLogs": [{{"scopeLogs": [{{"logRecords": [{{"body": {}}}]}}]}}]}}"#,
        nested(500)
    );
    let resource = format!(
        r#"{{"resourceSpans": [{{"resource": {{"attributes": {}}},
            "scopeSpans": [{{"spans": [{{"traceId": "r", "spanId": "1"}}]}}]}}]}}"#,
        nested(500)
    );
    let delivery = format!(
        "[{}, {}, {}, {log}, {resource}, {}]",
        otlp(&spans),
        own(62),
        own(64),
        nested(13_000)
    );
    assert_eq!(
        ingest(&db, &delivery),
        "3|0|3",
        "a deep attribute is none that anything is known of"
    );
    assert_eq!(
        db.lines(
            "SELECT reason, payload ->> 'too_deep', (payload ->> 'bytes')::integer > 100, payload::text LIKE '%[[[%'
             FROM agent_metrics.quarantined_events ORDER BY reason COLLATE \"C\""
        ),
        [
            "more than 64 levels of JSON|true|t|f",
            "not an object|true|t|f",
            "unknown key \"prompt\"|||f",
        ]
    );
    assert_eq!(ingest(&db, &delivery), "0|3|3");
    assert_eq!(ingest(&db, &own(12_999)), "0|0|1", "alone");
    let before = db.lines("SELECT * FROM agent_metrics.quarantined_events ORDER BY quarantine_id");
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.retry_quarantined('too many levels%')"),
        ["0|0|2|0"]
    );
    assert_eq!(
        db.lines(
            "SELECT quarantine_id FROM agent_metrics.quarantined_events ORDER BY quarantine_id"
        )
        .len(),
        before.len()
    );
    assert_eq!(
        db.number(
            "SELECT max(greatest(agent_metrics_internal.json_depth(payload),
                                 agent_metrics_internal.json_depth(event)))
             FROM agent_metrics.quarantined_events"
        ),
        1.0
    );
}

#[test]
fn no_door_takes_a_document_that_is_too_deep_or_a_key_that_is_too_long() {
    let db = shop("hostile_doors");
    let deep = format!("'{}'::jsonb", nested(65));
    let long = "(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 100) AS n)";
    for (sqlstate, insert) in [
        (
            "54000",
            format!(
                "quarantined_events (quarantine_id, payload, reason) VALUES ('x', {deep}, 'x')"
            ),
        ),
        (
            "54000",
            format!(
                "quarantined_events (quarantine_id, payload, event, reason) VALUES ('x', '5', {deep}, 'x')"
            ),
        ),
        (
            "54000",
            format!(
                "business_events (business_event_id, kind, detail) VALUES ('x', 'charge', {deep})"
            ),
        ),
        (
            "54000",
            format!(
                "infrastructure_costs (period_start, period_end, amount_usd, detail)
                 VALUES ('2026-01-01', '2026-01-02', 5, {deep})"
            ),
        ),
        (
            "54000",
            format!(
                "billing_lines (provider, period_start, period_end, amount_usd, detail)
                 VALUES ('x', '2026-01-01', '2026-01-02', 5, {deep})"
            ),
        ),
        (
            "54000",
            format!(
                "alerts (agent_id, kind, dedupe_key, payload) VALUES ('bot', 'drift', 'x', {deep})"
            ),
        ),
        (
            "54000",
            format!(
                "decisions (agent_id, quarter, decision, decided_by, reason, snapshot)
                 VALUES ('bot', '2026-01-01', 'keep', 'x', 'x', {deep})"
            ),
        ),
        (
            "54000",
            format!("attached_tables (source, columns, mode, relation, relation_kind,
                                      relation_owner, column_types)
                     VALUES ('x', {deep}, 'trigger', 1, 'r', 'x', '{{}}')"),
        ),
        (
            "22001",
            format!(
                "quarantined_events (quarantine_id, payload, reason) VALUES ({long}, '5', 'x')"
            ),
        ),
        (
            "22001",
            "quarantined_events (quarantine_id, payload, reason) VALUES ('x', '5', repeat('x', 5000))".to_owned(),
        ),
        (
            "22001",
            format!(
                "span_keys (span_key, agent_id, occurred_at, event_id, conversation_id, response_id)
                 VALUES (md5('')::uuid, 'a', now(), md5('')::uuid, 'c', {long})"
            ),
        ),
        (
            "22001",
            format!(
                "alerts (agent_id, kind, dedupe_key, payload) VALUES ('bot', 'drift', {long}, '5')"
            ),
        ),
        (
            "22001",
            format!(
                "alerts (agent_id, alert_id, kind, dedupe_key, payload) VALUES ('bot', {long}, 'drift', 'x', '5')"
            ),
        ),
    ] {
        let error = assert_sqlstate(&db, &format!("INSERT INTO {}", crate::support::full(&insert)), sqlstate);
        assert!(!error.hint.is_empty(), "{error}");
    }
    // each column that holds a document is bounded by the trigger of its table or by a constraint
    assert_no_rows(
        &db,
        "SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
         WHERE c.relnamespace IN ('agent_metrics'::regnamespace, 'agent_metrics_internal'::regnamespace)
           AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.atttypid = 'jsonb'::regtype
           AND NOT EXISTS (SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
                           WHERE t.tgrelid = c.oid AND p.proname IN ('check_row', 'check_turn'))
           AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c'
                           AND pg_get_constraintdef(k.oid) LIKE '%check_json(' || a.attname || '%')",
    );
    for import in ["anthropic_costs", "openai_costs", "focus"] {
        assert_sqlstate(
            &db,
            &format!("SELECT agent_metrics.import_{import}('{}')", nested(13_000)),
            "54000",
        );
    }
}

#[test]
fn evaluations_that_are_too_long_or_out_of_time_are_kept_apart() {
    let db = shop("hostile_evaluations");
    assert_eq!(ingest(&db, &otlp(&conversation())), "2|0|0");
    let event_id = db
        .value("SELECT event_id FROM agent_metrics.agent_events ORDER BY occurred_at LIMIT 1")
        .unwrap();
    let said = |more: &str| format!(r#"{{"event_id": "{event_id}", "score": 1, {more}}}"#);
    let delivery = [
        said(r#""evaluation": "good""#),
        said(&format!(r#""evaluation": "{}""#, "ü".repeat(150))),
        said(&format!(
            r#""evaluation": "a", "judged_by": "{}""#,
            "j".repeat(1025)
        )),
        said(r#""evaluation": "b", "judged_at": "20000-01-01T00:00:00Z""#),
        said(r#""evaluation": "c", "judged_at": "4000-01-01 00:00:00+00 BC""#),
    ];
    assert_eq!(ingest(&db, &format!("[{}]", delivery.join(","))), "1|0|4");
    assert_eq!(
        db.lines("SELECT criterion FROM agent_metrics.turn_scores"),
        ["good"]
    );
}

/// Everything that somebody may read of what was refused.
fn seen(db: &Db) -> String {
    db.lines("SELECT q::text FROM agent_kpi.quarantine q")
        .join("\n")
}

#[test]
fn a_reader_sees_no_value_of_what_was_refused() {
    let db = shop("hostile_reader");
    let delivery = [
        r#"{"agent_id": "bot", "occurred_at": "secret", "conversation_id": "c"}"#,
        r#"{"agent_id": "bot", "occurred_at": "2026-03-01T10:00:00Z", "conversation_id": "c",
            "token_usage_input": "secret"}"#,
        r#"{"agent_id": "bot", "occurred_at": "2026-03-01T10:00:00Z", "conversation_id": "c",
            "outcome_source": "secret"}"#,
        r#"{"agent_id": "bot", "occurred_at": "2026-03-01T10:00:00Z", "conversation_id": "c", "event_id": "secret"}"#,
        r#"{"agent_id": "secret", "occurred_at": "2026-03-01T10:00:00Z"}"#,
        r#"{"agent_id": "bot", "secret": 1}"#,
        r#"{"evaluation": "secret", "score": 1}"#,
        r#"{"evaluation": "secret", "event_id": "7f0b2c1e-0000-4000-8000-000000000001", "label": "secret"}"#,
        r#"{"evaluation": "secret", "event_id": "7f0b2c1e-0000-4000-8000-000000000001", "score": "secret"}"#,
        r#"{"evaluation": "x", "event_id": "7f0b2c1e-0000-4000-8000-000000000001", "error": "secret"}"#,
    ];
    assert_eq!(ingest(&db, &format!("[{}]", delivery.join(","))), "0|0|10");
    db.exec(
        "INSERT INTO agent_metrics.quarantined_events (quarantine_id, payload, event, reason)
         VALUES ('x', '5', '{\"agent_id\": \"secret\"}', 'secret'),
             ('y', '5', NULL, 'agent_id secret'), ('z', '5', NULL, 'unknown key \"secret')",
    );
    let seen = seen(&db);
    assert!(!seen.contains("secret"), "{seen}");
    assert!(
        db.number(
            "SELECT count(*) FROM agent_metrics.quarantined_events WHERE reason LIKE '%secret%'"
        ) > 5.0
    );
    // what a reader is told is what a retry takes
    let classes = db.lines("SELECT DISTINCT reason FROM agent_kpi.quarantine");
    assert!(classes.len() > 6, "{classes:?}");
    let mut tried = 0.0;
    for class in classes {
        tried += db.number(&format!(
            "SELECT quarantined FROM agent_metrics.retry_quarantined($${class}$$)"
        ));
    }
    assert!(tried >= 10.0, "{tried}");
}
