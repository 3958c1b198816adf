//! A request of OTLP, as the JSON document that the database takes, without what somebody said in it.
//!
//! Of protobuf the document is written straight from the messages: ids as hex, whole numbers as text, as OTLP has it.
//! JSON stays as it was written, apart from messages: many spell it in ways of their own (names in snake_case, kinds in
//! words, numbers as numbers), which the mapper in the database knows and a strict reader would lose.

use std::fmt::Write;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde::Deserialize;

use crate::measures::redact::{self, DOOR, redact};
use crate::measures::spans::content::{VALUE_MAX, is_content};

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Log records.
    Logs,
}

/// How a request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Protocol buffers.
    Protobuf,
    /// JSON, as OTLP has it or nearly so.
    Json,
}

/// A request that was understood.
#[derive(Debug, Default)]
pub struct Delivery {
    /// The document.
    pub document: String,
    /// Spans or log records in it.
    pub pieces: usize,
    /// Spans that have no trace or no id. They are in the document too: the quarantine shows where they come from.
    pub rejected: usize,
}

/// Reads a request, or says why it is none.
pub fn decode(signal: Signal, form: Form, body: &[u8]) -> Result<Delivery, String> {
    match (form, signal) {
        (Form::Json, _) => json(body),
        (Form::Protobuf, Signal::Traces) => ExportTraceServiceRequest::decode(body)
            .map(|request| Writer::default().traces(&request))
            .map_err(|error| format!("the body is no ExportTraceServiceRequest: {error}")),
        (Form::Protobuf, Signal::Logs) => ExportLogsServiceRequest::decode(body)
            .map(|request| Writer::default().logs(&request))
            .map_err(|error| format!("the body is no ExportLogsServiceRequest: {error}")),
    }
}

/// Of a request in JSON, what has to be known here. The rest is for the mapper.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow, default, alias = "resource_spans", alias = "batches")]
    resource_spans: Vec<Part<'a>>,
    #[serde(borrow, default, alias = "resource_logs")]
    resource_logs: Vec<Part<'a>>,
    #[serde(default, alias = "resource_metrics")]
    resource_metrics: Option<serde::de::IgnoredAny>,
}

/// All of one resource.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    #[serde(
        borrow,
        default,
        alias = "scope_spans",
        alias = "instrumentationLibrarySpans",
        alias = "instrumentation_library_spans",
        alias = "scopeLogs",
        alias = "scope_logs"
    )]
    scope_spans: Vec<Scope<'a>>,
}

/// All of one scope.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Scope<'a> {
    #[serde(borrow, default, alias = "logRecords", alias = "log_records")]
    spans: Vec<Ids<'a>>,
}

/// A span's or a log record's ids, which no writer of JSON escapes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ids<'a> {
    #[serde(borrow, default, alias = "trace_id")]
    trace_id: Option<&'a str>,
    #[serde(borrow, default, alias = "span_id")]
    span_id: Option<&'a str>,
}

fn json(body: &[u8]) -> Result<Delivery, String> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let text = std::str::from_utf8(body)
        .map_err(|error| format!("the body is no UTF-8 from byte {} on", error.valid_up_to()))?;
    let request: Request =
        serde_json::from_str(text).map_err(|error| format!("the body is no OTLP: {error}"))?;
    if request.resource_metrics.is_some() {
        return Err("the body has resourceMetrics; metrics are not taken, \
                    they are made of the turns: turn the exporter of metrics off"
            .to_owned());
    }
    let pieces = |parts: &[Part<'_>]| -> usize {
        let scopes = parts.iter().flat_map(|part| &part.scope_spans);
        scopes.map(|scope| scope.spans.len()).sum()
    };
    let spans = request.resource_spans.iter();
    let scopes = spans.flat_map(|part| &part.scope_spans);
    let rejected = scopes
        .flat_map(|scope| &scope.spans)
        .filter(|ids| is_blank(ids.trace_id) || is_blank(ids.span_id))
        .count();
    let pieces = pieces(&request.resource_spans) + pieces(&request.resource_logs);
    Ok(Delivery {
        document: if pieces == 0 {
            String::new()
        } else {
            redact(body, DOOR)
        },
        pieces,
        rejected,
    })
}

/// Whether an id is missing: OTLP says so by nothing or by zeros.
fn is_blank(id: Option<&str>) -> bool {
    id.is_none_or(|id| id.bytes().all(|digit| digit == b'0'))
}

/// Writes a document.
#[derive(Default)]
struct Writer {
    delivery: Delivery,
}

