//! Events in our own form: which keys they may have, and tools in the shapes of others.

use serde_json::{Map, Value};

/// Columns of `agent_events` that an event in our own form may have, and what else it may say.
pub const OWN_KEYS: [&str; 28] = [
    "agent_id",
    "occurred_at",
    "event_id",
    "conversation_id",
    "user_id",
    "intent_classified",
    "tools_called",
    "latency_ms",
    "token_usage_input",
    "token_usage_output",
    "cost_usd",
    "outcome_label",
    "business_event_id",
    "turn_index",
    "agent_version",
    "model",
    "prompt_version",
    "token_usage_cache_read",
    "token_usage_cache_write",
    "is_eval",
    "error",
    "outcome_source",
    "provider",
    "response_id",
    "tool_spans",
    "usage_details",
    "service_tier",
    "attributes",
];

/// How deep a document is nested. It was pruned before, so that this may recurse.
pub fn depth(value: &Value) -> usize {
    let below = match value {
        Value::Array(list) => list.iter().map(depth).max(),
        Value::Object(object) => object.values().map(depth).max(),
        _ => return 0,
    };
    1 + below.unwrap_or(0)
}

/// Tools in the shapes of others: those of OpenAI's API, one alone, names. Arguments and results are left out.
pub fn tools_called(tools: Value) -> Value {
    fn one(tool: Value) -> Value {
        let Value::Object(tool) = tool else {
            return tool;
        };
        let name = tool
            .get("name")
            .or_else(|| tool.get("function")?.get("name"))
            .or_else(|| tool.get("tool_name"));
        let mut kept = Map::new();
        if let Some(name) = name {
            kept.insert("name".to_owned(), name.clone());
        }
        for (key, value) in &tool {
            if !value.is_object()
                && !value.is_array()
                && key != "name"
                && !super::content::is_content(key)
            {
                kept.insert(key.clone(), value.clone());
            }
        }
        Value::Object(kept)
    }
    match tools {
        Value::Array(list) => Value::Array(list.into_iter().map(one).collect()),
        Value::Object(_) => Value::Array(vec![one(tools)]),
        Value::String(text) => match serde_json::from_str::<Value>(&text) {
            Ok(inner @ (Value::Array(_) | Value::Object(_))) => tools_called(inner),
            _ => Value::Array(vec![Value::String(text)]),
        },
        other => other,
    }
}
