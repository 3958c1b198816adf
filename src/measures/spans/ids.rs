//! Ids of traces, spans and turns.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use md5::{Digest, Md5};

/// Most bytes of an id of a trace or a span.
pub const TRACE_MAX: usize = 200;

/// An id in one way of writing: hexadecimal in small letters, also where it came in capitals, with 0x, or in base64 as
/// protobuf's own JSON has it. What is none of these stays as it is; what is all zeros is none.
pub fn hex_id(text: &str) -> String {
    let text = text.trim();
    let text = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .unwrap_or(text);
    if text.bytes().all(|byte| byte == b'0') {
        return String::new();
    }
    if text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return text.to_ascii_lowercase();
    }
    from_base64(text).unwrap_or_else(|| text.to_owned())
}

/// 16 or 8 bytes in base64, as hexadecimal.
fn from_base64(text: &str) -> Option<String> {
    let bytes = STANDARD
        .decode(text)
        .or_else(|_| URL_SAFE.decode(text))
        .ok()?;
    let is_id = matches!((text.len(), bytes.len()), (24, 16) | (12, 8));
    is_id.then(|| hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The id of the turn of a span: a uuid made of the hash of trace and span, so that who delivers it again, or judges
/// it, finds it.
pub fn event_id(trace: &str, span: &str) -> String {
    let hash = Md5::digest(format!("{trace}/{span}").as_bytes());
    uuid::Uuid::from_slice(&hash)
        .map(|id| id.to_string())
        .unwrap_or_default()
}

/// A hash of what has no id of its own.
pub fn hash_id(text: &str) -> String {
    hex(&Md5::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_same_however_it_is_written() {
        let hexadecimal = "5b8efff798038103d269b633813fc60c";
        for same in [
            hexadecimal,
            "5B8EFFF798038103D269B633813FC60C",
            "0x5b8efff798038103d269b633813fc60c",
            "W47/95gDgQPSabYzgT/GDA==",
        ] {
            assert_eq!(hex_id(same), hexadecimal, "{same}");
        }
        assert_eq!(hex_id("7uGbfsPBsXQ="), "eee19b7ec3c1b174");
        assert_eq!(hex_id("0000000000000000"), "");
        assert_eq!(hex_id("Trace-1"), "Trace-1");
        // md5('t/s') by the server
        assert_eq!(event_id("t", "s"), "b3150754-d1a8-2d98-925b-06350e70001a");
    }
}
