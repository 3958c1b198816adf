//! JSON as the server stores and prints it, walked without recursion: a document may be nested as deep as the server's
//! parser takes it, which is deeper than a stack should be asked to go a second time.
//!
//! What a walk has to remember it asks memory for, and answers `None` where there is none: a copy that the machine
//! cannot hold would end the whole server. A walk is linear in the document. It calls `tick` now and then, so that
//! whoever runs it can be interrupted.

use std::borrow::Cow;

/// Steps between two calls of `tick`.
const STRIDE: usize = 1 << 16;

/// Of the first word of a container: how many elements, or pairs, it has.
pub(crate) const COUNT: u32 = 0x0FFF_FFFF;
/// A scalar that stands alone, in a list of its own.
pub(crate) const SCALAR: u32 = 0x1000_0000;
/// An object.
pub(crate) const OBJECT: u32 = 0x2000_0000;
/// A list.
pub(crate) const ARRAY: u32 = 0x4000_0000;
/// Of the word of an element: it holds the end and not the length.
pub(crate) const HAS_END: u32 = 0x8000_0000;
/// Of the word of an element: what it is.
pub(crate) const KIND: u32 = 0x7000_0000;
/// A number.
pub(crate) const NUMERIC: u32 = 0x1000_0000;
/// A list or an object.
const CONTAINER: u32 = 0x5000_0000;

/// A word of a jsonb.
pub(crate) fn word(jsonb: &[u8], at: usize) -> Option<u32> {
    let bytes = jsonb.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_ne_bytes(*bytes))
}

/// How deep a jsonb is nested: 0 for a scalar, 1 for a list or an object of scalars. Stops at more than `most` levels.
/// `None`: out of memory.
///
/// The bytes are those of jsonb.h: a container is a word with its kind and count, a word for each key and value with
/// kind and length (or, now and then, its end), then keys and values; containers are aligned to four bytes. What does
/// not fit is passed over.
pub fn depth(root: &[u8], most: usize, mut tick: impl FnMut()) -> Option<usize> {
    let word = |at| word(root, at);
    let mut deepest = 0;
    let mut steps = 0_usize;
    let mut waiting = vec![(0_usize, 1_usize)];
    while let Some((start, level)) = waiting.pop() {
        let Some(header) =
            word(start).filter(|header| header & SCALAR == 0 && header & (OBJECT | ARRAY) != 0)
        else {
            continue;
        };
        deepest = deepest.max(level);
        if deepest > most {
            break;
        }
        let entries = (header & COUNT) as usize * if header & OBJECT == 0 { 1 } else { 2 };
        let data = start + 4 + 4 * entries;
        let mut offset = 0_usize;
        for number in 0..entries {
            let Some(entry) = word(start + 4 + 4 * number) else {
                break;
            };
            if entry & KIND == CONTAINER {
                waiting.try_reserve(1).ok()?;
                waiting.push((data + offset.next_multiple_of(4), level + 1));
            }
            let length = (entry & COUNT) as usize;
            offset = if entry & HAS_END == 0 {
                offset + length
            } else {
                length
            };
            steps += 1;
            if steps.is_multiple_of(STRIDE) {
                tick();
            }
        }
    }
    Some(deepest)
}

/// A document as text in which what is nested deeper than `most` levels is replaced by `mark`, a text. Linear, and
/// without recursion, so that whoever parses it afterwards may recurse.
pub fn prune<'a>(text: &'a [u8], most: usize, mark: &str) -> Cow<'a, [u8]> {
    let mut pruned: Option<Vec<u8>> = None;
    let (mut level, mut start, mut is_text, mut is_escaped) = (0_usize, 0, false, false);
    for (at, byte) in text.iter().enumerate() {
        if is_text {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => is_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => is_text = true,
            b'{' | b'[' => {
                level += 1;
                if level == most + 1 {
                    pruned
                        .get_or_insert_default()
                        .extend_from_slice(&text[start..at]);
                }
            }
            b'}' | b']' => {
                if level == most + 1
                    && let Some(pruned) = &mut pruned
                {
                    pruned.extend_from_slice(mark.as_bytes());
                    start = at + 1;
                }
                level = level.saturating_sub(1);
            }
            _ => {}
        }
    }
    match pruned {
        None => Cow::Borrowed(text),
        Some(mut pruned) => {
            if level <= most {
                pruned.extend_from_slice(&text[start..]);
            }
            Cow::Owned(pruned)
        }
    }
}