impl Writer {
    fn traces(mut self, request: &ExportTraceServiceRequest) -> Delivery {
        self.text("{\"resourceSpans\":");
        self.list(&request.resource_spans, |w, part| {
            w.resource(part.resource.as_ref());
            w.text(",\"scopeSpans\":");
            w.list(&part.scope_spans, |w, scope| {
                w.scope(scope.scope.as_ref());
                w.text(",\"spans\":");
                w.list(&scope.spans, Self::span);
                w.text("}");
            });
            w.text("}");
        });
        self.finish()
    }

    fn logs(mut self, request: &ExportLogsServiceRequest) -> Delivery {
        self.text("{\"resourceLogs\":");
        self.list(&request.resource_logs, |w, part| {
            w.resource(part.resource.as_ref());
            w.text(",\"scopeLogs\":");
            w.list(&part.scope_logs, |w, scope| {
                w.scope(scope.scope.as_ref());
                w.text(",\"logRecords\":");
                w.list(&scope.log_records, Self::log_record);
                w.text("}");
            });
            w.text("}");
        });
        self.finish()
    }

    fn finish(mut self) -> Delivery {
        self.text("}");
        if self.delivery.pieces == 0 {
            self.delivery.document = String::new();
        }
        self.delivery
    }

    fn resource(&mut self, resource: Option<&Resource>) {
        self.text("{\"resource\":{\"attributes\":");
        self.attributes(resource.map_or(&[], |resource| &resource.attributes));
        self.text("}");
    }

    fn scope(&mut self, scope: Option<&InstrumentationScope>) {
        self.text("{\"scope\":{\"name\":");
        self.string(scope.map_or("", |scope| &scope.name));
        self.text(",\"version\":");
        self.string(scope.map_or("", |scope| &scope.version));
        self.text("}");
    }

    fn span(&mut self, span: &Span) {
        self.delivery.pieces += 1;
        if !is_id(&span.trace_id, 16) || !is_id(&span.span_id, 8) {
            self.delivery.rejected += 1;
        }
        self.text("{\"name\":");
        self.string(&span.name);
        self.id(",\"traceId\":\"", &span.trace_id, 16);
        self.id(",\"spanId\":\"", &span.span_id, 8);
        self.id(",\"parentSpanId\":\"", &span.parent_span_id, 8);
        self.show(format_args!(
            ",\"kind\":{},\"startTimeUnixNano\":\"{}\",\"endTimeUnixNano\":\"{}\",\"attributes\":",
            span.kind, span.start_time_unix_nano, span.end_time_unix_nano
        ));
        self.attributes(&span.attributes);
        if !span.events.is_empty() {
            self.text(",\"events\":");
            self.list(&span.events, |w, event| {
                w.text("{\"name\":");
                w.string(&event.name);
                w.show(format_args!(
                    ",\"timeUnixNano\":\"{}\",\"attributes\":",
                    event.time_unix_nano
                ));
                w.attributes(&event.attributes);
                w.text("}");
            });
        }
        if let Some(status) = &span.status {
            self.show(format_args!(",\"status\":{{\"code\":{}", status.code));
            if !status.message.is_empty() && status.message.len() <= VALUE_MAX {
                self.text(",\"message\":");
                self.string(&status.message);
            }
            self.text("}");
        }
        self.text("}");
    }

    fn log_record(&mut self, record: &LogRecord) {
        self.delivery.pieces += 1;
        self.show(format_args!(
            "{{\"timeUnixNano\":\"{}\",\"observedTimeUnixNano\":\"{}\"",
            record.time_unix_nano, record.observed_time_unix_nano
        ));
        self.id(",\"traceId\":\"", &record.trace_id, 16);
        self.id(",\"spanId\":\"", &record.span_id, 8);
        if !record.event_name.is_empty() {
            self.text(",\"eventName\":");
            self.string(&record.event_name);
        }
        if let Some(Value::StringValue(body)) = record.body.as_ref().and_then(|b| b.value.as_ref())
            && (redact::is_event_name(body) || *body == record.event_name)
        {
            self.text(",\"body\":{\"stringValue\":");
            self.string(body);
            self.text("}");
        }
        self.text(",\"attributes\":");
        self.attributes(&record.attributes);
        self.text("}");
    }

    fn attributes(&mut self, attributes: &[KeyValue]) {
        self.pairs(attributes, false);
    }

