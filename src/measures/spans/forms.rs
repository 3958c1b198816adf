//! What other tools hand out, read as spans: observations and traces of Langfuse, runs of LangSmith, rows of LiteLLM's
//! log of spending, spans as the console exporter of OpenTelemetry prints them; see [`super::tracers`] for Jaeger and
//! Zipkin.
//!
//! Here stands only where a form has its ids and moments; what its fields mean is told by the vocabulary, under names
//! that begin with the tool's.

use super::content::beginning;
use super::delivery::{field, text_field as text};
use super::facts::{Attributes, Facts, Gatherer};
use super::ids::hex_id;
use super::tracers;
use chrono::{DateTime, NaiveDateTime};
use serde_json::Value;

/// A span that was read from a form.
pub struct Form {
    /// Its trace.
    pub trace: String,
    /// Its id.
    pub id: String,
    /// What is kept of it.
    pub facts: Facts,
}

/// Whether a document is a score of Langfuse.
pub fn is_score(document: &Value) -> bool {
    field(document, &["dataType", "data_type"]).is_some()
        && document.get("name").is_some()
        && field(document, &["traceId", "trace_id"]).is_some()
}

/// Stands for a trace of Langfuse among its observations.
const TRACE: &str = "trace";

/// A moment as text with or without a zone (UTC), or in seconds since 1970.
fn moment(document: &Value, names: &[&str]) -> u64 {
    let Some(value) = field(document, names) else {
        return 0;
    };
    let nanos = match value {
        Value::String(text) => DateTime::parse_from_rfc3339(text)
            // as PostgreSQL shows it
            .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z"))
            .map(|moment| moment.to_utc())
            .or_else(|_| {
                [
                    "%Y-%m-%dT%H:%M:%S%.f",
                    "%Y-%m-%d %H:%M:%S%.f",
                    "%Y-%m-%d %H:%M:%S%.f UTC",
                ]
                .iter()
                .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
                .map(|moment| moment.and_utc())
                .ok_or(())
            })
            .ok()
            .and_then(|moment| moment.timestamp_nanos_opt()),
        Value::Number(number) => number
            .as_f64()
            .filter(|seconds| (0.0..1e10).contains(seconds))
            .map(|seconds| {
                // a double holds microseconds at most
                (seconds * 1e6).round() as i64 * 1000
            }),
        _ => None,
    };
    nanos
        .and_then(|nanos| u64::try_from(nanos).ok())
        .unwrap_or(0)
}

/// The spans of a document, if it is of a form that is known.
pub fn read(document: &Value, gatherer: &mut Gatherer) -> Option<Vec<Form>> {
    let has = |names: &[&str]| field(document, names).is_some();
    if let Some(forms) = tracers::jaeger(document, gatherer) {
        return Some(forms);
    }
    if let Some(form) = tracers::zipkin(document, gatherer) {
        return Some(vec![form]);
    }
    if document
        .get("context")
        .is_some_and(|context| context.get("trace_id").is_some())
    {
        return Some(vec![console(document, gatherer)]);
    }
    if has(&["run_type"]) && has(&["trace_id", "id"]) {
        return Some(vec![langsmith(document, gatherer)]);
    }
    if has(&["call_type"]) && has(&["request_id", "id"]) && has(&["spend", "response_cost"]) {
        return Some(vec![litellm(document, gatherer)]);
    }
    if has(&["type"]) && has(&["traceId", "trace_id"]) && has(&["startTime", "start_time"]) {
        return Some(vec![langfuse(document, None, gatherer)]);
    }
    let is_trace = has(&["timestamp"])
        && has(&["id"])
        && document.get("observations").is_none()
        && has(&[
            "sessionId",
            "session_id",
            "userId",
            "user_id",
            "bookmarked",
            "public",
        ]);
    if is_trace {
        return Some(vec![langfuse_trace(document, gatherer)]);
    }
    let observations = document.get("observations").and_then(Value::as_array)?;
    if !has(&["id"]) || !observations.iter().all(Value::is_object) {
        return None;
    }
    Some(
        observations
            .iter()
            .map(|one| langfuse(one, Some(document), gatherer))
            .collect(),
    )
}

fn console(document: &Value, gatherer: &mut Gatherer) -> Form {
    let context = document.get("context").unwrap_or(&Value::Null);
    let status = document.get("status").unwrap_or(&Value::Null);
    let resource = document
        .get("resource")
        .and_then(|resource| resource.get("attributes"));
    Form {
        trace: hex_id(&text(context, &["trace_id"])),
        id: hex_id(&text(context, &["span_id"])),
        facts: Facts {
            parent: hex_id(&text(document, &["parent_id"])),
            name: beginning(&text(document, &["name"]), 256).to_owned(),
            began: moment(document, &["start_time"]),
            ended: moment(document, &["end_time"]),
            failure: (text(status, &["status_code"]) == "ERROR").then(|| "error".to_owned()),
            attributes: gatherer.gather(document.get("attributes").unwrap_or(&Value::Null)),
            resource: gatherer.gather(resource.unwrap_or(&Value::Null)),
            ..Facts::default()
        },
    }
}