/// Keys of the forms that are delivered. They name nobody, whoever is called like one of them.
const WORDS: [&str; 70] = [
    "agent_id",
    "agent_version",
    "attributes",
    "arrayValue",
    "boolValue",
    "body",
    "bytesValue",
    "business_event_id",
    "code",
    "comment",
    "configId",
    "conversation_id",
    "cost_usd",
    "dataType",
    "doubleValue",
    "endTimeUnixNano",
    "environment",
    "error",
    "evaluation",
    "event_id",
    "eventName",
    "events",
    "hash",
    "head",
    "id",
    "intValue",
    "intent_classified",
    "is_eval",
    "judged_at",
    "judged_by",
    "key",
    "kind",
    "kvlistValue",
    "label",
    "latency_ms",
    "links",
    "logRecords",
    "message",
    "model",
    "name",
    "observationId",
    "observedTimeUnixNano",
    "occurred_at",
    "ok",
    "outcome_label",
    "outcome_source",
    "parentSpanId",
    "prompt_version",
    "provider",
    "resource",
    "resourceLogs",
    "resourceSpans",
    "response_id",
    "scope",
    "scopeLogs",
    "scopeSpans",
    "score",
    "severityText",
    "source",
    "spanId",
    "spans",
    "startTimeUnixNano",
    "status",
    "stringValue",
    "timeUnixNano",
    "timestamp",
    "traceId",
    "turn_index",
    "user_id",
    "value",
];

/// Whether a document, as text, names somebody: a string, a number or a key is his id, also in a document that a string
/// holds as text, however often.
///
/// It reads no grammar, only strings and numbers, so what was cut off is searched as far as it goes. Each time that a
/// document is put into a string its quotes take one more backslash, and then twice as many: so there are few levels of
/// that, and the whole work is the length times its logarithm. `None`: out of memory.
pub fn names(document: &[u8], id: &[u8], mut tick: impl FnMut()) -> Option<bool> {
    let is_word = WORDS.iter().any(|word| word.as_bytes() == id);
    let mut waiting = vec![Cow::Borrowed(document)];
    let mut steps = 0_usize;
    while let Some(text) = waiting.pop() {
        let mut at = 0;
        while let Some(&byte) = text.get(at) {
            let begins = at;
            if byte == b'"' {
                let mut is_escaped = false;
                at += 1;
                while let Some(&byte) = text.get(at).filter(|byte| **byte != b'"') {
                    is_escaped |= byte == b'\\';
                    at += if byte == b'\\' { 2 } else { 1 };
                }
                let inside = text.get(begins + 1..at.min(text.len())).unwrap_or_default();
                at += 1;
                let is_key = text.get(at..).is_some_and(|rest| {
                    rest.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':')
                });
                if is_key && is_word {
                    // of our own words
                } else if is_escaped {
                    let plain = unescaped(inside)?;
                    if plain == id {
                        return Some(true);
                    }
                    if is_document(&plain) {
                        waiting.push(Cow::Owned(plain));
                    }
                } else if inside == id {
                    return Some(true);
                } else if is_document(inside) {
                    waiting.push(Cow::Owned(copied(inside)?));
                }
            } else if byte == b'-' || byte.is_ascii_digit() {
                while text
                    .get(at)
                    .is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
                {
                    at += 1;
                }
                if text.get(begins..at) == Some(id) {
                    return Some(true);
                }
            } else {
                at += 1;
            }
            steps += at - begins;
            if steps >= STRIDE {
                steps = 0;
                tick();
            }
        }
    }
    Some(false)
}

/// Whether a string may hold a document with strings or numbers in it.
fn is_document(text: &[u8]) -> bool {
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    matches!(first, Some(b'{' | b'[' | b'"'))
}

