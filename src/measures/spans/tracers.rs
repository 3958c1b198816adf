//! Traces as Jaeger's query service and Zipkin hand them out, read as spans.

use super::content::beginning;
use super::delivery::text_field as text;
use super::facts::{Facts, Gatherer, text_of};
use super::forms::Form;
use super::ids::hex_id;
use serde_json::Value;

/// Microseconds as nanoseconds; 0: not known.
fn micros(document: &Value, name: &str) -> u64 {
    let value = document.get(name).and_then(text_of).unwrap_or_default();
    value
        .parse::<u64>()
        .ok()
        .and_then(|micros| micros.checked_mul(1000))
        .unwrap_or(0)
}

fn times(document: &Value, begin: &str) -> (u64, u64) {
    let began = micros(document, begin);
    let ended = match document.get("duration") {
        Some(_) if began > 0 => began.saturating_add(micros(document, "duration")),
        _ => 0,
    };
    (began, ended)
}

fn is_true(tags: &Value, key: &str) -> bool {
    let tag = |pair: &Value| pair.get("key").and_then(Value::as_str) == Some(key);
    match tags {
        Value::Array(pairs) => pairs
            .iter()
            .any(|pair| tag(pair) && text(pair, &["value"]) != "false"),
        Value::Object(tags) => tags.contains_key(key),
        _ => false,
    }
}

/// The spans of a document of Jaeger: traces in `data`, or one of them.
pub fn jaeger(document: &Value, gatherer: &mut Gatherer) -> Option<Vec<Form>> {
    let one = std::slice::from_ref(document);
    let traces = match document.get("data") {
        Some(Value::Array(traces)) => traces.as_slice(),
        None if document.get("traceID").is_some() => one,
        _ => return None,
    };
    let is_trace = |trace: &Value| trace.get("spans").is_some_and(Value::is_array);
    if traces.is_empty() || !traces.iter().all(is_trace) {
        return None;
    }
    let mut forms = Vec::new();
    for trace in traces {
        for span in trace
            .get("spans")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let process = span
                .get("process")
                .or_else(|| trace.get("processes")?.get(text(span, &["processID"])))
                .unwrap_or(&Value::Null);
            let tags = span.get("tags").unwrap_or(&Value::Null);
            let parents = span.get("references").and_then(Value::as_array);
            let parent = parents
                .into_iter()
                .flatten()
                .find(|parent| text(parent, &["refType"]) == "CHILD_OF")
                .map(|parent| text(parent, &["spanID"]));
            let (began, ended) = times(span, "startTime");
            let mut resource = gatherer.gather(process.get("tags").unwrap_or(&Value::Null));
            if let Some(service) = process.get("serviceName") {
                gatherer.gather_below("service.name", service, &mut resource);
            }
            forms.push(Form {
                trace: hex_id(&text(span, &["traceID"])),
                id: hex_id(&text(span, &["spanID"])),
                facts: Facts {
                    parent: hex_id(&parent.unwrap_or_else(|| text(span, &["parentSpanID"]))),
                    name: beginning(&text(span, &["operationName"]), 256).to_owned(),
                    began,
                    ended,
                    failure: is_true(tags, "error").then(|| "error".to_owned()),
                    attributes: gatherer.gather(tags),
                    resource,
                    ..Facts::default()
                },
            });
        }
    }
    Some(forms)
}

/// A span of Zipkin.
pub fn zipkin(document: &Value, gatherer: &mut Gatherer) -> Option<Form> {
    let tags = document.get("tags").filter(|tags| tags.is_object())?;
    if document.get("traceId").is_none() || document.get("timestamp").is_none() {
        return None;
    }
    let (began, ended) = times(document, "timestamp");
    let mut facts = Facts {
        parent: hex_id(&text(document, &["parentId"])),
        name: beginning(&text(document, &["name"]), 256).to_owned(),
        began,
        ended,
        failure: is_true(tags, "error").then(|| "error".to_owned()),
        attributes: gatherer.gather(tags),
        ..Facts::default()
    };
    if let Some(service) = document
        .get("localEndpoint")
        .and_then(|end| end.get("serviceName"))
    {
        gatherer.gather_below("service.name", service, &mut facts.resource);
    }
    Some(Form {
        trace: hex_id(&text(document, &["traceId"])),
        id: hex_id(&text(document, &["id"])),
        facts,
    })
}

#[cfg(test)]
mod tests {
    use super::super::delivery::{Mapper, Piece};
    use super::super::vocabulary::words;
    use serde_json::json;

    #[test]
    fn spans_of_jaeger_and_zipkin_are_read() {
        let vocabulary = words(&["model||model|1|", "service.name||kept|1|"]);
        let jaeger = json!({"data": [{
            "traceID": "AB",
            "spans": [{
                "traceID": "AB", "spanID": "01", "operationName": "chat", "processID": "p1",
                "startTime": 1_767_607_200_000_000_u64, "duration": 1000,
                "references": [{"refType": "CHILD_OF", "traceID": "AB", "spanID": "02"}],
                "tags": [{"key": "model", "value": "m"}, {"key": "error", "type": "bool", "value": true}]
            }],
            "processes": {"p1": {"serviceName": "shop", "tags": []}}
        }], "total": 0});
        let zipkin = json!([{
            "traceId": "ab", "id": "01", "parentId": "02", "name": "chat",
            "timestamp": 1_767_607_200_000_000_u64, "duration": 1000,
            "tags": {"model": "m", "error": ""}, "localEndpoint": {"serviceName": "shop"}
        }]);
        let [one, other] =
            [jaeger, zipkin].map(|document| Mapper::new(&vocabulary, &[]).map(document, || ()));
        assert_eq!(one, other);
        let [Piece::Span { trace, id, facts }] = one.as_slice() else {
            panic!("{one:?}")
        };
        assert_eq!(
            (trace.as_str(), id.as_str(), facts.parent.as_str()),
            ("ab", "01", "02")
        );
        assert_eq!(facts.ended - facts.began, 1_000_000);
        assert!(facts.failure.is_some() && facts.attributes.contains_key("model"));
        assert!(facts.resource.contains_key("service.name"));
    }
}
