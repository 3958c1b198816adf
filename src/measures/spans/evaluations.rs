//! What a judge said of a span, in our own form: by the attributes of OpenTelemetry (`gen_ai.evaluation.*`) or of
//! OpenInference (`evaluation.*`), or as a score of Langfuse.

use super::facts::text_of;
use super::ids::event_id;
use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value, json};

/// A value, as OTLP wraps it or as it is, as text.
pub fn plain(value: &Value) -> Option<String> {
    let inner = value.as_object().and_then(|object| object.values().next());
    text_of(inner.unwrap_or(value))
}

/// An attribute of OTLP's list, or of a plain object, as text.
pub fn attribute(attributes: &Value, name: &str) -> Option<String> {
    match attributes {
        Value::Array(pairs) => pairs
            .iter()
            .rev()
            .find(|pair| pair.get("key").and_then(Value::as_str) == Some(name))
            .and_then(|pair| plain(pair.get("value")?)),
        Value::Object(object) => object.get(name).and_then(plain),
        _ => None,
    }
}

/// A moment in nanoseconds since 1970 as text; 0 is OTLP's word for not known.
pub fn moment(nanos: u64) -> Option<String> {
    let micros = i64::try_from(nanos / 1000)
        .ok()
        .filter(|micros| *micros > 0)?;
    Some(DateTime::from_timestamp_micros(micros)?.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// Whether attributes are those of an evaluation.
pub fn is_evaluation(attributes: &Value) -> bool {
    attribute(attributes, "gen_ai.evaluation.name").is_some()
        || attribute(attributes, "evaluation.name").is_some()
}

/// An evaluation in our own form. `of`: trace and span that it is about.
pub fn evaluation(
    attributes: &Value,
    of: Option<(&str, &str)>,
    nanos: u64,
    is_of_judge: bool,
) -> Value {
    let either = |names: &[&str]| names.iter().find_map(|name| attribute(attributes, name));
    let mut event = Map::new();
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            event.insert(name.to_owned(), Value::String(value));
        }
    };
    put(
        "evaluation",
        Some(either(&["gen_ai.evaluation.name", "evaluation.name"]).unwrap_or_default()),
    );
    put(
        "score",
        either(&[
            "gen_ai.evaluation.score.value",
            "evaluation.score.value",
            "evaluation.score",
        ]),
    );
    put(
        "label",
        either(&[
            "gen_ai.evaluation.score.label",
            "evaluation.score.label",
            "evaluation.label",
        ]),
    );
    // of a span that is itself the evaluation, error and response are the judge's own
    if !is_of_judge {
        put("error", either(&["error.type"]));
        put("response_id", either(&["gen_ai.response.id"]));
    }
    put(
        "event_id",
        of.filter(|(trace, span)| !trace.is_empty() && !span.is_empty())
            .map(|(trace, span)| event_id(trace, span)),
    );
    put("judged_at", moment(nanos));
    Value::Object(event)
}

/// A score as Langfuse's API, webhooks and exports have it.
pub fn langfuse_score(score: &Map<String, Value>) -> Value {
    let either = |names: [&str; 2]| {
        names
            .iter()
            .find_map(|name| score.get(*name))
            .cloned()
            .unwrap_or(Value::Null)
    };
    let id = |names| text_of(&either(names)).map(|id| super::ids::hex_id(&id));
    let trace = id(["traceId", "trace_id"]).unwrap_or_default();
    let mut event = json!({
        "evaluation": score.get("name").and_then(text_of).unwrap_or_default(),
        "score": score.get("value"), "label": either(["stringValue", "string_value"]),
        "judged_at": score.get("timestamp"),
        "judged_by": score.get("source").and_then(Value::as_str).map(str::to_lowercase),
    });
    if let Value::Object(event) = &mut event {
        // one of a whole trace has the key of the trace: that of a span without an id
        let span = id(["observationId", "observation_id"]).unwrap_or_default();
        event.insert(
            "event_id".to_owned(),
            Value::String(event_id(&trace, &span)),
        );
        event.retain(|_, value| !value.is_null());
    }
    event
}
