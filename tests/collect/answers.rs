//! Each answer that the protocol knows, in the sender's form, and what is stored of each way to send.

use std::io::{BufReader, Write};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

use super::{Answer, Collector, JSON, PROTOBUF, TURNS, json, request, traces, turn, word};
use crate::support::db;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn whichever_way_a_span_is_sent_its_turn_is_stored_once() {
    let db = db("collect_ways");
    let collector = Collector::start(db.url());
    let mut stream = BufReader::new(collector.connect());
    let mut number = 0;
    for form in [PROTOBUF, JSON, "application/json; charset=utf-8"] {
        for packing in ["identity", "gzip", "zstd"] {
            let body = if form == PROTOBUF {
                traces(vec![turn(number)])
            } else {
                json(number).into_bytes()
            };
            let body = match packing {
                "gzip" => gzip(&body),
                "zstd" => zstd::encode_all(&body[..], 3).unwrap(),
                _ => body,
            };
            let headers = [("Content-Type", form), ("Content-Encoding", packing)];
            // all on one connection, and each twice
            for _ in 0..2 {
                let request = request("POST", "/v1/traces", &headers, &body);
                stream.get_mut().write_all(&request).unwrap();
                let answer = Answer::read(&mut stream);
                answer.is(200, if form == PROTOBUF { "" } else { "{}" });
                assert!(answer.head.contains(form.split(';').next().unwrap()));
            }
            number += 1;
        }
    }
    assert_eq!(db.value(TURNS).unwrap(), number.to_string());
    assert_eq!(
        db.lines(
            "SELECT DISTINCT e.model, e.token_usage_input, e.token_usage_output, e.latency_ms
             FROM agent_metrics.agent_events e"
        ),
        ["m|10|5|1000"]
    );
    assert_eq!(collector.running.terminate(), Some(0));
}

#[test]
fn what_cannot_be_taken_is_refused_with_a_reason() {
    let db = db("collect_refused");
    let collector = Collector::start(db.url());
    let form = |form| [("Content-Type", form)];
    for (path, headers, body, status, words) in [
        ("/v1/traces", &form(JSON)[..], &b"{"[..], 400, "no OTLP"),
        (
            "/v1/traces",
            &form(JSON),
            b"{\"resourceSpans\": 5}",
            400,
            "no OTLP",
        ),
        (
            "/v1/traces",
            &form(PROTOBUF),
            b"\xff\xff\xff",
            400,
            "no ExportTraceServiceRequest",
        ),
        (
            "/v1/logs",
            &form(PROTOBUF),
            b"\xff\xff\xff",
            400,
            "no ExportLogsServiceRequest",
        ),
        (
            "/v1/metrics",
            &form(JSON),
            b"{}",
            404,
            "metrics are not taken",
        ),
        ("/v1/spans", &form(JSON), b"{}", 404, "/v1/traces"),
        (
            "/v1/traces",
            &form("text/plain"),
            b"{}",
            415,
            "Content-Type",
        ),
        ("/v1/traces", &[], b"{}", 415, "Content-Type"),
        (
            "/v1/traces",
            &[form(JSON)[0], ("Content-Encoding", "br")],
            b"{}",
            415,
            "Content-Encoding",
        ),
        (
            "/v1/traces",
            &[form(JSON)[0], ("Content-Encoding", "gzip")],
            b"{}",
            400,
            "not packed",
        ),
        (
            "/v1/traces",
            &[form(JSON)[0], ("Content-Encoding", "zstd")],
            b"{}",
            400,
            "not packed",
        ),
    ] {
        let answer = collector.post(path, headers, body);
        answer.is(status, words);
        assert!(!answer.head.contains("retry-after"), "{}", answer.head);
    }
    let mut stream = collector.connect();
    stream
        .write_all(b"GET /v1/traces HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    Answer::read(&mut BufReader::new(stream)).is(405, "POST");
    // an error has the body of google.rpc.Status: code 3, and the words
    let refused = collector.post("/v1/traces", &form(PROTOBUF), b"\xff\xff\xff");
    assert!(refused.body.starts_with(&[0x08, 3, 0x12]), "{refused:?}");
    // a bomb: a thousand times as large as it is sent
    let bomb = gzip(&vec![b' '; 64 * 1024 * 1024]);
    let headers = [form(JSON)[0], ("Content-Encoding", "gzip")];
    collector
        .post("/v1/traces", &headers, &bomb)
        .is(413, "16 MB");
    // nothing to store is nothing to refuse
    collector
        .post("/v1/traces", &form(JSON), b"{}")
        .is(200, "{}");
    collector.post("/v1/logs", &form(PROTOBUF), b"").is(200, "");
    assert_eq!(db.value(TURNS).unwrap(), "0");
}

#[test]
fn spans_without_ids_are_told_of_and_the_others_stored() {
    let db = db("collect_partial");
    let collector = Collector::start(db.url());
    let mut lost = turn(1);
    lost.trace_id = Vec::new();
    let answer = collector.send(vec![turn(0), lost]);
    let response = ExportTraceServiceResponse::decode(&answer.is(200, "").body[..]).unwrap();
    let partial = response.partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 1);
    assert!(partial.error_message.contains("traceId"));
    let body = r#"{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "x"}]}]}]}"#;
    collector
        .post("/v1/traces", &[("Content-Type", JSON)], body.as_bytes())
        .is(200, r#""rejectedSpans":"1""#);
    assert_eq!(db.value(TURNS).unwrap(), "1");
}

#[test]
fn nothing_that_was_said_reaches_the_database() {
    let db = db("collect_private");
    let collector = Collector::start(db.url());
    let mut span = turn(0);
    span.attributes
        .push(word("gen_ai.input.messages", "my secret"));
    // without an agent it waits, or is kept apart
    span.attributes
        .retain(|attribute| attribute.key != "gen_ai.agent.name");
    collector.send(vec![span]).is(200, "");
    let log = r#"{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "my secret"},
        "attributes": [{"key": "event.name", "value": {"stringValue": "gen_ai.user.message"}}]}]}]}]}"#;
    collector
        .post("/v1/logs", &[("Content-Type", JSON)], log.as_bytes())
        .is(200, "{}");
    let tables = db.lines(
        "SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname IN ('agent_metrics', 'agent_metrics_internal') AND c.relkind IN ('r', 'p')",
    );
    for table in tables {
        let rows = db.value(&format!(
            "SELECT count(*) FROM {table} t WHERE t::text LIKE '%my secret%'"
        ));
        assert_eq!(rows.unwrap(), "0", "{table}");
    }
}
