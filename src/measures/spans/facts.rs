//! What is kept of a span: who called it, when, and those of its attributes that the vocabulary knows.
//!
//! Stored as JSON in `agent_metrics_internal.spans`, so that a trace can be read again whenever more of it comes. No
//! text of a conversation is in it: an attribute is kept if a row of the vocabulary names it, and if it is short.

use super::content::{VALUE_MAX, beginning, is_content};
use super::vocabulary::Vocabulary;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Attributes by name. Values are texts, numbers and booleans.
pub type Attributes = BTreeMap<String, Value>;

/// Most attributes that are kept of a span, or of a resource.
const ATTRIBUTES_MAX: usize = 128;
/// Most bytes of a name of an attribute that is looked at.
const KEY_MAX: usize = 256;
/// How deep nested values are looked into.
const DEPTH_MAX: usize = 8;
/// Most values that are looked at below one attribute.
const VALUES_MAX: usize = 4096;
/// Most bytes of JSON in a text that is looked into.
const JSON_MAX: usize = 64 * 1024;

/// What is kept of a span.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Id of its parent.
    #[serde(rename = "p", default, skip_serializing_if = "String::is_empty")]
    pub parent: String,
    /// Its name.
    #[serde(rename = "n", default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// When it began, in nanoseconds since 1970; 0: not known.
    #[serde(rename = "b", default, skip_serializing_if = "is_zero")]
    pub began: u64,
    /// When it ended; 0: not known.
    #[serde(rename = "e", default, skip_serializing_if = "is_zero")]
    pub ended: u64,
    /// Its status is an error: in these words, if it has any.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// It is a log record, which tells of a call that a span may tell of too.
    #[serde(rename = "l", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_log: bool,
    /// Its own attributes.
    #[serde(rename = "a", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Attributes,
    /// Those of its resource, which hold for every span of a process.
    #[serde(rename = "r", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resource: Attributes,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Facts {
    /// As it is stored.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// From what was stored; what cannot be read says nothing.
    pub fn parse(text: &[u8]) -> Self {
        serde_json::from_slice(text).unwrap_or_default()
    }
}

/// Takes up attributes that the vocabulary knows, and those that somebody asked to keep.
pub struct Gatherer<'a> {
    vocabulary: &'a Vocabulary,
    kept: &'a [String],
    steps: usize,
}

impl<'a> Gatherer<'a> {
    /// `kept`: names beside those of the vocabulary.
    pub fn new(vocabulary: &'a Vocabulary, kept: &'a [String]) -> Self {
        Self {
            vocabulary,
            kept,
            steps: 0,
        }
    }

    /// The attributes of OTLP (a list of key and value), or an object of plain values.
    pub fn gather(&mut self, attributes: &Value) -> Attributes {
        let mut all = Attributes::new();
        self.steps = 0;
        match attributes {
            Value::Array(pairs) => self.pairs("", pairs, 0, &mut all),
            Value::Object(object) => self.object("", object, 0, &mut all),
            _ => {}
        }
        all
    }

    /// The values of an object, under names that begin with `prefix`.
    pub fn gather_below(&mut self, prefix: &str, object: &Value, all: &mut Attributes) {
        self.steps = 0;
        self.value(prefix, object, 0, all);
    }

    fn pairs(&mut self, prefix: &str, pairs: &[Value], depth: usize, all: &mut Attributes) {
        for pair in pairs {
            if let Some(key) = pair.get("key").and_then(Value::as_str) {
                let value = pair.get("value").unwrap_or(&Value::Null);
                self.value(&join(prefix, key), value, depth + 1, all);
            }
        }
    }

    fn object(
        &mut self,
        prefix: &str,
        object: &Map<String, Value>,
        depth: usize,
        all: &mut Attributes,
    ) {
        for (key, value) in object {
            self.value(&join(prefix, key), value, depth + 1, all);
        }
    }

