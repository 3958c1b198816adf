use super::*;

const SHORT: Rules = Rules {
    longest: 30,
    ..DOOR
};
const KEPT: Rules = Rules {
    most: 200,
    ..QUARANTINE
};

#[test]
fn messages_go_whichever_way_they_are_written() {
    for (from, to) in [
        (
            r#"{"gen_ai.prompt": "hi", "a": 1}"#,
            r#"{"gen_ai.prompt": null, "a": 1}"#,
        ),
        (
            r#"{"key": "gen_ai.prompt", "value": {"stringValue": "hi"}}"#,
            r#"{"key": "gen_ai.prompt", "value": null}"#,
        ),
        (
            r#"{"value": {"stringValue": "h}i"}, "key": "gen_ai.prompt"}"#,
            r#"{"value": null, "key": "gen_ai.prompt"}"#,
        ),
        (
            r#"[{"value": 5, "key": "input.value"}, {"value": 5, "key": "other"}]"#,
            r#"[{"value": null, "key": "input.value"}, {"value": 5, "key": "other"}]"#,
        ),
        (
            r#"{"gen_ai\u002eprompt": ["hi", {"a": "]"}]}"#,
            r#"{"gen_ai\u002eprompt": null}"#,
        ),
        (
            r#"{"key": "x", "value": {"stringValue": "0123456789012345678901234567890"}}"#,
            r#"{"key": "x", "value": {"stringValue": null}}"#,
        ),
        (
            r#"{"key": "usage_details", "value": {"stringValue": "{\"input\": 5, \"output\": 123456789012}"}}"#,
            r#"{"key": "usage_details", "value": {"stringValue": "{\"input\": 5, \"output\": 123456789012}"}}"#,
        ),
        (
            r#"{"key": "metadata", "value": {"stringValue": "{\"thread_id\": \"t-1\", \"prompt\": \"I am ill\"}"}}"#,
            r#"{"key": "metadata", "value": {"stringValue": "{\"thread_id\": \"t-1\", \"prompt\": null}"}}"#,
        ),
        (
            r#"{"key": "usage", "value": {"kvlistValue": {"values": [{"key": "input", "value": {"intValue": 5}}]}}}"#,
            r#"{"key": "usage", "value": {"kvlistValue": {"values": [{"key": "input", "value": {"intValue": 5}}]}}}"#,
        ),
        (
            r#"{"status": {"code": 2, "message": "timed out"}, "message": "hello"}"#,
            r#"{"status": {"code": 2, "message": "timed out"}, "message": null}"#,
        ),
        (
            r#"{"body": {"stringValue": "I am ill"}, "n": -1.50e+3}"#,
            r#"{"body": {"stringValue": null}, "n": -1.50e+3}"#,
        ),
        (
            r#"{"body": {"stringValue": "gen_ai.evaluation.result"}}"#,
            r#"{"body": {"stringValue": "gen_ai.evaluation.result"}}"#,
        ),
        (
            r#"{"body": {"kvlistValue": {"values": [{"key": "a", "value": {"intValue": 42}}]}}}"#,
            r#"{"body": {"kvlistValue": {"values": [{"key": null, "value": {"intValue": null}}]}}}"#,
        ),
        (r#"["a\u0000b\ud800c"]"#, r#"["a\ufffdb\ufffdc"]"#),
        (
            r#"["\ud83d\ude00\u00e4\n\\u0000"]"#,
            r#"["\ud83d\ude00\u00e4\n\\u0000"]"#,
        ),
    ] {
        let got = redact(from.as_bytes(), SHORT);
        assert_eq!(got, to);
        assert!(serde_json::from_str::<serde_json::Value>(&got).is_ok());
    }
}

#[test]
fn of_what_is_no_json_nothing_that_was_said_is_left() {
    for (from, to) in [
        ("please help me with it", "\"[22 bytes]\""),
        (
            r#"{"a": "b", "gen_ai.prompt": "I a"#,
            r#"{"a": "b", "gen_ai.prompt": "[3 bytes]""#,
        ),
        (r#"{"traceId": "01", "spa"#, r#"{"traceId": "01", "spa"#),
        (r#"er said" , "traceId": "01"}"#, "\"[7 bytes]\"\" , \""),
    ] {
        assert!(redact(from.as_bytes(), KEPT).starts_with(to), "{from}");
    }
    let long = format!("[\"{}\"", "x".repeat(65));
    assert_eq!(redact(long.as_bytes(), KEPT), "[\"[65 bytes]\"");
    let many = redact("[1,".repeat(1000).as_bytes(), KEPT);
    assert!(many.len() < 210 && many.ends_with('…'));
    assert_eq!(redact(b"[\"\xff\0\"]", KEPT), "[\"\u{fffd}\u{fffd}\"]");
}

#[test]
fn nothing_recurses_or_goes_on_for_ever() {
    let all = Rules {
        most: usize::MAX,
        ..KEPT
    };
    for piece in [
        "[",
        "{\"value\":",
        "{\"key\":\"input.value\",\"value\":[",
        "\"",
        "\\",
        "a ",
        "}",
    ] {
        redact(piece.repeat(200_000).as_bytes(), all);
    }
    for seed in 0..2000_u32 {
        let bytes: Vec<u8> = (0..64_u32)
            .map(|n| {
                let random = seed
                    .wrapping_mul(2_654_435_761)
                    .wrapping_add(n * n * 40_503)
                    >> 9;
                b"{}[],:\"\\u0dkeyvalue \xff\xc3"[random as usize % 22]
            })
            .collect();
        assert!(!redact(&bytes, KEPT).contains('\0'));
    }
}

#[test]
fn a_form_feed_is_no_end() {
    assert!(!redact(b"\0\x0c\xdb\":", QUARANTINE).contains('\0'));
    assert!(!redact(b"\x0c", DOOR).is_empty());
}
