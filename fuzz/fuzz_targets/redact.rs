//! Documents from outside, whole or not: messages are taken out in time, of JSON comes JSON, and never a zero.

#![no_main]

use agent_metrics::measures::redact::{DOOR, QUARANTINE, redact};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|document: &[u8]| {
    let kept = redact(document, QUARANTINE);
    assert!(!kept.contains('\0') && kept.len() <= QUARANTINE.most + QUARANTINE.longest + 100);
    let handed_on = redact(document, DOOR);
    assert!(!handed_on.contains('\0'));
    if serde_json::from_slice::<serde::de::IgnoredAny>(document).is_ok() {
        serde_json::from_str::<serde_json::Value>(&handed_on).expect("of JSON comes JSON");
    }
});
