//! A delivery taken apart: spans, events in our own form, and what is neither.
//!
//! Envelopes of OTLP come in several ways of writing (`resourceSpans`, `resource_spans`, `batches`,
//! `instrumentationLibrarySpans`); other tools hand out their own (see [`super::forms`]). A piece that cannot be read
//! is kept apart with its reason, without what was said in it, and the others are taken.

use super::content::{beginning, redact};
use super::evaluations::{attribute, evaluation, is_evaluation, plain};
use super::facts::{Attributes, Facts, Gatherer, text_of};
use super::forms;
use super::ids::{TRACE_MAX, hash_id, hex_id};
use super::own::{OWN_KEYS, depth, tools_called};
use super::said::{Kind, first_text, kind_of, said};
use super::vocabulary::{Meaning, Vocabulary};
use crate::measures::limits::DEPTH_MAX;
use serde_json::{Value, json};

/// A part of a delivery.
#[derive(Debug, PartialEq)]
pub enum Piece {
    /// A span, to be kept with its trace.
    Span {
        /// Its trace.
        trace: String,
        /// Its id.
        id: String,
        /// What is kept of it.
        facts: Facts,
    },
    /// An event in our own form: a turn, or an evaluation.
    Event(Value),
    /// What cannot be taken.
    Refused {
        /// What was delivered, without what was said in it.
        payload: Value,
        /// Why not.
        reason: String,
    },
}

/// What stands where JSON was nested too deep; see [`crate::measures::json::prune`].
pub const TOO_DEEP: &str = "\u{1}too deep\u{1}";

/// Reads deliveries.
pub struct Mapper<'a> {
    vocabulary: &'a Vocabulary,
    kept: &'a [String],
    pieces: Vec<Piece>,
}

/// A field under one of its names.
pub(super) fn field<'v>(object: &'v Value, names: &[&str]) -> Option<&'v Value> {
    names
        .iter()
        .find_map(|name| object.get(*name))
        .filter(|value| !value.is_null())
}

/// The same as text; empty where there is none.
pub(super) fn text_field(object: &Value, names: &[&str]) -> String {
    field(object, names).and_then(text_of).unwrap_or_default()
}

fn nanos(object: &Value, names: &[&str]) -> u64 {
    let value = text_field(object, names);
    value.trim().parse::<u64>().unwrap_or(0)
}

impl<'a> Mapper<'a> {
    /// With what attributes mean, and which are kept beside.
    pub fn new(vocabulary: &'a Vocabulary, kept: &'a [String]) -> Self {
        Self {
            vocabulary,
            kept,
            pieces: Vec::new(),
        }
    }

    /// Takes a delivery apart: one document, or a list of them.
    pub fn map(mut self, delivery: Value, mut tick: impl FnMut()) -> Vec<Piece> {
        match delivery {
            Value::Array(list) => {
                for (place, document) in list.into_iter().enumerate() {
                    if place % 256 == 0 {
                        tick();
                    }
                    self.document(document);
                }
            }
            document => self.document(document),
        }
        self.pieces
    }

    fn refuse(&mut self, mut payload: Value, reason: impl Into<String>) {
        if depth(&payload) > DEPTH_MAX {
            let text = payload.to_string();
            payload = json!({"too_deep": true, "hash": hash_id(&text), "bytes": text.len()});
        }
        redact(&mut payload, &|key| OWN_KEYS.contains(&key));
        self.pieces.push(Piece::Refused {
            payload,
            reason: reason.into(),
        });
    }

    fn document(&mut self, document: Value) {
        if !document.is_object() {
            return self.refuse(document, "not an object");
        }
        let has = |names: &[&str]| names.iter().any(|name| document.get(*name).is_some());
        if has(&["resourceMetrics", "resource_metrics"]) {
            return self.refuse(
                json!({"resourceMetrics": "(metrics)"}),
                "metrics are not taken: send traces or logs, whose turns the metrics only sum up",
            );
        }
        let spans = ["resourceSpans", "resource_spans", "batches"];
        let logs = ["resourceLogs", "resource_logs"];
        if has(&spans) || has(&logs) {
            self.resources(&document, &spans, false);
            self.resources(&document, &logs, true);
        } else if let Some(trace) = document
            .get("trace")
            .filter(|trace| field(trace, &spans).is_some())
        {
            self.resources(trace, &spans, false);
        } else if forms::is_score(&document) {
            let Value::Object(score) = document else {
                return;
            };
            let event = super::evaluations::langfuse_score(&score);
            self.pieces.push(Piece::Event(event));
        } else if let Some(found) =
            forms::read(&document, &mut Gatherer::new(self.vocabulary, self.kept))
        {
            for form in found {
                self.keep_span(form.trace, form.id, form.facts, || document.clone());
            }
        } else {
            self.own(document);
        }
    }

