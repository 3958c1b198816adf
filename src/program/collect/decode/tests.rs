use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Status, span};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::measures::spans::delivery::Mapper;
use crate::measures::spans::vocabulary::Vocabulary;

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(any(value)),
        ..KeyValue::default()
    }
}

fn text(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

fn traces(spans: Vec<Span>) -> Vec<u8> {
    let part = ResourceSpans {
        resource: Some(Resource {
            attributes: vec![attribute("service.name", text("api"))],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            spans,
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![part],
    }
    .encode_to_vec()
}

fn read(delivery: &Delivery) -> Json {
    serde_json::from_str(&delivery.document).unwrap_or_else(|error| panic!("{error}: {delivery:?}"))
}

#[test]
fn a_span_is_as_otlp_writes_it_in_json() {
    let span = Span {
        trace_id: (1..=16).collect(),
        span_id: (0xf1..=0xf8).collect(),
        name: "chat \"x\"\\\n\0".to_owned(),
        kind: 3,
        start_time_unix_nano: u64::MAX,
        end_time_unix_nano: 1,
        attributes: vec![
            attribute("n", Value::IntValue(i64::MIN)),
            attribute("d", Value::DoubleValue(0.1)),
            attribute("e", Value::DoubleValue(1e300)),
            attribute("i", Value::DoubleValue(f64::INFINITY)),
            attribute("b", Value::BoolValue(true)),
            attribute("bytes", Value::BytesValue(vec![1])),
            attribute(
                "l",
                Value::ArrayValue(ArrayValue {
                    values: vec![any(text("a")), AnyValue { value: None }],
                }),
            ),
            attribute(
                "k",
                Value::KvlistValue(KeyValueList {
                    values: vec![
                        attribute("gen_ai.prompt", text("hi")),
                        attribute("x", text("y")),
                    ],
                }),
            ),
        ],
        events: vec![span::Event {
            time_unix_nano: 5,
            name: "gen_ai.evaluation.result".to_owned(),
            ..span::Event::default()
        }],
        status: Some(Status {
            code: 2,
            message: "no".to_owned(),
        }),
        ..Span::default()
    };
    let delivery = decode(Signal::Traces, Form::Protobuf, &traces(vec![span])).unwrap();
    assert_eq!((delivery.pieces, delivery.rejected), (1, 0));
    let document = read(&delivery);
    assert_eq!(
        document["resourceSpans"][0]["scopeSpans"][0]["spans"][0],
        json!({
            "traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "f1f2f3f4f5f6f7f8",
            "name": "chat \"x\"\\\n\u{fffd}", "kind": 3,
            "startTimeUnixNano": "18446744073709551615", "endTimeUnixNano": "1",
            "attributes": [
                {"key": "n", "value": {"intValue": "-9223372036854775808"}},
                {"key": "d", "value": {"doubleValue": 0.1}},
                {"key": "e", "value": {"doubleValue": 1e300}},
                {"key": "i", "value": {"doubleValue": "inf"}},
                {"key": "b", "value": {"boolValue": true}},
                {"key": "l", "value": {"arrayValue": {"values": [{"stringValue": "a"}, null]}}},
                {"key": "k", "value": {"kvlistValue": {"values": [
                    {"key": "x", "value": {"stringValue": "y"}}]}}}],
            "events": [{"name": "gen_ai.evaluation.result", "timeUnixNano": "5", "attributes": []}],
            "status": {"code": 2, "message": "no"}
        })
    );
    assert_eq!(
        document["resourceSpans"][0]["resource"],
        json!({"attributes": [{"key": "service.name", "value": {"stringValue": "api"}}]})
    );
}

#[test]
fn what_was_said_stays_outside_in_either_form() {
    let secret = "my secret";
    let long = "secret ".repeat(1000);
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![1; 8],
        name: "chat".to_owned(),
        attributes: vec![
            attribute("gen_ai.input.messages", text(secret)),
            attribute("gen_ai.prompt.0.content", text(secret)),
            attribute("something", text(&long)),
            attribute("gen_ai.operation.name", text("chat")),
        ],
        status: Some(Status {
            code: 2,
            message: long.clone(),
        }),
        ..Span::default()
    };
    let delivery = decode(Signal::Traces, Form::Protobuf, &traces(vec![span])).unwrap();
    assert!(!delivery.document.contains("secret") && delivery.document.contains("\"chat\""));
    let body = json!({"resourceSpans": [{"scopeSpans": [{"spans": [{
        "traceId": "01", "spanId": "02", "attributes": [
            {"key": "gen_ai.input.messages", "value": {"stringValue": secret}},
            {"value": {"stringValue": secret}, "key": "gen_ai.prompt.0.content"},
            {"key": "something", "value": {"stringValue": long}},
            {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}]}]}]}]});
    let delivery = decode(Signal::Traces, Form::Json, body.to_string().as_bytes()).unwrap();
    assert!(!delivery.document.contains("secret") && delivery.document.contains("\"chat\""));
    read(&delivery);
}

#[test]
fn of_a_log_record_the_name_of_the_event_is_kept() {
    let record = |body: &str, name: &str| LogRecord {
        body: Some(any(text(body))),
        event_name: name.to_owned(),
        ..LogRecord::default()
    };
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs {
                log_records: vec![
                    record("I am ill", ""),
                    record("claude_code.api_request", ""),
                    record("spoken", "spoken"),
                ],
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    };
    let delivery = decode(Signal::Logs, Form::Protobuf, &request.encode_to_vec()).unwrap();
    assert_eq!(delivery.pieces, 3);
    let records = &read(&delivery)["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
    assert_eq!(records[0].get("body"), None);
    assert_eq!(records[1]["body"]["stringValue"], "claude_code.api_request");
    assert_eq!(records[2]["body"]["stringValue"], "spoken");
}

#[test]
fn spans_without_ids_are_counted_and_handed_on() {
    let spans = vec![
        Span::default(),
        Span {
            trace_id: vec![0; 16],
            span_id: vec![1; 8],
            ..Span::default()
        },
        Span {
            trace_id: vec![1; 16],
            span_id: vec![1; 8],
            ..Span::default()
        },
    ];
    let delivery = decode(Signal::Traces, Form::Protobuf, &traces(spans)).unwrap();
    assert_eq!((delivery.pieces, delivery.rejected), (3, 2));
    for (key, ids) in [
        ("resourceSpans", "scopeSpans"),
        ("resource_spans", "scope_spans"),
        ("resourceSpans", "instrumentationLibrarySpans"),
        ("batches", "scopeSpans"),
    ] {
        let body = json!({key: [{ids: [{"spans": [
            {"traceId": "", "spanId": "01"}, {"trace_id": "02", "span_id": "01"}, {"name": "x"}]}]}]});
        let delivery = decode(Signal::Traces, Form::Json, body.to_string().as_bytes()).unwrap();
        assert_eq!((delivery.pieces, delivery.rejected), (3, 2), "{key}");
    }
}

#[test]
fn what_is_no_request_is_said() {
    for (form, body, words) in [
        (Form::Json, &b"{\"resourceSpans\": {}}"[..], "no OTLP"),
        (Form::Json, b"{\"resourceSpans\": [", "no OTLP"),
        (Form::Json, b"[1]", "no OTLP"),
        (Form::Json, b"{\"a\": \"\xff\"}", "no UTF-8 from byte 7 on"),
        (
            Form::Json,
            b"{\"resourceMetrics\": []}",
            "metrics are not taken",
        ),
        (Form::Protobuf, b"\xff\xff", "no ExportTraceServiceRequest"),
    ] {
        let error = decode(Signal::Traces, form, body).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    for (form, body) in [(Form::Json, &b"{}"[..]), (Form::Protobuf, b"")] {
        let delivery = decode(Signal::Traces, form, body).unwrap();
        assert_eq!((delivery.document.as_str(), delivery.pieces), ("", 0));
    }
    let deep = "[".repeat(100_000);
    assert!(decode(Signal::Traces, Form::Json, deep.as_bytes()).is_err());
}

/// A request with something of everything, whose bytes are then spoilt.
fn whole() -> Vec<u8> {
    let list = Value::ArrayValue(ArrayValue {
        values: vec![
            any(text("a")),
            any(Value::IntValue(-1)),
            any(Value::BoolValue(true)),
        ],
    });
    let pairs = Value::KvlistValue(KeyValueList {
        values: vec![attribute("inner", Value::DoubleValue(f64::NAN))],
    });
    let spans = (0..3)
        .map(|number| Span {
            trace_id: vec![7; 16],
            span_id: vec![number; 8],
            parent_span_id: vec![number + 1; 8],
            name: "chat".to_owned(),
            start_time_unix_nano: 1_767_607_200_000_000_000,
            attributes: vec![
                attribute("gen_ai.usage.input_tokens", Value::IntValue(5)),
                attribute("list", list.clone()),
                attribute("pairs", pairs.clone()),
                attribute("bytes", Value::BytesValue(vec![0, 255])),
            ],
            status: Some(Status {
                message: "no".to_owned(),
                code: 2,
            }),
            ..Span::default()
        })
        .collect();
    traces(spans)
}

proptest! {
    /// Whatever the bytes are, they are refused with words, or become a document of JSON that the mapper takes apart.
    #[test]
    fn garbage_is_refused_or_read(
        changes in proptest::collection::vec((prop::sample::Index::arbitrary(), u8::arbitrary(), 0..3_u8), 0..12),
        noise in proptest::collection::vec(u8::arbitrary(), 0..200),
        is_noise in bool::arbitrary(),
        is_log in bool::arbitrary(),
    ) {
        let mut body = if is_noise { noise } else { whole() };
        for (place, byte, how) in changes {
            if body.is_empty() {
                break;
            }
            let place = place.index(body.len());
            match how {
                0 => body[place] = byte,
                1 => body.insert(place, byte),
                _ => body.truncate(place),
            }
        }
        let signal = if is_log { Signal::Logs } else { Signal::Traces };
        for form in [Form::Protobuf, Form::Json] {
            match decode(signal, form, &body) {
                Err(words) => prop_assert!(!words.is_empty()),
                Ok(delivery) if delivery.document.is_empty() => {}
                Ok(delivery) => {
                    prop_assert!(!delivery.document.contains('\0'));
                    let vocabulary = Vocabulary::parse("");
                    Mapper::new(&vocabulary, &[]).map(read(&delivery), || ());
                }
            }
        }
    }
}