/// An observation of Langfuse, as its API, its exports to blob storage and its tables have it; in a trace that holds
/// its observations, what the trace says holds for each.
fn langfuse(document: &Value, trace: Option<&Value>, gatherer: &mut Gatherer) -> Form {
    let parent = hex_id(&text(
        document,
        &["parentObservationId", "parent_observation_id"],
    ));
    let mut facts = Facts {
        parent: if parent.is_empty() {
            TRACE.to_owned()
        } else {
            parent
        },
        name: beginning(&text(document, &["name"]), 256).to_owned(),
        began: moment(document, &["startTime", "start_time"]),
        ended: moment(document, &["endTime", "end_time"]),
        failure: (text(document, &["level"]) == "ERROR").then(|| "error".to_owned()),
        ..Facts::default()
    };
    let names: [(&str, &[&str]); 14] = [
        ("langfuse.observation.type", &["type"]),
        (
            "langfuse.observation.model.name",
            &["providedModelName", "provided_model_name", "model"],
        ),
        (
            "langfuse.observation.usage_details",
            &["usageDetails", "usage_details"],
        ),
        (
            "langfuse.observation.cost_details",
            &["costDetails", "cost_details"],
        ),
        (
            "langfuse.observation.cost_details.total",
            &["calculatedTotalCost", "totalCost", "total_cost"],
        ),
        (
            "langfuse.observation.prompt.version",
            &["promptVersion", "prompt_version"],
        ),
        ("langfuse.environment", &["environment"]),
        ("session.id", &["sessionId", "session_id"]),
        ("user.id", &["userId", "user_id"]),
        ("langfuse.trace.name", &["traceName", "trace_name"]),
        ("langfuse.experiment.id", &["experimentId", "experiment_id"]),
        ("metadata", &["metadata"]),
        ("langfuse.observation.usage", &["usage"]),
        ("langfuse.release", &["release"]),
    ];
    for (name, fields) in names {
        if let Some(value) = field(document, fields) {
            gatherer.gather_below(name, value, &mut facts.attributes);
        }
    }
    let mut trace_id = text(document, &["traceId", "trace_id"]);
    if let Some(trace) = trace {
        if trace_id.is_empty() {
            trace_id = text(trace, &["id"]);
        }
        facts.resource = of_trace(trace, gatherer);
    }
    Form {
        trace: hex_id(&trace_id),
        id: hex_id(&text(document, &["id"])),
        facts,
    }
}

/// What a trace of Langfuse says for its observations.
fn of_trace(trace: &Value, gatherer: &mut Gatherer) -> Attributes {
    let mut attributes = Attributes::default();
    let names: [(&str, &[&str]); 6] = [
        ("session.id", &["sessionId", "session_id"]),
        ("user.id", &["userId", "user_id"]),
        ("langfuse.trace.name", &["name"]),
        ("langfuse.environment", &["environment"]),
        ("langfuse.release", &["release"]),
        ("metadata", &["metadata"]),
    ];
    for (name, fields) in names {
        if let Some(value) = field(trace, fields) {
            gatherer.gather_below(name, value, &mut attributes);
        }
    }
    attributes
}

/// A trace of Langfuse whose observations come apart from it: above those that have nothing else above.
fn langfuse_trace(document: &Value, gatherer: &mut Gatherer) -> Form {
    Form {
        trace: hex_id(&text(document, &["id"])),
        id: TRACE.to_owned(),
        facts: Facts {
            name: beginning(&text(document, &["name"]), 256).to_owned(),
            attributes: of_trace(document, gatherer),
            ..Facts::default()
        },
    }
}

fn langsmith(document: &Value, gatherer: &mut Gatherer) -> Form {
    let mut facts = Facts {
        parent: hex_id(&text(document, &["parent_run_id"])),
        name: beginning(&text(document, &["name"]), 256).to_owned(),
        began: moment(document, &["start_time"]),
        ended: moment(document, &["end_time"]),
        failure: field(document, &["error"]).map(|_| "error".to_owned()),
        ..Facts::default()
    };
    let metadata = document
        .get("extra")
        .and_then(|extra| extra.get("metadata"));
    let usage = metadata
        .and_then(|metadata| metadata.get("usage_metadata"))
        .or_else(|| document.get("outputs")?.get("usage_metadata"));
    let parts = [
        ("langsmith.span.kind", document.get("run_type")),
        ("langsmith.metadata", metadata),
        ("langsmith.usage_metadata", usage),
        ("langsmith.prompt_tokens", document.get("prompt_tokens")),
        (
            "langsmith.completion_tokens",
            document.get("completion_tokens"),
        ),
        ("langsmith.total_tokens", document.get("total_tokens")),
        ("langsmith.total_cost", document.get("total_cost")),
        (
            "langsmith.reference_example_id",
            document.get("reference_example_id"),
        ),
        ("langsmith.session_name", field(document, &["session_name"])),
    ];
    for (name, value) in parts {
        if let Some(value) = value.filter(|value| !value.is_null()) {
            gatherer.gather_below(name, value, &mut facts.attributes);
        }
    }
    let id = hex_id(&text(document, &["id"]));
    let trace = hex_id(&text(document, &["trace_id"]));
    Form {
        trace: if trace.is_empty() { id.clone() } else { trace },
        id,
        facts,
    }
}

fn litellm(document: &Value, gatherer: &mut Gatherer) -> Form {
    let id = text(document, &["request_id", "id"]);
    let mut facts = Facts {
        name: beginning(&text(document, &["call_type"]), 256).to_owned(),
        began: moment(document, &["startTime", "start_time"]),
        ended: moment(document, &["endTime", "end_time"]),
        failure: (text(document, &["status"]) == "failure").then(|| "error".to_owned()),
        ..Facts::default()
    };
    gatherer.gather_below("litellm", document, &mut facts.attributes);
    Form {
        trace: beginning(&format!("litellm {id}"), 200).to_owned(),
        id: beginning(&id, 200).to_owned(),
        facts,
    }
}