    /// An event in our own form. What keys an evaluation has is looked at where it is stored.
    fn own(&mut self, document: Value) {
        // what stands for one that was too deep says so again
        let is_stand_in = ["too_deep", "hash", "bytes"]
            .iter()
            .all(|key| document.get(*key).is_some());
        if is_stand_in || depth(&document) > DEPTH_MAX {
            return self.refuse(document, format!("more than {DEPTH_MAX} levels of JSON"));
        }
        let Value::Object(mut event) = document else {
            return;
        };
        if event.contains_key("evaluation") {
            self.pieces.push(Piece::Event(Value::Object(event)));
            return;
        }
        if let Some(key) = event
            .keys()
            .filter(|key| !OWN_KEYS.contains(&key.as_str()))
            .min()
        {
            let reason = format!("unknown key \"{}\"", beginning(key, 200));
            return self.refuse(Value::Object(event), reason);
        }
        if let Some(tools) = event.get_mut("tools_called") {
            *tools = tools_called(tools.take());
        }
        self.pieces.push(Piece::Event(Value::Object(event)));
    }

    fn resources(&mut self, document: &Value, names: &[&str], is_log: bool) {
        let Some((name, list)) = names
            .iter()
            .find_map(|name| Some((name, document.get(*name)?)))
        else {
            return;
        };
        let Some(list) = list.as_array() else {
            return self.refuse(json!({*name: list}), format!("{name} is no list"));
        };
        let scopes: &[&str] = if is_log {
            &[
                "scopeLogs",
                "scope_logs",
                "instrumentationLibraryLogs",
                "instrumentation_library_logs",
            ]
        } else {
            &[
                "scopeSpans",
                "scope_spans",
                "instrumentationLibrarySpans",
                "instrumentation_library_spans",
            ]
        };
        let records: &[&str] = if is_log {
            &["logRecords", "log_records", "logs"]
        } else {
            &["spans"]
        };
        for element in list {
            let attributes = element
                .get("resource")
                .and_then(|resource| resource.get("attributes"));
            let resource = Gatherer::new(self.vocabulary, self.kept)
                .gather(attributes.unwrap_or(&Value::Null));
            for scope in self.list(element, scopes) {
                for record in self.list(scope, records) {
                    if is_log {
                        self.log(record, &resource);
                    } else {
                        self.span(record, &resource);
                    }
                }
            }
        }
    }

