//! The door for OTLP and for files: what is sent, what is answered, what is stored.

mod answers;
mod bounds;
mod failures;
mod files;
mod tokens;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use crate::support::program::{PATIENCE, Running};

/// The content types.
const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// A collector that runs, and its door.
struct Collector {
    running: Running,
    door: Door,
}

impl std::ops::Deref for Collector {
    type Target = Door;

    fn deref(&self) -> &Door {
        &self.door
    }
}

/// Where a collector listens.
struct Door(String);

impl Collector {
    fn start(url: &str) -> Self {
        Self::of(Running::new(url, &["collect", "--listen", "127.0.0.1:0"]))
    }

    fn of(running: Running) -> Self {
        let line = running.says("exporters send to http://");
        let door = Door(line.rsplit_once("http://").unwrap().1.to_owned());
        Self { running, door }
    }
}

impl Door {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.0).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Posts on a connection of its own.
    fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        stream
            .write_all(&request("POST", path, headers, body))
            .unwrap();
        Answer::read(&mut BufReader::new(stream))
    }

    /// Posts spans as protobuf.
    fn send(&self, spans: Vec<Span>) -> Answer {
        self.post("/v1/traces", &[("Content-Type", PROTOBUF)], &traces(spans))
    }
}

/// A request as it goes over the wire.
fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    [text.as_bytes(), body].concat()
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn read(stream: &mut impl BufRead) -> Self {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(
                stream.read_line(&mut head).unwrap() > 0,
                "no answer, only: {head}"
            );
        }
        let head = head.to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.split_once("content-length: ").map_or(0, |(_, rest)| {
            rest.split_once("\r\n").unwrap().0.parse().unwrap()
        });
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        Self { status, head, body }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Panics unless it has this status and says these words.
    fn is(&self, status: u16, words: &str) -> &Self {
        assert_eq!(self.status, status, "{}{}", self.head, self.text());
        assert!(self.text().contains(words), "{}", self.text());
        self
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn word(key: &str, text: &str) -> KeyValue {
    attribute(key, Value::StringValue(text.to_owned()))
}

/// A call of a model: a turn of `bot` in a conversation that is named after its number.
fn turn(number: u64) -> Span {
    Span {
        trace_id: u128::from(number + 1).to_be_bytes().to_vec(),
        span_id: (number + 1).to_be_bytes().to_vec(),
        name: "chat".to_owned(),
        start_time_unix_nano: 1_767_607_200_000_000_000 + number,
        end_time_unix_nano: 1_767_607_201_000_000_000 + number,
        attributes: vec![
            word("gen_ai.operation.name", "chat"),
            word("gen_ai.agent.name", "bot"),
            word("gen_ai.conversation.id", &format!("c-{number}")),
            word("gen_ai.request.model", "m"),
            attribute("gen_ai.usage.input_tokens", Value::IntValue(10)),
            attribute("gen_ai.usage.output_tokens", Value::IntValue(5)),
        ],
        ..Span::default()
    }
}

fn traces(spans: Vec<Span>) -> Vec<u8> {
    let scope = ScopeSpans {
        spans,
        ..ScopeSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![scope],
            ..ResourceSpans::default()
        }],
    }
    .encode_to_vec()
}

/// The same turn as JSON.
fn json(number: u64) -> String {
    let id = number + 1;
    let attributes: Vec<String> = [
        (
            "gen_ai.operation.name",
            r#"{"stringValue": "chat"}"#.to_owned(),
        ),
        ("gen_ai.agent.name", r#"{"stringValue": "bot"}"#.to_owned()),
        (
            "gen_ai.conversation.id",
            format!(r#"{{"stringValue": "c-{number}"}}"#),
        ),
        ("gen_ai.request.model", r#"{"stringValue": "m"}"#.to_owned()),
        (
            "gen_ai.usage.input_tokens",
            r#"{"intValue": "10"}"#.to_owned(),
        ),
        (
            "gen_ai.usage.output_tokens",
            r#"{"intValue": "5"}"#.to_owned(),
        ),
    ]
    .iter()
    .map(|(key, value)| format!(r#"{{"key": "{key}", "value": {value}}}"#))
    .collect();
    format!(
        r#"{{"resourceSpans": [{{"scopeSpans": [{{"spans": [{{"traceId": "{id:032x}", "spanId": "{id:016x}",
            "name": "chat", "startTimeUnixNano": "{}", "endTimeUnixNano": "{}", "attributes": [{}]}}]}}]}}]}}"#,
        1_767_607_200_000_000_000_u64 + number,
        1_767_607_201_000_000_000_u64 + number,
        attributes.join(", ")
    )
    .replace('\n', " ")
}

const TURNS: &str = "SELECT count(*) FROM agent_metrics.agent_events WHERE agent_id = 'bot'";