    /// Attributes that are no message and not too long. Below a name of what is counted every name is one of numbers.
    fn pairs(&mut self, attributes: &[KeyValue], is_counted: bool) {
        self.text("[");
        let mut is_first = true;
        for attribute in attributes {
            let key = attribute.key.as_str();
            let Some(value) = attribute.value.as_ref() else {
                continue;
            };
            if key.len() > VALUE_MAX || !is_kept(value) || !is_counted && is_content(key) {
                continue;
            }
            self.text(if is_first { "{\"key\":" } else { ",{\"key\":" });
            is_first = false;
            self.string(key);
            self.text(",\"value\":");
            self.value(key, value, is_counted);
            self.text("}");
        }
        self.text("]");
    }

    fn value(&mut self, key: &str, value: &AnyValue, is_counted: bool) {
        match &value.value {
            Some(Value::StringValue(text)) => {
                self.text("{\"stringValue\":");
                if text.starts_with('{') {
                    self.quoted(&redact::redact_attribute(key, text));
                } else {
                    self.string(text);
                }
                self.text("}");
            }
            Some(Value::BoolValue(is)) => self.show(format_args!("{{\"boolValue\":{is}}}")),
            Some(Value::IntValue(n)) => self.show(format_args!("{{\"intValue\":\"{n}\"}}")),
            Some(Value::DoubleValue(n)) => match serde_json::Number::from_f64(*n) {
                Some(number) => self.show(format_args!("{{\"doubleValue\":{number}}}")),
                None => self.show(format_args!("{{\"doubleValue\":\"{n}\"}}")),
            },
            Some(Value::ArrayValue(list)) => {
                self.text("{\"arrayValue\":{\"values\":");
                self.list(&list.values, |w, one| w.value(key, one, is_counted));
                self.text("}}");
            }
            Some(Value::KvlistValue(list)) => {
                self.text("{\"kvlistValue\":{\"values\":");
                self.pairs(&list.values, is_counted || redact::is_counted(key));
                self.text("}}");
            }
            _ => self.text("null"),
        }
    }

    fn list<T>(&mut self, items: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.text("[");
        for (place, item) in items.iter().enumerate() {
            if place > 0 {
                self.text(",");
            }
            each(self, item);
        }
        self.text("]");
    }

    fn text(&mut self, text: &str) {
        self.delivery.document.push_str(text);
    }

    fn show(&mut self, words: std::fmt::Arguments<'_>) {
        // A string takes whatever it is given.
        let _ = self.delivery.document.write_fmt(words);
    }

    /// An id as hex, unless it is missing.
    fn id(&mut self, before: &str, id: &[u8], length: usize) {
        if !is_id(id, length) {
            return;
        }
        self.text(before);
        for byte in id {
            for digit in [byte >> 4, byte & 15] {
                let letter = char::from_digit(u32::from(digit), 16).unwrap_or('0');
                self.delivery.document.push(letter);
            }
        }
        self.text("\"");
    }

    /// A text as JSON has it; what is too long is nothing.
    fn string(&mut self, text: &str) {
        self.quoted(if text.len() > VALUE_MAX { "" } else { text });
    }

    /// A text as JSON has it. The database knows no zero in one.
    fn quoted(&mut self, text: &str) {
        let out = &mut self.delivery.document;
        out.push('"');
        let mut rest = text;
        while let Some(at) = rest.find(|c: char| matches!(c, '"' | '\\' | '\0'..='\x1f')) {
            let (plain, special) = rest.split_at(at);
            out.push_str(plain);
            match special.as_bytes().first() {
                Some(b'"') => out.push_str("\\\""),
                Some(b'\\') => out.push_str("\\\\"),
                Some(0) | None => out.push('\u{fffd}'),
                Some(control) => {
                    let _ = write!(out, "\\u{control:04x}");
                }
            }
            rest = special.get(1..).unwrap_or_default();
        }
        out.push_str(rest);
        out.push('"');
    }
}

/// Whether an id has its length and is not zero, by which OTLP says that there is none.
fn is_id(id: &[u8], length: usize) -> bool {
    id.len() == length && id.iter().any(|byte| *byte != 0)
}

/// Whether a value may be handed on: bytes are never a name, and what is too long is a text, or a document in which a
/// name may be.
fn is_kept(value: &AnyValue) -> bool {
    match &value.value {
        Some(Value::StringValue(text)) if text.starts_with('{') => {
            text.len() <= DOOR.longest_document
        }
        Some(Value::StringValue(text)) => text.len() <= VALUE_MAX,
        Some(Value::BytesValue(_) | Value::StringValueStrindex(_)) | None => false,
        Some(_) => true,
    }
}

#[cfg(test)]
mod tests;