    /// A list under one of its names, whichever there are.
    fn list<'v>(&mut self, object: &'v Value, names: &[&str]) -> Vec<&'v Value> {
        let mut all = Vec::new();
        for name in names {
            match object.get(*name) {
                None | Some(Value::Null) => {}
                Some(Value::Array(list)) => all.extend(list),
                Some(other) => self.refuse(json!({*name: other}), format!("{name} is no list")),
            }
        }
        all
    }

    fn span(&mut self, span: &Value, resource: &Attributes) {
        let trace = hex_id(&text_field(span, &["traceId", "trace_id"]));
        let id = hex_id(&text_field(span, &["spanId", "span_id"]));
        let raw = span.get("attributes").unwrap_or(&Value::Null);
        let mut facts = Facts {
            parent: hex_id(&text_field(span, &["parentSpanId", "parent_span_id"])),
            name: beginning(&text_field(span, &["name"]), 256).to_owned(),
            began: nanos(span, &["startTimeUnixNano", "start_time_unix_nano"]),
            ended: nanos(span, &["endTimeUnixNano", "end_time_unix_nano"]),
            failure: failure(span.get("status")),
            attributes: Gatherer::new(self.vocabulary, self.kept).gather(raw),
            ..Facts::default()
        };
        if !facts.parent.is_empty() && facts.parent.len() > TRACE_MAX {
            facts.parent = beginning(&facts.parent, TRACE_MAX).to_owned();
        }
        self.judged(span, raw, &trace, &id, &facts);
        if facts.says_something() {
            facts.resource = resource.clone();
        } else {
            // it only holds others together
            facts = Facts {
                parent: facts.parent,
                ..Facts::default()
            };
        }
        self.keep_span(
            trace,
            id,
            facts,
            || json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}),
        );
    }

    fn keep_span(
        &mut self,
        trace: String,
        id: String,
        facts: Facts,
        payload: impl FnOnce() -> Value,
    ) {
        if trace.is_empty() || id.is_empty() {
            return self.refuse(payload(), "a span without traceId or spanId");
        }
        if trace.len() > TRACE_MAX || id.len() > TRACE_MAX {
            return self.refuse(
                payload(),
                format!("a traceId or spanId of more than {TRACE_MAX} bytes"),
            );
        }
        self.pieces.push(Piece::Span { trace, id, facts });
    }

    /// What judges said, as events of a span or as the span itself.
    fn judged(&mut self, span: &Value, raw: &Value, trace: &str, id: &str, facts: &Facts) {
        let mut add = |event: Value| self.pieces.push(Piece::Event(event));
        for event in span
            .get("events")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            if event.get("name").and_then(Value::as_str) == Some("gen_ai.evaluation.result") {
                let attributes = event.get("attributes").unwrap_or(&Value::Null);
                add(evaluation(
                    attributes,
                    Some((trace, id)),
                    nanos(event, &["timeUnixNano", "time_unix_nano"]),
                    false,
                ));
            }
        }
        if is_evaluation(raw) {
            // one that is a span of its own is about the span above it
            let kind = kind_of(&said(&facts.attributes, self.vocabulary));
            let of = if kind == Kind::Other {
                facts.parent.as_str()
            } else {
                id
            };
            add(evaluation(raw, Some((trace, of)), facts.ended, true));
        }
    }

    /// A record of a log: an evaluation, a call of a model or of a tool. Others are passed over, as spans of another
    /// kind are: the text of a log is nobody's turn.
    fn log(&mut self, record: &Value, resource: &Attributes) {
        let raw = record.get("attributes").unwrap_or(&Value::Null);
        let name = field(record, &["eventName", "event_name"])
            .and_then(text_of)
            .or_else(|| attribute(raw, "event.name"))
            .or_else(|| {
                let body = record.get("body").and_then(plain)?;
                (body.len() <= 80 && !body.contains(char::is_whitespace)).then_some(body)
            })
            .unwrap_or_default();
        let time = match nanos(record, &["timeUnixNano", "time_unix_nano"]) {
            0 => nanos(record, &["observedTimeUnixNano", "observed_time_unix_nano"]),
            time => time,
        };
        let trace = hex_id(&text_field(record, &["traceId", "trace_id"]));
        let parent = hex_id(&text_field(record, &["spanId", "span_id"]));
        if name == "gen_ai.evaluation.result" {
            let event = evaluation(raw, Some((&trace, &parent)), time, false);
            return self.pieces.push(Piece::Event(event));
        }
        let mut attributes = Gatherer::new(self.vocabulary, self.kept).gather(raw);
        if self.vocabulary.knows("event.name") && !name.is_empty() {
            attributes.insert("event.name".to_owned(), Value::String(name));
        }
        let all = said(&attributes, self.vocabulary);
        if !matches!(kind_of(&all), Kind::ModelCall | Kind::Tool) {
            return;
        }
        let far = said(resource, self.vocabulary);
        let duration = first_text(&all, Meaning::DurationMs)
            .and_then(|text| text.parse::<f64>().ok())
            .unwrap_or(0.0);
        let session = first_text(&all, Meaning::Conversation)
            .or_else(|| first_text(&far, Meaning::Conversation));
        // Without a trace, the records of one conversation belong together; with neither, each stands alone.
        let own = hash_id(&format!(
            "{time} {}",
            serde_json::to_string(&attributes).unwrap_or_default()
        ));
        let id = first_text(&all, Meaning::ResponseId)
            .filter(|id| id.len() < TRACE_MAX - 8)
            .unwrap_or_else(|| own.clone());
        let trace = match (trace.is_empty(), session) {
            (false, _) => trace,
            (true, Some(session)) => format!("log {}", hash_id(&session)),
            (true, None) => format!("log {own}"),
        };
        let facts = Facts {
            parent,
            name: String::new(),
            // a record is written at the end of what it tells of
            began: time.saturating_sub((duration.clamp(0.0, 1e9) * 1e6) as u64),
            ended: time,
            failure: None,
            is_log: true,
            resource: resource.clone(),
            attributes: attributes.clone(),
        };
        self.keep_span(
            trace,
            format!("log {id}"),
            facts,
            || json!({"resourceLogs": "(a record)"}),
        );
    }
}

fn failure(status: Option<&Value>) -> Option<String> {
    let status = status?;
    let code = text_field(status, &["code", "status_code"]);
    if code != "2"
        && !code.eq_ignore_ascii_case("STATUS_CODE_ERROR")
        && !code.eq_ignore_ascii_case("ERROR")
    {
        return None;
    }
    let message = text_field(status, &["message", "description"]);
    Some(if message.is_empty() {
        "error".to_owned()
    } else {
        beginning(&message, 128).to_owned()
    })
}