fn copied(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len()).ok()?;
    copy.extend_from_slice(bytes);
    Some(copy)
}

/// A JSON string without its escapes, which is never longer; one that is none stays as it is.
pub(crate) fn unescaped(inside: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    plain.try_reserve_exact(inside.len()).ok()?;
    let unit = |at: usize| {
        let digits = inside.get(at..at + 4)?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut at = 0;
    while let Some(&byte) = inside.get(at) {
        at += 1;
        if byte != b'\\' {
            plain.push(byte);
            continue;
        }
        let Some(&kind) = inside.get(at) else { break };
        at += 1;
        match kind {
            b'b' => plain.push(8),
            b'f' => plain.push(12),
            b'n' => plain.push(b'\n'),
            b'r' => plain.push(b'\r'),
            b't' => plain.push(b'\t'),
            b'u' => {
                let Some(high) = unit(at) else { continue };
                at += 4;
                let low = inside.get(at..at + 2).filter(|next| *next == b"\\u");
                let low = low.and_then(|_| unit(at + 2));
                let code = match (high, low) {
                    (0xD800..=0xDBFF, Some(low @ 0xDC00..=0xDFFF)) => {
                        at += 6;
                        0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00)
                    }
                    _ => high,
                };
                let letter = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                plain.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            }
            other => plain.push(other),
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(document: &str, id: &str) -> bool {
        names(document.as_bytes(), id.as_bytes(), || ()).unwrap()
    }

    #[test]
    fn a_person_is_found_as_string_number_and_key_and_in_documents_that_strings_hold() {
        assert!(said(r#"{"a": ["u-1"]}"#, "u-1"));
        assert!(!said(r#"{"a": ["u-10", "xu-1", "u-1 "]}"#, "u-1"));
        assert!(said(r#"{"users": {"u-1": 5}}"#, "u-1"));
        assert!(said(r#"[1, 42, 3]"#, "42"));
        assert!(said(r#"{"a": -1.50e+3}"#, "-1.50e+3"));
        assert!(!said(r#"{"a": 421, "b": 1.42}"#, "42"));
        assert!(said(
            r#"["say \"hi\"\n\u00e4\ud83d\ude00"]"#,
            "say \"hi\"\nä😀"
        ));
        // once and twice as text
        assert!(said(r#"["{\"user\": \"u-1\"}"]"#, "u-1"));
        assert!(said(r#"["[\"{\\\"user\\\": \\\"u-1\\\"}\"]"]"#, "u-1"));
        assert!(!said(r#"["the user u-1 said so"]"#, "u-1"));
        // a key of ours is nobody's id; the value of one is
        assert!(!said(r#"{"user_id": "x"}"#, "user_id"));
        assert!(said(r#"{"x": "user_id"}"#, "user_id"));
        // what was cut off
        assert!(said(r#"["u-1"#, "u-1"));
        assert!(!said("[\"u-2\\", "u-1"));
        assert!(!said("", "u-1"));
    }

    #[test]
    fn a_walk_neither_recurses_nor_goes_on_for_ever_and_can_be_stopped() {
        let deep = "[".repeat(5_000_000);
        let mut ticks = 0;
        assert!(!names(deep.as_bytes(), b"u-1", || ticks += 1).unwrap());
        assert!(ticks > 50);
        // a document in a string in a document and so on, as deep as a megabyte lets it
        let mut document = String::from("\"u-1\"");
        while document.len() < 1_000_000 {
            document = format!(
                "[\"{}\"]",
                document.replace('\\', "\\\\").replace('"', "\\\"")
            );
        }
        assert!(said(&document, "u-1"));
    }

    #[test]
    fn damaged_bytes_have_some_depth() {
        assert_eq!(depth(&[], 64, || ()), Some(0));
        for seed in 0..2000_u32 {
            let bytes: Vec<u8> = (0..64_u32)
                .map(|n| {
                    (seed
                        .wrapping_mul(2_654_435_761)
                        .wrapping_add(n * n * 40_503)
                        >> 9) as u8
                })
                .collect();
            assert!(depth(&bytes, 64, || ()).unwrap() < 64);
        }
    }
}
