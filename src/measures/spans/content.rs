//! What is said in a conversation, and so never stored: prompts, answers, arguments and results of tools.
//!
//! Nobody knows all names that tools give it, so a key is judged by its words: `gen_ai.input.messages`,
//! `llm.input_messages.0.message.content`, `user_prompt`, `ai.toolCall.args`. What is counted (tokens, costs) and what
//! names (`gen_ai.prompt.version`) is not content, whatever else stands in the key.

use serde_json::Value;

/// Most bytes of a value that is kept of an attribute: a name or an id is shorter, a text is longer.
pub const VALUE_MAX: usize = 1100;

/// Most bytes of a text below a key that nothing is known of, in what is kept for people to look at.
const UNKNOWN_MAX: usize = 64;

/// Words that make a key one of content.
const WORDS: [&str; 46] = [
    "answer",
    "args",
    "arguments",
    "body",
    "completion",
    "completions",
    "content",
    "contents",
    "data",
    "definitions",
    "documents",
    "input",
    "inputs",
    "instructions",
    "message",
    "messages",
    "object",
    "output",
    "outputs",
    "parameters",
    "prompt",
    "prompts",
    "query",
    "question",
    "request",
    "response",
    "result",
    "results",
    "spaninputs",
    "spanoutputs",
    "stacktrace",
    "statement",
    "summary",
    "text",
    "thinking",
    "thoughts",
    "toolcalls",
    "transcript",
    "description",
    "comment",
    "reasoning",
    "snippet",
    "title",
    "template",
    "variables",
    "choices",
];

/// Last words of a key that say of what is content, and are none themselves.
const ABOUT: [&str; 24] = [
    "version",
    "name",
    "id",
    "label",
    "count",
    "length",
    "type",
    "role",
    "hash",
    "model",
    "bytes",
    "number",
    "index",
    "tier",
    "service_tier",
    "status",
    "code",
    "status_code",
    "finish_reason",
    "finish_reasons",
    "kind",
    "time",
    "ms",
    "seconds",
];

fn is_word(part: &str) -> bool {
    let word = |text: &str| WORDS.contains(&text);
    word(part) || part.rsplit('_').next().is_some_and(word)
}

/// Whether a key names what is said in a conversation.
///
/// ```
/// use agent_metrics::measures::spans::content::is_content;
/// assert!(is_content("gen_ai.input.messages") && is_content("user_prompt") && is_content("ai.toolCall.args"));
/// assert!(!is_content("gen_ai.usage.input_tokens") && !is_content("gen_ai.prompt.version"));
/// ```
pub fn is_content(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    if ["usage", "token", "cost"]
        .iter()
        .any(|word| key.contains(word))
    {
        return false;
    }
    let last = key.rsplit('.').next().unwrap_or_default();
    if ABOUT.contains(&last) || last.ends_with("_id") || last.ends_with("_version") {
        return false;
    }
    key.split('.').any(is_word)
}

/// The first bytes of a text, whole characters of it.
pub fn beginning(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Takes out of a document what is said in a conversation, so that people may look at the rest: texts below keys of
/// content, and long texts below keys that `is_known` does not know. A mark with their length stands in their place.
pub fn redact(document: &mut Value, is_known: &impl Fn(&str) -> bool) {
    fn mark(value: &Value) -> Value {
        Value::String(match value {
            Value::String(text) => format!("({} bytes)", text.len()),
            other => format!("({} bytes)", other.to_string().len()),
        })
    }
    // An attribute of OTLP is an object with `key` and `value`: the key is the text of the one.
    if let Value::Object(pair) = &mut *document
        && pair.len() == 2
        && let Some(key) = pair.get("key").and_then(Value::as_str).map(str::to_owned)
        && is_content(&key)
        && let Some(value) = pair.get_mut("value")
    {
        *value = mark(value);
        return;
    }
    match document {
        Value::Array(list) => {
            for value in list {
                redact(value, is_known);
            }
        }
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                match value {
                    Value::String(text) if is_known(key) && text.len() <= VALUE_MAX => {}
                    Value::Null | Value::Bool(_) | Value::Number(_) => {}
                    _ if !is_known(key) && is_content(key) => *value = mark(value),
                    Value::String(text) if text.len() > UNKNOWN_MAX => *value = mark(value),
                    Value::String(_) => {}
                    Value::Array(_) | Value::Object(_) => redact(value, is_known),
                }
            }
        }
        Value::String(text) if text.len() > UNKNOWN_MAX => *document = mark(document),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_content_are_known_by_their_words() {
        for key in [
            "gen_ai.input.messages",
            "gen_ai.output.messages",
            "gen_ai.prompt",
            "gen_ai.prompt.0.content",
            "gen_ai.completion.0.content",
            "gen_ai.system_instructions",
            "gen_ai.tool.call.arguments",
            "gen_ai.tool.call.result",
            "gen_ai.tool.definitions",
            "llm.input_messages.0.message.content",
            "input.value",
            "output.value",
            "langfuse.observation.input",
            "langfuse.trace.output",
            "ai.prompt",
            "ai.prompt.messages",
            "ai.response.text",
            "ai.response.toolCalls",
            "ai.toolCall.args",
            "traceloop.entity.input",
            "gcp.vertex.agent.llm_request",
            "user_prompt",
            "mlflow.spanInputs",
            "db.statement",
            "body",
        ] {
            assert!(is_content(key), "{key}");
        }
        for key in [
            "gen_ai.usage.input_tokens",
            "gen_ai.usage.details.cache_read_tokens",
            "langfuse.observation.usage_details.input",
            "llm.cost.prompt",
            "gen_ai.prompt.version",
            "langfuse.observation.prompt.version",
            "gen_ai.response.id",
            "gen_ai.response.model",
            "gen_ai.request.model",
            "gen_ai.output.type",
            "gen_ai.openai.response.service_tier",
            "session.id",
            "user.id",
            "service.name",
            "gen_ai.agent.name",
            "ai.telemetry.functionId",
            "metadata.thread_id",
        ] {
            assert!(!is_content(key), "{key}");
        }
    }

    #[test]
    fn what_is_kept_to_look_at_holds_no_text_of_a_conversation() {
        let secret = "the secret of the customer ".repeat(5);
        let mut document = serde_json::json!({
            "agent_id": "bot", "prompt": "hello", "note": secret, "ts": "2026-01-01", "tokens": 5,
            "attributes": [{"key": "gen_ai.input.messages", "value": {"stringValue": "hello"}},
                           {"key": "session.id", "value": {"stringValue": "c-1"}}],
            "more": ["short", secret]
        });
        redact(&mut document, &|key| key == "agent_id");
        let text = document.to_string();
        assert!(
            !text.contains("hello") && !text.contains("secret"),
            "{text}"
        );
        for kept in ["bot", "2026-01-01", "c-1", "short", "(5 bytes)"] {
            assert!(text.contains(kept), "{kept} in {text}");
        }
        assert_eq!(beginning("aé", 2), "a");
    }
}