    fn value(&mut self, key: &str, value: &Value, depth: usize, all: &mut Attributes) {
        self.steps += 1;
        if key.len() > KEY_MAX
            || depth > DEPTH_MAX
            || self.steps > VALUES_MAX
            || all.len() >= ATTRIBUTES_MAX
        {
            return;
        }
        match value {
            Value::Object(object) => match any_value(object) {
                Some(Any::Plain(value)) => self.value(key, value, depth, all),
                Some(Any::List(list)) => self.list(key, list, depth, all),
                Some(Any::Pairs(pairs)) => self.pairs(key, pairs, depth, all),
                None if self.vocabulary.looks_into(key) || key.is_empty() => {
                    self.object(key, object, depth, all)
                }
                None => {}
            },
            Value::Array(list) => self.list(key, list, depth, all),
            Value::String(text) => {
                if self.vocabulary.looks_into(key)
                    && text.starts_with('{')
                    && text.len() <= JSON_MAX
                {
                    if let Ok(Value::Object(object)) = serde_json::from_str(text) {
                        self.object(key, &object, depth, all);
                    }
                } else if self.keeps(key) && !text.trim().is_empty() {
                    all.insert(
                        key.to_owned(),
                        Value::String(beginning(text.trim(), VALUE_MAX).to_owned()),
                    );
                }
            }
            Value::Number(_) | Value::Bool(_) => {
                if self.keeps(key) {
                    all.insert(key.to_owned(), value.clone());
                }
            }
            Value::Null => {}
        }
    }

    /// A list of one value says it; of several, each has its place in the name.
    fn list(&mut self, key: &str, list: &[Value], depth: usize, all: &mut Attributes) {
        if let [one] = list {
            self.value(key, one, depth + 1, all);
        }
        if self.vocabulary.looks_into(key) {
            for (place, one) in list.iter().enumerate() {
                self.value(&format!("{key}.{place}"), one, depth + 1, all);
            }
        }
    }

    fn keeps(&self, key: &str) -> bool {
        !is_content(key) && (self.vocabulary.knows(key) || self.kept.iter().any(|kept| kept == key))
    }
}

fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() {
        key.to_owned()
    } else {
        format!("{prefix}.{key}")
    }
}

/// A value as OTLP wraps it.
enum Any<'a> {
    Plain(&'a Value),
    List(&'a [Value]),
    Pairs(&'a [Value]),
}

fn any_value(object: &Map<String, Value>) -> Option<Any<'_>> {
    let mut fields = object.iter();
    let (kind, value) = fields.next()?;
    if fields.next().is_some() {
        return None;
    }
    let values = || {
        value
            .get("values")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default()
    };
    Some(match kind.as_str() {
        "stringValue" | "string_value" | "intValue" | "int_value" | "doubleValue"
        | "double_value" | "boolValue" | "bool_value" => Any::Plain(value),
        "arrayValue" | "array_value" => Any::List(values()),
        "kvlistValue" | "kvlist_value" => Any::Pairs(values()),
        "bytesValue" | "bytes_value" => Any::List(&[]),
        _ => return None,
    })
}

/// A value of an attribute as text.
pub fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::vocabulary::words;
    use super::*;
    use serde_json::json;

    fn vocabulary() -> Vocabulary {
        words(&[
            "a||model|1|",
            "usage.*||other_tokens|1|",
            "metadata.thread_id||conversation|1|",
            "input.value||user|1|",
            "list.0.x||user|1|",
        ])
    }

    #[test]
    fn values_are_found_plain_wrapped_nested_and_in_text() {
        let vocabulary = vocabulary();
        let mut gatherer = Gatherer::new(&vocabulary, &[]);
        let all = gatherer.gather(&json!([
            {"key": "a", "value": {"stringValue": " m "}},
            {"key": "usage", "value": {"kvlistValue": {"values": [{"key": "input", "value": {"intValue": "5"}}]}}},
            {"key": "metadata", "value": {"stringValue": "{\"thread_id\": \"c-1\", \"more\": 1}"}},
            {"key": "input.value", "value": {"stringValue": "what the customer said"}},
            {"key": "unknown", "value": {"stringValue": "x"}},
            {"key": "list", "value": {"arrayValue": {"values": [
                {"kvlistValue": {"values": [{"key": "x", "value": {"intValue": 7}}]}}, {"intValue": 8}]}}}
        ]));
        assert_eq!(
            serde_json::to_value(&all).unwrap(),
            json!({"a": "m", "usage.input": "5", "metadata.thread_id": "c-1", "list.0.x": 7})
        );
        let plain = gatherer.gather(&json!({"a": "m", "usage": {"input": 5.0}, "b": null}));
        assert_eq!(
            serde_json::to_value(&plain).unwrap(),
            json!({"a": "m", "usage.input": 5.0})
        );
    }

    #[test]
    fn facts_are_stored_and_read() {
        let facts = Facts {
            parent: "p".to_owned(),
            began: u64::MAX,
            is_log: true,
            ..Facts::default()
        };
        assert_eq!(
            facts.to_json(),
            r#"{"p":"p","b":18446744073709551615,"l":true}"#
        );
        assert_eq!(Facts::parse(facts.to_json().as_bytes()), facts);
        assert_eq!(Facts::parse(b"no json"), Facts::default());
    }
}
